//! Which clients are accepted.

use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

use rustls::version::{TLS12, TLS13};

use super::{
    client::{Client, authorization, get},
    files::{Files, MUTUAL, PASSWORD, TLS, users},
};
use crate::attacks::siege::crowd;
use crate::harness::{Answer, Exporter, FakeW, PATIENCE, promised, until};

const LOGIN: Option<(&str, &str)> = Some(("prometheus", PASSWORD));

#[test]
fn a_certificate_and_a_password_get_the_metrics_in_either_version_of_tls() {
    let files = Files::new(&format!("{MUTUAL}{}", users()));
    let exporter = files.exporter();
    assert!(exporter.log()[0].contains("listens on https://127.0.0.1:"), "{:?}", exporter.log());
    for version in [&TLS12, &TLS13] {
        let client = Client::with(&files, Some("client"), &[version]);
        for path in ["/metrics", "/", "/-/healthy"] {
            let answer = client.get(&exporter.address, path, LOGIN).unwrap();
            assert_eq!(answer.status, 200, "{version:?} {path}: {answer:?}");
        }
        let metrics = client.get(&exporter.address, "/metrics", LOGIN).unwrap().body;
        assert!(metrics.contains("what_up{") && metrics.contains("user=\"alice\""), "{metrics}");
        let head = get("/metrics", LOGIN).replace("GET", "HEAD");
        assert_eq!(client.ask(&exporter.address, &head).unwrap().body, "");
    }
}

