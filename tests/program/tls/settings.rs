//! The file of `--web.config.file`.

use super::{
    client::{Client, get},
    files::{Files, MUTUAL, PASSWORD, TLS, hash, users},
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
        ("tls_server_confg: {}", "unknown field `tls_server_confg`, expected one of"),
        (
            "tls_server_config: {cert_flie: x}",
            "tls_server_config: unknown field `cert_flie`, expected",
        ),
        (
            "http_server_config: {http3: true}",
            "http_server_config: unknown field `http3`, expected",
        ),
        (
            "http_server_config: {headers: {Server: x}}",
            "http_server_config.headers.Server: not supported",
        ),
        (
            "http_server_config: {headers: {X-Frame-Options: x}}",
            "http_server_config.headers.X-Frame-Options: \"x\" is not supported",
        ),
        (
            "http_server_config: {headers: {X-XSS-Protection: \"0\\r\\nx: y\"}}",
            "http_server_config.headers.X-XSS-Protection: \"0\\r\\nx: y\" is not supported",
        ),
        ("http_server_config: {http2: maybe}", "http_server_config.http2: invalid type"),
        (
            "rate_limit: {interval: 1s, burst: 5}",
            "rate_limit.interval: not supported; leave it out",
        ),
        (
            "basic_auth_users: {a: secret}",
            "basic_auth_users.a: expected a bcrypt hash, as htpasswd -nBC 10 prints it",
        ),
        ("basic_auth_users: [a]", "basic_auth_users: invalid type: sequence, expected a map"),
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
        (
            "tls_server_config: {cert_file: server.crt, key_file: client.key}",
            "tls_server_config: cert_file and key_file: ",
        ),
        (
            "basic_auth_users: {alice: x, alice: x}",
            "basic_auth_users: duplicate entry with key \"alice\"",
        ),
        ("basic_auth_users: {", "did not find expected node content at line"),
        ("rate_limit:\nrate_limit:", "duplicate field `rate_limit`"),
        ("basic_auth_users", "invalid type: string \"basic_auth_users\", expected"),
    ] {
        let said = complaint(web);
        assert!(said.starts_with(expected), "{web}: {said}");
    }
    assert_eq!(run(&["--web.config.file", "/nowhere"]).status.code(), Some(2));
}

#[test]
fn a_key_of_tls_that_cannot_be_used_is_named_too() {
    let expected_type = "client_auth_type: expected RequireAndVerifyClientCert, because there is";
    for (more, expected) in [
        (
            "client_auth_type: Sometimes",
            "tls_server_config.client_auth_type: unknown variant `Sometimes`, expected one of",
        ),
        ("client_ca_file: ca.crt", &format!("{expected_type} client_ca_file")),
        ("client_allowed_sans: [a]", &format!("{expected_type} client_allowed_sans")),
        (
            "client_auth_type: RequireAndVerifyClientCert",
            "client_ca_file: expected a certificate to verify clients by",
        ),
        (
            "min_version: TLS10",
            "tls_server_config.min_version: unknown variant `TLS10`, expected `TLS12` or `TLS13`",
        ),
        (
            "min_version: TLS13\n  max_version: TLS12",
            "min_version: expected one that is not above max_version",
        ),
        (
            "cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]",
            "cipher_suites: TLS_RSA_WITH_AES_128_CBC_SHA is not supported",
        ),
        ("cipher_suites: TLS_AES_128_GCM_SHA256", "tls_server_config.cipher_suites: invalid type"),
        (
            "curve_preferences: [CurveP521]",
            "tls_server_config.curve_preferences[0]: unknown variant `CurveP521`, expected one of",
        ),
    ] {
        let said = complaint(&format!("{TLS}  {more}\n"));
        let expected = expected.trim_start_matches("tls_server_config");
        assert!(
            said.starts_with(&format!(
                "tls_server_config{}{expected}",
                if expected.starts_with('.') { "" } else { ": " }
            )),
            "{more}: {said}"
        );
    }
}

