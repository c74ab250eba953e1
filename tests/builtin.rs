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
    fs::{self, File, FileTimes},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{Config, TestRunner},
};
use rustix::{
    fd::OwnedFd,
    process::getuid,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use what::{
    builtin::{self, Extras},
    calendar::Span,
    clock::{self, Moment},
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
    let now = Moment { unix: Duration::from_secs(1_795_900_000), ..clock::system() };
    let run = Span { began: 1_795_900_000, ended: 1_795_900_000 };
    let listing = Listing {
        sessions: session::of_table(&table, run, CommandShown::Full),
        users_reported: table.users_reported,
        lists_fewer: table.lists_fewer_than_it_counts(),
        visibility: None,
        in_utc: table.is_in_utc(run),
    };
    let snapshot = Snapshot {
        ended: now,
        took: None,
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

/// alice as utmp has her on Debian 12, on a terminal of this test, with this control group.
struct Alice {
    root: PathBuf,
    terminal: PathBuf,
    _master: OwnedFd,
}

impl Alice {
    fn log_in(test: &str, cgroup: &str) -> Alice {
        let root = root_of_utmp(test, "debian-12-systemd-252", "debian-12.utmp", "run/utmp");
        fs::write(root.join("proc/88/cgroup"), cgroup).unwrap();
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let terminal = PathBuf::from(ptsname(&master, Vec::new()).unwrap().to_str().unwrap());
        fs::create_dir_all(root.join("dev/pts")).unwrap();
        symlink(&terminal, root.join("dev/pts/0")).unwrap();
        Alice { root, terminal, _master: master }
    }

    /// Her idle time, if somebody typed at this moment.
    fn idle(&self, typed: SystemTime) -> Option<u64> {
        let times = FileTimes::new().set_accessed(typed);
        File::open(&self.terminal).unwrap().set_times(times).unwrap();
        let printed = printed(&self.root);
        let table = table::read(&printed).unwrap();
        let row = table.rows.iter().find(|row| row.tty == b"pts/0").unwrap();
        assert_eq!(row.user, b"alice");
        row.idle.map(|idle| idle.duration.as_secs())
    }
}

#[test]
fn an_odd_access_time_of_a_terminal_costs_its_idle_time_and_nothing_else() {
    let alice = Alice::log_in("odd", "");
    let seconds = Duration::from_secs;
    let idle = alice.idle(SystemTime::now() - seconds(61)).unwrap();
    assert!((61..=90).contains(&idle), "{idle}");
    // Somebody types after the clock was read, or the clock was set back a little.
    assert_eq!(alice.idle(SystemTime::now() + seconds(30)), Some(0));
    // Every user can set these times of the own terminal.
    assert_eq!(alice.idle(SystemTime::now() + seconds(1_000_000)), None);
    assert_eq!(alice.idle(UNIX_EPOCH - seconds(2_000_000_000)), None);
    assert_eq!(alice.idle(UNIX_EPOCH - seconds(9_000_000_000)), None);
}

#[test]
fn a_terminal_of_another_user_is_not_that_of_a_login_in_utmp() {
    let own = getuid().as_raw();
    for (uid, is_own) in [(own, true), (own + 1, false)] {
        let slice = format!("0::/user.slice/user-{uid}.slice/session-1.scope\n");
        let alice = Alice::log_in(&format!("owner-{is_own}"), &slice);
        assert_eq!(alice.idle(SystemTime::now()).is_some(), is_own, "{uid}");
    }
}

#[test]
fn utmps_is_read_where_the_boot_left_an_empty_utmp() {
    let [system, utmps] = ["debian-12-systemd-252", "debian-12.utmps"];
    let root = root_of_utmp("empty", system, utmps, "run/utmps/utmp");
    let table = printed(&root);
    for path in ["run/utmp", "var/run/utmp"] {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), "").unwrap();
        assert_eq!(printed(&root).escape_ascii().to_string(), table.escape_ascii().to_string());
    }
}

/// How many logins utmp has that logind lacks, where the process of one is in this control group.
fn unlisted(root: &Path, cgroup: &str) -> Option<u64> {
    fs::write(root.join("proc/88/cgroup"), cgroup).unwrap();
    table::read(&printed(root)).unwrap().unlisted
}

#[test]
fn a_login_that_only_utmp_has_is_believed_in_a_container_only_if_its_process_is_not_of_the_container()
 {
    let root = root("foreign", "debian-12-systemd-252");
    fs::copy(fixture("debian-12.utmp"), root.join("run/utmp")).unwrap();
    let namespace = root.join("proc/self/ns/pid");
    fs::create_dir_all(namespace.parent().unwrap()).unwrap();
    symlink("pid:[4026531836]", &namespace).unwrap();
    let [container, sshd] = ["0::/\n", "0::/system.slice/ssh.service\n"];
    fs::write(root.join("proc/self/cgroup"), container).unwrap();
    assert_eq!([container, sshd].map(|cgroup| unlisted(&root, cgroup)), [Some(1); 2]);
    fs::remove_file(&namespace).unwrap();
    // The numbers of utmp are other processes here. But LXC and nspawn have an sshd of their own.
    symlink("pid:[4026532001]", &namespace).unwrap();
    assert_eq!([container, sshd].map(|cgroup| unlisted(&root, cgroup)), [Some(0), Some(1)]);
}

#[test]
fn a_login_that_only_utmp_has_counts_unless_logind_knows_its_session_or_its_user() {
    let root = root("only-utmp", "debian-12-systemd-252");
    fs::copy(fixture("debian-12.utmp"), root.join("run/utmp")).unwrap();
    let [of_session, of_user] = ["/session-37.scope", "/user.slice/user-1000.slice/x.scope"];
    for known in [of_session, of_user] {
        assert_eq!(unlisted(&root, &format!("0::{known}\n")), Some(0), "{known}");
    }
    assert_eq!(unlisted(&root, "0::/system.slice/dropbear.service\n"), Some(1));
}

#[test]
fn a_login_of_utmp_whose_process_is_gone_has_no_row_and_is_counted() {
    let [system, utmp] = ["debian-12-systemd-252", "debian-12.utmp"];
    let root = root_of_utmp("gone", system, utmp, "run/utmp");
    let rows = |root: &Path| table::read(&printed(root)).unwrap().rows.len();
    let before = rows(&root);
    fs::remove_dir_all(root.join("proc/88")).unwrap();
    assert_eq!(rows(&root), before - 1);
    assert_eq!(table::read(&printed(&root)).unwrap().unlisted, Some(1));
}

#[test]
fn a_session_that_ends_while_it_is_read_is_left_out_and_one_that_cannot_be_read_is_an_error() {
    let root = root("unreadable", "debian-12-systemd-252");
    let table = printed(&root);
    let session = root.join("run/systemd/sessions/99");
    symlink("gone", &session).unwrap();
    assert_eq!(printed(&root), table);
    fs::remove_file(&session).unwrap();
    fs::create_dir(&session).unwrap();
    let error = builtin::table(&root, Extras::default()).unwrap_err();
    assert!(format!("{error:#}").contains("/sessions/99 can't be read"), "{error:#}");
}

#[test]
fn a_login_time_that_cannot_be_is_an_error() {
    let root = root_of_utmp("times", "debian-12-systemd-252", "debian-12.utmps", "run/utmp");
    let utmp = fs::read(root.join("run/utmp")).unwrap();
    for time in [0, -1, 10_000_000_000i64] {
        let mut utmp = utmp.clone();
        for record in utmp.chunks_exact_mut(400) {
            record[344..352].copy_from_slice(&time.to_ne_bytes());
        }
        fs::write(root.join("run/utmp"), utmp).unwrap();
        let error = builtin::table(&root, Extras::default()).unwrap_err();
        assert_eq!(error.to_string(), "there is no possible login time for alice", "{time}");
    }
}

/// What is done to the bytes of a file.
#[derive(Debug, Clone)]
enum Change {
    CutOff,
    Replace(Vec<u8>),
    Insert(Vec<u8>),
}

fn changed(bytes: &[u8], at: usize, change: &Change) -> Vec<u8> {
    let (before, after) = bytes.split_at(at % (bytes.len() + 1));
    match change {
        Change::CutOff => before.to_vec(),
        Change::Replace(new) => [before, new, after.get(new.len()..).unwrap_or_default()].concat(),
        Change::Insert(new) => [before, new, after].concat(),
    }
}

fn change() -> impl Strategy<Value = Change> {
    // What has a meaning in one of the files, and anything.
    let byte = prop_oneof![proptest::sample::select(b"\n\t\0\"\\=() 0197".to_vec()), any::<u8>(),];
    let new = proptest::collection::vec(byte, 1..20);
    prop_oneof![
        Just(Change::CutOff),
        new.clone().prop_map(Change::Replace),
        new.prop_map(Change::Insert),
    ]
}

/// The files of a system that are read.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, mut files): (Vec<PathBuf>, Vec<PathBuf>) =
        entries.partition(|path| path.is_dir());
    files.extend(folders.iter().flat_map(|folder| self::files(folder)));
    files.sort();
    files
}

