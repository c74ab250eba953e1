//! Certificates of the tests' own, and the file of `--web.config.file` that names them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use crate::harness::{Exporter, FakeW, folder, sh};

pub const PASSWORD: &str = "correct horse";

/// `PASSWORD` at the least cost.
pub fn hash() -> String {
    bcrypt::hash(PASSWORD, 4).unwrap()
}

/// A folder with `ca`, `server` and `client` of it, each `.crt` and `.key`; `foreign` of another
/// authority; `expired` and `early`; `renewed` for the server; `other`, a client with other names;
/// `lone`, which signed itself; `rsa`, `p384` and `ed25519`, clients with such keys; `old`, a
/// client whose certificate is of version 1; `p521` and `small`, clients with keys that ring does
/// not take.
fn made() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = folder();
        sh(&folder, SCRIPT);
        folder
    })
}

const SCRIPT: &str = "set -e
new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
openssl req -x509 $new -days 30 -subj '/CN=the authority' -keyout ca.key -out ca.crt
openssl req -x509 $new -days 30 -subj '/CN=another' -keyout another.key -out another.crt
openssl req -x509 $new -days 30 -subj /CN=lone -keyout lone.key -out lone.crt
sign() {
    printf 'basicConstraints=critical,CA:FALSE\\nsubjectAltName=%s\\nextendedKeyUsage=%s\\n' \"$3\" \"$4\" >$1.ext
    openssl req $new -subj /CN=$1 -keyout $1.key -out $1.csr
    : >index; printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=index\\nnew_certs_dir=.\\nrand_serial=yes\\ndefault_md=sha256\\npolicy=p\\n[p]\\ncommonName=supplied\\n' >ca.cnf
    openssl ca -batch -notext -config ca.cnf -cert $2.crt -keyfile $2.key -in $1.csr -out $1.crt -extfile $1.ext -startdate ${5:-200101000000Z} -enddate ${6:-20991231000000Z}
}
sign server ca IP:127.0.0.1,DNS:localhost serverAuth
sign renewed ca IP:127.0.0.1,DNS:localhost serverAuth
sign client ca 'email:prometheus@example.com,URI:spiffe://example.com/prometheus,IP:192.0.2.7,IP:2001:db8::7,DNS:prometheus.example.com' clientAuth
sign other ca DNS:other.example.com clientAuth
sign foreign another DNS:prometheus.example.com clientAuth
sign expired ca DNS:prometheus.example.com clientAuth 200101000000Z 200201000000Z
sign early ca DNS:prometheus.example.com clientAuth 20980101000000Z
sign wrong ca DNS:prometheus.example.com serverAuth
new='-newkey rsa:2048 -nodes'
sign rsa ca DNS:prometheus.example.com clientAuth
new='-newkey ec -pkeyopt ec_paramgen_curve:secp384r1 -nodes'
sign p384 ca DNS:prometheus.example.com clientAuth
new='-newkey ed25519 -nodes'
sign ed25519 ca DNS:prometheus.example.com clientAuth
openssl req -newkey rsa:2048 -nodes -subj /CN=old -keyout old.key -out old.csr
openssl x509 -req -in old.csr -CA ca.crt -CAkey ca.key -out old.crt -days 30
new='-newkey ec -pkeyopt ec_paramgen_curve:secp521r1 -nodes'
sign p521 ca DNS:prometheus.example.com clientAuth
new='-newkey rsa:1024 -nodes'
sign small ca DNS:prometheus.example.com clientAuth
";

/// A folder of a test's own with the certificates and a `web.yml`.
pub struct Files {
    pub folder: PathBuf,
}

impl Files {
    pub fn new(web: &str) -> Files {
        let folder = folder();
        for entry in fs::read_dir(made()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        }
        let files = Files { folder };
        files.write("web.yml", web);
        files
    }

    /// Replaces a file at once, as a program that renews certificates should.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path("new"), text).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    pub fn copy(&self, from: &str, to: &str) {
        self.write(to, &fs::read_to_string(self.path(from)).unwrap());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// An exporter with these settings.
    pub fn exporter(&self) -> Exporter {
        let fake = FakeW::new("cat $TABLE");
        Exporter::of(&fake.command(), &["--web.config.file", &self.web()])
    }

    /// The file of `--web.config.file`.
    pub fn web(&self) -> String {
        self.path("web.yml").display().to_string()
    }
}

/// A server's certificate.
pub const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

/// Clients must show a certificate.
pub const MUTUAL: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n";

/// `prometheus` must know its password.
pub fn users() -> String {
    format!("basic_auth_users:\n  prometheus: {}\n", hash())
}
