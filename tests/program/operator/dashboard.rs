//! The dashboard for Grafana. A test of a panel, or of what Grafana makes of an answer, goes here.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    thread,
};

use serde_json::Value;

use super::{CLOCK, quick};
use crate::{
    harness::{Exporter, FakeW, contrib, fixture, folder, until},
    prometheus::Prometheus,
};

/// The panels of the dashboard, including those in collapsed rows.
pub fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(&contrib("grafana/dashboard.json")).unwrap();
    let outer = dashboard["panels"].as_array().unwrap().iter();
    let inner = |panel: &Value| panel["panels"].as_array().cloned().unwrap_or_default();
    outer.flat_map(|panel| [vec![panel.clone()], inner(panel)].concat()).collect()
}

/// The queries of a panel, as Grafana sends them with everything selected.
pub fn queries(panel: &Value) -> Vec<(String, String)> {
    queries_of(panel, ".*")
}

/// The queries of a panel with one host selected.
fn queries_of(panel: &Value, host: &str) -> Vec<(String, String)> {
    let targets = panel["targets"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    targets.map(|target| (text(&target["refId"]), filled(&text(&target["expr"]), host))).collect()
}

fn filled(query: &str, host: &str) -> String {
    let variables = [
        ("$__rate_interval", "10s"),
        ("$__range", "1m"),
        ("$instance", host),
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
    // Whatever the day and the second, no idle time is longer than since the login.
    let mallory = "s/alice    pts.5/mallory  pts\\/5/; s/Sat19  /15Oct26/";
    let now = "s/00:16    1:13   /$(date -u +%H:%M)   13.00s  /";
    let w = FakeW::new(&format!("sed \"{CLOCK}; {now}; {mallory}\" $TABLE"));
    let exporter = Exporter::of(&w.command(), &["--metrics.command=name"]);
    // A host where nobody is logged in, one where `w` fails, one that answers only at first, and one
    // that cannot see who is logged in.
    let empty = format!("cat {}", fixture("captures/debian12-procps-4.0.2/none.plain.txt"));
    let empty = Exporter::of(&empty, &[]);
    let failing = Exporter::of("false", &[]);
    let gone = Exporter::of(&w.command(), &["--metrics.command=name"]);
    let [exporter_at, empty_at, failing_at, gone_at] =
        [&exporter, &empty, &failing, &gone].map(|exporter| exporter.address.clone());
    let addresses = [exporter_at, empty_at, failing_at, gone_at, answering(BLIND.to_owned())];
    let targets = [("127.0.0.1:9839", &*addresses.join("\", \""))];
    let prometheus = Prometheus::configured(&quick("prometheus/prometheus.yml", &targets));
    until("all hosts", || prometheus.query("what_up").len() == addresses.len());
    drop(gone);
    for alert in ["WhatNewLogin", "WhatUnlistedUser", "WhatFailing", "WhatExporterDown"] {
        let firing = format!("ALERTS{{alertname='{alert}', alertstate='firing'}}");
        until(alert, || !prometheus.query(&firing).is_empty());
    }

    assert!(!contrib("grafana/dashboard.json").contains("=~\\\"what"), "a job's name");
    let answers = answers_to_every_panel(&prometheus);
    every_other_query_returns_rows(&prometheus);
    zeros_are_only_where_they_were_measured(&prometheus, &addresses);
    let tables = checked_by_grafana(&answers);
    println!("{tables:#}");
    the_first_row_shows_alerts_and_unlisted_users(&tables, &addresses);
    the_other_tables_show_hosts_and_sessions(&tables, &addresses);
}

/// A host that does not see its session files: it lists nobody.
const BLIND: &str = "what_up{version=\"1\"} 1
what_session_source_visible{source=\"session_files\"} 0
what_session_source_visible{source=\"login_records\"} 1
what_sessions_currently_active{origin=\"local\"} 0
what_sessions_currently_active{origin=\"remote\"} 0
what_users_currently_active 0
";

/// The address of an exporter that gives this answer, for as long as the test lives.
fn answering(metrics: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        listener.incoming().flatten().for_each(|mut stream| {
            let _ = stream.read(&mut [0; 4096]);
            let _ = write!(stream, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n{metrics}");
        });
    });
    address
}

fn answers_to_every_panel(prometheus: &Prometheus) -> serde_json::Map<String, Value> {
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
    answers
}

/// Those of annotations and variables, and those in the migration guide.
fn every_other_query_returns_rows(prometheus: &Prometheus) {
    let dashboard: Value = serde_json::from_str(&contrib("grafana/dashboard.json")).unwrap();
    let annotations = dashboard["annotations"]["list"].as_array().unwrap();
    let logins = annotations.iter().find(|annotation| annotation["name"] == "Logins").unwrap();
    let query = filled(logins["target"]["expr"].as_str().unwrap(), ".*");
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
}

fn the_first_row_shows_alerts_and_unlisted_users(tables: &Value, hosts: &[String; 5]) {
    // Those of severity info too.
    let firing = tables["Firing alerts"].as_array().unwrap();
    for (alert, severity, host, user) in [
        ("WhatUnlistedUser", "critical", &hosts[0], Some("mallory")),
        ("WhatNewLogin", "info", &hosts[0], Some("alice")),
        ("WhatFailing", "critical", &hosts[2], None),
        ("WhatExporterDown", "critical", &hosts[3], None),
    ] {
        let is_it = |row: &&Value| {
            (row["Alert"] == alert && row["Severity"] == severity)
                && (row["Host"] == **host && row["User"].as_str() == user)
        };
        let row = firing.iter().find(is_it).unwrap_or_else(|| panic!("no {alert}: {firing:#?}"));
        assert!(row["Since"].as_u64().unwrap() > 1_700_000_000_000, "{row}");
    }
    let unlisted = tables["Users who are not on the list"].as_array().unwrap();
    let here = unlisted.iter().find(|row| row["Host"] == *hosts[0]).unwrap();
    assert_eq!((&here["User"], &here["Terminal"]), (&"mallory".into(), &"pts/5".into()));
}

fn the_other_tables_show_hosts_and_sessions(tables: &Value, hosts: &[String; 5]) {
    let mut unseen: Vec<(&str, &str)> = tables["Hosts that cannot be seen"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["Host"].as_str().unwrap(), row["Reason"].as_str().unwrap()))
        .filter(|(_, reason)| !reason.starts_with("does not see"))
        .collect();
    unseen.sort_unstable_by_key(|(_, reason)| *reason);
    let expected = [(&*hosts[3], "exporter does not answer"), (&*hosts[2], "w fails")];
    assert_eq!(unseen, expected);
    for title in ["Newest $top sessions", "All sessions of the selected hosts"] {
        let rows = tables[title].as_array().unwrap();
        assert_eq!(rows.len(), 3, "{title}");
        let vim = rows.iter().find(|row| row["Terminal"] == "pts/0").unwrap();
        for (column, value) in [
            ("Host", Value::from(&*hosts[0])),
            ("User", "alice".into()),
            ("From", "203.0.113.7".into()),
            ("Command", "vim".into()),
            ("Idle", 13.into()),
            ("Sessions", 1.into()),
        ] {
            assert_eq!(vim[column], value, "{title}: {column}");
        }
        assert!(vim["Since"].as_u64().unwrap() > 1_700_000_000_000, "{title}: {vim}");
    }
}

/// A zero is an answer. No data is none.
fn zeros_are_only_where_they_were_measured(prometheus: &Prometheus, hosts: &[String; 5]) {
    let shown = |title: &str, host: &str| {
        let panel = panels().into_iter().find(|panel| panel["title"] == title).unwrap();
        let (_, query) = queries_of(&panel, host).remove(0);
        prometheus_says(prometheus, &query)
    };
    // Sessions are listed, nobody is logged in, `w` fails, the exporter is gone, and it is blind.
    for (title, expected) in [
        ("Users", [Some("3"), Some("0"), None, None, None]),
        ("Sessions", [Some("3"), Some("0"), None, None, None]),
        ("Remote sessions", [Some("1"), Some("0"), None, None, None]),
        ("Hosts", [Some("1"), Some("1"), Some("1"), Some("0"), Some("1")]),
        ("Hosts that cannot be seen", [Some("0"), Some("0"), Some("1"), Some("1"), Some("1")]),
        // Before it was gone, there was one.
        ("Users not on the list", [Some("1"), Some("0"), None, Some("1"), None]),
        // The critical ones.
        ("Firing alerts", [Some("2"), Some("0"), Some("1"), Some("3"), Some("0")]),
    ] {
        for (host, expected) in hosts.iter().zip(expected) {
            assert_eq!(shown(title, host).as_deref(), expected, "{title} of {host}: {hosts:?}");
        }
    }
    // Nothing is known of a host that does not exist.
    for panel in panels() {
        for (_, query) in queries_of(&panel, "nowhere") {
            assert_eq!(prometheus.query(&query), [Value::Null; 0], "{}: {query}", panel["title"]);
        }
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
    let prometheus = Prometheus::scraping(&answering(text), "    honor_labels: true\n");
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

/// Without alerts.yml nobody looks for users who are not on the list.
#[test]
#[ignore = "needs Debian's prometheus"]
fn the_dashboard_shows_no_zero_of_unlisted_users_where_alerts_yml_is_not_loaded() {
    let empty = format!("cat {}", fixture("captures/debian12-procps-4.0.2/none.plain.txt"));
    let exporter = Exporter::of(&empty, &[]);
    let all = quick("prometheus/prometheus.yml", &[("127.0.0.1:9839", &exporter.address)]);
    let without: String = all
        .lines()
        .filter(|line| !line.ends_with("alerts.yml") && !line.ends_with("alerts-remote.yml"))
        .map(|line| format!("{line}\n"))
        .collect();
    let panel = panels().into_iter().find(|panel| panel["title"] == "Users not on the list");
    let (_, query) = queries(&panel.unwrap()).remove(0);
    let [with, without] =
        [all, without].map(|configuration| Prometheus::configured(&configuration));
    until("a zero", || {
        prometheus_says(&with, &query).as_deref() == Some("0")
            && !without.query("what:allowed_user").is_empty()
            && !without.query("what_up == 1").is_empty()
    });
    assert_eq!(prometheus_says(&without, &query), None);
}

fn prometheus_says(prometheus: &Prometheus, query: &str) -> Option<String> {
    let rows = prometheus.query(query);
    rows.first().map(|row| row["value"][1].as_str().unwrap().to_owned())
}

/// The description has a command for each kind of prefix, as alerts.yml has.
#[test]
fn the_dashboards_commands_for_another_prefix_leave_no_metric_with_the_default_one() {
    let dashboard: Value = serde_json::from_str(&contrib("grafana/dashboard.json")).unwrap();
    let description = dashboard["description"].as_str().unwrap();
    let commands: Vec<&str> = description.split("sed '").skip(1).collect();
    assert_eq!(commands.len(), 2, "{description}");
    for (command, kept) in commands.iter().zip(["", "what_up"]) {
        let (script, rest) = command.split_once('\'').unwrap();
        assert!(rest.starts_with(" dashboard.json"), "{rest}");
        let output = Command::new("sed")
            .args([script, "contrib/grafana/dashboard.json"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let changed: Value = serde_json::from_slice(&output.stdout).unwrap();
        let panels = changed["panels"].to_string() + &changed["templating"].to_string();
        let left =
            panels.split("what_").skip(1).filter(|rest| kept.is_empty() || !rest.starts_with("up"));
        assert_eq!(left.count(), 0, "sed '{script}'");
        assert!(panels.contains(if kept.is_empty() { "acme_up" } else { "(what_up{" }), "{panels}");
        assert!(!panels.contains("WHAT-UP") && panels.contains("user_sessions_currently_active"));
    }
}