#[test]
fn a_connection_is_kept_and_ends_with_an_announcement() {
    let files = Files::new(TLS);
    let exporter = files.exporter();
    let mut stream = Client::new(&files, None).connect(&exporter.address);
    for _ in 0..5 {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert_eq!(Answer::read_one(&mut stream).status, 200);
    }
    stream.write_all(get("/nothing", None).as_bytes()).unwrap();
    assert_eq!(Answer::read_one(&mut stream).status, 404);
    // Without close_notify this would be an error.
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn an_answer_of_megabytes_comes_whole() {
    let files = Files::new(TLS);
    let w = format!("cat {}", crowd(&files.folder, 20_000));
    let exporter = Exporter::of(&w, &["--web.config.file", &files.web()]);
    let answer = Client::new(&files, None).get(&exporter.address, "/metrics", None).unwrap();
    assert!(answer.body.len() > 3_000_000, "{}", answer.body.len());
    assert_eq!(answer.header("Content-Length"), Some(answer.body.len().to_string().as_str()));
}

#[test]
fn a_refusal_has_its_body_though_a_head_request_follows() {
    let exporter = Files::new(&users()).exporter();
    let mut stream = exporter.connect();
    let [refused, next] = ["GET", "HEAD"].map(|method| get("/", None).replace("GET", method));
    stream.write_all(format!("{refused}{next}").as_bytes()).unwrap();
    let answer = Answer::read_to_end(&mut stream);
    assert_eq!((answer.status, answer.body.as_str()), (401, "Unauthorized\n"), "{answer:?}");
}

#[test]
fn other_certificates_and_none_are_refused_with_an_alert() {
    let files = Files::new(MUTUAL);
    let exporter = files.exporter();
    for version in [&TLS12, &TLS13] {
        for (certificate, alert) in [
            (None, "CertificateRequired"),
            (Some("foreign"), "UnknownCA"),
            (Some("expired"), "CertificateExpired"),
            (Some("early"), "CertificateExpired"),
            (Some("wrong"), "UnsupportedCertificate"),
            (Some("lone"), "CertificateUnknown"),
        ] {
            let client = Client::with(&files, certificate, &[version]);
            let error = client.get(&exporter.address, "/-/healthy", None).unwrap_err();
            println!("{certificate:?}: {error}");
            assert!(error.to_string().contains(alert), "{version:?} {certificate:?}: {error}");
        }
    }
    let client = Client::new(&files, Some("client"));
    assert_eq!(client.get(&exporter.address, "/-/healthy", None).unwrap().status, 200);
    assert_eq!(exporter.log().len(), 1, "{:?}", exporter.log());
}

#[test]
fn each_client_auth_type_admits_the_clients_that_go_admits() {
    let all = [None, Some("client"), Some("foreign"), Some("expired")];
    for (kind, admitted) in [
        ("NoClientCert", &all[..]),
        ("RequestClientCert", &all),
        ("RequireAnyClientCert", &all[1..]),
        ("RequireClientCert", &all[1..]),
        ("VerifyClientCertIfGiven", &all[..2]),
        ("RequireAndVerifyClientCert", &all[1..2]),
    ] {
        let authority = if kind == "NoClientCert" { "" } else { "  client_ca_file: ca.crt\n" };
        let files = Files::new(&format!("{TLS}  client_auth_type: {kind}\n{authority}"));
        let exporter = files.exporter();
        for certificate in all {
            let answer = Client::new(&files, certificate).get(&exporter.address, "/metrics", None);
            assert_eq!(
                answer.is_ok(),
                admitted.contains(&certificate),
                "{kind} {certificate:?}: {answer:?}"
            );
        }
    }
}

#[test]
fn a_certificate_that_signed_itself_is_its_own_authority() {
    let files = Files::new(&MUTUAL.replace("ca.crt", "lone.crt"));
    let exporter = files.exporter();
    let status = |certificate| {
        Client::new(&files, Some(certificate)).get(&exporter.address, "/metrics", None)
    };
    assert_eq!(status("lone").unwrap().status, 200);
    assert!(status("client").is_err());
}

#[test]
fn only_the_names_that_are_allowed_are_let_in() {
    for (names, admitted) in [
        ("[nobody, prometheus.example.com]", true),
        ("[prometheus@example.com]", true),
        ("[spiffe://example.com/prometheus]", true),
        ("[192.0.2.7]", true),
        ("['2001:db8::7']", true),
        ("[example.com, client, '*.example.com']", false),
        ("[]", false),
    ] {
        let files = Files::new(&format!("{MUTUAL}  client_allowed_sans: {names}\n"));
        let exporter = files.exporter();
        let answer = Client::new(&files, Some("client")).get(&exporter.address, "/metrics", None);
        assert_eq!(answer.is_ok(), admitted, "{names}: {answer:?}");
        assert!(
            Client::new(&files, Some("other")).get(&exporter.address, "/metrics", None).is_err()
        );
    }
    // A client without a certificate has none of the names.
    let files = Files::new(&format!(
        "{}  client_allowed_sans: [prometheus.example.com]\n",
        MUTUAL.replace("RequireAndVerifyClientCert", "VerifyClientCertIfGiven")
    ));
    let exporter = files.exporter();
    assert!(Client::new(&files, None).get(&exporter.address, "/metrics", None).is_err());
}

#[test]
fn every_path_needs_the_password() {
    let files = Files::new(&users());
    let exporter = files.exporter();
    assert!(exporter.log()[0].contains("listens on http://"), "{:?}", exporter.log());
    for path in ["/metrics", "/", "/-/healthy", "/nothing"] {
        for login in [
            "",
            &authorization("prometheus", "wrong"),
            &authorization("nobody", PASSWORD),
            "Authorization: Basic !\r\n",
            "Authorization: Bearer x\r\n",
            &authorization("", ""),
        ] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{login}\r\n");
            let answer = exporter.ask(&request);
            assert_eq!(answer.status, 401, "{request}");
            assert!(answer.header("WWW-Authenticate").unwrap().starts_with("Basic realm="));
            let answer = exporter.ask(&request.replace("GET", "HEAD"));
            assert_eq!((answer.status, answer.body.as_str()), (401, ""));
        }
        let expected = if path == "/nothing" { 404 } else { 200 };
        assert_eq!(exporter.ask(&get(path, LOGIN)).status, expected);
    }
}

