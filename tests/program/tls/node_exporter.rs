//! Debian's node_exporter with the same files: both let in the same clients.

use std::{
    fs::File,
    io::Write,
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use rustls::version::{TLS12, TLS13};

use super::{
    chains::{self, CHAINS},
    client::{Client, get},
    files::{Files, MUTUAL, PASSWORD, TLS, users},
};
use crate::harness::{Answer, Exporter, FakeW, free_port, until_ready};

struct NodeExporter {
    process: Child,
    address: String,
}

impl NodeExporter {
    fn start(files: &Files) -> NodeExporter {
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new("prometheus-node-exporter");
        command.args(["--collector.disable-defaults", "--web.config.file", &files.web()]);
        command.args(["--web.listen-address", &address]).stdout(Stdio::null());
        let log = files.path("node_exporter.log");
        command.stderr(File::create(&log).unwrap());
        let process = command.spawn().unwrap();
        let mut node_exporter = NodeExporter { process, address };
        until_ready("node_exporter", &mut node_exporter.process, &log, || {
            TcpStream::connect(&node_exporter.address).is_ok()
        });
        node_exporter
    }
}

impl Drop for NodeExporter {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Our exporter and node_exporter, with the same files.
fn start(files: &Files) -> (Exporter, NodeExporter) {
    let fake = FakeW::new("cat $TABLE");
    let ours = Exporter::of(&fake.command(), &["--web.config.file", &files.web()]);
    (ours, NodeExporter::start(files))
}

/// Asks without TLS.
fn ask(address: &str, path: &str, login: Option<(&str, &str)>) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(get(path, login).as_bytes()).unwrap();
    Answer::read_to_end(&mut stream)
}

const RIGHT: Option<(&str, &str)> = Some(("prometheus", PASSWORD));
const LOGINS: [Option<(&str, &str)>; 5] =
    [None, RIGHT, Some(("prometheus", "wrong")), Some(("nobody", PASSWORD)), Some(("", ""))];

/// Every certificate that a client may have.
const CERTIFICATES: [Option<&str>; 11] = [
    None,
    Some("client"),
    Some("other"),
    Some("foreign"),
    Some("expired"),
    Some("early"),
    Some("wrong"),
    Some("lone"),
    Some("rsa"),
    Some("p384"),
    Some("ed25519"),
];

#[test]
#[ignore = "needs Debian's prometheus-node-exporter"]
fn both_let_in_the_same_clients() {
    let kinds = [
        "NoClientCert",
        "RequestClientCert",
        "RequireAnyClientCert",
        "RequireClientCert",
        "VerifyClientCertIfGiven",
        "RequireAndVerifyClientCert",
    ];
    let mut files: Vec<String> = kinds
        .iter()
        .map(|kind| {
            let authority = if *kind == "NoClientCert" { "" } else { "  client_ca_file: ca.crt\n" };
            format!("{TLS}  client_auth_type: {kind}\n{authority}{}", users())
        })
        .collect();
    files.push(MUTUAL.replace("ca.crt", "lone.crt"));
    files.push(MUTUAL.replace("ca.crt", "another.crt"));
    files.push(format!("{TLS}  min_version: TLS13\n"));
    files.push(format!("{TLS}  max_version: TLS12\n"));
    files.push(format!(
        "{TLS}  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]\n"
    ));
    // No cipher suite of these goes with the server's key.
    files.push(format!(
        "{TLS}  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n"
    ));
    files.push(format!("{TLS}  curve_preferences: [CurveP384]\n"));
    let mut compared = 0;
    let mut admitted = 0;
    for web in files {
        // With HTTP/2, Go insists on a cipher of its own.
        let answers = both(&format!("{web}http_server_config: {{http2: false}}\n"));
        compared += answers.len();
        admitted += answers.iter().filter(|status| **status == Some(200)).count();
    }
    println!("{compared} clients, of which {admitted} were let in");
    assert!(compared > 600 && admitted > 100);
}

/// How both answer every client, which must be the same; the status, or nothing if TLS refuses it.
fn both(web: &str) -> Vec<Option<u16>> {
    let files = Files::new(web);
    let (ours, theirs) = start(&files);
    let mut answers = Vec::new();
    for certificate in CERTIFICATES {
        for version in [&TLS12, &TLS13] {
            let client = Client::with(&files, certificate, &[version]);
            for login in LOGINS {
                let [our, their] = [&ours.address, &theirs.address].map(|address| {
                    client.get(address, "/metrics", login).map(|answer| answer.status)
                });
                let who = format!("{certificate:?} {version:?} {login:?}");
                let [our, their] = [our.ok(), their.ok()];
                assert_eq!(our, their, "{web}{who}: we and node_exporter");
                answers.push(our);
            }
        }
    }
    answers
}

#[test]
#[ignore = "needs Debian's prometheus-node-exporter"]
fn both_find_the_same_chains_to_an_authority() {
    let files = chains::files();
    let (ours, theirs) = start(&files);
    for (client, expected) in CHAINS {
        let both = [&ours.address, &theirs.address].map(|address| {
            Client::new(&files, Some(client)).get(address, "/metrics", None).is_ok()
        });
        assert_eq!(both, [expected; 2], "{client}: we and node_exporter");
    }
}

#[test]
#[ignore = "needs Debian's prometheus-node-exporter"]
fn without_tls_both_answer_the_same_logins() {
    let files = Files::new(&users());
    let (ours, theirs) = start(&files);
    for path in ["/metrics", "/", "/-/healthy", "/nothing"] {
        for login in LOGINS {
            let [our, their] = [&ours.address, &theirs.address].map(|at| ask(at, path, login));
            assert_eq!(our.status == 401, their.status == 401, "{path} {login:?}: {our:?}");
            let scheme = |answer: &Answer| {
                answer
                    .header("WWW-Authenticate")
                    .map(|field| field.split(' ').next().map(str::to_owned))
            };
            assert_eq!(scheme(&our), scheme(&their));
        }
    }
}

#[test]
#[ignore = "needs Debian's prometheus-node-exporter"]
fn both_tell_a_client_without_tls_what_is_wrong() {
    let files = Files::new(TLS);
    let (ours, theirs) = start(&files);
    for address in [&ours.address, &theirs.address] {
        let answer = ask(address, "/metrics", None);
        assert!(answer.status == 400 && answer.body.contains("HTTPS"), "{answer:?}");
    }
}

/// The differences that `docs/tls.md` names.
#[test]
#[ignore = "needs Debian's prometheus-node-exporter"]
fn only_node_exporter_takes_old_certificates_and_unusual_keys() {
    let files = chains::files();
    let (ours, theirs) = start(&files);
    // rustls would not even show these.
    let is_in = |address: &str, certificate: &str| {
        let ask = "printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' | openssl s_client -quiet -connect $0 -cert $1.crt -key $1.key -CAfile ca.crt -cipher DEFAULT@SECLEVEL=0";
        let mut sh = Command::new("sh");
        let output = sh.args(["-c", ask, address, certificate]).current_dir(&files.folder).output();
        String::from_utf8_lossy(&output.unwrap().stdout).contains(" 200 OK")
    };
    let both = |certificate| [&ours.address, &theirs.address].map(|at| is_in(at, certificate));
    assert_eq!(both("rsa"), [true, true]);
    for certificate in ["old", "p521", "small", "authority", "of_email"] {
        assert_eq!(both(certificate), [false, true], "{certificate}");
    }
}
