//! Descriptors, threads or memory run out at any point, and become available again.

use std::{io::Write, net::TcpStream, process::Command, time::Duration};

use crate::{
    attacks::siege::{
        Address, Calm, Home, alone, ask, binary_path, crowd, exporter, recovery, scrape,
        stops_at_once,
    },
    harness::{Answer, Exporter, FakeW, folder, within, without_variables},
};

const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

/// Sets a soft limit of a running process.
fn limit(exporter: &Exporter, resource: &str, value: &str) {
    // As the exporter's user: on some systems not even root can set another user's limits.
    let user = exporter.status("Uid").to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "prlimit", "--pid"]);
    command.args([&exporter.pid().to_string(), &format!("--{resource}={value}:")]);
    assert!(command.status().unwrap().success());
}

/// What clients do during the shortage. They need not be answered.
fn clients(exporter: &Exporter, paths: &[&str]) {
    let idle: Vec<TcpStream> =
        (0..6).filter_map(|_| TcpStream::connect(exporter.address()).ok()).collect();
    for path in paths {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let _ = ask(exporter.address(), request.as_bytes(), Duration::from_millis(500));
    }
    for mut stream in idle {
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    }
}

/// Sets the limit to each of these values and then back. After each, the exporter must serve again.
fn is_served_again(exporter: &mut Exporter, resource: &str, values: &[u64], enough: &str) {
    let calm = Calm::of(exporter);
    let mut missed = 0;
    for value in values {
        let mut kept = exporter.connect();
        kept.write_all(REQUEST).unwrap();
        assert_eq!(Answer::read_one(&mut kept).status, 200);
        limit(exporter, resource, &value.to_string());
        let _ = kept.write_all(REQUEST);
        clients(exporter, &["/metrics", "/", "/-/healthy", "/metrics"]);
        missed += usize::from(!is_up(exporter));
        limit(exporter, resource, enough);
        let ended = exporter.child.try_wait().unwrap();
        assert_eq!(ended, None, "{resource} {value}: {:?}", exporter.log());
        within(recovery(), "it sees who is logged in", || is_up(exporter));
    }
    println!("{resource}: not served or blind at {missed} of {} limits", values.len());
    assert!(missed > 0 && missed < values.len(), "the limits are too wide or too narrow");
    within(recovery(), "a scrape", || scrape(exporter.address(), recovery()).is_ok());
    calm.uses_no_more(exporter, recovery());
    let log = exporter.log();
    assert!(log.len() <= 2 + 2 * values.len(), "{log:#?}");
    assert!(!log.iter().any(|line| line.contains("panic")), "{log:#?}");
    stops_at_once(exporter);
}

fn is_up(exporter: &Exporter) -> bool {
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = ask(exporter.address(), request, Duration::from_millis(500)).unwrap_or_default();
    let up = concat!("\nwhat_up{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1\n");
    answer.windows(up.len()).any(|window| window == up.as_bytes())
}

#[test]
#[ignore = "takes long, and needs root"]
fn it_serves_again_after_it_ran_out_of_descriptors() {
    let _alone = alone();
    let fake = FakeW::new("cat $TABLE");
    let mut exporter = exporter(&fake.command(), &["--scrape.interval=0"]);
    Calm::of(&exporter);
    let used = exporter.descriptors() as u64;
    // From less than it has open to enough for a scrape while earlier clients are still connected.
    let values: Vec<u64> = (used - 2..used + 12).chain([used + 100]).collect();
    is_served_again(&mut exporter, "nofile", &values, "1024");
}

/// Starts, unless it exits at once. Then it exits with status 1 and one line that is not a panic.
fn start_or_end(command: &mut Command, limit: &str) -> Option<Exporter> {
    let (status, log) = match Exporter::start_or_end(command) {
        Ok(exporter) => return Some(exporter),
        Err(ended) => ended,
    };
    let loaded = !log.contains("error while loading shared libraries");
    assert!(!loaded || status.code() == Some(1), "{limit}: {status}: {log}");
    assert!(!log.contains("panic") && log.lines().count() == 1, "{limit}: {log}");
    None
}

/// Starts with at most this much address space.
fn start_within(kilobytes: u64, w: &str) -> Option<Exporter> {
    let mut command = without_variables(Command::new("sh"));
    command.args(["-c", "ulimit -v $0 && exec \"$@\"", &kilobytes.to_string()]);
    command.arg(binary_path()).args(["--scrape.interval=0", "--w.command", w]);
    start_or_end(&mut command, &format!("{kilobytes} KB"))
}

/// It serves, or it exits so that its supervisor can restart it. It never runs without answering.
#[test]
#[ignore = "takes long"]
fn with_too_little_memory_it_serves_or_ends() {
    let _alone = alone();
    for sessions in [3, 20_000] {
        let folder = folder();
        let w = format!("cat {}", crowd(&folder, sessions));
        let (mut served, mut ended) = (0, 0);
        let megabytes = (30..120).step_by(10).chain((120..900).step_by(60));
        for megabytes in megabytes {
            let Some(mut exporter) = start_within(megabytes << 10, &w) else {
                ended += 1;
                assert!(megabytes < 100, "{megabytes} MB are enough to start with");
                continue;
            };
            clients(&exporter, &["/metrics", "/", "/-/healthy", "/metrics"]);
            let what = format!("{megabytes} MB, {sessions} sessions: it answers or has ended");
            within(recovery(), &what, || {
                exporter.child.try_wait().unwrap().is_some()
                    || scrape(exporter.address(), recovery()).is_ok()
            });
            let lives = exporter.child.try_wait().unwrap().is_none();
            served += usize::from(lives && is_up(&exporter));
            ended += usize::from(!lives);
            let enough = megabytes >= 100 && sessions == 3;
            assert!(!enough || is_up(&exporter), "{megabytes} MB: {:#?}", exporter.log());
        }
        println!("{sessions} sessions: served with {served} limits, ended with {ended}");
        assert!(served > 0, "{sessions} sessions");
    }
}

/// The exporter as this user, who has at most this many threads.
fn with_threads(home: &Home, user: u32, threads: u64) -> Command {
    let mut command = home.command(user, &["prlimit", &format!("--nproc={threads}")]);
    command.args(["--w.command", &format!("cat {}", crowd(&home.0, 3))]);
    command
}

/// The limit applies to a user, so this user runs no other processes.
#[test]
#[ignore = "needs root"]
fn it_serves_again_after_it_ran_out_of_threads() {
    let _alone = alone();
    let home = Home::new("threads");
    let mut exporter = Exporter::start(&mut with_threads(&home, 54321, 1000));
    Calm::of(&exporter);
    let used = exporter.status("Threads");
    let values: Vec<u64> = (used - 2..used + 9).chain([used + 100]).collect();
    is_served_again(&mut exporter, "nproc", &values, "1000");
}

/// tiny_http starts its last thread only if the others are slow, so each limit is tried many times.
#[test]
#[ignore = "needs root"]
fn with_too_few_threads_it_ends_with_one_line() {
    let _alone = alone();
    let home = Home::new("few-threads");
    let (mut starts, mut ended) = (0, 0);
    for threads in 1..=12 {
        for _ in 0..30 {
            let mut command = with_threads(&home, 54322, threads);
            starts += 1;
            let exporter = start_or_end(&mut command, &format!("{threads} threads"));
            ended += usize::from(exporter.is_none());
        }
    }
    println!("{ended} of {starts} starts ended");
    assert!(ended > 0 && ended < starts, "the limits are too wide or too narrow");
}