/// A check takes a second or more. What was read before a run ended shares its result.
#[test]
fn a_request_counts_from_when_it_was_read_and_not_from_when_its_password_was_checked() {
    let hash = bcrypt::hash(PASSWORD, 8).unwrap();
    let slow_hash = bcrypt::hash(PASSWORD, if cfg!(debug_assertions) { 11 } else { 14 }).unwrap();
    let users = format!("basic_auth_users: {{prometheus: {hash}, other: {slow_hash}}}\n");
    let files = Files::new(&users);
    let fake = FakeW::new("until [ -e $DIR/go ]; do sleep 0.01; done; cat $TABLE");
    let exporter = Exporter::of(
        &fake.command(),
        &["--scrape.interval=0", "--w.timeout=60s", "--web.config.file", &files.web()],
    );
    let ask = |login| {
        let mut stream = exporter.connect();
        stream.write_all(get("/metrics", login).as_bytes()).unwrap();
        stream
    };
    let mut known = ask(LOGIN);
    until("w runs", || fake.runs() == 1);
    let mut checked = ask(Some(("other", PASSWORD)));
    until("it is read", || exporter.unread_bytes() == 0);
    std::fs::write(fake.folder.join("go"), "").unwrap();
    assert_eq!(Answer::read_to_end(&mut known).status, 200);
    assert_eq!(Answer::read_to_end(&mut checked).status, 200);
    assert_eq!(fake.runs(), 1);
}

/// A known user costs as much as an unknown one, and a right password only once. The processor's
/// time is compared, because other programs do not change it as they change the time that passes.
#[test]
fn the_time_of_a_refusal_does_not_tell_who_is_known() {
    let hash = bcrypt::hash(PASSWORD, 8).unwrap();
    let files = Files::new(&format!("basic_auth_users: {{prometheus: {hash}}}\n"));
    let exporter = files.exporter();
    let cost = |user: &str, password: &str| {
        let before = exporter.ticks();
        exporter.ask(&get("/-/healthy", Some((user, password))));
        exporter.ticks() - before
    };
    cost("prometheus", PASSWORD);
    let (mut known, mut unknown, mut right) = (0, 0, 0);
    while known < 100 {
        known += cost("prometheus", "wrong");
        unknown += cost("nobody", PASSWORD);
        right += cost("prometheus", PASSWORD);
    }
    println!("known {known}, unknown {unknown}, right {right}");
    assert!((60..170).contains(&unknown), "{unknown}");
    assert!(right < 20, "{right}");
}

#[test]
fn http_without_tls_gets_an_answer_that_says_what_is_wrong() {
    let files = Files::new(MUTUAL);
    let exporter = files.exporter();
    for request in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS * HTTP/1.0\r\n\r\n", "P"] {
        let answer = exporter.ask(request);
        assert_eq!(answer.status, 400);
        assert_eq!(answer.body, "this port speaks HTTPS: ask for https://\n");
    }
}

#[test]
fn a_handshake_that_stops_is_over_in_the_time_of_a_request() {
    let files = Files::new(TLS);
    let exporter = files.exporter();
    let mut hello = Vec::new();
    let mut client = Client::new(&files, None).connect(&exporter.address);
    client.conn.write_tls(&mut hello).unwrap();
    for begin in [&b""[..], &hello[..1], &hello[..hello.len() / 2], &hello] {
        let mut socket = exporter.connect();
        socket.write_all(begin).unwrap();
        let began = Instant::now();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        let took = began.elapsed();
        let bounds = Duration::from_secs(4)..promised(Duration::from_secs(7));
        assert!(bounds.contains(&took), "{took:?}");
    }
    // Byte by byte takes no longer.
    let mut socket = exporter.connect();
    let began = Instant::now();
    for byte in hello.iter().cycle() {
        if socket.write_all(&[*byte]).is_err() || began.elapsed() > PATIENCE {
            break;
        }
        std::thread::sleep(Duration::from_millis(40));
    }
    assert!(began.elapsed() < promised(Duration::from_secs(8)), "{:?}", began.elapsed());
}
