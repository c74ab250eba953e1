//! Clients that wait for `w`, and clients that cannot wait.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    thread,
    time::Duration,
};

use rustix::net::sockopt::set_socket_linger;

use crate::harness::{
    Answer, Exporter, FakeW, PROGRAM, Stopwatch, program, promised, until, without_variables,
};

/// A `w` that waits until the test allows it to go on.
const UNTIL_GO: &str =
    "touch $DIR/running; while ! test -e $DIR/go; do sleep 0.02; done; cat $TABLE";

const UP: &str = concat!("what_up{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1\n");
const DOWN: &str = concat!("what_up{version=\"", env!("CARGO_PKG_VERSION"), "\"} 0\n");

fn scrape(exporter: &Exporter, fields: &str) -> TcpStream {
    let mut stream = exporter.connect();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn is_running(fake: &FakeW) -> bool {
    fake.folder.join("running").exists()
}

fn go(fake: &FakeW) {
    std::fs::write(fake.folder.join("go"), "").unwrap();
}

#[test]
fn what_needs_no_w_is_answered_while_all_others_wait_for_it() {
    let fake = FakeW::new(UNTIL_GO);
    let exporter = Exporter::of(&fake.command(), &["--w.timeout=60s"]);
    // More than can wait, and half of them disconnect.
    let mut waiting: Vec<TcpStream> = (0..300).map(|_| scrape(&exporter, "")).collect();
    until("w runs", || is_running(&fake));
    waiting.drain(..150);
    let bound = promised(Duration::from_secs(1));
    for path in ["/-/healthy", "/-/healthy", "/-/healthy"] {
        let began = Stopwatch::start();
        assert_eq!(exporter.get(path).status, 200, "{path}");
        let took = began.took(bound);
        assert!(took < bound, "{path}: {took:?}");
    }
    go(&fake);
    let statuses: Vec<u16> =
        waiting.iter_mut().map(|stream| Answer::read_to_end(stream).status).collect();
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&200), "{statuses:?}");
    assert_eq!(fake.runs(), 1);
}

#[test]
fn an_unknown_path_does_not_wait_for_w() {
    let fake = FakeW::new(UNTIL_GO);
    let exporter = Exporter::of(&fake.command(), &[]);
    let mut first = scrape(&exporter, "");
    until("w runs", || is_running(&fake));
    assert_eq!(exporter.get("/nothing").status, 404);
    go(&fake);
    assert_eq!(Answer::read_to_end(&mut first).status, 200);
}

