//! Uses the files in `contrib` as an operator would, with Debian's Prometheus and Alertmanager.
//! A new test goes into the file that has its subject:
//!
//! - `migration`: what somebody needs who comes from the Node.js exporter.
//! - `rules`: the alert rules and their texts, read as files and by promtool.
//! - `scraping`: the scrape configurations, in several versions of Prometheus and its relatives.
//! - `dashboard`: the dashboard's queries, and the tables that Grafana makes of their answers.
//! - `notifications`: alerts on their way through Alertmanager to a receiver.
//!
//! Only what two of them use is here.

mod dashboard;
mod migration;
mod notifications;
mod rules;
mod scraping;

use std::{fs, path::Path};

use crate::harness::{contrib, folder};

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

fn targets(folder: &Path, job: &str, target: &str) {
    fs::create_dir_all(folder.join("targets").join(job)).unwrap();
    fs::write(
        folder.join("targets").join(job).join("all.yml"),
        format!("- targets: ['{target}']\n"),
    )
    .unwrap();
}
