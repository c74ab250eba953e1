//! The file of `--web.config.file`.

use super::{
    client::Client,
    files::{Files, MUTUAL, TLS, hash, users},
};
use crate::harness::{Exporter, FakeW, run};

/// The error for a file: one line, and exit status 2.
fn complaint(web: &str) -> String {
    let files = Files::new(web);
    let output = run(&["--web.config.file", &files.web(), "--once", "--w.command", "true"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{web}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    let start =
        format!("prometheus-what-active-users-exporter: --web.config.file {:?}: ", files.web());
    let line = stderr.trim_end().strip_prefix(&start).unwrap_or_else(|| panic!("{stderr}"));
    line.replace(&format!("{}/", files.folder.display()), "")
}

#[test]
fn a_file_that_cannot_be_used_is_refused_by_the_name_of_its_key() {
    for (web, expected) in [
        ("tls_server_confg: {}", "tls_server_confg: unknown key"),
        ("tls_server_config: {cert_flie: x}", "tls_server_config: cert_flie: unknown key"),
        ("http_server_config: {http3: true}", "http_server_config: http3: unknown key"),
        (
            "http_server_config: {headers: {Server: x}}",
            "http_server_config: headers: Server: unknown key",
        ),
        (
            "http_server_config: {headers: {X-Frame-Options: x}}",
            "http_server_config: headers: X-Frame-Options \"x\": expected deny or sameorigin",
        ),
        ("http_server_config: {http2: maybe}", "http_server_config: http2: expected true or false"),
        ("rate_limit: {interval: 1s, burst: 5}", "rate_limit: interval: not supported"),
        (
            "basic_auth_users: {a: secret}",
            "basic_auth_users: a: expected a bcrypt hash, as htpasswd -nBC 10 prints it",
        ),
        ("basic_auth_users: [a]", "basic_auth_users: expected keys with values"),
        ("tls_server_config: {cert_file: server.crt}", "tls_server_config: key_file: missing"),
        ("tls_server_config: {key_file: server.key}", "tls_server_config: cert_file: missing"),
        (
            "tls_server_config: {client_auth_type: RequireAnyClientCert}",
            "tls_server_config: cert_file: missing",
        ),
        (
            "tls_server_config: {cert_file: no.crt, key_file: server.key}",
            "tls_server_config: cert_file: no.crt can't be read: No such file or directory (os error 2)",
        ),
        (
            "tls_server_config: {cert_file: /dev/zero, key_file: server.key}",
            "tls_server_config: cert_file: /dev/zero is not a file",
        ),
        (
            "tls_server_config: {cert_file: server.key, key_file: server.key}",
            "tls_server_config: cert_file: expected a certificate in PEM",
        ),
        (
            "tls_server_config: {cert_file: server.crt, key_file: server.crt}",
            "tls_server_config: key_file: expected a key in PEM",
        ),
        ("a: b: c", "it is not YAML: "),
        ("a: 1\na: 2", "a is there twice"),
    ] {
        let said = complaint(web);
        assert!(
            said == expected || (expected.ends_with(": ") && said.starts_with(expected)),
            "{web}: {said}"
        );
    }
    for (more, expected) in [
        (
            "client_auth_type: Sometimes",
            "client_auth_type \"Sometimes\": expected NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert",
        ),
        (
            "client_ca_file: ca.crt",
            "client_auth_type: expected RequireAndVerifyClientCert where there is a client_ca or client_allowed_sans",
        ),
        (
            "client_allowed_sans: [a]",
            "client_auth_type: expected RequireAndVerifyClientCert where there is a client_ca or client_allowed_sans",
        ),
        (
            "client_auth_type: RequireAndVerifyClientCert",
            "client_ca_file: expected a certificate to verify clients by",
        ),
        ("min_version: TLS10", "min_version \"TLS10\": expected TLS12 or TLS13"),
        (
            "min_version: TLS13\n  max_version: TLS12",
            "min_version: expected one that is not above max_version",
        ),
        (
            "cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]",
            "cipher_suites: TLS_RSA_WITH_AES_128_CBC_SHA is not supported",
        ),
        ("cipher_suites: TLS_AES_128_GCM_SHA256", "cipher_suites: expected a list of texts"),
        ("curve_preferences: [CurveP521]", "curve_preferences: CurveP521 is not supported"),
    ] {
        assert_eq!(
            complaint(&format!("{TLS}  {more}\n")),
            format!("tls_server_config: {expected}")
        );
    }
    let other_key = TLS.replace("server.key", "client.key");
    assert!(complaint(&other_key).starts_with("tls_server_config: cert_file and key_file: "));
    let missing = run(&["--web.config.file", "/nowhere"]);
    assert_eq!(missing.status.code(), Some(2));
}

#[test]
fn files_of_other_exporters_are_taken() {
    let hash = hash();
    for web in [
        "",
        "# nothing\n",
        "tls_server_config:\nbasic_auth_users:\n",
        "tls_server_config: {}\nhttp_server_config: {http2: no}\nbasic_auth_users: {}\nrate_limit: {interval: 0s, burst: 0}",
        &format!(
            "{MUTUAL}  min_version: TLS12\n  max_version: TLS13\n  prefer_server_cipher_suites: true\n  cipher_suites:\n  - TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384\n  - TLS_AES_128_GCM_SHA256\n  curve_preferences: [CurveP256, X25519, CurveP384]\n"
        ),
        &format!(
            "basic_auth_users:\n  alice: {hash}\n  1: '{hash}'\n  \"bob\": {}\n",
            hash.replace("$2b$", "$2y$")
        ),
        &users(),
    ] {
        let files = Files::new(web);
        let output = run(&["--web.config.file", &files.web(), "--once", "--w.command", "true"]);
        assert_eq!(output.status.code(), Some(1), "{web}: {output:?}");
    }
}

#[test]
fn certificate_and_key_may_stand_in_the_file() {
    let files = Files::new("");
    let inline =
        |name: &str| std::fs::read_to_string(files.path(name)).unwrap().replace('\n', "\n    ");
    files.write(
        "web.yml",
        &format!(
            "tls_server_config:\n  cert: |\n    {}\n  key: |\n    {}\n",
            inline("server.crt"),
            inline("server.key")
        ),
    );
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &["--web.config.file", &files.web()]);
    assert_eq!(
        Client::new(&files, None).get(&exporter.address, "/metrics", None).unwrap().status,
        200
    );
}

#[test]
fn configured_fields_are_in_every_answer_once() {
    let files = Files::new(
        "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    X-Content-Type-Options: nosniff\n    Strict-Transport-Security: max-age=1\n",
    );
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &["--web.config.file", &files.web()]);
    for path in ["/metrics", "/", "/-/healthy", "/nothing"] {
        let answer = exporter.get(path);
        assert_eq!(answer.header("Strict-Transport-Security"), Some("max-age=1"), "{answer:?}");
        for once in [
            "\r\nX-Frame-Options: deny",
            "\r\nX-Content-Type-Options: nosniff",
            "\r\nConnection: close",
        ] {
            assert_eq!(answer.head.matches(once).count(), 1, "{answer:?}");
        }
    }
}
