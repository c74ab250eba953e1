//! The scrape configurations. A test of what Prometheus, or a program like it, stores from a scrape
//! goes here.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{
    RULES, TESTS,
    dashboard::{panels, queries},
    quick, targets, uncommented, with,
};
use crate::{
    harness::{Exporter, FakeW, contrib, fixture, folder, until},
    prometheus::Prometheus,
};

/// Both jobs of the fleet's configuration scrape the same sessions; some have no terminal.
#[test]
#[ignore = "needs Debian's prometheus"]
fn the_fleets_private_job_hides_addresses_and_commands_and_loses_no_session() {
    let exporters = ["mix", "sdmix"].map(|scenario| {
        let w = fixture(&format!("captures/debian13-procps-4.0.4/{scenario}.ienv256.txt"));
        Exporter::of(&format!("cat {w}"), &["--metrics.command=full"])
    });
    let folder = folder();
    // One by name, the other by address.
    let port = exporters[0].address.rsplit(':').next().unwrap();
    for job in ["servers", "private"] {
        targets(&folder, job, &format!("localhost:{port}', '{}", exporters[1].address));
    }
    let configuration = quick(
        "prometheus/prometheus-fleet.yml",
        &[("targets/", &format!("{}/targets/", folder.display()))],
    );
    let prometheus = Prometheus::configured(&configuration);
    let value = |query: &str| {
        let found = prometheus.query(query);
        found.first().map(|first| first["value"][1].as_str().unwrap().to_owned())
    };
    until("both jobs", || value("count(up == 1)").as_deref() == Some("4"));
    for instance in ["localhost", &exporters[1].address] {
        assert_eq!(
            value(&format!("count(up{{instance='{instance}'}})")).as_deref(),
            Some("2"),
            "{instance}"
        );
    }
    assert_eq!(value("count(what_each_session_command_info)"), None);

    // The same series, except for the address.
    let open = value("count(what_each_session_currently_active{job='what'})").unwrap();
    let private = value("count(what_each_session_currently_active{job='what-private'})").unwrap();
    println!("{open} series with addresses, {private} without");
    assert_eq!(open, private);
    let sums = |job: &str| {
        format!("sum by (instance, user, tty) (what_each_session_currently_active{{job='{job}'}})")
    };
    let same = value(&format!("count({} == {})", sums("what"), sums("what-private")));
    assert_eq!(same, value(&format!("count({})", sums("what"))));
    let sessions = prometheus.query("what_each_session_currently_active{job='what-private'}");
    let from: Vec<&str> =
        sessions.iter().map(|series| series["metric"]["ip"].as_str().unwrap_or_default()).collect();
    println!("{from:?}");
    assert!(from.iter().any(|from| from.starts_with("hidden-")), "{from:?}");
    for session in sessions {
        let from = session["metric"]["ip"].as_str().unwrap_or_default();
        assert!(
            ["", "-", ":0", ":pts/3:S.0", "tmux(1234).%0"].contains(&from)
                || from.strip_prefix("hidden-").is_some_and(|hash| hash.parse::<u16>().is_ok()),
            "{session}"
        );
        assert!(
            session["metric"].as_object().unwrap().keys().all(|label| !label.starts_with("__tmp")),
            "{session}"
        );
    }
    // The rules count the same sessions as remote as the exporter does, with and without addresses.
    for job in ["what", "what-private"] {
        let alerting = format!("sum(what:remote_session{{job='{job}'}})");
        let remote = format!("sum(what_sessions_currently_active{{job='{job}', origin='remote'}})");
        until(&format!("the same: {alerting} and {remote}"), || {
            value(&alerting).is_some() && value(&alerting) == value(&remote)
        });
        println!("{job}: {} remote sessions", value(&remote).unwrap());
    }
}

