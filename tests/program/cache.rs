//! When `w` runs, and when its last result is reused.

use std::{io::Write, net::TcpStream};

use crate::harness::{Answer, Exporter, FakeW, samples, until};

#[test]
fn nothing_is_run_before_the_first_scrape() {
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &[]);
    assert_eq!(exporter.get("/-/healthy").status, 200);
    assert_eq!(exporter.get("/nothing").status, 404);
    assert_eq!(fake.runs(), 0);
    exporter.metrics();
    assert_eq!(fake.runs(), 1);
}

#[test]
fn within_the_interval_the_last_result_is_reused_to_the_byte() {
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &["--scrape.interval", "1h"]);
    let first = exporter.metrics();
    assert_eq!(exporter.metrics(), first);
    assert_eq!(exporter.get("/").status, 200);
    assert_eq!(fake.runs(), 1);
}

#[test]
fn after_the_interval_w_is_run_again() {
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &["--scrape.interval", "300ms"]);
    exporter.metrics();
    until("the next run", || {
        exporter.metrics();
        fake.runs() == 2
    });
    assert_eq!(samples(&exporter.metrics(), "w_runs_total{outcome=\"ok\"}").len(), 1);
}

#[test]
fn sixteen_at_once_share_one_run() {
    for interval in ["1h", "0"] {
        let fake = FakeW::new("until [ -e $DIR/go ]; do sleep 0.01; done; cat $TABLE");
        let exporter = Exporter::of(&fake.command(), &["--scrape.interval", interval]);
        let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let descriptors = exporter.descriptors();
        let mut scrapes: Vec<TcpStream> = (0..16)
            .map(|_| {
                let mut stream = exporter.connect();
                stream.write_all(request).unwrap();
                stream
            })
            .collect();
        // All sixteen wait for the run: they are connections, and none is answered.
        until("sixteen who wait", || {
            exporter.descriptors() >= descriptors + 16 && fake.runs() == 1
        });
        until("all have asked", || exporter.unread_bytes() == 0);
        std::fs::write(fake.folder.join("go"), "").unwrap();
        let mut answers: Vec<String> =
            scrapes.iter_mut().map(|stream| Answer::read_to_end(stream).body).collect();
        assert_eq!(fake.runs(), 1, "interval {interval}");
        answers.dedup();
        assert_eq!(answers.len(), 1, "they got different answers");
    }
}

#[test]
fn with_an_interval_of_zero_each_scrape_runs_w() {
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &["--scrape.interval=0"]);
    for _ in 0..3 {
        exporter.metrics();
    }
    assert_eq!(fake.runs(), 3);
}

#[test]
fn a_failure_is_cached_for_the_interval_too() {
    let fake = FakeW::new("exit 1");
    let exporter = Exporter::of(&fake.command(), &["--scrape.interval", "1h"]);
    assert_eq!(
        samples(&exporter.metrics(), "up"),
        [concat!("up{version=\"", env!("CARGO_PKG_VERSION"), "\"} 0")]
    );
    fake.becomes("cat $TABLE");
    assert_eq!(
        samples(&exporter.metrics(), "w_runs_total{outcome=\"failed\"}"),
        ["w_runs_total{outcome=\"failed\"} 1"]
    );
    assert_eq!(fake.runs(), 1);
}

#[test]
fn a_session_that_is_gone_has_no_series_any_more() {
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &["--scrape.interval=0"]);
    assert_eq!(samples(&exporter.metrics(), "user_sessions_currently_active").len(), 2);
    fake.becomes("grep -v root $TABLE");
    let metrics = exporter.metrics();
    assert_eq!(
        samples(&metrics, "user_sessions_currently_active"),
        ["user_sessions_currently_active{user=\"alice\"} 2"]
    );
    assert!(!metrics.contains("root"), "{metrics}");
}
