//! Uses the files in `contrib` as an operator would: the alert rules, the scrape configurations and
//! the dashboard with Debian's Prometheus and Alertmanager, and the migration guide.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use crate::harness::{
    Exporter, FakeW, PATIENCE, TABLE, contrib, fixture, folder, once, program, until, until_ready,
    within,
};
use crate::prometheus::Prometheus;
use crate::sshd::{Sshd, free_port};
use serde_json::Value;

/// The flags that the Node.js exporter documents, their variables, and a value for each.
const NODE_FLAGS: [(&str, &str, &str); 6] = [
    ("--listen.host", "EXPORTER_LISTEN_HOST", "127.0.0.1"),
    ("--listen.port", "EXPORTER_LISTEN_PORT", "9839"),
    ("--metrics.endpoint", "EXPORTER_METRICS_ENDPOINT", "/metrics"),
    ("--metrics.prefix", "EXPORTER_METRICS_PREFIX", "what"),
    ("--metrics.with-timestamp", "EXPORTER_METRICS_APPEND_TIMESTAMP", "false"),
    ("--scrape.interval", "EXPORTER_CHECK_INTERVAL_MILLIS", "5000"),
];

/// The metrics that it documents, and their labels.
const NODE_METRICS: [(&str, &[&str]); 3] = [
    ("what_up", &["version"]),
    ("what_user_sessions_currently_active", &["user"]),
    ("what_each_session_currently_active", &["ip", "tty", "user"]),
];

/// The files with rules.
const RULES: [&str; 3] = ["alerts.yml", "site.yml", "alerts-remote.yml"];

/// Replaces words in a text. Each of them must occur.
fn with(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "no {from:?} in:\n{text}");
        text.replace(from, to)
    })
}

/// A configuration that scrapes every second. It loads all rules, including the optional ones, and
/// alerts end seconds after their cause instead of minutes.
fn quick(name: &str, changes: &[(&str, &str)]) -> String {
    let folder = folder();
    for file in RULES {
        let rules = contrib(&format!("prometheus/{file}"));
        let rules = with(&rules, &[("keep_firing_for: 3m", "keep_firing_for: 5s")]);
        let rules = rules.replace("keep_firing_for: 5m", "keep_firing_for: 9s");
        fs::write(folder.join(file), rules).unwrap();
    }
    let text = contrib(name).replace("# - alerts-remote.yml", "- alerts-remote.yml");
    let settings = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let settings = settings.map(|line| format!("{line}\n")).collect::<String>();
    let mut settings = with(&settings, &[(": 15s", ": 1s"), (": 10s", ": 1s")]);
    for file in RULES {
        let (name, path) = (format!("  - {file}"), folder.join(file));
        settings = with(&settings, &[(&name, &format!("  - {}", path.display()))]);
    }
    with(&settings, changes)
}

#[test]
fn the_flags_variables_and_metrics_of_the_node_exporter_are_here() {
    let help = crate::harness::run(&["--help"]);
    let help = String::from_utf8(help.stdout).unwrap();
    let w = format!("cat {}", fixture("captures/debian12-procps-4.0.2/mix.i.txt"));
    for (flag, variable, value) in NODE_FLAGS {
        assert!(help.contains(flag) && help.contains(variable), "{flag}, {variable}: {help}");
        let output = program().args(["--once", "--w.command", &w, flag, value]).output().unwrap();
        assert!(output.status.success(), "{flag} {value}: {output:?}");
        // This shows that the variable is read: a wrong value is an error that names it.
        let wrong =
            program().args(["--once", "--w.command", &w]).env(variable, "9 9").output().unwrap();
        assert!(!wrong.status.success(), "{variable}: {wrong:?}");
        assert!(String::from_utf8_lossy(&wrong.stderr).contains(variable), "{variable}: {wrong:?}");
    }
    let text = once(&["--w.command", &w]);
    for (metric, labels) in NODE_METRICS {
        let start = format!("{metric}{{");
        let mut samples = text.lines().filter_map(|line| line.strip_prefix(&start)).peekable();
        assert!(samples.peek().is_some(), "no {metric}: {text}");
        for sample in samples {
            // No value in this capture contains these characters.
            let named =
                sample.split("=\"").map(|part| part.rsplit(['"', ',', '{']).next().unwrap());
            let mut named: Vec<&str> = named.filter(|name| !name.contains(' ')).collect();
            named.sort_unstable();
            assert_eq!(named, labels, "{metric} {sample}");
        }
    }
}