/// With any prefix, and also where somebody has set --metrics.command on the host. The jobs with
/// TLS, and those in Kubernetes, have the same rule.
#[test]
#[ignore = "needs Debian's prometheus"]
fn no_command_line_is_stored_by_the_samples_for_many_hosts_with_any_prefix() {
    let w = fixture("captures/debian13-procps-4.0.4/mix.ienv256.txt");
    let exporters = ["what", "acme", "acme_team_2", ""].map(|prefix| {
        let flags = ["--metrics.command=full", &format!("--metrics.prefix={prefix}")];
        Exporter::of(&format!("cat {w}"), &flags)
    });
    let addresses = exporters.each_ref().map(|exporter| exporter.address.clone());
    let folder = folder();
    for job in ["servers", "private"] {
        targets(&folder, job, &addresses.join("', '"));
    }
    let configuration = quick(
        "prometheus/prometheus-fleet.yml",
        &[("targets/", &format!("{}/targets/", folder.display()))],
    );
    let prometheus = Prometheus::configured(&configuration);
    until("all of both jobs", || prometheus.query("up == 1").len() == 2 * exporters.len());
    let sessions = prometheus.query("{__name__=~'(.+_)?each_session_currently_active'}");
    let hosts = |found: &[Value]| -> BTreeSet<String> {
        found.iter().map(|series| series["metric"]["instance"].to_string()).collect()
    };
    assert_eq!(hosts(&sessions).len(), exporters.len(), "{sessions:?}");
    let commands = prometheus.query("{command!=''}");
    assert!(commands.is_empty(), "{commands:?}");

    for (file, jobs) in [
        ("prometheus/prometheus-fleet.yml", 4),
        ("prometheus/prometheus-kubernetes.yml", 1),
        ("kubernetes/podmonitor.yaml", 1),
    ] {
        let rule = "regex: '(.+_)?each_session_command_info'\n";
        assert_eq!(contrib(file).matches(rule).count(), jobs, "{file}");
    }
}

/// The lines that prometheus.yml tells people to add to the Prometheus that they have, added to the
/// configuration in Debian's package.
#[test]
#[ignore = "needs Debian's prometheus"]
fn an_existing_prometheus_scrapes_the_exporter_after_our_lines_were_added() {
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &[]);
    let sample = quick("prometheus/prometheus.yml", &[("127.0.0.1:9839", &exporter.address)]);
    let below = |key: &str| {
        let (_, rest) = sample.split_once(&format!("\n{key}:\n")).unwrap();
        let lines = rest.split_inclusive('\n').take_while(|line| line.starts_with(' '));
        lines.collect::<String>()
    };
    let mut configuration = fs::read_to_string("/etc/prometheus/prometheus.yml").unwrap();
    for key in ["rule_files", "scrape_configs"] {
        let list = format!("\n{key}:\n");
        configuration = with(&configuration, &[(&list, &format!("{list}{}", below(key)))]);
    }
    let prometheus = Prometheus::configured(&with(&configuration, &[(":     15s", ": 1s")]));
    until("a session", || !prometheus.query("what_each_session_currently_active").is_empty());
    until("the rules", || !prometheus.query("what:session").is_empty());
    until("their own job", || !prometheus.query("up{job='prometheus'}").is_empty());
}

/// `w` over ssh lists the exporter's own login, made for this scrape.
#[test]
#[ignore = "needs Debian's prometheus"]
fn the_exporters_own_login_over_ssh_can_be_dropped_and_no_other_is() {
    let fake = FakeW::new(
        "sed \"s/00:16    1:13   /$(date -u +%H:%M)   13.00s  /\" $TABLE
echo \"watcher           10.0.0.1         $(date -u +%H:%M)    3days  0.00s   ?    w -i\"
echo \"bob               10.0.0.2         $(date -u +%H:%M)    3days  0.00s   ?    sftp\"",
    );
    let exporter = Exporter::of(&fake.command(), &["--metrics.command=full"]);
    let scraped = |sample: &str| {
        let rules: String = sample.replace("  - alerts.yml\n", "").replace("  - site.yml\n", "");
        let changes = [(": 15s", ": 1s"), (": 10s", ": 1s"), ("127.0.0.1:9839", &exporter.address)];
        let prometheus = Prometheus::configured(&with(&rules, &changes));
        until("the first scrape", || !prometheus.query("what_up").is_empty());
        prometheus
    };
    let of = |prometheus: &Prometheus, user: &str| {
        prometheus.query(&format!("{{__name__=~'what_.+', user='{user}'}}")).len()
    };
    let sample = contrib("prometheus/prometheus.yml");
    let with_it = scraped(&sample);
    let without_it = scraped(&uncommented(&sample, "# metric_relabel_configs:"));
    let [bob, alice, watcher] = ["bob", "alice", "watcher"].map(|user| of(&with_it, user));
    println!("series of bob {bob}, alice {alice}, watcher {watcher}");
    assert!(bob > 3 && alice > 9 && watcher == bob);
    assert_eq!(["bob", "alice", "watcher"].map(|user| of(&without_it, user)), [bob, alice, 0]);
}