/// Changes a file of the system many times. The table has a row for each session, or there is an
/// error. What the exporter cannot read is never printed.
fn whatever_a_file_holds_the_table_can_be_read(root: &Path) {
    let files = files(root);
    let sessions = table::read(&printed(root)).unwrap().rows.len();
    let runner = &mut TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let case = (any::<Index>(), any::<usize>(), change());
    let result = runner.run(&case, |(file, at, change)| {
        let file = file.get(&files);
        let bytes = fs::read(file).unwrap();
        fs::write(file, changed(&bytes, at, &change)).unwrap();
        let printed = builtin::table(root, Extras { what: true, unlisted: true });
        fs::write(file, bytes).unwrap();
        if let Ok(printed) = printed {
            let table = table::read(&printed);
            prop_assert!(table.is_ok(), "{}: {}", file.display(), printed.escape_ascii());
            prop_assert!(table.unwrap().rows.len() <= sessions + 1);
        }
        Ok(())
    });
    result.unwrap();
}

#[test]
fn whatever_a_file_of_logind_or_proc_holds_the_table_can_be_read() {
    for system in OF_LOGIND {
        whatever_a_file_holds_the_table_can_be_read(&root("changed", system));
    }
}

#[test]
fn whatever_utmp_holds_the_table_can_be_read() {
    for utmp in ["debian-12.utmp", "debian-12.utmps"] {
        let root = root_of_utmp(utmp, "debian-12-systemd-252", utmp, "run/utmp");
        whatever_a_file_holds_the_table_can_be_read(&root);
    }
}
