//! The built-in `w`: when it runs, how it finds itself, and how its table differs from that of
//! procps on the same logins. `tests/builtin.rs` reads what was copied from booted machines, and
//! `booted::builtin` boots them.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use what::{
    calendar::Span,
    table::{self, Row},
};

use crate::harness::{
    Exporter, FakeW, PROGRAM, copy_program, folder, program, samples, until, without_variables,
    write_script,
};

/// The log line of a default command without a `w`.
const STANDS_IN: &str = "there is no w in PATH, so the built-in one runs";

/// Whether this system has a source for the built-in `w`.
fn has_source() -> bool {
    program().arg("w").output().unwrap().status.success()
}

#[test]
fn where_no_w_is_installed_it_runs_and_one_line_says_so() {
    let output = program().env("PATH", folder()).arg("--once").output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.lines().next().unwrap().contains(STANDS_IN), "{log}");
    let metrics = String::from_utf8(output.stdout).unwrap();
    let up = samples(&metrics, "up")[0].ends_with(" 1");
    assert_eq!((up, output.status.code()), (has_source(), Some(i32::from(!has_source()))));
    if up {
        assert_eq!(samples(&metrics, "users_reported"), [""; 0]);
        let unseen = samples(&metrics, "session_source_visible");
        let unseen = unseen.iter().filter(|source| source.ends_with(" 0")).count();
        assert!(log.lines().count() == 1 || unseen > 0, "{log}");
    } else {
        assert!(log.contains("mount /run/systemd/sessions"), "{log}");
    }
}

#[test]
fn it_never_replaces_a_command_that_is_set() {
    let mut command = program();
    let output = command.env("PATH", folder()).args(["--once", "--w.command", "w -i"]).output();
    let output = output.unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("w not found in PATH") && !log.contains(STANDS_IN), "{log}");
}

#[test]
fn an_installed_w_takes_over_from_it() {
    let bin = folder();
    let exporter = Exporter::start(program().env("PATH", &bin).arg("--scrape.interval=0"));
    exporter.metrics();
    exporter.metrics();
    let stands_in = || exporter.log().iter().filter(|line| line.contains(STANDS_IN)).count();
    assert_eq!(stands_in(), 1);
    let fake = FakeW::new("/bin/cat $TABLE");
    write_script(&bin.join("w"), &format!("#!/bin/sh\n. {}/w\n", fake.folder.display()));
    let metrics = exporter.metrics();
    assert!(metrics.contains("user=\"alice\""), "{metrics}");
    assert!(exporter.log().iter().any(|line| line.contains("there is a w in PATH now")));
    fs::remove_file(bin.join("w")).unwrap();
    exporter.metrics();
    until("the built-in one again", || stands_in() == 2);
}

#[test]
fn it_is_found_after_the_program_has_been_replaced_or_removed() {
    let own = folder().join("exporter");
    copy_program(PROGRAM, &own);
    let mut command = Command::new(&own);
    let exporter = Exporter::start(command.args(["--w.command=builtin", "--scrape.interval=0"]));
    fs::remove_file(own).unwrap();
    let metrics = exporter.metrics();
    assert_eq!(samples(&metrics, "up")[0].ends_with(" 1"), has_source(), "{:?}", exporter.log());
}

#[test]
fn started_through_the_dynamic_linker_it_says_that_it_cannot_find_itself() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut files = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let Some(linker) = files.find(|file| file.contains("/ld-")) else { return };
    let mut command = without_variables(Command::new(linker));
    let output = command.args([PROGRAM, "--once", "--w.command=builtin"]).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), log.lines().count()), (Some(1), 1), "{log}");
    assert!(log.contains("started through") && log.contains(linker), "{log}");
}

