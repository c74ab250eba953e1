//! Which chains of certificates lead to an authority of `client_ca_file`: a new kind of chain is a
//! line of the script and of `CHAINS`. node_exporter is asked about the same ones.

use super::{
    client::Client,
    files::{Files, MUTUAL},
};
use crate::harness::sh;

/// The clients, and whether they are let in.
pub const CHAINS: [(&str, bool); 31] = [
    ("direct", true),
    ("under_middle", true),
    // The authority has expired, or is of the future. A renewed one has the name and the key of
    // the expired one.
    ("under_stale", false),
    ("under_future", false),
    ("under_renewed", true),
    // `pathlen:0` allows no authority below.
    ("under_short", true),
    ("under_short_middle", false),
    ("under_short_pair", false),
    // An authority that may not sign certificates, or is none.
    ("under_unsigning", false),
    ("under_unsigning_middle", false),
    ("under_unsaid", false),
    ("under_version1", true),
    ("pinned", true),
    ("under_pinned", false),
    ("signed_pinned", true),
    ("under_signed_pinned", false),
    ("pinned_authority", true),
    ("pinned_expired", false),
    ("pinned_server", false),
    // An authority that another one has signed, which is not trusted.
    ("under_crossed", true),
    ("under_untrusted", false),
    ("under_expired_middle", false),
    // Purposes.
    ("any_purpose", true),
    ("any_and_server", true),
    ("no_purpose", true),
    ("under_server_middle", false),
    ("under_any_middle", true),
    ("under_server", false),
    ("keys_only", true),
    // Names, and an extension that nobody knows.
    ("inside", true),
    ("outside", false),
];

/// `authorities.crt` has those that are trusted. What clients send are the certificates from theirs
/// to the authority's.
const SCRIPT: &str = r#"set -e
issue() { # name, signer, extensions, start, end
    echo $3 | tr / '\n' >$1.ext
    [ -e $1.key ] || openssl ecparam -name prime256v1 -genkey -noout -out $1.key
    openssl req -new -key $1.key -subj /CN=$1 -out $1.csr
    case $2 in self) signer=-selfsign\ -keyfile\ $1.key ;; *) signer=-cert\ $2.crt\ -keyfile\ $2.key ;; esac
    : >index
    openssl ca -batch -notext -config ca.cnf $signer -in $1.csr -out $1.crt -extfile $1.ext -startdate ${4:-200101000000Z} -enddate ${5:-20991231000000Z}
    [ $2 = self ] || cat $2.crt >>$1.crt
}
trust() { openssl x509 -in $1.crt >>authorities.crt; }
names='subjectAltName=DNS:prometheus.example.com,DNS:other.example.com'
leaf=basicConstraints=critical,CA:FALSE/$names/extendedKeyUsage=
client=${leaf}clientAuth
signs=keyUsage=critical,keyCertSign,cRLSign
ca=basicConstraints=critical,CA:TRUE/$signs
short=basicConstraints=critical,CA:TRUE,pathlen:0/$signs
mute=basicConstraints=critical,CA:TRUE/keyUsage=critical,digitalSignature

trust ca
issue root self $ca; trust root
issue direct root $client
issue middle root $ca; issue under_middle middle $client
issue stale self $ca 200101000000Z 200201000000Z; trust stale; issue under_stale stale $client
issue future self $ca 20980101000000Z; trust future; issue under_future future $client
issue renewed self $ca 200101000000Z 200201000000Z; trust renewed
issue renewed self $ca; trust renewed; issue under_renewed renewed $client
issue short self $short; trust short; issue under_short short $client
issue short_middle short $ca; issue under_short_middle short_middle $client
issue first root $short; issue second first $ca; issue under_short_pair second $client
issue unsigning self $mute; trust unsigning; issue under_unsigning unsigning $client
issue unsigning_middle root $mute; issue under_unsigning_middle unsigning_middle $client
issue unsaid self $signs; trust unsaid; issue under_unsaid unsaid $client
issue version1 self $ca; openssl x509 -req -in version1.csr -signkey version1.key -days 30 -out version1.crt
trust version1; issue under_version1 version1 $client
issue pinned self $client; trust pinned; issue under_pinned pinned $client
issue signed_pinned root $client; trust signed_pinned; issue under_signed_pinned signed_pinned $client
issue pinned_authority self $ca; trust pinned_authority
issue pinned_expired self $client 200101000000Z 200201000000Z; trust pinned_expired
issue pinned_server self ${leaf}serverAuth; trust pinned_server
issue untrusted self $ca; issue under_untrusted untrusted $client
issue crossed untrusted $ca; trust crossed; issue under_crossed crossed $client
issue expired_middle root $ca 200101000000Z 200201000000Z; issue under_expired_middle expired_middle $client
issue any_purpose root ${leaf}anyExtendedKeyUsage
issue any_and_server root ${leaf}serverAuth,anyExtendedKeyUsage
issue no_purpose root basicConstraints=critical,CA:FALSE/$names
issue server_middle root $ca/extendedKeyUsage=serverAuth; issue under_server_middle server_middle $client
issue any_middle root $ca/extendedKeyUsage=anyExtendedKeyUsage; issue under_any_middle any_middle $client
issue server_root self $ca/extendedKeyUsage=serverAuth; trust server_root; issue under_server server_root $client
issue keys_only root $client/keyUsage=critical,keyEncipherment
issue constrained self "$ca/nameConstraints=critical,permitted;DNS:example.com"; trust constrained
issue inside constrained $client
issue outside constrained $(echo $client | sed s/other.example.com/example.net/)
issue authority root $ca
issue by_email self "$ca/nameConstraints=critical,permitted;email:example.com"; trust by_email
issue of_email by_email basicConstraints=critical,CA:FALSE/$names,email:prometheus@example.com
"#;

/// Demands a certificate of the authorities.
pub fn files() -> Files {
    let files = Files::new(&MUTUAL.replace("ca.crt", "authorities.crt"));
    sh(&files.folder, SCRIPT);
    files
}

#[test]
fn a_certificate_leads_to_an_authority_as_go_decides() {
    let files = files();
    let exporter = files.exporter();
    for (client, expected) in CHAINS {
        let answer = Client::new(&files, Some(client)).get(&exporter.address, "/metrics", None);
        assert_eq!(answer.is_ok(), expected, "{client}: {answer:?}");
    }
}

/// A certificate that was made with the key of a client's must not bring in a name of its choice.
#[test]
fn a_name_that_a_client_has_signed_itself_is_refused() {
    let files = files();
    let web = MUTUAL.replace("ca.crt", "authorities.crt");
    files.write("web.yml", &format!("{web}  client_allowed_sans: [prometheus.example.com]\n"));
    let exporter = files.exporter();
    let is_in =
        |client| Client::new(&files, Some(client)).get(&exporter.address, "/", None).is_ok();
    assert_eq!(["pinned", "under_pinned"].map(is_in), [true, false]);
}