/// The same value, in the file itself or in a file of its own.
#[test]
fn the_key_that_was_written_is_the_one_that_is_named() {
    let both = |more: &str| format!("{TLS}  client_auth_type: RequireAndVerifyClientCert\n{more}");
    let pem = |name: &str| {
        let text = std::fs::read_to_string(Files::new("").path(name)).unwrap();
        format!("|\n    {}", text.replace('\n', "\n    "))
    };
    let (server, server_key) = (pem("server.crt"), pem("server.key"));
    let other_key = pem("client.key");
    let mismatched = format!("tls_server_config:\n  cert: {server}\n  key: {other_key}\n");
    for (web, expected) in [
        (
            "tls_server_config: {cert: x, key_file: server.key}",
            "cert: expected a certificate in PEM",
        ),
        ("tls_server_config: {cert_file: server.crt, key: x}", "key: expected a key in PEM"),
        (&both("  client_ca: x\n"), "client_ca: expected a certificate in PEM"),
        (&both("  client_ca_file: ca.key\n"), "client_ca_file: expected a certificate in PEM"),
        (
            &both("  client_ca: x\n").replace("RequireAndVerifyClientCert", "NoClientCert"),
            "client_ca: expected a certificate in PEM",
        ),
        (
            &format!("{TLS}  client_ca: {server}\n"),
            "client_auth_type: expected RequireAndVerifyClientCert, because there is client_ca",
        ),
        (&mismatched, "cert and key: "),
        (
            &format!("tls_server_config:\n  cert_file: client.crt\n  key: {server_key}\n"),
            "cert_file and key: ",
        ),
    ] {
        let said = complaint(web);
        assert!(said.starts_with(&format!("tls_server_config: {expected}")), "{web}: {said}");
        assert!(!expected.ends_with("client_ca") || said.ends_with(expected), "{web}: {said}");
    }
}

/// The file that its writer has not finished looks like that, and a file with a forgotten value.
#[test]
fn a_file_that_demands_nothing_is_refused() {
    for web in [
        "",
        "# nothing\n",
        "tls_server_config:\nbasic_auth_users:\n",
        "tls_server_config: {}\nhttp_server_config: {http2: false}\nbasic_auth_users: {}\nrate_limit: {interval: 0s, burst: 0}",
        "tls_server_config: {client_auth_type: NoClientCert, max_version: TLS13, cert_file: ''}",
        "http_server_config: {headers: {X-Frame-Options: deny}}",
    ] {
        assert_eq!(
            complaint(web),
            "expected tls_server_config or basic_auth_users; without them, it requires nothing",
            "{web}"
        );
    }
    // What demands TLS gets it, or an error.
    for web in ["min_version: TLS13", "client_allowed_sans: [a]", "curve_preferences: [X25519]"] {
        let web = format!("tls_server_config: {{{web}}}\n{}", users());
        assert_eq!(complaint(&web), "tls_server_config: cert_file: missing", "{web}");
    }
}

#[test]
fn files_of_other_exporters_are_taken() {
    let hash = hash();
    for web in [
        &format!("tls_server_config: {{}}\nrate_limit: {{interval: 0s, burst: 0}}\n{}", users()),
        &format!("tls_server_config:\nhttp_server_config: {{http2: false}}\n{}", users()),
        &format!("{TLS}basic_auth_users:\n"),
        &format!(
            "{MUTUAL}  min_version: TLS12\n  max_version: TLS13\n  prefer_server_cipher_suites: true\n  cipher_suites:\n  - TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384\n  - TLS_AES_128_GCM_SHA256\n  curve_preferences: [CurveP256, X25519, CurveP384]\n"
        ),
        &format!(
            "basic_auth_users:\n  alice: {hash}\n  1: '{hash}'\n  \"bob\": {}\n",
            hash.replace("$2b$", "$2y$")
        ),
        &format!("basic_auth_users: {{alice: {}}}", hash.replace("$2b$", "$2a$")),
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
    let files = Files::new(&format!(
        "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    X-Content-Type-Options: nosniff\n    Strict-Transport-Security: max-age=1\n{}",
        users()
    ));
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &["--web.config.file", &files.web()]);
    for path in ["/metrics", "/", "/-/healthy", "/nothing"] {
        let answer = exporter.ask(&get(path, Some(("prometheus", PASSWORD))));
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
