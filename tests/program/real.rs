//! Logins over a real sshd, scraped by a real Prometheus. Needs root and Debian's packages, which
//! `.ci/run` installs.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use crate::harness::{Exporter, fixture, once, program, samples, until};
use crate::prometheus::Prometheus;
use crate::sshd::Sshd;

#[test]
#[ignore = "needs root, Debian's openssh-server, procps and prometheus"]
fn prometheus_sees_real_logins_come_and_go() {
    let sshd = Sshd::start();
    let exporter = Exporter::start(program().args(["--scrape.interval", "500ms"]));
    let prometheus = Prometheus::scraping(&exporter.address, "");
    let (alice, bob) = (sshd.user("alice"), sshd.user("bob"));
    let (alice_in, bob_in) = (sshd.login(&alice), sshd.login(&bob));
    let sessions = |user: &str| {
        prometheus.query(&format!("what_each_session_currently_active{{user=\"{user}\"}}"))
    };
    for user in [&alice, &bob] {
        until("the session in Prometheus", || sessions(user).len() == 1);
        let series = &sessions(user)[0];
        println!("{series}");
        assert_eq!(series["metric"]["ip"], "127.0.0.1");
        assert!(series["metric"]["tty"].as_str().unwrap().starts_with("pts/"), "{series}");
        assert_eq!(series["value"][1], "1");
    }
    let remote = prometheus.query("what_sessions_currently_active{origin=\"remote\"}");
    assert!(remote[0]["value"][1].as_str().unwrap().parse::<u32>().unwrap() >= 2, "{remote:?}");
    let age = prometheus
        .query(&format!("time() - what_each_session_login_timestamp_seconds{{user=\"{bob}\"}}"));
    let age: f64 = age[0]["value"][1].as_str().unwrap().parse().unwrap();
    assert!((0.0..180.0).contains(&age), "{age}");

    drop(alice_in);
    until("the series to go stale", || sessions(&alice).is_empty());
    assert_eq!(sessions(&bob).len(), 1);
    drop(bob_in);
    until("the other too", || sessions(&bob).is_empty());
    assert_eq!(prometheus.query("what_up")[0]["value"][1], "1");
}

#[test]
#[ignore = "needs Debian's prometheus"]
fn prometheus_takes_openmetrics_with_timestamps() {
    let w = format!("cat {}", fixture("captures/debian13-procps-4.0.4/mix.i.txt"));
    let exporter = Exporter::of(
        &w,
        &["--metrics.with-timestamp", "--metrics.command=full", "--scrape.interval=0"],
    );
    let prometheus = Prometheus::scraping(&exporter.address, "");
    until("the sessions", || {
        prometheus
            .query("sum(what_each_session_command_info)")
            .first()
            .is_some_and(|sum| sum["value"][1] == "32")
    });
    assert_eq!(prometheus.query("up")[0]["value"][1], "1");
}

#[test]
#[ignore = "needs Debian's prometheus"]
fn promtool_accepts_the_metrics() {
    let w = format!("cat {}", fixture("captures/debian13-procps-4.0.4/mix.i.txt"));
    let text = once(&["--w.command", &w, "--metrics.command=full"]);
    let mut check = Command::new("promtool");
    let check =
        check.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut check = check.unwrap();
    check.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
#[ignore = "needs root, Debian's busybox and openssh-server"]
fn busybox_is_read_through_the_fallback() {
    let sshd = Sshd::start();
    let user = sshd.user("bb");
    let login = sshd.login(&user);
    // First in the PATH, so that the default command is BusyBox' own w.
    let bin = crate::harness::folder();
    std::os::unix::fs::symlink("/bin/busybox", bin.join("w")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let exporter = Exporter::start(program().env("PATH", path).args(["--scrape.interval=0"]));
    let mut sessions = Vec::new();
    until("the session", || {
        let of_user = |line: &String| line.contains(&format!("user=\"{user}\""));
        sessions = samples(&exporter.metrics(), "each_session_currently_active")
            .into_iter()
            .filter(of_user)
            .collect();
        sessions.len() == 1
    });
    assert!(
        sessions[0].contains("ip=\"127.0.0.1\"") && sessions[0].contains("tty=\"pts/"),
        "{sessions:?}"
    );
    assert_eq!(exporter.log().len(), 1, "{:?}", exporter.log());
    drop(login);
}
