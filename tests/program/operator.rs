//! Uses the files in `contrib` as an operator would, with Debian's Prometheus and Alertmanager.
//! A new test goes into the file that has its subject:
//!
//! - `migration`: what somebody needs who comes from the Node.js exporter.
//! - `rules`: the alert rules and their texts, read as files and by promtool.
//! - `scraping`: the scrape configurations, in several versions of Prometheus and its relatives.
//! - `dashboard`: the dashboard's queries, and the tables that Grafana makes of their answers.
//! - `notifications`: alerts on their way through Alertmanager to a receiver.
//!
//! `alertmanager` is a program that they use. Only what two of them use is here.

mod alertmanager;
mod dashboard;
mod migration;
mod notifications;
mod rules;
mod scraping;

use std::{fs, path::Path};

use crate::harness::{contrib, folder};

/// For `sed`: puts the present time into the first line of a table, because the test lasts longer
/// than a table stays true.
const CLOCK: &str = "1s/^ [0-9:]* / $(date -u +%T) /";

/// The files with rules.
const RULES: [&str; 3] = ["alerts.yml", "site.yml", "alerts-remote.yml"];

/// The files with promtool's tests of them.
const TESTS: [&str; 3] =
    ["alerts_test.yml", "alerts_failing_test.yml", "alerts_without_site_test.yml"];

/// Replaces words in a text. Each of them must occur.
fn with(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "no {from:?} in:\n{text}");
        text.replace(from, to)
    })
}

/// The same with every duration at a twentieth: a minute is three seconds.
fn twentieth(settings: &str) -> String {
    let shorter = |part: &str| {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = part.split_at(digits);
        let (unit, rest) = rest.split_at_checked(1)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return None,
        };
        let number: u32 = number.parse().ok()?;
        rest.starts_with([']', '\n']).then(|| format!("{}ms{rest}", number * seconds * 50))
    };
    let parts = settings.split_inclusive([' ', '[']);
    parts.map(|part| shorter(part).unwrap_or_else(|| part.to_owned())).collect()
}

/// Uncomments lines: the one that begins like this, and those below that are comments too.
fn uncommented(text: &str, first: &str) -> String {
    let indented = text.lines().find(|line| line.trim_start().starts_with(first));
    let indented = indented.unwrap_or_else(|| panic!("no {first:?} in:\n{text}"));
    let marked = &indented[..indented.len() - indented.trim_start().len() + "# ".len()];
    let (before, rest) = text.split_at(text.find(indented).unwrap());
    let commented: String =
        rest.split_inclusive('\n').take_while(|line| line.starts_with(marked)).collect();
    let plain = commented.split_inclusive('\n').map(|line| line.replacen("# ", "", 1));
    format!("{before}{}{}", plain.collect::<String>(), &rest[commented.len()..])
}

/// A configuration that scrapes every second. It loads all rules, including the optional ones, at a
/// twentieth of their durations, and sends alerts to an Alertmanager.
fn quick(name: &str, changes: &[(&str, &str)]) -> String {
    let folder = folder();
    for file in RULES {
        let rules = contrib(&format!("prometheus/{file}"));
        fs::write(folder.join(file), twentieth(&rules)).unwrap();
    }
    let text = contrib(name).replace("# - alerts-remote.yml", "- alerts-remote.yml");
    let text = uncommented(&text, "# alerting:");
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
