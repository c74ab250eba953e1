//! Answers to well-behaved clients, and how the exporter stops.

use std::{io::Write, net::TcpStream, process::Command, sync::Arc, time::Duration};

use crate::harness::{Answer, Exporter, FakeW, Stopwatch, promised, until};

#[test]
fn the_metrics_come_in_the_format_that_is_preferred() {
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &[]);
    let ask = |accept: &str| {
        exporter.ask(&format!(
            "GET /metrics?a=b HTTP/1.1\r\nHost: x\r\n{accept}Connection: close\r\n\r\n"
        ))
    };
    let text = ask("");
    assert_eq!(text.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(text.body.starts_with("# HELP "));
    let openmetrics = ask("Accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n");
    let expected = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(openmetrics.header("Content-Type"), Some(expected));
    assert!(openmetrics.body.ends_with("\n# EOF\n"));
    assert_eq!(fake.runs(), 1);
}

#[test]
fn head_is_answered_like_get_without_a_body() {
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &[]);
    let get = exporter.get("/metrics");
    let head = exporter.ask("HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(head.status, 200);
    assert_eq!(head.body, "");
    assert_eq!(head.header("Content-Length"), get.header("Content-Length"));
    assert_eq!(get.header("Content-Length"), Some(get.body.len().to_string().as_str()));
}

#[test]
fn other_paths_are_404_and_other_methods_405() {
    let exporter = Exporter::of("true", &[]);
    for path in ["/metric", "/metrics/", "//metrics", "/%6detrics", "/favicon.ico"] {
        assert_eq!(exporter.get(path).status, 404, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "TRACE", "PATCH"] {
        let answer = exporter.ask(&format!("{method} /metrics HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!(
            (answer.status, answer.header("Allow")),
            (405, Some("GET, HEAD, OPTIONS")),
            "{method}"
        );
    }
}

#[test]
fn the_landing_page_shows_who_is_logged_in_and_escapes_names() {
    let fake = FakeW::new("sed 's/alice    pts/<b>\\&\"'\"'\"'   pts/' $TABLE");
    let exporter = Exporter::of(&fake.command(), &[]);
    let page = exporter.get("/");
    assert_eq!(page.header("Content-Type"), Some("text/html; charset=utf-8"));
    assert!(
        page.header("Content-Security-Policy")
            .is_some_and(|policy| policy.starts_with("default-src 'none';"))
    );
    for shown in [
        "<bdi>&lt;b&gt;&amp;&quot;&#39;</bdi>",
        "203.0.113.7",
        "pts/0",
        concat!("exporter ", env!("CARGO_PKG_VERSION")),
        "href=\"./metrics\"",
        "UTC. Reload to refresh; results are cached for 5 s.",
        "3 sessions by 2 users, 1 remote.",
        "1 min 13 s",
        "3 days",
        "15 Oct 2026<",
    ] {
        assert!(page.body.contains(shown), "{shown}: {}", page.body);
    }
    assert!(!page.body.contains("<b>") && !page.body.contains("mysql"), "{}", page.body);
    assert_eq!(fake.runs(), 1);
    exporter.metrics();
    assert_eq!(fake.runs(), 1);
}

#[test]
fn the_landing_page_says_why_there_are_no_sessions() {
    let fake = FakeW::new("echo '<i>no</i>' >&2; exit 1");
    let exporter = Exporter::of(&fake.command(), &[]);
    let page = exporter.get("/");
    assert_eq!(page.status, 200);
    assert!(
        page.body.contains("w failed") && page.body.contains("&lt;i&gt;no&lt;/i&gt;"),
        "{}",
        page.body
    );
    assert!(!page.body.contains("<table"), "{}", page.body);
}

#[test]
fn a_connection_is_kept_for_many_requests_and_pipelined_ones() {
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &["--scrape.interval=1h"]);
    let mut stream = exporter.connect();
    for _ in 0..5 {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert_eq!(Answer::read_one(&mut stream).status, 200);
    }
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET /nothing HTTP/1.1\r\nHost: x\r\n\r\n\r\nGET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(Answer::read_one(&mut stream).status, 200);
    assert_eq!(Answer::read_one(&mut stream).status, 404);
    assert_eq!(Answer::read_to_end(&mut stream).body, "healthy\n");
}

#[test]
fn a_slow_w_holds_up_nothing_else() {
    let fake = FakeW::new("until [ -e $DIR/go ]; do sleep 0.01; done; cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &[]);
    let mut scrape = exporter.connect();
    scrape.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    until("w runs", || fake.runs() == 1);
    assert_eq!(exporter.get("/-/healthy").status, 200);
    assert_eq!(exporter.get("/nothing").status, 404);
    assert_eq!(exporter.ask("POST / HTTP/1.1\r\nHost: x\r\n\r\n").status, 405);
    std::fs::write(fake.folder.join("go"), "").unwrap();
    let answer = Answer::read_to_end(&mut scrape);
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("user=\"alice\""), "{answer:?}");
}

#[test]
fn it_stops_with_status_0_within_a_second() {
    // Whoever runs the tests may ignore SIGHUP, as nohup does, and a process that is started would
    // inherit that. It does not inherit a handler.
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::default()).unwrap();
    for name in ["TERM", "INT", "HUP"] {
        let mut exporter = Exporter::of("true", &[]);
        exporter.metrics();
        let kept = exporter.connect();
        exporter.signal(name);
        let (status, time) = exporter.end();
        assert_eq!(status, Some(0));
        assert!(time < promised(Duration::from_secs(1)), "{time:?}");
        drop(kept);
        until("its last line", || {
            exporter
                .log()
                .last()
                .is_some_and(|line| line.contains(&format!("stopping on SIG{name}")))
        });
    }
}

