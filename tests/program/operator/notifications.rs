//! Which notifications a person gets, and when. A test that needs Alertmanager goes here.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{RULES, quick, twentieth, with};
use crate::{
    harness::{Exporter, FakeW, PATIENCE, contrib, folder, program, until, until_ready, within},
    prometheus::Prometheus,
    sshd::{Sshd, free_port},
};

/// How the sample sends a mail. In the tests a webhook takes its place.
const MAIL: &str = "    email_configs:
      - to: ops@example.com
        from: alertmanager@example.com
        smarthost: \"localhost:25\"
        require_tls: false
";

/// An Alertmanager that sends its notifications to the test.
struct Alertmanager {
    process: Child,
    port: u16,
    notifications: Arc<Mutex<Vec<Notification>>>,
}

struct Notification {
    received: Instant,
    body: Value,
}

impl Alertmanager {
    /// Sends every alert at once.
    fn of_every_alert() -> Alertmanager {
        let configuration = "route: {receiver: mail, group_by: ['...'], group_wait: 0s, group_interval: 1s}\nreceivers:\n  - name: mail\n";
        Alertmanager::configured(&format!("{configuration}{MAIL}"))
    }

    /// Every mail goes to the test instead.
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
        let webhook = format!("    webhook_configs:\n      - url: 'http://{hook}/'\n");
        let configuration = with(configuration, &[(MAIL, &webhook)]);
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
        let mut latest = notifications.iter().rev().flat_map(|received| alerts(&received.body));
        latest
            .find(|received| {
                received["labels"]["alertname"] == alert && received["labels"]["user"] == user
            })
            .cloned()
    }

    /// What a person is told of a host: each news about an alert, and when it came. If a
    /// notification about many hosts says the same again, beside news about another, it is no news.
    fn news(&self, host: &str) -> Vec<(Instant, String)> {
        let mut news: Vec<(Instant, String)> = Vec::new();
        for notification in self.notifications.lock().unwrap().iter() {
            let is_of_one = notification.body["groupLabels"]["instance"].is_string();
            for alert in alerts(&notification.body).filter(|alert| instance(alert) == host) {
                let label = |name: &str| alert["labels"][name].as_str();
                let user = label("user").map_or(String::new(), |user| format!(" of {user}"));
                let (status, name) = (alert["status"].as_str().unwrap(), label("alertname"));
                let told = format!("{status}: {}{user}", name.unwrap());
                let last = news.iter().rev().find(|(_, last)| same_alert(last, &told));
                if is_of_one || last.is_none_or(|(_, last)| *last != told) {
                    news.push((notification.received, told));
                }
            }
        }
        news
    }
}

fn alerts(notification: &Value) -> impl Iterator<Item = &Value> {
    notification["alerts"].as_array().into_iter().flatten()
}

fn instance(alert: &Value) -> &str {
    alert["labels"]["instance"].as_str().unwrap_or_default()
}

