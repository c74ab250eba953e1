//! Which notifications a person gets, and when. A test that needs Alertmanager goes here.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::{CLOCK, RULES, alertmanager::Alertmanager, quick, twentieth};
use crate::{
    harness::{Exporter, FakeW, PATIENCE, contrib, program, until, within},
    prometheus::Prometheus,
    sshd::Sshd,
};

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
    // Every name in it is that of an alert. The exporter's route has all of its alerts that are
    // sent, and no other: those of severity info never get as far.
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
        let sent = !alert.contains("severity: info");
        assert_eq!(routed.split('|').any(|routed| routed == name), sent, "{name}");
    }
}

/// A host with one exporter, for as long as the test lasts.
struct Host {
    fake: FakeW,
    exporter: Exporter,
}

/// A `w` that lists nobody.
fn nobody() -> String {
    format!("head -n 2 $TABLE | sed \"{CLOCK}\"")
}

/// A `w` that lists root from a known network, and a stranger from elsewhere.
fn two() -> String {
    let nobody = nobody();
    format!(
        "{nobody}
now=$(date -u +%H:%M)
echo \"root     pts/0    10.0.0.7         $now   13.00s  0.02s   ?    -bash\"
echo \"mallory  pts/1    203.0.113.9      $now   13.00s  0.02s   ?    -bash\""
    )
}

impl Host {
    fn new() -> Host {
        let fake = FakeW::new(&nobody());
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
    fn of(hosts: &[Host]) -> Monitoring {
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
        until("the first scrapes", || {
            monitoring.prometheus.query("what_up == 1").len() == hosts.len()
        });
        monitoring
    }

    /// How many alerts of this name fire for this host.
    fn firing(&self, alert: &str, host: &Host) -> usize {
        let host = &host.exporter.address;
        let labels = format!("alertname='{alert}', alertstate='firing', instance='{host}'");
        self.prometheus.query(&format!("ALERTS{{{labels}}}")).len()
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

/// Waits until failures that began at this moment have lasted for this many minutes of three
/// seconds.
fn until_minute(minutes: u32, began: Instant) {
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
    let hosts = [0; 4].map(|_| Host::new());
    let [one_in_four, always, once, away] = &hosts;
    let monitoring = Monitoring::of(&hosts);
    all_fail_for_ten_minutes(&monitoring, &hosts);

    monitoring.until_told(away, "resolved: WhatExporterDown");
    monitoring.until_told(once, "resolved: WhatFailing");
    monitoring.until_told(always, "resolved: WhatFailing");
    monitoring.until_told(one_in_four, "resolved: WhatFailingOften");
    until("the ends of the sessions", || {
        monitoring.firing("WhatUnlistedUser", one_in_four) == 0
            && monitoring.firing("WhatRootSession", one_in_four) == 0
    });
    for (name, host, expected) in [
        ("always", always, &["firing: WhatFailing", "resolved: WhatFailing"][..]),
        ("five minutes once", once, &["firing: WhatFailing", "resolved: WhatFailing"]),
        // The ends of sessions are not sent.
        (
            "one run in four",
            one_in_four,
            &[
                "firing: WhatFailingOften",
                "firing: WhatRootSession of root",
                "firing: WhatUnlistedUser of mallory",
                "resolved: WhatFailingOften",
            ],
        ),
        (
            "exporter away",
            away,
            &[
                "firing: WhatExporterDown",
                "firing: WhatRootSession of root",
                "firing: WhatUnlistedUser of mallory",
                "resolved: WhatExporterDown",
            ],
        ),
    ] {
        monitoring.print(name, host);
        let mut told = monitoring.told_of(host);
        told.sort_unstable();
        assert_eq!(told, expected, "{name}");
    }
}

fn all_fail_for_ten_minutes(monitoring: &Monitoring, hosts: &[Host; 4]) {
    let [one_in_four, always, once, away] = hosts;
    away.fake.becomes(&two());
    monitoring.until_told(away, "firing: WhatUnlistedUser of mallory");
    let began = Instant::now();
    away.exporter.signal("STOP");
    let fails = format!("[ $(($(wc -l <$DIR/runs) % 4)) -ne 0 ] || exit 1\n{}", two());
    one_in_four.fake.becomes(&fails);
    always.fake.becomes("exit 1");
    once.fake.becomes("exit 1");
    until_minute(5, began);
    once.fake.becomes(&nobody());
    monitoring.until_told(away, "firing: WhatExporterDown");
    for (alert, count) in [
        ("WhatUnlistedUser", 1),
        ("WhatForeignSource", 1),
        ("WhatRootSession", 1),
        ("WhatRemoteSession", 2),
        ("WhatNewLogin", 2),
    ] {
        until(alert, || monitoring.firing(alert, one_in_four) == count);
    }
    until_minute(8, began);
    away.exporter.signal("CONT");
    until_minute(10, began);
    always.fake.becomes(&nobody());
    one_in_four.fake.becomes(&nobody());
}