#[test]
fn an_unknown_path_needs_no_place_among_those_that_wait() {
    let fake = FakeW::new(UNTIL_GO);
    let exporter = Exporter::of(&fake.command(), &["--w.timeout=60s"]);
    let mut waiting: Vec<TcpStream> = (0..248).map(|_| scrape(&exporter, "")).collect();
    until("w runs", || is_running(&fake));
    until("all are read", || exporter.unread_bytes() == 0);
    assert_eq!(exporter.get("/nothing").status, 404);
    let mut kept = exporter.connect();
    kept.write_all(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(Answer::read_one(&mut kept).status, 404);
    go(&fake);
    assert!(waiting.iter_mut().all(|stream| Answer::read_to_end(stream).status == 200));
}

#[test]
fn with_an_interval_of_zero_nobody_waits_for_a_second_run() {
    let fake = FakeW::new(UNTIL_GO);
    let exporter = Exporter::of(&fake.command(), &["--scrape.interval=0"]);
    let mut first = scrape(&exporter, "");
    until("w runs", || is_running(&fake));
    let mut others: Vec<TcpStream> = (0..20).map(|_| scrape(&exporter, "")).collect();
    until("all are accepted", || exporter.descriptors() >= 21);
    until("all are read", || exporter.unread_bytes() == 0);
    go(&fake);
    assert_eq!(Answer::read_to_end(&mut first).status, 200);
    for stream in &mut others {
        assert!(Answer::read_to_end(stream).body.contains("user=\"alice\""));
    }
    assert!(fake.runs() <= 2, "{} runs", fake.runs());
}

#[test]
fn a_scraper_that_cannot_wait_for_w_is_answered_in_time_and_alone() {
    let fake = FakeW::new(UNTIL_GO);
    let exporter = Exporter::of(&fake.command(), &["--scrape.interval=1h", "--w.timeout=60s"]);
    let bound = promised(Duration::from_secs(1));
    let began = Stopwatch::start();
    let mut patient = scrape(&exporter, "");
    let mut hasty = scrape(&exporter, "X-Prometheus-Scrape-Timeout-Seconds: 1\r\n");
    let cut = Answer::read_to_end(&mut hasty).body;
    let took = began.took(bound);
    assert!(took < bound, "{took:?}");
    assert!(cut.contains(DOWN), "{cut}");
    // No run has ended yet.
    assert!(!cut.contains("w_duration_seconds"), "{cut}");
    assert!(cut.contains("what_w_runs_total{outcome=\"timeout\"} 0\n"), "{cut}");
    assert!(!cut.contains("user="), "{cut}");
    go(&fake);
    let whole = Answer::read_to_end(&mut patient).body;
    assert!(whole.contains(UP), "{whole}");
    assert!(whole.contains("user=\"alice\""), "{whole}");
    assert_eq!(fake.runs(), 1);
    let log = exporter.log();
    assert_eq!(log.len(), 2, "{log:#?}");
    let (_, after) =
        log[1].split_once("answering without sessions: w is still running after ").unwrap();
    let (seconds, _) = after.split_once(" s, ").unwrap();
    // Half a second before the scraper's timeout, and a moment later.
    assert!((0.5..30.0).contains(&seconds.parse::<f64>().unwrap()), "{log:#?}");
}

/// The runs of `w` that ended well, and all others.
fn runs(metrics: &str) -> (u64, u64) {
    let lines = metrics.lines().filter_map(|line| line.strip_prefix("what_w_runs_total{outcome="));
    let counts = lines.map(|line| line.split_once("} ").unwrap());
    counts.fold((0, 0), |(ok, others), (outcome, count)| {
        let count: u64 = count.parse().unwrap();
        if outcome == "\"ok\"" { (ok + count, others) } else { (ok, others + count) }
    })
}

#[test]
fn a_run_that_some_cannot_wait_for_is_counted_by_how_it_ends() {
    let fake = FakeW::new(UNTIL_GO);
    let exporter = Exporter::of(&fake.command(), &["--scrape.interval=1h", "--w.timeout=60s"]);
    let mut patient = scrape(&exporter, "");
    let hasty = |_| scrape(&exporter, "X-Prometheus-Scrape-Timeout-Seconds: 1\r\n");
    let mut clients: Vec<TcpStream> = (0..3).map(hasty).collect();
    for stream in &mut clients {
        let cut = Answer::read_to_end(stream).body;
        assert!(cut.contains(DOWN) && runs(&cut) == (0, 0), "{cut}");
    }
    go(&fake);
    let whole = Answer::read_to_end(&mut patient).body;
    assert_eq!(runs(&whole), (1, 0), "{whole}");
    let log = exporter.log();
    assert!(!log.iter().any(|line| line.contains("failed")), "{log:#?}");
}

#[test]
fn however_many_cannot_wait_each_is_answered_in_time() {
    let fake = FakeW::new(UNTIL_GO);
    let exporter = Exporter::of(&fake.command(), &["--w.timeout=60s"]);
    let hasty = |_| scrape(&exporter, "X-Prometheus-Scrape-Timeout-Seconds: 2\r\n");
    let mut clients: Vec<TcpStream> = (0..50).map(hasty).collect();
    for stream in &mut clients {
        let answer = Answer::read_to_end(stream);
        assert!(answer.body.contains(DOWN), "{answer:?}");
    }
}

#[test]
fn a_client_that_hangs_up_takes_nobodys_place() {
    let fake = FakeW::new(UNTIL_GO);
    let exporter = Exporter::of(&fake.command(), &["--w.timeout=60s"]);
    let mut patient = scrape(&exporter, "");
    until("w runs", || is_running(&fake));
    // More in all than may wait at a time.
    for _ in 0..5 {
        let gone: Vec<TcpStream> = (0..100).map(|_| scrape(&exporter, "")).collect();
        until("all are read", || exporter.unread_bytes() == 0);
        drop(gone);
    }
    let mut last = scrape(&exporter, "");
    go(&fake);
    for stream in [&mut patient, &mut last] {
        assert_eq!(Answer::read_to_end(stream).status, 200);
    }
    assert_eq!(fake.runs(), 1);
}

#[test]
fn a_run_whose_only_client_hangs_up_is_kept_for_the_next() {
    let fake = FakeW::new(UNTIL_GO);
    let exporter = Exporter::of(&fake.command(), &["--scrape.interval=1h", "--w.timeout=60s"]);
    let descriptors = exporter.descriptors();
    let client = scrape(&exporter, "");
    until("w runs", || is_running(&fake));
    set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    drop(client);
    // Those of a run of w are three.
    until("the client is gone", || exporter.descriptors() <= descriptors + 3);
    go(&fake);
    assert!(exporter.metrics().contains("user=\"alice\""));
    assert_eq!(fake.runs(), 1);
}

#[test]
fn a_run_that_nobody_waits_for_goes_on_and_is_cached() {
    let fake = FakeW::new(UNTIL_GO);
    let exporter = Exporter::of(&fake.command(), &["--scrape.interval=1h", "--w.timeout=60s"]);
    for _ in 0..2 {
        let mut hasty = scrape(&exporter, "X-Prometheus-Scrape-Timeout-Seconds: 1\r\n");
        assert!(Answer::read_to_end(&mut hasty).body.contains(DOWN));
    }
    go(&fake);
    until("w has ended", || exporter.children().is_empty());
    let next = exporter.metrics();
    assert!(next.contains(UP), "{next}");
    assert_eq!(runs(&next), (1, 0), "{next}");
    assert_eq!(fake.runs(), 1);
}

#[test]
fn a_scraper_that_says_it_waits_for_less_than_a_second_is_not_believed() {
    let fake = FakeW::new(UNTIL_GO);
    let exporter = Exporter::of(&fake.command(), &[]);
    let mut client = scrape(&exporter, "X-Prometheus-Scrape-Timeout-Seconds: 0.01\r\n");
    until("w runs", || is_running(&fake));
    go(&fake);
    assert!(Answer::read_to_end(&mut client).body.contains("user=\"alice\""));
}

#[test]
fn of_three_hundred_clients_at_once_none_is_lost() {
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &["--scrape.interval=1h"]);
    exporter.metrics();
    thread::scope(|scope| {
        for _ in 0..150 {
            scope.spawn(|| {
                for _ in 0..2 {
                    assert_eq!(exporter.get("/metrics").status, 200);
                }
            });
        }
    });
}