/// Runs a script, in which `$W` is the program, in a folder where these logins are in utmp. They are
/// for `logged_in.py`.
fn logged_in(logins: &[[&str; 4]], script: &str) -> PathBuf {
    let folder = folder();
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/builtin/logged_in.py");
    let script = format!("cd {}; W={PROGRAM}; {script}", folder.display());
    let mut command = Command::new("python3");
    let mut running =
        command.args([python, "sh", "-ec", &script]).stdin(Stdio::piped()).spawn().unwrap();
    let lines: String = logins.iter().map(|login| format!("{}\n", login.join("\t"))).collect();
    running.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(running.wait().unwrap().success());
    folder
}

/// Runs both on the same logins: procps and the built-in one.
fn both(logins: &[[&str; 4]]) -> [Vec<u8>; 2] {
    let folder = logged_in(
        logins,
        "export PROCPS_USERLEN=32 PROCPS_FROMLEN=256 COLUMNS=512 TZ=UTC0 LC_ALL=C
         $W w --what >builtin; w -i >procps",
    );
    ["procps", "builtin"].map(|file| fs::read(folder.join(file)).unwrap())
}

const MINUTE: &str = "60";
const YEAR: &str = "31536000";

/// User, host, address and age of logins of which both tell the same.
const SAME: [[&str; 4]; 8] = [
    ["v4*", "ws.example.com", "203.0.113.7", MINUTE],
    ["v6", "ws.example.com", "2001:db8::7", MINUTE],
    ["mapped", "ws.example.com", "::ffff:203.0.113.7", "40000"],
    ["display", "ws.example.com:10.0", "203.0.113.9", "500000"],
    ["interface", "fe80::1%eth0", "fe80::1", "600000"],
    ["console", "", "", MINUTE],
    ["name", "ws.example.com", "", MINUTE],
    ["gone?", "ws.example.com", "203.0.113.7", MINUTE],
];

#[test]
#[ignore = "needs root and Debian's procps and python3"]
fn it_tells_the_same_as_procps_of_the_same_logins() {
    let [procps, builtin] = both(&SAME);
    let (procps, builtin) = (table::read(&procps).unwrap(), table::read(&builtin).unwrap());
    // The one that has no process any more is not listed.
    assert_eq!((procps.rows.len(), builtin.rows.len()), (SAME.len() - 1, SAME.len() - 1));
    for theirs in &procps.rows {
        let ours = builtin.rows.iter().find(|row| row.user == theirs.user).unwrap();
        assert_eq!((ours.tty, ours.from, ours.what), (theirs.tty, theirs.from, theirs.what));
        assert_eq!(ours.cpu, theirs.cpu);
        let (theirs_idle, ours_idle) = (theirs.idle.unwrap().duration, ours.idle.unwrap().duration);
        assert!(ours_idle.abs_diff(theirs_idle).as_secs_f64() <= 2.0, "{ours:?}");
        let (theirs, ours) = (login(theirs), login(ours));
        // As exactly as LOGIN@ tells it: the minute, the hour or the day.
        assert!(ours - theirs < 86_400 && ours / 60 >= theirs / 60, "{ours} {theirs}");
    }
    let busy = builtin.rows.iter().find(|row| row.user == b"v4").unwrap();
    assert!(!busy.cpu.unwrap().duration.is_zero(), "{busy:?}");
}

fn login(row: &Row) -> i64 {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs().try_into().unwrap();
    row.login.unwrap().time(Span { began: now - 60, ended: now }).unwrap().unix
}

#[test]
#[ignore = "needs root and Debian's procps and python3"]
fn it_differs_from_procps_only_where_procps_is_wrong() {
    let long = "domain-user-with-a-name-of-32-by";
    let [procps, builtin] = both(&[
        ["blank", "203.0.113.9 via mosh [812]", "", MINUTE],
        ["year*", "", "", YEAR],
        ["unknown!", "", "", MINUTE],
        [long, "", "", MINUTE],
    ]);
    let (procps, builtin) = (table::read(&procps).unwrap(), table::read(&builtin).unwrap());
    let find = |table: &table::Table, user: &str| {
        let row = table.rows.iter().find(|row| row.user == user.as_bytes());
        row.map(|row| (row.from.escape_ascii().to_string(), login(row)))
    };
    // A host is cut at a blank.
    let whole = "203.0.113.9 via mosh [812]";
    assert_eq!(find(&builtin, "blank").unwrap().0, whole);
    assert_eq!(find(&procps, "blank").unwrap().0, "203.0.113.9-");
    // A year ago is printed as today.
    let since = find(&procps, "year").unwrap().1 - find(&builtin, "year").unwrap().1;
    assert!((31_449_600..31_622_400).contains(&since), "{since}");
    // A user whom the system does not know is left out.
    assert_eq!((find(&procps, "unknown"), find(&builtin, "unknown").is_some()), (None, true));
    // Both show 32 bytes, which is what utmp has room for.
    assert!(find(&procps, long).is_some() && find(&builtin, long).is_some());
}

