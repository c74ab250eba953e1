//! Compares the man page with `--help`, and checks it with mandoc.

use std::{fs, process::Command};

use crate::harness::run;

const PAGE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/man/prometheus-what-active-users-exporter.1");

/// A flag and its description.
#[derive(Debug, PartialEq, Eq)]
struct Flag {
    /// `--listen.host HOST`, or `-V, --version`.
    names: String,
    /// What it does, in words.
    help: String,
    /// `EXPORTER_LISTEN_HOST, default 127.0.0.1`, if it has a variable.
    variable: String,
}

fn flags_of_help() -> Vec<Flag> {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    let (_, flags) = help.split_once("Flags").unwrap();
    let (flags, _) = flags.split_once("\n\n").unwrap();
    let flags = flags.split("\n  -").skip(1).map(|flag| {
        let mut lines = flag.lines().map(str::trim);
        let names = format!("-{}", lines.next().unwrap());
        let (variables, words): (Vec<_>, Vec<_>) = lines.partition(|line| line.starts_with('['));
        let variable = variables.concat().trim_matches(['[', ']']).to_owned();
        Flag { names, help: words.join(" "), variable }
    });
    flags.collect()
}

/// Of mdoc: an item begins with `.It Fl`, plain lines are text, and `.Pq Ev` names the variable.
/// What follows it is the page's own.
fn flags_of_page() -> Vec<Flag> {
    let page = fs::read_to_string(PAGE).unwrap();
    let items = page.split("\n.It Fl ").skip(1).map(|item| {
        let mut lines = item.lines();
        let names = lines.next().unwrap().replace(" , ", ", -").replace("Ar ", "");
        let lines: Vec<&str> = lines.collect();
        let words = lines.iter().take_while(|line| !line.starts_with('.')).copied();
        let variable = lines.iter().find_map(|line| line.strip_prefix(".Pq Ev "));
        let variable = variable.unwrap_or_default().trim_end_matches(" .");
        let variable = variable.replace(" , No default Ql ", ", default ");
        Flag { names: format!("-{names}"), help: words.collect::<Vec<_>>().join(" "), variable }
    });
    items.collect()
}

#[test]
fn it_has_the_flags_of_the_help_in_the_same_words() {
    let flags = flags_of_help();
    assert!(flags.len() > 10, "{flags:#?}");
    let page = flags_of_page();
    assert_eq!(page.len(), flags.len(), "{page:#?}");
    for (in_page, in_help) in page.iter().zip(&flags) {
        assert_eq!(in_page, in_help);
    }
}

#[test]
#[ignore = "needs Debian's mandoc"]
fn mandoc_finds_no_fault_in_the_man_page() {
    let output = Command::new("mandoc").args(["-T", "lint", PAGE]).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    // Which other pages there are depends on what is installed.
    let of_others = |line: &&str| {
        line.contains("outdated mandoc.db") || line.contains("referenced manual not found")
    };
    let said: Vec<&str> = said.lines().filter(|line| !of_others(line)).collect();
    assert!(said.is_empty(), "{said:#?}");
}