/// Whether two news are about one alert.
fn same_alert(one: &str, other: &str) -> bool {
    let alert = |news: &str| news.split_once(": ").map(|(_, alert)| alert.to_owned());
    alert(one) == alert(other)
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads one POST, and keeps the notification in it.
fn take(stream: TcpStream, received: &Mutex<Vec<Notification>>) {
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
        received.lock().unwrap().push(Notification { received: Instant::now(), body });
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
        ("mail-with-ends", "WhatExporterDown", "critical"),
        ("nobody", "WhatUsersNotListed", "info"),
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

/// A host with one exporter, for as long as the test lasts.
struct Host {
    fake: FakeW,
    exporter: Exporter,
}

/// Lists nobody.
const NOBODY: &str = "head -n 2 $TABLE";
/// Lists root from a known network, and a stranger from elsewhere.
const TWO: &str = "head -n 2 $TABLE
now=$(date -u +%H:%M)
echo \"root     pts/0    10.0.0.7         $now    1:13   0.02s   ?    -bash\"
echo \"mallory  pts/1    203.0.113.9      $now    1:13   0.02s   ?    -bash\"";

impl Host {
    fn new() -> Host {
        let fake = FakeW::new(NOBODY);
        let exporter = Exporter::of(&fake.command(), &["--scrape.interval=0"]);
        Host { fake, exporter }
    }
}

/// The sample's Alertmanager and rules, at a twentieth of their durations: three seconds are a
/// minute.
struct Monitoring {
    began: Instant,
    alertmanager: Alertmanager,
    prometheus: Prometheus,
}

impl Monitoring {
    fn of(hosts: &[&Host]) -> Monitoring {
        let sample = twentieth(&contrib("prometheus/alertmanager.yml"));
        let alertmanager = Alertmanager::configured(&sample);
        let addresses: Vec<&str> = hosts.iter().map(|host| &*host.exporter.address).collect();
        let prometheus = Prometheus::configured(&quick(
            "prometheus/prometheus.yml",
            &[
                ("127.0.0.1:9839", &addresses.join("\", \"")),
                ("127.0.0.1:9093", &format!("127.0.0.1:{}", alertmanager.port)),
            ],
        ));
        let monitoring = Monitoring { began: Instant::now(), alertmanager, prometheus };
        until("the first scrapes", || monitoring.count("what_up == 1") == hosts.len());
        monitoring
    }

    fn count(&self, query: &str) -> usize {
        self.prometheus.query(query).len()
    }

    fn told_of(&self, host: &Host) -> Vec<String> {
        let news = self.alertmanager.news(&host.exporter.address);
        news.into_iter().map(|(_, told)| told).collect()
    }

    fn until_told(&self, host: &Host, news: &str) {
        within(2 * PATIENCE, news, || self.told_of(host).iter().any(|told| told == news));
    }

    fn print(&self, name: &str, host: &Host) {
        for (at, told) in self.alertmanager.news(&host.exporter.address) {
            let minutes = (at - self.began).as_secs_f64() / 3.0;
            println!("{name}, minute {minutes:.1}: {told}");
        }
    }
}

/// Waits until the failures of a host have lasted for this many minutes of three seconds.
fn last(began: Instant, minutes: u32) {
    let end = Duration::from_secs(3) * minutes;
    thread::sleep(end.saturating_sub(began.elapsed()));
}

/// Which mails a person gets with the sample files, from four hosts at once. On the first, one run
/// of `w` in four fails while root and a stranger are logged in, who raise five alerts. On two
/// others `w` fails always, and for five minutes once. The exporter of the last is away for longer
/// than an alert lasts after its session.
#[test]
#[ignore = "needs Debian's prometheus and prometheus-alertmanager"]
fn each_login_and_each_failure_is_told_once_and_as_what_it_is() {
    let [one_in_four, always, once, away] = [0; 4].map(|_| Host::new());
    let monitoring = Monitoring::of(&[&one_in_four, &always, &once, &away]);

    away.fake.becomes(TWO);
    monitoring.until_told(&away, "firing: WhatUnlistedUser of mallory");
    let failing = Instant::now();
    away.exporter.signal("STOP");
    let fails = format!("[ $(($(wc -l <$DIR/runs) % 4)) -ne 0 ] || exit 1\n{TWO}");
    one_in_four.fake.becomes(&fails);
    always.fake.becomes("exit 1");
    once.fake.becomes("exit 1");
    last(failing, 5);
    once.fake.becomes(NOBODY);
    monitoring.until_told(&away, "firing: WhatExporterDown");
    let here = format!("instance='{}'", one_in_four.exporter.address);
    for (alert, count) in [
        ("WhatUnlistedUser", 1),
        ("WhatForeignSource", 1),
        ("WhatRootSession", 1),
        ("WhatRemoteSession", 2),
        ("WhatNewLogin", 2),
    ] {
        let query = format!("ALERTS{{alertname='{alert}', alertstate='firing', {here}}}");
        until(alert, || monitoring.count(&query) == count);
    }
    last(failing, 8);
    away.exporter.signal("CONT");
    last(failing, 10);
    always.fake.becomes(NOBODY);
    one_in_four.fake.becomes(NOBODY);

    monitoring.until_told(&away, "resolved: WhatExporterDown");
    monitoring.until_told(&once, "resolved: WhatFailing");
    monitoring.until_told(&always, "resolved: WhatFailing");
    monitoring.until_told(&one_in_four, "resolved: WhatFailingOften");
    let sessions = "ALERTS{alertname=~'What(UnlistedUser|RootSession)', alertstate='firing'}";
    until("the ends of the sessions", || {
        monitoring.count(&format!("{sessions} and on (instance) ALERTS{{{here}}}")) == 0
    });
    for (name, host) in [
        ("one run in four", &one_in_four),
        ("always", &always),
        ("five minutes once", &once),
        ("exporter away", &away),
    ] {
        monitoring.print(name, host);
    }
    let failed_once = ["firing: WhatFailing", "resolved: WhatFailing"];
    assert_eq!(monitoring.told_of(&always), failed_once);
    assert_eq!(monitoring.told_of(&once), failed_once);
    // The ends of sessions are not sent.
    let mut told = monitoring.told_of(&one_in_four);
    told.sort_unstable();
    let expected = [
        "firing: WhatFailingOften",
        "firing: WhatRootSession of root",
        "firing: WhatUnlistedUser of mallory",
        "resolved: WhatFailingOften",
    ];
    assert_eq!(told, expected);
    let mut told = monitoring.told_of(&away);
    told.sort_unstable();
    let expected = [
        "firing: WhatExporterDown",
        "firing: WhatRootSession of root",
        "firing: WhatUnlistedUser of mallory",
        "resolved: WhatExporterDown",
    ];
    assert_eq!(told, expected);
}
