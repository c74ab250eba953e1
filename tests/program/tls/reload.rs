//! Files that change while it runs.

use std::{
    fs::File,
    io::Write,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use super::{
    client::{Client, Stream, authorization, get},
    files::{Files, MUTUAL, PASSWORD, TLS, hash, users},
};
use crate::harness::{Answer, Exporter, until};

const LOGIN: Option<(&str, &str)> = Some(("prometheus", PASSWORD));

/// The certificate that a new connection is shown.
fn shown(files: &Files, exporter: &Exporter) -> Vec<u8> {
    let mut stream: Stream = Client::new(files, Some("client")).connect(&exporter.address);
    stream.write_all(get("/-/healthy", None).as_bytes()).unwrap();
    assert_eq!(Answer::read_one(&mut stream).status, 200);
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

/// The log, once it has that many lines; and it gets no more.
fn log(exporter: &Exporter, lines: usize) -> Vec<String> {
    until("the log", || exporter.log().len() >= lines);
    let log = exporter.log();
    assert_eq!(log.len(), lines, "{log:#?}");
    log
}

#[test]
fn a_renewed_certificate_is_shown_to_the_next_client() {
    let files = Files::new(TLS);
    let exporter = files.exporter();
    let before = shown(&files, &exporter);
    assert_eq!(shown(&files, &exporter), before);
    log(&exporter, 1);

    // In between, the key belongs to another certificate.
    files.copy("renewed.crt", "server.crt");
    assert_eq!(shown(&files, &exporter), before);
    files.copy("renewed.key", "server.key");
    let after = shown(&files, &exporter);
    assert_ne!(after, before);
    assert_eq!(shown(&files, &exporter), after);
    let log = log(&exporter, 3);
    assert!(log[1].contains("WARN") && log[1].contains("cert_file and key_file"), "{log:#?}");
    assert!(log[1].ends_with("what was read before stays in use"), "{log:#?}");
    assert!(log[2].ends_with("web.yml was read again"), "{log:#?}");
}

#[test]
fn a_broken_file_changes_nothing_and_is_logged_once() {
    let files = Files::new(&format!("{TLS}{}", users()));
    let exporter = files.exporter();
    let client = Client::new(&files, None);
    let status = |password: &str| {
        client.get(&exporter.address, "/metrics", Some(("prometheus", password))).unwrap().status
    };
    assert_eq!(status(PASSWORD), 200);
    for (number, (broken, said)) in [
        ("basic_auth_users: {", "did not find expected node content"),
        ("nonsense: true", "unknown field `nonsense`"),
        (&users(), "only a restart can turn TLS on or off"),
        (TLS, "only a restart can drop basic_auth_users"),
        ("", "expected tls_server_config or basic_auth_users"),
    ]
    .into_iter()
    .enumerate()
    {
        files.write("web.yml", broken);
        for _ in 0..3 {
            assert_eq!((status(PASSWORD), status("wrong")), (200, 401));
        }
        let log = log(&exporter, number + 2);
        assert!(log[number + 1].contains(said), "{log:#?}");
    }
    std::fs::remove_file(files.path("web.yml")).unwrap();
    assert_eq!((status(PASSWORD), status(PASSWORD)), (200, 200));
    assert!(log(&exporter, 7)[6].contains("can't be read"));
    let other = bcrypt::hash("another", 4).unwrap();
    files.write("web.yml", &format!("{TLS}basic_auth_users: {{prometheus: {other}}}\n"));
    assert_eq!((status("another"), status(PASSWORD)), (200, 401));
    log(&exporter, 8);
}

/// `prometheus` must know its password, and clients need a certificate with a name.
fn everything() -> String {
    format!(
        "{MUTUAL}  client_allowed_sans: [prometheus.example.com]\n  min_version: TLS13\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\n  curve_preferences: [X25519]\n{}",
        users()
    )
}

#[test]
fn only_a_restart_takes_a_demand_away() {
    let web = everything();
    let files = Files::new(&web);
    let exporter = files.exporter();
    let client = Client::new(&files, Some("client"));
    let ask = |login| client.get(&exporter.address, "/-/healthy", login).unwrap().status;
    assert_eq!(ask(LOGIN), 200);
    let mut lines = 1;
    for (written, instead, dropped) in [
        ("basic_auth_users:\n  prometheus:", "#", "basic_auth_users"),
        ("  client_allowed_sans:", "  #", "client_allowed_sans"),
        ("  min_version:", "  #", "min_version: TLS13"),
        ("TLS13", "TLS12", "min_version: TLS13"),
        ("  cipher_suites:", "  #", "cipher_suites"),
        ("  curve_preferences:", "  #", "curve_preferences"),
        (
            "RequireAndVerifyClientCert",
            "RequireAnyClientCert",
            "client_auth_type (a certificate is verified)",
        ),
        (
            "RequireAndVerifyClientCert",
            "VerifyClientCertIfGiven",
            "client_auth_type (a certificate is required)",
        ),
        (
            "RequireAndVerifyClientCert",
            "RequestClientCert",
            "client_auth_type (a certificate is required) and client_auth_type (a certificate is verified)",
        ),
    ] {
        assert!(web.contains(written), "{written}");
        files.write("web.yml", &web.replace(written, instead));
        assert_eq!((ask(None), ask(LOGIN)), (401, 200), "{written}");
        lines += 1;
        let log = log(&exporter, lines);
        let said = format!("only a restart can drop {dropped}; what was read before stays in use");
        assert!(log[lines - 1].ends_with(&said), "{log:#?}");
    }
    drop(exporter);
    files.write("web.yml", TLS);
    let exporter = files.exporter();
    let ask = |login| client.get(&exporter.address, "/-/healthy", login).unwrap().status;
    assert_eq!(ask(None), 200);
    // More can be demanded at any time, and that stays too.
    files.write("web.yml", &format!("{TLS}{}", users()));
    assert_eq!((ask(None), ask(LOGIN)), (401, 200));
    files.write("web.yml", TLS);
    assert_eq!((ask(None), ask(LOGIN)), (401, 200));
}

/// As `cp` and a shell's `>` do it. Each beginning of the file is what a reader may find.
#[test]
fn no_beginning_of_the_file_lets_anybody_else_in() {
    let web = everything();
    let files = Files::new(&web);
    let exporter = files.exporter();
    let status = |certificate, login| {
        let client = Client::new(&files, certificate);
        client.get(&exporter.address, "/-/healthy", login).map_or(0, |answer| answer.status)
    };
    for length in 0..=web.len() {
        std::fs::write(files.path("web.yml"), &web[..length]).unwrap();
        let seen =
            (status(Some("client"), LOGIN), status(Some("client"), None), status(None, LOGIN));
        assert_eq!(seen, (200, 401, 0), "{:?}", &web[..length]);
        let other = [status(Some("other"), LOGIN), status(Some("foreign"), LOGIN)];
        assert_eq!(other, [0, 0], "{:?}", &web[..length]);
    }
    println!("{} lines of log", exporter.log().len());
}

#[test]
fn a_file_that_is_rewritten_in_place_lets_nobody_in_meanwhile() {
    let users = format!("{}  alice: {}\n", users(), hash());
    let web = format!("http_server_config:\n  headers:\n    X-Frame-Options: deny\n{users}");
    let files = Files::new(&web);
    let exporter = files.exporter();
    let (is_written, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for login in [None, Some(("prometheus", "wrong")), LOGIN] {
            let (is_written, asked, exporter) = (&is_written, &asked, &exporter);
            let expected = if login == LOGIN { 200 } else { 401 };
            scope.spawn(move || {
                while !is_written.load(Ordering::Relaxed) {
                    let status = exporter.ask(&get("/-/healthy", login)).status;
                    assert_eq!(status, expected, "{login:?}");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _written = Written(&is_written);
        for _ in 0..300 {
            let mut file = File::create(files.path("web.yml")).unwrap();
            for part in web.as_bytes().chunks(16) {
                file.write_all(part).unwrap();
                thread::yield_now();
            }
        }
    });
    println!("{} requests, {} lines of log", asked.into_inner(), exporter.log().len());
}

/// Says so, also if the test fails.
struct Written<'w>(&'w AtomicBool);

impl Drop for Written<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_user_who_is_removed_is_refused_on_a_connection_that_is_kept_too() {
    let files = Files::new(&format!("{TLS}{}", users()));
    let exporter = files.exporter();
    let mut stream = Client::new(&files, None).connect(&exporter.address);
    let mut ask = || {
        let login = authorization("prometheus", PASSWORD);
        stream
            .write_all(format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{login}\r\n").as_bytes())
            .unwrap();
        Answer::read_one(&mut stream).status
    };
    assert_eq!((ask(), ask()), (200, 200));
    // The same password, hashed again, is right still.
    files.write("web.yml", &format!("{TLS}{}", users()));
    assert_eq!(ask(), 200);
    files.write("web.yml", &format!("{TLS}basic_auth_users:\n  alice: {}\n", hash()));
    assert_eq!(ask(), 401);
}

#[test]
fn an_authority_that_is_replaced_decides_for_the_next_client() {
    let files = Files::new(MUTUAL);
    let exporter = files.exporter();
    let admitted = |certificate| {
        Client::new(&files, Some(certificate)).get(&exporter.address, "/metrics", None).is_ok()
    };
    assert_eq!((admitted("client"), admitted("foreign")), (true, false));
    let trusted = std::fs::read_to_string(files.path("ca.crt")).unwrap();
    let web = std::fs::read_to_string(files.path("web.yml")).unwrap();
    files.write("web.yml", &web.replace("ca.crt", "clients.crt"));
    files.copy("another.crt", "clients.crt");
    assert_eq!((admitted("client"), admitted("foreign")), (false, true));
    files.write("clients.crt", &trusted);
    assert_eq!((admitted("client"), admitted("foreign")), (true, false));
}
