//! The flags, variables and metrics of the Node.js exporter. A test of a promise to its users goes
//! here. The queries in the migration guide are tested with the dashboard's.

use crate::harness::{fixture, once, program, run};

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

#[test]
fn the_flags_variables_and_metrics_of_the_node_exporter_are_here() {
    let help = run(&["--help"]);
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
