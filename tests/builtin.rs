//! Reads what was copied from booted machines with real logins, `fixtures/builtin`: logind's files,
//! utmp, and of `/proc` what the built-in `w` reads. Compares the metrics with the golden file of the
//! same name, and the table with what the machine's own `w -i` printed at the same moment.
//!
//! `GOLDEN=rewrite cargo test --test builtin` writes the golden files; `git diff` is the review.
//!
//! | file | holds |
//! |---|---|
//! | `SYSTEM.txt` | the files: a line `== PATH` before each, `␀` for a zero |
//! | `SYSTEM.w` | what `w -i` printed |
//! | `SYSTEM.utmp` | `/run/utmp`; `.utmps`: the same logins in records of 400 bytes |
//! | `.prom` | the golden metrics |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use what::{
    builtin::{self, Extras},
    calendar::Span,
    clock::Moment,
    exposition::Format,
    metrics::{self, Options},
    session::{self, CommandShown},
    snapshot::{Listing, Snapshot},
    table::{self, Row},
};

/// The systems whose `w` reads logind, and those whose `w` reads utmp.
const OF_LOGIND: [&str; 2] = ["debian-13-systemd-257", "debian-forky-systemd-262"];
const OF_UTMP: [&str; 2] = ["debian-11-systemd-247", "debian-12-systemd-252"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/builtin").join(name)
}

/// A folder that holds the files of a system, as its root. Each test has its own.
fn root(test: &str, system: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{system}"));
    let _ = fs::remove_dir_all(&root);
    let files = fs::read_to_string(fixture(&format!("{system}.txt"))).unwrap();
    for file in files.split("== ").skip(1) {
        let (path, text) = file.split_once('\n').unwrap();
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // A line feed ends what has none.
        let text = text.replace('␀', "\0");
        fs::write(path, text.strip_suffix("\0\n").unwrap_or(&text)).unwrap();
    }
    root
}

/// The same without logind, and with this utmp.
fn root_of_utmp(test: &str, system: &str, utmp: &str, path: &str) -> PathBuf {
    let root = root(test, system);
    fs::remove_dir_all(root.join("run")).unwrap();
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::copy(fixture(utmp), path).unwrap();
    root
}

fn printed(root: &Path) -> Vec<u8> {
    builtin::table(root, Extras { what: true, unlisted: true }).unwrap()
}

/// The metrics of the sessions of a table.
fn answer(printed: &[u8]) -> String {
    let table = table::read(printed).unwrap();
    let now = Moment { instant: Instant::now(), unix: Duration::from_secs(1_795_900_000) };
    let run = Span { began: 1_795_900_000, ended: 1_795_900_000 };
    let listing = Listing {
        sessions: session::of_table(&table, run, CommandShown::Full),
        users_reported: table.users_reported,
        lists_fewer: table.lists_fewer_than_it_counts(),
        visibility: None,
        in_utc: table.is_in_utc(run),
    };
    let snapshot = Snapshot {
        began: now,
        ended: now,
        result: Ok(listing),
        runs: [0, 1, 0, 0],
        last_success: Some(now),
        process: None,
    };
    let options =
        Options { prefix: "what".to_owned(), timestamps: false, command: CommandShown::Full };
    let text = [Format::Text, Format::OpenMetrics]
        .map(|format| String::from_utf8(metrics::render(format, &options, &snapshot)).unwrap());
    let [text, openmetrics] = text;
    let is_info = openmetrics.contains("# TYPE what_each_session info\n");
    assert_eq!(is_info, text.contains("# TYPE what_each_session_info gauge\n"));
    let sessions = text.split("# HELP what_up").next().unwrap();
    sessions.split_inclusive('\n').filter(|line| !line.starts_with("# HELP")).collect()
}

fn is_as_golden(name: &str, printed: &[u8]) {
    let golden = fixture(&format!("{name}.prom"));
    let answer = answer(printed);
    if std::env::var("GOLDEN").is_ok_and(|value| value == "rewrite") {
        fs::write(&golden, &answer).unwrap();
    }
    assert_eq!(answer, fs::read_to_string(&golden).unwrap(), "{name}");
}

#[test]
fn metrics_of_logind_are_as_golden() {
    for system in OF_LOGIND.into_iter().chain(OF_UTMP) {
        let printed = printed(&root("golden", system));
        is_as_golden(system, &printed);
        assert!(printed.ends_with(b"\nunlisted logins: 0\n"), "{system}");
    }
}

#[test]
fn metrics_of_utmp_are_as_golden_and_the_same_for_both_sizes_of_records() {
    for system in OF_UTMP {
        let utmp = utmp_of(system);
        is_as_golden(&utmp, &printed(&root_of_utmp("utmp", system, &utmp, "run/utmp")));
    }
    let [system, utmp, utmps] = ["debian-12-systemd-252", "debian-12.utmp", "debian-12.utmps"];
    let table = printed(&root_of_utmp("384", system, utmp, "run/utmp"));
    for path in ["var/run/utmp", "run/utmps/utmp"] {
        for utmp in [utmp, utmps] {
            let root = root_of_utmp("sizes", system, utmp, path);
            assert_eq!(printed(&root).escape_ascii().to_string(), table.escape_ascii().to_string());
        }
    }
}

fn utmp_of(system: &str) -> String {
    format!("{}.utmp", system.split("-systemd").next().unwrap())
}

/// What both tell of a session. LOGIN@ tells the minute, and its own PCPU is not ours.
fn told(row: &Row) -> String {
    let run = Span { began: 1_795_896_000, ended: 1_795_896_000 };
    let minute = row.login.and_then(|login| login.time(run)).unwrap().unix / 60;
    let [user, tty, from, what] =
        [row.user, row.tty, row.from, row.what.unwrap()].map(|text| text.escape_ascii());
    let cpu = row.cpu.map(|cpu| cpu.duration);
    format!("{user}, {tty}, {from}, {minute}, {cpu:?}, {what}")
}

fn sorted(printed: &[u8]) -> Vec<String> {
    let table = table::read(printed).unwrap();
    let mut rows: Vec<String> = table.rows.iter().map(told).collect();
    rows.sort();
    rows
}

#[test]
fn each_session_is_as_the_machines_own_w_shows_it() {
    let of_logind = OF_LOGIND.map(|system| (system, root("compared", system)));
    let of_utmp = OF_UTMP
        .map(|system| (system, root_of_utmp("compared", system, &utmp_of(system), "run/utmp")));
    for (system, root) in of_logind.into_iter().chain(of_utmp) {
        let theirs = fs::read(fixture(&format!("{system}.w"))).unwrap();
        assert_eq!(sorted(&printed(&root)), sorted(&theirs), "{system}");
    }
}
