//! Files that change while it runs.

use std::io::Write;

use super::{
    client::{Client, Stream, authorization, get},
    files::{Files, MUTUAL, PASSWORD, TLS, hash, users},
};
use crate::harness::{Answer, Exporter, until};

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
        ("basic_auth_users: {}", "only a restart can turn TLS on or off"),
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
    assert!(log(&exporter, 5)[4].contains("can't be read"));
    files.write("web.yml", TLS);
    assert_eq!(status("wrong"), 200);
    log(&exporter, 6);
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