/// Its help says that the default prefix is `what`. In fact only `what_up` has it.
#[test]
fn an_empty_prefix_gives_the_names_that_the_node_exporter_serves_by_default() {
    let w = format!("cat {}", fixture("captures/debian12-procps-4.0.2/mix.i.txt"));
    let text = once(&["--w.command", &w, "--metrics.prefix="]);
    for name in ["what_up", "user_sessions_currently_active", "each_session_currently_active"] {
        assert!(
            text.lines().any(|line| line.starts_with(&format!("{name}{{"))),
            "no {name}: {text}"
        );
    }
}

#[test]
fn every_alert_has_a_severity_and_words_and_tests() {
    let tests = ["alerts_test.yml", "alerts_without_site_test.yml"]
        .map(|file| contrib(&format!("prometheus/{file}")))
        .concat();
    let rules = RULES.map(|file| contrib(&format!("prometheus/{file}")));
    let alerts: Vec<&str> =
        rules.iter().flat_map(|rules| rules.split("- alert: ").skip(1)).collect();
    assert!(alerts.len() > 10, "{alerts:#?}");
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        for key in ["severity: ", "summary: \"", "description: \"", "runbook: \""] {
            assert_eq!(alert.matches(&format!("  {key}")).count(), 1, "{name}: {key}");
        }
        let mut lines = alert.lines();
        let description = lines.find(|line| line.trim_start().starts_with("description:")).unwrap();
        if alert.contains("what_each_session_") || alert.contains("what:remote_session") {
            for label in ["$labels.user", "$labels.tty", "$labels.ip"] {
                assert!(description.contains(label), "{name}: {label} is not in {description}");
            }
        }
        assert!(
            tests.contains(&format!("\"{name}\", alertstate=\"firing\""))
                || tests.contains(&format!("alertname=\"{name}\", instance"))
                || tests.contains(&format!("alertname=\"{name}\", job")),
            "no test of {name}"
        );
    }
}