/// More sessions than the sample's limit allows, and as many as it promises.
#[test]
#[ignore = "needs Debian's prometheus"]
fn a_scrape_with_eight_hundred_sessions_is_within_the_samples_limits() {
    let many = |sessions: u32| {
        let fake = FakeW::new(&format!(
            "head -n 2 $TABLE
for number in $(seq {sessions}); do
    printf 'u%-7s pts/%-4s 10.0.0.7         00:16    1:13   0.02s   ?    -bash\\n' $number $number
done"
        ));
        (Exporter::of(&fake.command(), &["--metrics.command=full"]), fake)
    };
    let [within, beyond] = [800, 1_300].map(many);
    let targets = format!("{}\", \"{}", within.0.address, beyond.0.address);
    let prometheus = Prometheus::configured(&quick(
        "prometheus/prometheus.yml",
        &[("127.0.0.1:9839", &targets)],
    ));
    let up = |address: &str| {
        let found = prometheus.query(&format!("up{{instance='{address}'}}"));
        found.first().map(|up| up["value"][1] == "1")
    };
    until("both scrapes", || up(&within.0.address).is_some() && up(&beyond.0.address).is_some());
    assert_eq!(up(&within.0.address), Some(true));
    assert_eq!(up(&beyond.0.address), Some(false));
}

/// Debian's Prometheus cannot discover Kubernetes pods, so the test supplies what it would find:
/// two pods of the exporter, another pod, and another port of an exporter's pod.
#[test]
#[ignore = "needs Debian's prometheus"]
fn in_kubernetes_the_exporters_are_called_by_their_nodes() {
    let exporters = [0, 1].map(|_| {
        let w = FakeW::new("cat $TABLE");
        (Exporter::of(&w.command(), &["--metrics.command=full"]), w)
    });
    let [one, two] = [&exporters[0].0.address, &exporters[1].0.address];
    let pod = |address: &str, name: &str, port: &str, node: &str| {
        format!(
            "      - targets: ['{address}']\n        labels: {{__meta_kubernetes_pod_label_app_kubernetes_io_name: {name}, __meta_kubernetes_pod_container_port_name: {port}, __meta_kubernetes_pod_node_name: {node}}}\n"
        )
    };
    let found = [
        pod(one, "what-active-users-exporter", "metrics", "node1"),
        pod(two, "what-active-users-exporter", "metrics", "node2"),
        pod("127.0.0.1:1", "another", "metrics", "node1"),
        pod("127.0.0.1:2", "what-active-users-exporter", "another", "node1"),
    ];
    let discovery = "    kubernetes_sd_configs:\n      - role: pod\n        namespaces: {names: [what-active-users]}\n";
    let found = format!("    static_configs:\n{}", found.concat());
    let configuration = quick("prometheus/prometheus-kubernetes.yml", &[(discovery, &found)]);
    let prometheus = Prometheus::configured(&configuration);
    until("both nodes", || prometheus.query("up{job='what'} == 1").len() == 2);
    let targets = prometheus.query("up");
    let mut instances: Vec<&str> =
        targets.iter().map(|target| target["metric"]["instance"].as_str().unwrap()).collect();
    instances.sort_unstable();
    assert_eq!(instances, ["node1", "node2"]);
    assert_eq!(prometheus.query("what_each_session_currently_active{instance='node2'}").len(), 3);
    assert!(prometheus.query("what_each_session_command_info").is_empty());
}

/// Packages of the next Debian, unpacked into a folder.
fn from_forky(packages: &[&str]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("forky");
    let done = folder.join("done");
    if fs::read_to_string(&done).is_ok_and(|done| done == packages.join(" ")) {
        return folder;
    }
    let _ = fs::remove_dir_all(&folder);
    for directory in ["lists/partial", "cache/archives/partial", "state"] {
        fs::create_dir_all(folder.join(directory)).unwrap();
    }
    // A separate configuration of apt, which does not change the system's lists.
    let home = folder.display();
    let settings = format!(
        "Dir::State \"{home}/state\";\nDir::State::status \"/dev/null\";\nDir::State::lists \"{home}/lists\";\nDir::Cache \"{home}/cache\";\nDir::Etc::sourcelist \"{home}/sources.list\";\nDir::Etc::sourceparts \"-\";\nAcquire::Languages \"none\";\n"
    );
    fs::write(folder.join("apt.conf"), settings).unwrap();
    let key = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let source = format!(
        "deb [check-valid-until=no signed-by={key}] http://deb.debian.org/debian forky main\n"
    );
    fs::write(folder.join("sources.list"), source).unwrap();
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.args(arguments).env("APT_CONFIG", folder.join("apt.conf")).current_dir(&folder);
        let mut output = apt.output().unwrap();
        for _ in 0..2 {
            // A mirror can be changing at this moment.
            if !output.status.success() {
                thread::sleep(Duration::from_secs(20));
                output = apt.output().unwrap();
            }
        }
        assert!(output.status.success(), "{apt:?}: {output:?}");
    };
    apt(&["-qq", "update"]);
    apt(&[&["-qq", "download"], packages].concat());
    let unpack = "for package in *.deb; do dpkg -x $package . && rm $package || exit; done";
    let unpack = Command::new("sh").args(["-ec", unpack]).current_dir(&folder).status().unwrap();
    assert!(unpack.success());
    let _ = fs::remove_dir_all(folder.join("lists"));
    fs::write(done, packages.join(" ")).unwrap();
    folder
}