#[test]
fn what_is_being_served_is_answered_before_it_stops() {
    // It is killed if it runs for 0.4 s more.
    let fake = FakeW::new("kill -s TERM $PPID; sleep 0.05; cat $TABLE");
    let mut exporter = Exporter::of(&fake.command(), &[]);
    let mut scrape = exporter.connect();
    scrape.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    assert!(Answer::read_to_end(&mut scrape).body.contains("user=\"alice\""));
    assert_eq!(exporter.end().0, Some(0));
    assert!(exporter.log().last().is_some_and(|line| line.contains("stopping on SIGTERM")));
}

/// A client that reads so sends no other request on the connection (RFC 9112, 9.6).
#[test]
fn an_answer_while_it_stops_says_that_the_connection_closes() {
    let fake =
        FakeW::new("kill -s TERM $PPID; until [ -e $DIR/go ]; do sleep 0.01; done; cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &[]);
    let descriptors = exporter.descriptors();
    let mut asks = exporter.connect();
    asks.write_all(b"GET /-/healthy HTTP/1.1\r\n").unwrap();
    until("its first half is read", || {
        exporter.descriptors() > descriptors && exporter.unread_bytes() == 0
    });
    let mut asked = exporter.connect();
    asked.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    until("it accepts nobody", || TcpStream::connect(&exporter.address).is_err());
    asks.write_all(b"Host: x\r\n\r\n").unwrap();
    std::fs::write(fake.folder.join("go"), "").unwrap();
    for stream in [&mut asked, &mut asks] {
        let answer = Answer::read_to_end(stream);
        assert_eq!((answer.status, answer.header("Connection")), (200, Some("close")));
        assert_eq!(answer.header("Keep-Alive"), None);
    }
}

#[test]
fn a_hanging_w_is_killed_when_it_stops() {
    let fake = FakeW::new("echo $$ >$DIR/pid; sleep 1000 & sleep 1000");
    let mut exporter = Exporter::of(&fake.command(), &["--w.timeout=1m"]);
    let mut scrape = exporter.connect();
    scrape.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    until("w runs", || !fake.read("pid").is_empty());
    let bound = promised(Duration::from_secs(1));
    let began = Stopwatch::start();
    exporter.signal("TERM");
    assert_eq!(exporter.end().0, Some(0));
    let took = began.took(bound);
    assert!(took < bound, "{took:?}");
    let group = format!("-{}", fake.read("pid").trim());
    until("its group is gone", || !crate::harness::signal("0", &group));
    assert!(Answer::read_to_end(&mut scrape).body.contains("what_up"));
    let log = exporter.log();
    assert!(
        log[2].contains("w failed: sh did not run to its end: the exporter is stopping"),
        "{log:?}"
    );
}

/// A read with a timeout then ends early, as can happen when a child of another thread exits.
#[test]
fn stopped_and_continued_in_the_middle_of_answers_it_answers_on() {
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &[]);
    let pid = exporter.pid().to_string();
    let mut signals = Command::new("sh");
    signals.args(["-c", "for _ in $(seq 1000); do kill -s STOP $0; kill -s CONT $0; done", &pid]);
    let mut signals = signals.spawn().unwrap();
    while signals.try_wait().unwrap().is_none() {
        assert_eq!(exporter.get("/-/healthy").status, 200);
    }
    assert_eq!(exporter.log().len(), 1, "{:?}", exporter.log());
}