#[test]
fn kept_connections_make_room_for_new_ones_and_lose_no_request() {
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &["--scrape.interval=1h"]);
    let ask = |stream: &mut TcpStream| {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        Answer::read_one(stream)
    };
    let mut kept: Vec<TcpStream> = (0..256).map(|_| exporter.connect()).collect();
    // Beyond 192 connections, each answer announces that it is the last one.
    kept.retain_mut(|stream| ask(stream).header("Connection") == Some("keep-alive"));
    assert!((1..=192).contains(&kept.len()), "{} are kept", kept.len());
    let _silent: Vec<TcpStream> = (kept.len()..256).map(|_| exporter.connect()).collect();
    for _ in 0..10 {
        assert_eq!(exporter.get("/metrics").status, 200);
    }
    // The ones that were idle for longest are closed, the others are not.
    assert_eq!(kept[0].read(&mut [0]).unwrap(), 0);
    assert_eq!(ask(kept.last_mut().unwrap()).status, 200);
}

#[test]
fn two_hundred_clients_that_are_slow_to_ask_are_all_answered() {
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &["--scrape.interval=1h"]);
    let mut clients: Vec<TcpStream> = (0..200).map(|_| exporter.connect()).collect();
    thread::sleep(Duration::from_millis(600));
    for stream in &mut clients {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert_eq!(Answer::read_one(stream).status, 200);
    }
}

