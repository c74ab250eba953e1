//! Which notifications a person gets, and when. A test that needs Alertmanager goes here.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;

use super::{RULES, quick, with};
use crate::{
    harness::{
        Exporter, FakeW, PATIENCE, TABLE, contrib, folder, program, until, until_ready, within,
    },
    prometheus::Prometheus,
    sshd::{Sshd, free_port},
};

/// An Alertmanager that sends its notifications to the test.
struct Alertmanager {
    process: Child,
    port: u16,
    notifications: Arc<Mutex<Vec<Value>>>,
}

impl Alertmanager {
    /// Sends every alert at once.
    fn of_every_alert() -> Alertmanager {
        Alertmanager::configured(
            "route: {receiver: mail, group_by: ['...'], group_wait: 0s, group_interval: 1s}\nreceivers:\n",
        )
    }

    /// The receiver called `mail` is the test.
    fn configured(configuration: &str) -> Alertmanager {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let hook = listener.local_addr().unwrap();
        let notifications = Arc::new(Mutex::new(Vec::new()));
        let received = Arc::clone(&notifications);
        // Lives as long as the test.
        thread::spawn(move || {
            listener.incoming().flatten().for_each(|stream| take(stream, &received))
        });
        let folder: PathBuf = folder();
        let configuration = format!(
            "{configuration}  - {{name: mail, webhook_configs: [{{url: 'http://{hook}/'}}]}}\n"
        );
        fs::write(folder.join("alertmanager.yml"), configuration).unwrap();
        let port = free_port();
        let mut command = Command::new("prometheus-alertmanager");
        command.arg(format!("--config.file={}", folder.join("alertmanager.yml").display()));
        command.arg(format!("--storage.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        // No cluster, so it needs no second port.
        command.arg("--cluster.listen-address=");
        let log = folder.join("log");
        let output = File::create(&log).unwrap();
        let process =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output).spawn().unwrap();
        let mut alertmanager = Alertmanager { process, port, notifications };
        until_ready("Alertmanager", &mut alertmanager.process, &log, || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        alertmanager
    }

    /// The last notification of this alert for this user.
    fn last(&self, alert: &str, user: &str) -> Option<Value> {
        let notifications = self.notifications.lock().unwrap();
        let mut latest = notifications.iter().rev().flat_map(alerts);
        latest
            .find(|received| {
                received["labels"]["alertname"] == alert && received["labels"]["user"] == user
            })
            .cloned()
    }

    /// One line for each notification: its status, and its alerts with their users.
    fn lines(&self) -> Vec<String> {
        let line = |notification: &Value| {
            let alerts = alerts(notification).map(|alert| {
                let label = |name: &str| alert["labels"][name].as_str().unwrap_or("nobody");
                format!(" {} of {}", label("alertname"), label("user"))
            });
            format!("{}:{}", notification["status"].as_str().unwrap(), alerts.collect::<String>())
        };
        let mut lines: Vec<String> = self.notifications.lock().unwrap().iter().map(line).collect();
        lines.sort_unstable();
        lines
    }
}

fn alerts(notification: &Value) -> impl Iterator<Item = &Value> {
    notification["alerts"].as_array().into_iter().flatten()
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads one POST, and keeps the notification in it.
fn take(stream: TcpStream, received: &Mutex<Vec<Value>>) {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|read| read > 0) && line != "\r\n" {
        let (name, value) = line.trim_end().split_once(": ").unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_ok() {
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        received.lock().unwrap().push(body);
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let _ = reader.into_inner().write_all(answer);
    }
}

/// With --metrics.with-timestamp, because this can keep ended sessions visible in Prometheus.
#[test]
#[ignore = "needs root, Debian's openssh-server, procps, prometheus and prometheus-alertmanager"]
fn a_login_of_an_unlisted_user_reaches_a_webhook_and_is_resolved_at_logout() {
    let sshd = Sshd::start();
    let exporter =
        Exporter::start(program().args(["--scrape.interval=500ms", "--metrics.with-timestamp"]));
    let alertmanager = Alertmanager::of_every_alert();
    let configuration = quick(
        "prometheus/prometheus.yml",
        &[
            ("127.0.0.1:9839", &exporter.address),
            ("127.0.0.1:9093", &format!("127.0.0.1:{}", alertmanager.port)),
        ],
    );
    let prometheus = Prometheus::configured(&configuration);
    until("the first scrape", || {
        prometheus.query("what_up").first().is_some_and(|up| up["value"][1] == "1")
    });
    let mallory = sshd.user("mallory");
    assert_eq!(alertmanager.last("WhatUnlistedUser", &mallory), None);

    let login = sshd.login(&mallory);
    for alert in ["WhatUnlistedUser", "WhatRemoteSession", "WhatNewLogin"] {
        until(alert, || {
            alertmanager
                .last(alert, &mallory)
                .is_some_and(|received| received["status"] == "firing")
        });
        let received = alertmanager.last(alert, &mallory).unwrap();
        println!("{alert}: {}: {}", received["status"], received["annotations"]["description"]);
        assert_eq!(received["labels"]["ip"], "127.0.0.1", "{received}");
        let tty = received["labels"]["tty"].as_str().unwrap();
        assert!(tty.starts_with("pts/"), "{received}");
        let description = received["annotations"]["description"].as_str().unwrap();
        assert!(
            description.contains(&format!("User {mallory} on {tty} from 127.0.0.1")),
            "{received}"
        );
        assert!(
            received["annotations"]["runbook"].as_str().unwrap().contains("w -i"),
            "{received}"
        );
    }
    // Loopback is one of the known networks.
    assert_eq!(alertmanager.last("WhatForeignSource", &mallory), None);

    drop(login);
    for alert in ["WhatUnlistedUser", "WhatRemoteSession", "WhatNewLogin"] {
        until(&format!("the end of {alert}"), || {
            alertmanager
                .last(alert, &mallory)
                .is_some_and(|received| received["status"] == "resolved")
        });
        let received = alertmanager.last(alert, &mallory).unwrap();
        println!("{alert}: {} at {}", received["status"], received["endsAt"]);
    }
}

#[test]
#[ignore = "needs Debian's prometheus-alertmanager"]
fn amtool_accepts_the_example_and_routes_by_it() {
    let file = format!("{}/contrib/prometheus/alertmanager.yml", env!("CARGO_MANIFEST_DIR"));
    let amtool = |arguments: &[&str]| {
        let output = Command::new("amtool").args(arguments).output().unwrap();
        assert!(output.status.success(), "amtool {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    amtool(&["check-config", &file]);
    let file = format!("--config.file={file}");
    for (receiver, alert, severity) in [
        ("mail", "WhatRootSession", "warning"),
        ("nobody", "WhatNewLogin", "info"),
        ("mail", "WhatExporterDown", "critical"),
    ] {
        let (alert, severity) = (format!("alertname={alert}"), format!("severity={severity}"));
        let route = amtool(&["config", "routes", "test", &file, &alert, &severity]);
        assert_eq!(route.trim(), receiver, "{alert} {severity}");
    }
    // Every name in it is that of an alert, and the exporter's route has all of its alerts.
    let text = contrib("prometheus/alertmanager.yml");
    let rules = RULES.map(|rules| contrib(&format!("prometheus/{rules}"))).concat();
    for names in text.split("\"What(").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        for name in names.split('|') {
            assert!(rules.contains(&format!("- alert: What{name}\n")), "{name}");
        }
    }
    let (_, of_exporter) = rules.split_once("- name: what-exporter").unwrap();
    let (of_exporter, _) = of_exporter.split_once("- name:").unwrap();
    let (_, routed) = text.split_once("\"What(").unwrap();
    let (routed, _) = routed.split_once(')').unwrap();
    for alert in of_exporter.split("- alert: What").skip(1) {
        let name = alert.lines().next().unwrap();
        assert!(routed.split('|').any(|routed| routed == name), "{name}");
    }
}

/// Logins of root and of a stranger raise four alerts each, while every fourth run of `w` fails.
#[test]
#[ignore = "needs Debian's prometheus and prometheus-alertmanager"]
fn one_login_gives_one_notification_even_if_one_run_in_four_fails() {
    let nobody = "cat $TABLE";
    let fake = FakeW::new(nobody);
    let header: String = TABLE.lines().take(2).map(|line| format!("{line}\n")).collect();
    let session = |user: &str, tty: &str, from: &str| {
        format!("{user:<8} {tty:<8} {from:<16} 00:16    1:13   0.02s   ?    -bash\n")
    };
    let two = [session("root", "pts/0", "10.0.0.7"), session("mallory", "pts/1", "203.0.113.9")];
    fs::write(fake.folder.join("table"), &header).unwrap();
    fs::write(fake.folder.join("two"), header + &two.concat()).unwrap();
    let exporter = Exporter::of(&fake.command(), &["--scrape.interval=0"]);

    let example = contrib("prometheus/alertmanager.yml");
    let (example, _) = example.split_once("  # Replace by yours.").unwrap();
    // Fast enough to send a notification if an alert ends and begins again.
    let fast = [(": 30s", ": 3s"), (": 1m", ": 3s"), (": 5m", ": 1s"), (": 15m", ": 1s")];
    let alertmanager = Alertmanager::configured(&with(example, &fast));
    let prometheus = Prometheus::configured(&quick(
        "prometheus/prometheus.yml",
        &[
            ("127.0.0.1:9839", &exporter.address),
            ("127.0.0.1:9093", &format!("127.0.0.1:{}", alertmanager.port)),
        ],
    ));
    until("the first scrape", || {
        prometheus.query("what_up").first().is_some_and(|up| up["value"][1] == "1")
    });

    let clock = "sed \"s/00:1[67]/$(date -u +%H:%M)/\"";
    fake.becomes(&format!("[ $(($(wc -l <$DIR/runs) % 4)) -ne 0 ] || exit 1\n{clock} $DIR/two"));
    let firing = |alert: &str| {
        let query = format!("ALERTS{{alertname='{alert}', alertstate='firing'}}");
        prometheus.query(&query).len()
    };
    for (alert, count) in [
        ("WhatUnlistedUser", 1),
        ("WhatForeignSource", 1),
        ("WhatRootSession", 1),
        ("WhatRemoteSession", 2),
        ("WhatNewLogin", 2),
    ] {
        until(alert, || firing(alert) == count);
    }
    let failed = || {
        let failed = "sum(what_w_runs_total{outcome='failed'})";
        let failed = prometheus.query(failed);
        failed[0]["value"][1].as_str().unwrap().parse::<u32>().unwrap()
    };
    within(3 * PATIENCE, "six failed runs", || failed() >= 6);
    let expected = [
        "firing: WhatFailingOften of nobody",
        "firing: WhatRootSession of root",
        "firing: WhatUnlistedUser of mallory",
    ];
    until("the notification of failing runs", || alertmanager.lines().len() >= expected.len());
    let failures = failed();
    within(3 * PATIENCE, "two more failed runs", || failed() >= failures + 2);
    assert_eq!(alertmanager.lines(), expected);

    fake.becomes(nobody);
    until("the ends", || firing("WhatRootSession") + firing("WhatUnlistedUser") == 0);
    let ended = ["resolved: WhatRootSession of root", "resolved: WhatUnlistedUser of mallory"];
    until("their notifications", || alertmanager.lines().len() >= expected.len() + ended.len());
    println!("{} failed runs, {:#?}", failed(), alertmanager.lines());
    assert_eq!(alertmanager.lines(), [&expected[..], &ended[..]].concat());
}