#[test]
#[ignore = "needs root and Debian's procps and python3"]
fn on_a_terminal_the_table_has_its_tabs_and_other_control_characters_are_visible() {
    let logins = [["alice", "ws\u{202e}.example.com", "", MINUTE]];
    let folder = logged_in(&logins, "script -qec \"$W w\" /dev/null >shown");
    let shown = fs::read_to_string(folder.join("shown")).unwrap().replace("\r\n", "\n");
    let table = table::read(shown.as_bytes()).unwrap();
    assert!(table.rows.len() == 1 && table.rows[0].from == br"ws\u{202e}.example.com", "{shown}");
}

#[test]
#[ignore = "needs root and Debian's procps and python3"]
fn no_user_blinds_the_exporter_with_the_times_of_a_terminal() {
    let folder = logged_in(
        &[["alice", "", "203.0.113.7", MINUTE], ["bob", "", "203.0.113.8", MINUTE]],
        "touch -a -d @-9000000000 /dev/$($W w | grep ^alice | cut -f 2)
         $W --once --w.command builtin >metrics",
    );
    let metrics = fs::read_to_string(folder.join("metrics")).unwrap();
    assert!(samples(&metrics, "up")[0].ends_with(" 1"), "{metrics}");
    assert_eq!(samples(&metrics, "each_session_currently_active").len(), 2, "{metrics}");
    let idle = samples(&metrics, "each_session_idle_seconds");
    assert!(idle.len() == 1 && idle[0].contains("bob"), "{metrics}");
}

#[test]
#[ignore = "needs root and Linux namespaces"]
fn a_login_that_only_utmp_has_is_noticed_also_if_its_process_is_hidden() {
    // In another PID namespace, utmp's numbers say nothing.
    if fs::read_link("/proc/self/ns/pid").unwrap() != Path::new("pid:[4026531836]") {
        return;
    }
    let record = folder().join("utmp");
    let recorded = |user: &str| {
        let mut record = [0; 384];
        let fields: [(usize, &[u8]); 5] = [
            (0, &7i16.to_ne_bytes()),
            (4, &std::process::id().to_ne_bytes()),
            (8, b"pts/7"),
            (44, user.as_bytes()),
            (340, &1_795_478_400i32.to_ne_bytes()),
        ];
        for (at, bytes) in fields {
            record[at..at + bytes.len()].copy_from_slice(bytes);
        }
        record
    };
    let alice = "UID=1000\nUSER=alice\nSTATE=active\nCLASS=user\nREALTIME=1795478400123456\n";
    for (user, seen) in [("bob", " 0"), ("alice", " 1")] {
        fs::write(&record, recorded(user)).unwrap();
        let script = format!(
            "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/sessions && cp {PROGRAM} /run/exporter
             cp {} /run/utmp && printf '{alice}' >/run/systemd/sessions/1
             mount -t proc -o hidepid=2 proc /proc
             exec setpriv --reuid 65534 --regid 65534 --clear-groups \\
                 /run/exporter --once --w.command builtin",
            record.display()
        );
        let mut unshare = without_variables(Command::new("unshare"));
        let output = unshare.args(["--mount", "sh", "-ec", &script]).output().unwrap();
        let metrics = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{metrics}");
        let records = samples(&metrics, "session_source_visible{source=\"login_records\"}");
        assert!(records.len() == 1 && records[0].ends_with(seen), "{user}: {metrics}");
    }
}