#[test]
fn more_bytes_after_the_last_request_do_not_cut_its_answer() {
    let rows = "alice    pts/0    203.0.113.7      00:16    1:13   0.00s   ?    vim";
    let fake = FakeW::new(&format!(
        "head -1 $TABLE; head -2 $TABLE | tail -1; yes '{rows}' | head -1; i=0; while test $i -lt 9000; do echo \"$i\" ; i=$((i+1)); done | sed 's/.*/user&       /; s/^\\(........\\).*/\\1 pts\\/0    203.0.113.7      00:16    1:13   0.00s   ?    vim/'"
    ));
    let exporter = Exporter::of(&fake.command(), &["--scrape.interval=1h"]);
    let length = exporter.metrics().len();
    assert!(length > 1_000_000, "{length}");
    let mut stream = exporter.connect();
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(&[request.as_slice(), &[b'x'; 20_000]].concat()).unwrap();
    thread::sleep(Duration::from_millis(100));
    assert_eq!(Answer::read_to_end(&mut stream).body.len(), length);
}

#[test]
#[ignore = "needs root, to give a name two addresses"]
fn a_name_is_listened_on_at_each_of_its_addresses() {
    let fake = FakeW::new("cat $TABLE");
    let hosts = fake.folder.join("hosts");
    std::fs::write(&hosts, "127.0.0.1 twofold\n127.0.0.2 twofold\n").unwrap();
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""])
        .arg(&hosts)
        .arg(program().get_program())
        .args(["--listen.host=twofold", "--w.command", &fake.command()]);
    let exporter = Exporter::start(&mut command);
    let port = exporter.address.rsplit(':').next().unwrap().to_owned();
    for address in ["127.0.0.1", "127.0.0.2"] {
        let mut stream = TcpStream::connect(format!("{address}:{port}")).unwrap();
        stream.write_all(b"GET /-/healthy HTTP/1.0\r\n\r\n").unwrap();
        assert_eq!(Answer::read_to_end(&mut stream).status, 200, "{address}");
    }
}

#[test]
fn w_is_run_again_where_only_an_ended_session_made_it_fail() {
    // Of procps 4.0.5 and later, of procps 4.0.4 (Ubuntu 24.04, RHEL 10), and of uutils.
    for complaint in [
        "w: session get class failed: No such file or directory",
        "w: get user name failed: No such file or directory",
        "w: failed to fetch user info: No such file or directory (os error 2)",
    ] {
        let race = format!("echo '{complaint}' >&2; exit 1");
        let once =
            format!("if test -e $DIR/raced; then cat $TABLE; else touch $DIR/raced; {race}; fi");
        let fake = FakeW::new(&once);
        let exporter = Exporter::of(&fake.command(), &[]);
        let metrics = exporter.metrics();
        assert!(metrics.contains("what_w_runs_total{outcome=\"ok\"} 1\n"), "{metrics}");
        assert!(metrics.contains("what_w_runs_total{outcome=\"failed\"} 0\n"), "{metrics}");
        assert_eq!(fake.runs(), 2);

        let fake = FakeW::new(&race);
        let exporter = Exporter::of(&fake.command(), &[]);
        let metrics = exporter.metrics();
        assert!(metrics.contains("what_w_runs_total{outcome=\"failed\"} 1\n"), "{metrics}");
        assert_eq!(fake.runs(), 2);
    }
}

/// In namespaces of its own, where nobody may have such a port, whatever this host allows.
#[test]
#[ignore = "needs root, to make the namespaces"]
fn a_port_for_root_only_is_an_error_that_says_what_to_do() {
    let mut unshare = without_variables(Command::new("unshare"));
    unshare.args(["--user", "--net", PROGRAM, "--listen.host=0.0.0.0", "--listen.port=80"]);
    let output = unshare.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = "can't listen on 0.0.0.0 port 80 (--listen.host, --listen.port); choose a port of 1024 or above, or give the exporter CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities= and CapabilityBoundingSet=): Permission denied";
    assert!(said.lines().count() == 1 && said.contains(expected), "{said}");
}
