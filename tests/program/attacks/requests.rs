//! Requests that no well-behaved client sends.

use std::{
    io::{Read, Write},
    time::Duration,
};

use crate::{
    attacks::siege::{Address, Calm, USUAL, alone, ask, exporter, scrape, siege, stops_at_once},
    harness::{Exporter, FakeW, promised},
};

fn quiet() -> Exporter {
    let fake = FakeW::new("cat $TABLE");
    exporter(&format!("cat {}/table", fake.folder.display()), &[])
}

/// Sends each request and compares the statuses of the answers with the expected ones (empty:
/// closed without an answer). Then checks that threads and descriptors are as before.
fn answered(requests: &[(&[u8], &[u16])]) {
    let _alone = alone();
    let mut exporter = quiet();
    let calm = Calm::of(&exporter);
    for (request, expected) in requests {
        let shown = String::from_utf8_lossy(&request[..request.len().min(120)]).into_owned();
        let answer = ask(exporter.address(), request, Duration::from_secs(10))
            .unwrap_or_else(|error| panic!("{shown:?}: {error}"));
        let text = String::from_utf8(answer).unwrap();
        let statuses: Vec<u16> =
            text.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].parse().unwrap()).collect();
        assert_eq!(statuses, *expected, "{shown:?}: {text}");
        scrape(exporter.address(), promised(USUAL.answered))
            .unwrap_or_else(|error| panic!("after {shown:?}: {error}"));
    }
    calm.is_back(&exporter);
    stops_at_once(&mut exporter);
}

/// These requests ask to close the connection, except where the refusal must close it.
#[test]
fn odd_requests_get_a_right_answer_or_a_right_refusal() {
    let long = [b"GET /".as_slice(), &[b'x'; 9000], b" HTTP/1.1\r\n\r\n"].concat();
    let wide =
        [b"GET / HTTP/1.1\r\nHost: x\r\nCookie: ".as_slice(), &[b'x'; 9000], b"\r\n\r\n"].concat();
    answered(&[
        (b"GET /metrics HTTP/1.1\r\nHost: x\0\r\n\r\n", &[400]),
        (b"GET /met\0rics HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
        (b"\0\0\0\0\r\n\r\n", &[400]),
        ("GET /métrics HTTP/1.1\r\nHost: x\r\n\r\n".as_bytes(), &[400]),
        (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: \xe9\r\nConnection: close\r\n\r\n", &[200]),
        (b"GET /metrics HTTP/1.2\r\nHost: x\r\n\r\n", &[505]),
        (b"BREW /metrics HTTP/1.1\r\nHost: x\r\n\r\n", &[501]),
        (b"GET /metrics HTTP/1.1\r\nHost: a:99999x\r\n\r\n", &[400]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\n", &[400]),
        (b"GET /metrics HTTP/1.1\nHost: x\n\n", &[400]),
        (b"GET /metrics HTTP/1.1\r\nHost: x\n\r\n", &[400]),
        (b"GET /metrics\r\n", &[400]),
        (b"GET /metrics HTTP/0.9\r\n\r\n", &[505]),
        (b"GET /metrics HTTP/2.0\r\nHost: x\r\n\r\n", &[505]),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[505]),
        (b"GET /metrics HTTP/1.1\r\n\r\n", &[400]),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", &[400]),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", &[400]),
        (b"GET http://x:9839/metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &[200]),
        (b"GET https://x/metrics HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
        (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", &[405]),
        (b"GET /%2e/metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &[404]),
        (b"GET /./metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &[404]),
        (b"GET //metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &[404]),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &[404]),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: upgrade, close\r\nUpgrade: h2c\r\n\r\n", &[200]),
        (b"\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &[200]),
        (
            b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET /no HTTP/1.1\r\nHost: x\r\n\r\nGET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            &[200, 404, 200],
        ),
        (b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\n\n", &[200, 400]),
        (&long, &[414]),
        (&wide, &[431]),
    ]);
}

#[test]
fn a_client_of_http_1_0_is_answered_so_that_it_understands() {
    let _alone = alone();
    let exporter = quiet();
    let ask = |fields: &str| {
        let request = format!("GET /metrics HTTP/1.0\r\n{fields}\r\n");
        let answer = ask(exporter.address(), request.as_bytes(), Duration::from_secs(5)).unwrap();
        String::from_utf8(answer).unwrap()
    };
    // The exporter closes it, although the request did not ask for that.
    let answer = ask("");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(!head.contains("Transfer-Encoding"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    assert!(head.ends_with("\r\nConnection: close"), "{head}");
    assert!(body.contains("what_up"), "{body}");
    let kept = "Connection: keep-alive\r\n\r\nGET /-/healthy HTTP/1.0\r\n";
    let both = ask(kept);
    assert!(both.contains("\r\nConnection: keep-alive\r\n"), "{both}");
    assert!(both.ends_with("\r\n\r\nhealthy\n"), "{both}");
}

#[test]
fn bodies_are_refused_and_never_read() {
    let head =
        |fields: &str| format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{fields}\r\n").into_bytes();
    let mut requests: Vec<(Vec<u8>, u16)> = Vec::new();
    for (length, status) in [
        ("2000", 413),
        ("1000000000000", 413),
        ("18446744073709551615", 413),
        ("99999999999999999999999999", 413),
        ("-1", 400),
        ("abc", 400),
        ("+5", 400),
        ("5, 5", 400),
    ] {
        requests.push((head(&format!("Content-Length: {length}\r\n")), status));
        requests
            .push((head(&format!("Content-Length: {length}\r\nExpect: 100-continue\r\n")), status));
    }
    requests.push((head("Expect: 100-continue\r\nConnection: close\r\n"), 200));
    let chunked = |encoding: &str, body: &[u8]| {
        [&head(&format!("Transfer-Encoding: {encoding}\r\n")), body].concat()
    };
    requests.push((chunked("chunked", b"0\r\n\r\n"), 501));
    requests.push((chunked("chunked", b"ffffffffffffffffff\r\n\0garbage"), 501));
    requests.push((chunked("gzip", b"\x1f\x8b"), 501));
    requests.push((chunked("chunked\r\nContent-Length: 4", b"0\r\n\r\nGET /"), 501));
    let old = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n";
    requests.push((old.to_vec(), 501));
    let expected: Vec<[u16; 1]> = requests.iter().map(|(_, status)| [*status]).collect();
    let requests: Vec<(&[u8], &[u16])> = requests
        .iter()
        .zip(&expected)
        .map(|((request, _), status)| (request.as_slice(), status.as_slice()))
        .collect();
    answered(&requests);
}

#[test]
fn a_post_of_100_megabytes_is_refused_and_keeps_nobody_out() {
    siege(quiet, &USUAL, |target| {
        let mut refused = 0;
        while target.is_on() {
            let Some(mut stream) = target.connect() else {
                continue;
            };
            let head = b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n";
            let mut sent = stream.write_all(head);
            let mut left = 100_000_000;
            while left > 0 && sent.is_ok() && target.is_on() {
                sent = stream.write_all(&[b'x'; 50_000]);
                left -= 50_000;
            }
            let mut status = [0; 12];
            if stream.read_exact(&mut status).is_ok() {
                assert_eq!(&status, b"HTTP/1.1 405");
                refused += 1;
                target.full_force();
            }
        }
        assert!(refused > 0);
    });
}