/// They must get the same series as Debian 12's Prometheus, and accept the rules and the
/// dashboard's queries.
#[test]
#[ignore = "needs Debian's prometheus; Debian forky's archive"]
fn prometheus_3_and_victoria_metrics_scrape_it_too() {
    let forky = from_forky(&["prometheus", "promtool", "victoria-metrics"]);
    let forky = |program: &str| forky.join("usr/bin").join(program);
    let w = fixture("captures/debian13-procps-4.0.4/mix.ienv256.txt");
    let exporter = Exporter::of(&format!("cat {w}"), &["--metrics.command=full"]);
    let changes = [("127.0.0.1:9839", &*exporter.address)];
    let rules = quick("prometheus/prometheus.yml", &changes);
    let (before, rest) = rules.split_once("rule_files:").unwrap();
    let (_, scrapes) = rest.split_once("scrape_configs:").unwrap();
    // VictoriaMetrics evaluates no rules, and does not know this limit.
    let before = with(before, &[("  evaluation_interval: 1s\n", "")]);
    let scrapes = with(scrapes, &[("    label_value_length_limit: 4096\n", "")]);
    let only_scrapes = format!("{before}scrape_configs:{scrapes}");
    let flags = ["--config.file", "--storage.tsdb.path", "--web.listen-address"];
    let old = Prometheus::configured(&rules);
    let new = Prometheus::started(Command::new(forky("prometheus")), flags, &rules);
    let mut victoria = Command::new(forky("victoria-metrics"));
    victoria.arg("-search.latencyOffset=0s");
    let victoria = Prometheus::started(
        victoria,
        ["-promscrape.config", "-storageDataPath", "-httpListenAddr"],
        &only_scrapes,
    );
    let series = |prometheus: &Prometheus| {
        let found = prometheus.query("{__name__=~'(what|process)_.+'}");
        let mut found: Vec<String> =
            found.iter().map(|series| series["metric"].to_string()).collect();
        found.sort_unstable();
        found
    };
    until("the first scrape", || series(&old).len() > 100);
    let expected = series(&old);
    println!("{} series", expected.len());
    for (name, other) in [("Prometheus 3", &new), ("VictoriaMetrics", &victoria)] {
        until(name, || series(other) == expected);
        for panel in panels() {
            // VictoriaMetrics evaluates no rules, and so has no alerts.
            let by_rules =
                |query: &str| ["ALERTS", "what:unlisted"].iter().any(|of| query.contains(of));
            let knows = |query: &str| name == "Prometheus 3" || !by_rules(query);
            for (_, query) in queries(&panel).into_iter().filter(|(_, query)| knows(query)) {
                until(&format!("{name}: as many rows for {query}"), || {
                    other.query(&query).len() == old.query(&query).len()
                });
            }
        }
    }
    // Both raise the same alerts.
    let alerts = |prometheus: &Prometheus| {
        let query = "count by (alertname) (ALERTS{alertstate='firing'})";
        let mut alerts: Vec<String> =
            prometheus.query(query).iter().map(|alert| alert["metric"].to_string()).collect();
        alerts.sort_unstable();
        alerts
    };
    until("alerts", || alerts(&old).len() >= 3 && alerts(&old) == alerts(&new));
    println!("{:?}", alerts(&new));

    let folder = folder();
    for file in RULES.iter().chain(&TESTS) {
        fs::write(folder.join(file), contrib(&format!("prometheus/{file}"))).unwrap();
    }
    for file in TESTS {
        let promtool = Command::new(forky("promtool"))
            .args(["test", "rules", file])
            .current_dir(&folder)
            .output()
            .unwrap();
        assert!(promtool.status.success(), "{promtool:?}");
    }
}