/// promtool in a copy of the folder, with targets for the file discovery.
#[test]
#[ignore = "needs Debian's prometheus"]
fn promtool_accepts_rules_and_configurations_and_the_rules_pass_their_tests() {
    let folder = folder();
    let tests = ["alerts_test.yml", "alerts_without_site_test.yml"];
    for file in RULES.iter().chain(&tests).chain(&["prometheus.yml", "prometheus-fleet.yml"]) {
        fs::write(folder.join(file), contrib(&format!("prometheus/{file}"))).unwrap();
    }
    for job in ["servers", "https", "tls", "private"] {
        targets(&folder, job, "web1.example.com:9839");
    }
    for file in ["what-client.crt", "what-client.key"] {
        fs::write(folder.join(file), "").unwrap();
    }
    let promtool = |arguments: &str| {
        let output = Command::new("promtool")
            .args(arguments.split(' '))
            .current_dir(&folder)
            .output()
            .unwrap();
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(
            output.status.success() && said.contains("SUCCESS") && !said.contains("WARNING"),
            "promtool {arguments}: {said}"
        );
    };
    for file in RULES {
        promtool(&format!("check rules {file}"));
    }
    for file in tests {
        promtool(&format!("test rules {file}"));
    }
    promtool("check config prometheus.yml");
    promtool("check config prometheus-fleet.yml");

    // The file contains commands for other prefixes. They must work for the tests too.
    let rules = contrib("prometheus/alerts.yml");
    let commands: Vec<&str> =
        rules.lines().filter_map(|line| line.strip_prefix("#   sed ")).collect();
    assert_eq!(commands.len(), 2, "{rules}");
    for command in commands {
        let (_, result) = command.split_once(" > ").unwrap();
        let of_tests =
            with(command, &[(" alerts.yml", " alerts_test.yml"), (result, "other_test.yml")]);
        for command in
            [command, &of_tests, &format!("-i 's/- alerts.yml/- {result}/' other_test.yml")]
        {
            let sed = Command::new("sh")
                .args(["-c", &format!("sed {command}")])
                .current_dir(&folder)
                .output()
                .unwrap();
            assert!(sed.status.success(), "sed {command}: {sed:?}");
        }
        promtool(&format!("check rules {result}"));
        promtool("test rules other_test.yml");
        let result = fs::read_to_string(folder.join(result)).unwrap();
        let left: Vec<&str> =
            result.split("what_").skip(1).filter(|rest| !rest.starts_with("up")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
    // The file says that the others need no change.
    for file in &RULES[1..] {
        assert!(!contrib(&format!("prometheus/{file}")).contains("what_"), "{file}");
    }
}

fn targets(folder: &Path, job: &str, target: &str) {
    fs::create_dir_all(folder.join("targets").join(job)).unwrap();
    fs::write(
        folder.join("targets").join(job).join("all.yml"),
        format!("- targets: ['{target}']\n"),
    )
    .unwrap();
}

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

/// The panels of the dashboard, including those in collapsed rows.
fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(&contrib("grafana/dashboard.json")).unwrap();
    let outer = dashboard["panels"].as_array().unwrap().iter();
    let inner = |panel: &Value| panel["panels"].as_array().cloned().unwrap_or_default();
    outer.flat_map(|panel| [vec![panel.clone()], inner(panel)].concat()).collect()
}

/// The queries of a panel, as Grafana sends them with everything selected.
fn queries(panel: &Value) -> Vec<(String, String)> {
    let targets = panel["targets"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    targets.map(|target| (text(&target["refId"]), filled(&text(&target["expr"])))).collect()
}

fn filled(query: &str) -> String {
    let variables = [
        ("$__rate_interval", "10s"),
        ("$__range", "1m"),
        ("$instance", ".*"),
        ("$job", ".*"),
        ("$top", "10"),
    ];
    let filled =
        variables.iter().fold(query.replace("see $1\"", "see SOURCE\""), |query, (name, value)| {
            query.replace(name, value)
        });
    assert!(!filled.contains('$'), "an unknown variable in {query}");
    filled.replace("SOURCE", "$1")
}

#[test]
#[ignore = "needs Debian's prometheus, node and npm"]
fn every_query_of_the_dashboard_and_of_the_page_on_moving_over_returns_rows() {
    let w = FakeW::new("sed \"s/00:16/$(date -u +%H:%M)/\" $TABLE");
    let exporter = Exporter::of(&w.command(), &["--metrics.command=name"]);
    // A host where nobody is logged in, one where `w` fails, and one that answers only at first.
    let empty = format!("cat {}", fixture("captures/debian12-procps-4.0.2/none.plain.txt"));
    let empty = Exporter::of(&empty, &[]);
    let failing = Exporter::of("false", &[]);
    let gone = Exporter::of(&w.command(), &["--metrics.command=name"]);
    let addresses = [&exporter, &empty, &failing, &gone].map(|exporter| exporter.address.clone());
    let prometheus = Prometheus::scraping(&addresses.join("', '"), "");
    until("all hosts", || prometheus.query("what_up").len() == addresses.len());
    drop(gone);
    until("the end of one", || prometheus.query("up == 0").len() == 1);

    let dashboard: Value = serde_json::from_str(&contrib("grafana/dashboard.json")).unwrap();
    assert!(!contrib("grafana/dashboard.json").contains("=~\\\"what"), "a job's name");
    let mut ids = Vec::new();
    let mut answers = serde_json::Map::new();
    for panel in panels() {
        let kind = panel["type"].as_str().unwrap();
        assert!(!ids.contains(&panel["id"]), "a second panel {}", panel["id"]);
        ids.push(panel["id"].clone());
        let queries = queries(&panel);
        assert!(kind == "row" || !queries.is_empty(), "{panel}");
        let mut results = serde_json::Map::new();
        for (name, query) in queries {
            until(&format!("rows for {}: {query}", panel["title"]), || {
                !prometheus.query(&query).is_empty()
            });
            results.insert(name, prometheus.query(&query).into());
        }
        answers.insert(panel["id"].to_string(), results.into());
    }
    println!("{} panels", ids.len());
    let annotations = dashboard["annotations"]["list"].as_array().unwrap();
    let logins = annotations.iter().find(|annotation| annotation["name"] == "Logins").unwrap();
    let query = filled(logins["target"]["expr"].as_str().unwrap());
    until(&format!("rows for {query}"), || !prometheus.query(&query).is_empty());
    let page = contrib("migrating-from-node.md");
    let queries = page
        .split("```promql\n")
        .skip(1)
        .flat_map(|rest| rest.split("```").next().unwrap().lines());
    let queries: Vec<&str> = queries.collect();
    println!("{} queries on the page", queries.len());
    assert!(!queries.is_empty());
    for query in queries {
        until(&format!("rows for {query}"), || !prometheus.query(query).is_empty());
    }
    // The queries that fill the variables for jobs and hosts.
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    for (name, query) in [
        ("job", "label_values(what_up, job)"),
        ("instance", "label_values(what_up{job=~\"$job\"}, instance)"),
    ] {
        let variable = variables.iter().find(|variable| variable["name"] == name).unwrap();
        assert_eq!(variable["query"]["query"], query);
        let hosts = prometheus.query("what_up");
        assert!(hosts.iter().all(|host| !host["metric"][name].is_null()), "{hosts:?}");
    }

    let tables = checked_by_grafana(&answers);
    println!("{tables:#}");
    let mut unseen: Vec<(&str, &str)> = tables["Hosts that cannot be seen"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["Host"].as_str().unwrap(), row["Reason"].as_str().unwrap()))
        .filter(|(_, reason)| !reason.starts_with("does not see"))
        .collect();
    unseen.sort_unstable_by_key(|(_, reason)| *reason);
    let expected = [(&*addresses[3], "exporter does not answer"), (&*addresses[2], "w fails")];
    assert_eq!(unseen, expected);
    for title in ["Newest $top sessions", "All sessions of the selected hosts"] {
        let rows = tables[title].as_array().unwrap();
        assert_eq!(rows.len(), 3, "{title}");
        let vim = rows.iter().find(|row| row["Terminal"] == "pts/0").unwrap();
        for (column, value) in [
            ("Host", Value::from(&*exporter.address)),
            ("User", "alice".into()),
            ("From", "203.0.113.7".into()),
            ("Command", "vim".into()),
            ("Idle", 73.into()),
            ("Sessions", 1.into()),
        ] {
            assert_eq!(vim[column], value, "{title}: {column}");
        }
        assert!(vim["Since"].as_u64().unwrap() > 1_700_000_000_000, "{title}: {vim}");
    }
}

/// Grafana's packages check the dashboard, and make the tables that it would show for these
/// answers.
fn checked_by_grafana(answers: &serde_json::Map<String, Value>) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packages = Command::new(root.join(".ci/grafana")).output().unwrap();
    assert!(packages.status.success(), "{packages:?}");
    let packages = String::from_utf8(packages.stdout).unwrap();
    let folder = folder();
    for file in ["package.json", "check.mjs", "types.d.ts", "tsconfig.json"] {
        fs::copy(root.join("contrib/grafana/check").join(file), folder.join(file)).unwrap();
    }
    symlink(Path::new(packages.trim()).join("node_modules"), folder.join("node_modules")).unwrap();
    fs::write(folder.join("answers.json"), serde_json::to_vec(answers).unwrap()).unwrap();
    let dashboard = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/grafana/dashboard.json");
    let output = Command::new("node")
        .arg(folder.join("check.mjs"))
        .arg(dashboard)
        .arg(folder.join("answers.json"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Five hundred hosts, each with ten sessions of different users from different addresses.
#[test]
#[ignore = "needs Debian's prometheus"]
fn the_dashboard_stays_readable_with_five_hundred_hosts() {
    let mut text = String::new();
    for host in 0..500 {
        let labels = format!("job=\"what\",instance=\"host{host}\"");
        for (sample, value) in [
            ("what_up{version=\"1\",", 1),
            ("what_users_currently_active{", 10),
            ("what_w_duration_seconds{", 1),
            ("what_w_last_success_timestamp_seconds{", 1_700_000_000),
            ("what_w_runs_total{outcome=\"ok\",", 7),
            ("what_exporter_build_info{version=\"1\",target=\"x\",rustc=\"1\",", 1),
            ("what_session_source_visible{source=\"session_files\",", 1),
            ("what_sessions_currently_active{origin=\"local\",", 0),
            ("what_sessions_currently_active{origin=\"remote\",", 10),
            ("process_resident_memory_bytes{", 1_000_000),
            ("process_cpu_seconds_total{", 1),
        ] {
            text += &format!("{sample}{labels}}} {value}\n");
        }
        for user in 0..10 {
            text += &format!(
                "what_user_sessions_currently_active{{user=\"u{host}-{user}\",{labels}}} 1\n"
            );
            for (sample, value) in [
                ("currently_active", 1),
                ("login_timestamp_seconds", 1_700_000_000),
                ("idle_seconds", 60),
            ] {
                text += &format!(
                    "what_each_session_{sample}{{user=\"u{host}-{user}\",ip=\"10.{}.{}.{user}\",tty=\"pts/{user}\",{labels}}} {value}\n",
                    host / 250,
                    host % 250
                );
            }
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // Lives as long as the test.
    thread::spawn(move || {
        listener.incoming().flatten().for_each(|mut stream| {
            let _ = stream.read(&mut [0; 4096]);
            let _ = write!(stream, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n{text}");
        });
    });
    let prometheus = Prometheus::scraping(&address, "    honor_labels: true\n");
    until("all hosts", || prometheus.query("what_up").len() == 500);
    until("rates", || !prometheus.query("rate(what_w_runs_total[10s])").is_empty());
    for panel in panels() {
        let title = panel["title"].as_str().unwrap();
        for (_, query) in queries(&panel) {
            let rows = prometheus.query(&query).len();
            assert!(rows <= 10 || title.starts_with("All sessions"), "{title}: {rows} rows");
        }
    }
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
    let source = format!("deb [signed-by={key}] http://deb.debian.org/debian forky main\n");
    fs::write(folder.join("sources.list"), source).unwrap();
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.args(arguments).env("APT_CONFIG", folder.join("apt.conf")).current_dir(&folder);
        let output = apt.output().unwrap();
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
    // VictoriaMetrics evaluates no rules.
    let before = with(before, &[("  evaluation_interval: 1s\n", "")]);
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
            for (_, query) in queries(&panel) {
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
    for file in RULES.iter().chain(&["alerts_test.yml", "alerts_without_site_test.yml"]) {
        fs::write(folder.join(file), contrib(&format!("prometheus/{file}"))).unwrap();
    }
    for file in ["alerts_test.yml", "alerts_without_site_test.yml"] {
        let promtool = Command::new(forky("promtool"))
            .args(["test", "rules", file])
            .current_dir(&folder)
            .output()
            .unwrap();
        assert!(promtool.status.success(), "{promtool:?}");
    }
}