#[test]
#[ignore = "needs root and Linux namespaces"]
fn without_a_source_it_fails_and_says_what_to_mount() {
    let script = format!("mount -t tmpfs tmpfs /run && exec {PROGRAM} --once --w.command builtin");
    let mut unshare = without_variables(Command::new("unshare"));
    let output = unshare.args(["--mount", "sh", "-c", &script]).output().unwrap();
    let (metrics, log) = (output.stdout, String::from_utf8(output.stderr).unwrap());
    let metrics = String::from_utf8(metrics).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(metrics.contains("what_w_runs_total{outcome=\"failed\"} 1"), "{metrics}");
    assert!(
        log.contains("in a container, mount /run/systemd/sessions or /run/utmp of the host"),
        "{log}"
    );
    assert_eq!(log.lines().count(), 1, "{log}");
}

/// Runs the program on these session files of logind, without their processes.
fn once_with(sessions: &[(&str, &str)]) -> (String, String) {
    let folder = folder();
    for (id, file) in sessions {
        fs::write(folder.join(id), file).unwrap();
    }
    // Named pipes stand beside them, and nobody writes to them.
    let script = format!(
        "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/sessions && cp {}/* /run/systemd/sessions
         mkfifo /run/systemd/sessions/1.ref && exec {PROGRAM} --once --w.command builtin",
        folder.display()
    );
    let mut unshare = without_variables(Command::new("unshare"));
    let output = unshare.args(["--mount", "sh", "-c", &script]).output().unwrap();
    [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).into()
}

#[test]
#[ignore = "needs root and Linux namespaces"]
fn sessions_whose_processes_cannot_be_seen_are_listed_with_what_logind_knows() {
    let user = r"CORP\alice-with-a-name-of-more-than-32-bytes";
    let file = format!(
        "UID=1000\nUSER={user}\nSTATE=active\nREMOTE=1\nTYPE=tty\nCLASS=user\nSCOPE=session-1.scope\n\
         REMOTE_HOST=203.0.113.7\nSERVICE=sshd\nLEADER=1\nREALTIME=1795478400123456\n"
    );
    let greeter = file.replace("CLASS=user", "CLASS=greeter");
    let (metrics, log) = once_with(&[("1", &file), ("c2", &greeter)]);
    let user = r#"ip="203.0.113.7",user="CORP\\alice-with-a-name-of-more-than-32-bytes",tty="""#;
    assert_eq!(
        samples(&metrics, "each_session"),
        [
            format!("each_session_currently_active{{{user}}} 1"),
            format!("each_session_login_timestamp_seconds{{{user}}} 1795478400"),
            format!(
                "each_session_info{{{user},service=\"sshd\",type=\"tty\",class=\"user\",seat=\"\"}} 1"
            ),
        ],
        "{metrics}"
    );
    let sources = samples(&metrics, "session_source_visible");
    assert_eq!(sources.len(), 4, "{metrics}");
    assert!(sources.iter().all(|source| source.ends_with(" 1")), "{sources:?}");
    assert_eq!(log, "");
}

#[test]
#[ignore = "needs root and Linux namespaces"]
fn a_session_file_that_lacks_what_it_must_have_is_an_error() {
    for (file, said) in [
        ("CLASS=user\nREALTIME=1795478400123456\n", "/run/systemd/sessions/1: it has no USER"),
        ("USER=alice\nREALTIME=1795478400123456\n", "/run/systemd/sessions/1: it has no CLASS"),
        ("USER=alice\nCLASS=user\n", "/run/systemd/sessions/1: it has no login time"),
    ] {
        let (metrics, log) = once_with(&[("1", file)]);
        assert!(samples(&metrics, "up")[0].ends_with(" 0") && log.contains(said), "{log}");
        assert_eq!(samples(&metrics, "each_session"), [""; 0]);
        assert_eq!(log.lines().count(), 1, "{log}");
    }
}
