//! The alert rules. Whether an alert fires is tested by promtool, in
//! `contrib/prometheus/alerts_test.yml`; a test of how rules are written goes here.

use std::{fs, process::Command};

use super::{RULES, TESTS, targets, with};
use crate::harness::{contrib, folder};

#[test]
fn every_alert_has_a_severity_and_words_and_tests() {
    let tests = TESTS.map(|file| contrib(&format!("prometheus/{file}"))).concat();
    let rules = RULES.map(|file| contrib(&format!("prometheus/{file}")));
    let alerts: Vec<&str> =
        rules.iter().flat_map(|rules| rules.split("- alert: ").skip(1)).collect();
    assert!(alerts.len() > 10, "{alerts:#?}");
    for alert in alerts {
        // What follows it can be a recording rule, or the next group.
        let alert = alert.split("- record: ").next().unwrap();
        let name = alert.lines().next().unwrap();
        for key in ["severity: ", "summary: \"", "description: \"", "runbook: \""] {
            assert_eq!(alert.matches(&format!("  {key}")).count(), 1, "{name}: {key}");
        }
        let mut lines = alert.lines();
        let description = lines.find(|line| line.trim_start().starts_with("description:")).unwrap();
        // A host that has such a session is not a session.
        let series = alert.replace("on (job, instance) what:remote_session", "");
        let of_session = ["what_each_session_", "what:remote_session", "what:session_"];
        if of_session.iter().any(|name| series.contains(name)) {
            for label in ["$labels.user", "$labels.tty", "$labels.ip"] {
                assert!(description.contains(label), "{name}: {label} is not in {description}");
            }
        }
        // It need not be a service of systemd, nor answer without TLS.
        let runbook = lines.find(|line| line.trim_start().starts_with("runbook:")).unwrap();
        for (one, other) in [("-users-exporter`", "container"), ("http://", "https://")] {
            assert!(!runbook.contains(one) || runbook.contains(other), "{name}: {runbook}");
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
    for file in RULES.iter().chain(&TESTS).chain(&["prometheus.yml", "prometheus-fleet.yml"]) {
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
    for file in TESTS {
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

/// The file of one host is fresh, that of another is old, and the third never had one.
#[test]
#[ignore = "needs Debian's prometheus"]
fn the_documented_query_for_the_textfile_collector_finds_an_old_file_and_none() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/install.md")).unwrap();
    let query = page.split("```promql\n").nth(1).and_then(|rest| rest.split("```").next());
    let query = query.expect("no query").replace('\n', " ");
    let file = "file=\"/var/lib/what.prom\"";
    let tests = format!(
        "rule_files: []
tests:
  - interval: 1m
    input_series:
      - {{ series: 'up{{job=\"node\", instance=\"fresh\"}}', values: 1x20 }}
      - {{ series: 'up{{job=\"node\", instance=\"old\"}}', values: 1x20 }}
      - {{ series: 'up{{job=\"node\", instance=\"never\"}}', values: 1x20 }}
      - {{ series: 'up{{job=\"node\", instance=\"away\"}}', values: 0x20 }}
      - {{ series: 'node_textfile_mtime_seconds{{job=\"node\", instance=\"fresh\", {file}}}', values: 0+60x20 }}
      - {{ series: 'node_textfile_mtime_seconds{{job=\"node\", instance=\"old\", {file}}}', values: 0x20 }}
    promql_expr_test:
      - expr: 'group by (instance) ({query})'
        eval_time: 10m
        exp_samples:
          - {{ labels: '{{instance=\"old\"}}', value: 1 }}
          - {{ labels: '{{instance=\"never\"}}', value: 1 }}
"
    );
    let folder = folder();
    fs::write(folder.join("test.yml"), &tests).unwrap();
    let mut promtool = Command::new("promtool");
    let output = promtool.args(["test", "rules", "test.yml"]).current_dir(&folder).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}\n{tests}", String::from_utf8_lossy(&output.stderr));
}