#[test]
fn no_proxy_may_keep_an_answer_and_the_server_names_itself() {
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &[]);
    for path in ["/metrics", "/", "/-/healthy", "/nothing", "/%"] {
        let answer = exporter.get(path);
        assert_eq!(answer.header("Cache-Control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("Server"), Some(env!("CARGO_PKG_NAME")), "{path}");
    }
}

#[test]
fn a_refusal_has_a_date_and_to_head_no_body() {
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &[]);
    for (method, body) in [("GET", "Bad Request\n"), ("HEAD", "")] {
        let answer = exporter.ask(&format!("{method} /metrics HTTP/1.1\r\n\r\n"));
        assert_eq!((answer.status, answer.body.as_str()), (400, body), "{method}");
        assert!(answer.header("Date").is_some_and(|date| date.ends_with(" GMT")), "{method}");
        assert_eq!(answer.header("Content-Length"), Some("12"), "{method}");
    }
}

#[test]
fn a_kept_connection_says_how_long_it_is_kept() {
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &[]);
    let mut kept = exporter.connect();
    kept.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let answer = Answer::read_one(&mut kept);
    assert_eq!(answer.header("Keep-Alive"), Some("timeout=120"));
    assert_eq!(exporter.get("/metrics").header("Keep-Alive"), None);
}

#[test]
fn after_an_answer_a_part_of_a_request_has_its_time_and_an_empty_line_is_none() {
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &[]);
    let whole = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n".as_slice();
    let mut with_a_line = exporter.connect();
    let mut with_half_a_line = exporter.connect();
    for (stream, more) in [(&mut with_a_line, "\r\n"), (&mut with_half_a_line, "\r")] {
        stream.write_all(whole).unwrap();
        assert_eq!(Answer::read_one(stream).status, 200);
        stream.write_all(more.as_bytes()).unwrap();
        until("it is read", || exporter.unread_bytes() == 0);
    }
    with_half_a_line.write_all(b"\n").unwrap();
    let mut with_a_part = exporter.connect();
    with_a_part.write_all(&[whole, b"GET / HT"].concat()).unwrap();
    assert_eq!(Answer::read_one(&mut with_a_part).status, 200);
    assert_eq!(Answer::read_to_end(&mut with_a_part).status, 408);
    for stream in [&mut with_a_line, &mut with_half_a_line] {
        stream.write_all(whole).unwrap();
        assert_eq!(Answer::read_one(stream).status, 200);
    }
}

#[test]
fn options_says_what_is_answered_without_running_w() {
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &[]);
    for target in ["/", "*", "/metrics", "/nothing"] {
        let answer = exporter
            .ask(&format!("OPTIONS {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{target}");
        assert_eq!(answer.header("Allow"), Some("GET, HEAD, OPTIONS"), "{target}");
        assert!(answer.header("Date").is_some(), "{target}");
    }
    assert_eq!(fake.runs(), 0);
}
