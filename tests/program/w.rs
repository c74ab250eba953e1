//! What `w` gets, and what happens if it fails.

use std::{
    fs,
    io::Write,
    time::{Duration, Instant, SystemTime},
};

use crate::harness::{
    Exporter, FakeW, TABLE, folder, once, program, samples, signal, until, write_script,
};

const UP_0: &str = concat!("up{version=\"", env!("CARGO_PKG_VERSION"), "\"} 0");

/// Scrapes once, and checks that the failure is counted as this outcome and that no sessions are
/// served. Returns the line of the log.
fn failure(w: &str, arguments: &[&str], outcome: &str) -> String {
    let exporter = Exporter::of(w, arguments);
    let metrics = exporter.metrics();
    assert_eq!(samples(&metrics, "up"), [UP_0], "{metrics}");
    for other in ["failed", "ok", "timeout", "unreadable"] {
        let count = u8::from(other == outcome);
        let line = format!("what_w_runs_total{{outcome=\"{other}\"}} {count}\n");
        assert!(metrics.contains(&line), "{outcome}: {metrics}");
    }
    for stale in ["user", "sessions", "each", "w_last_success"] {
        assert_eq!(samples(&metrics, stale), [""; 0], "{metrics}");
    }
    assert_eq!(exporter.children(), "");
    exporter.log().pop().unwrap()
}

#[test]
fn it_gets_an_environment_of_our_making_and_an_empty_input() {
    let fake = FakeW::new("env | sort >$DIR/environment; cat >$DIR/input; cat $TABLE");
    let mut command = program();
    command.env("SECRET", "x").env("LC_ALL", "de_DE.UTF-8").args([
        "--once",
        "--w.command",
        &fake.command(),
    ]);
    assert!(command.output().unwrap().status.success());
    let environment = fake.read("environment");
    let set: Vec<&str> = environment
        .lines()
        .filter(|line| !line.starts_with("PWD=") && !line.starts_with("_="))
        .collect();
    let path = format!("PATH={}", std::env::var("PATH").unwrap());
    // The shell adds PWD, SHLVL and _.
    let set: Vec<&str> = set
        .into_iter()
        .filter(|line| !line.starts_with("SHLVL=") && !line.starts_with("OLDPWD"))
        .collect();
    assert_eq!(
        set,
        ["COLUMNS=512", "LC_ALL=C", &path, "PROCPS_FROMLEN=256", "PROCPS_USERLEN=32", "TZ=UTC0"]
    );
    assert_eq!(fake.read("input"), "");
}

#[test]
fn it_is_run_without_a_shell() {
    let folder = folder();
    fs::write(folder.join("table"), TABLE).unwrap();
    let text = once(&["--w.command", &format!("cat  {}/t[a]ble", folder.display())]);
    assert!(text.contains(&format!("what_{UP_0}")), "{text}");
    let text = once(&["--w.command", &format!("cat  {}/table", folder.display())]);
    assert!(text.contains("user=\"alice\""), "{text}");
}

#[test]
fn without_a_path_it_is_found_where_the_system_keeps_programs() {
    let folder = folder();
    fs::write(folder.join("table"), TABLE).unwrap();
    let table = format!("cat {}/table", folder.display());
    let output = program().env_remove("PATH").args(["--once", "--w.command", &table]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn what_is_wrong_with_the_command_is_said_of_this_command() {
    let folder = folder();
    let (file, inside) = (folder.join("w"), folder.join("w/x"));
    fs::write(&file, "").unwrap();
    let [folder, file, inside] = [&folder, &file, &inside].map(|path| path.display().to_string());
    let install = "install it, or name another program with --w.command";
    for (command, said) in [
        (
            "no-such-w -i",
            format!("no-such-w not found in PATH ({})", std::env::var("PATH").unwrap()),
        ),
        ("no-such-w -i", install.to_owned()),
        ("/no/such", "/no/such not found; --w.command must name an existing program".to_owned()),
        (&folder, format!("{folder} is a directory; --w.command must name a program")),
        (&file, format!("no permission to run {file}")),
        (&inside, format!("{inside} can't be run: Not a directory")),
    ] {
        let log = failure(command, &[], "failed");
        assert!(log.contains(&said) && !log.contains("procps"), "{log}");
    }
}

#[test]
fn only_where_w_itself_is_missing_its_package_is_named() {
    let mut command = program();
    let exporter = Exporter::start(command.env("PATH", "/nowhere").args(["--w.command", "w -i"]));
    exporter.metrics();
    let said = "w failed: w not found in PATH (/nowhere); install it (Debian, Ubuntu: procps; ";
    let log = exporter.log();
    assert!(log[0].contains("--w.command \"w -i\": w not found in PATH (/nowhere); install it"));
    assert!(log[2].contains(said), "{log:?}");
}

#[test]
fn a_status_other_than_zero_fails_even_after_rows() {
    let fake = FakeW::new("cat $TABLE; echo 'w: get user name\tfailed' >&2; exit 1");
    let log = failure(&fake.command(), &[], "failed");
    assert!(
        log.contains(" exited with status 1: w: get user name\\tfailed; exposing no sessions"),
        "{log}"
    );
    let fake = FakeW::new("cat $TABLE; kill -s SEGV $$");
    let log = failure(&fake.command(), &[], "failed");
    assert!(log.contains(" was ended by signal 11 (SIGSEGV)"), "{log}");
}

#[test]
fn a_long_complaint_is_shortened() {
    let fake = FakeW::new("head -c 300000 /dev/zero | tr '\\0' x >&2; exit 1");
    let log = failure(&fake.command(), &[], "failed");
    assert!(log.len() < 600, "{}", log.len());
}

#[test]
fn output_that_is_no_table_is_unreadable() {
    for (script, said) in [
        ("true", "it printed nothing"),
        ("tail -n +3 $TABLE", "its header line is missing; leave out -h"),
        ("cat $TABLE; echo", "row 4 is blank"),
        ("sed 's/^/ /' $TABLE", "it has a blank before each line"),
        ("echo hello", "its header is not known"),
        ("head -c 100000 /dev/urandom; echo", "its header is not known"),
        ("printf 'a\\0b\\n\\377\\n'", "its header is not known: \\\"a\\x00b\\\""),
        ("cat $TABLE; printf 'bob      pts'", "its last line is cut off"),
        ("cat $TABLE; echo 'bob      pts/9'", "row 4 does not fit the header in column TTY"),
    ] {
        let fake = FakeW::new(script);
        let log = failure(&fake.command(), &[], "unreadable");
        assert!(log.contains(&said.replace("\\\"", "\"")), "{script}: {log}");
    }
}

#[test]
fn garbage_takes_little_more_memory_than_its_bytes() {
    for script in [
        "head -2 $TABLE; yes '' | head -c 16000000",
        "head -3 $TABLE; yes '' | head -c 16000000",
        "yes 'a a a a' | head -c 16000000 | tr '\\n' ' '; echo",
    ] {
        let exporter = Exporter::of(&FakeW::new(script).command(), &[]);
        assert!(exporter.metrics().contains("what_w_runs_total{outcome=\"unreadable\"} 1\n"));
        let resident = exporter.status("VmHWM");
        assert!(resident < 64 * 1024, "{resident} KB: {script}");
    }
}

#[test]
fn the_memory_for_what_w_prints_is_given_back() {
    for script in ["cat /dev/zero", "head -c 16000000 /dev/zero", "cat $TABLE"] {
        let fake = FakeW::new(script);
        let exporter = Exporter::of(&fake.command(), &["--scrape.interval=0", "--w.timeout=20s"]);
        for _ in 0..4 {
            exporter.metrics();
        }
        let (most, now) = (exporter.status("VmHWM"), exporter.status("VmRSS"));
        assert!(most < 28 * 1024 && now < 12 * 1024, "{script}: {most} KB, then {now} KB");
    }
}

#[test]
fn endless_output_is_cut_off_and_its_writer_killed() {
    for script in ["yes", "head -c 1000000000 /dev/zero", "cat $TABLE; yes \"$(tail -n 1 $TABLE)\""]
    {
        let fake = FakeW::new(&format!("echo $$ >$DIR/pid; {script}"));
        let log = failure(&fake.command(), &["--w.timeout=20s"], "unreadable");
        assert!(log.contains("sh printed more than 16777216 bytes and was killed"), "{log}");
        // It is killed by then. init collects the processes of its shell a little later.
        let group = format!("-{}", fake.read("pid").trim());
        until("its group is gone", || !signal("0", &group));
    }
}

#[test]
fn a_hang_is_killed_at_the_timeout_with_all_its_children() {
    for script in [
        "sleep 1000",
        "trap '' TERM; sleep 1000 & sleep 1000",
        // The child keeps the output open, while its parent exits with status 0.
        "cat $TABLE; sleep 1000 & exit 0",
        "exec >&- 2>&-; sleep 1000",
        "yes >&2",
    ] {
        let fake = FakeW::new(&format!("echo $$ >$DIR/pid; {script}"));
        let log = failure(&fake.command(), &["--w.timeout=300ms"], "timeout");
        assert!(log.contains("sh was killed after 300 ms (--w.timeout)"), "{log}");
        let group = format!("-{}", fake.read("pid").trim());
        until("its group is gone", || !signal("0", &group));
    }
}

#[test]
fn a_process_that_holds_only_standard_error_delays_nothing() {
    // In a session of its own before the shell ends, so that it is not killed with the shell's group.
    let begun = "until [ -s $DIR/left ]; do sleep 0.01; done";
    let leaves =
        format!("setsid sh -c \"echo \\$\\$ >$DIR/left; exec sleep 25\" >/dev/null & {begun}");
    let writes = format!(
        "setsid sh -c \"echo \\$\\$ >$DIR/left; exec timeout 25 yes\" >&2 2>/dev/null & {begun}"
    );
    for (script, outcome, stays) in [
        (format!("{leaves}; cat $TABLE"), "ok", true),
        (format!("{leaves}; cat $TABLE; echo 'it said why' >&2; exit 4"), "failed", true),
        // It writes there until nobody reads any more.
        (format!("{writes}; cat $TABLE"), "ok", false),
    ] {
        let fake = FakeW::new(&script);
        let exporter = Exporter::of(&fake.command(), &["--w.timeout=20s"]);
        let began = Instant::now();
        let metrics = exporter.metrics();
        assert!(began.elapsed() < Duration::from_secs(15), "{script}");
        assert!(metrics.contains(&format!("outcome=\"{outcome}\"}} 1\n")), "{metrics}");
        let said = exporter.log().iter().any(|line| line.contains("status 4: it said why"));
        assert_eq!(said, outcome == "failed", "{:?}", exporter.log());
        let is_left = signal("KILL", fake.read("left").trim());
        assert!(is_left || !stays, "{script}");
    }
}

#[test]
fn leftover_processes_are_killed_after_a_good_run_too() {
    let fake = FakeW::new("echo $$ >$DIR/pid; sleep 1000 >/dev/null 2>&1 & cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &[]);
    assert!(exporter.metrics().contains("user=\"alice\""));
    let group = format!("-{}", fake.read("pid").trim());
    until("its group is gone", || !signal("0", &group));
}

#[test]
fn a_failure_is_logged_when_it_begins_changes_and_ends() {
    let fake = FakeW::new("exit 1");
    let exporter = Exporter::of(&fake.command(), &["--scrape.interval=0", "--w.timeout=5s"]);
    let scripts =
        ["exit 1", "exit 2", "echo", "echo x", "sleep 9", "cat $TABLE", "cat $TABLE", "exit 1"];
    for script in scripts {
        fake.becomes(script);
        exporter.metrics();
    }
    let log = exporter.log();
    let expected = [
        "listens on",
        "w failed: ",
        "cannot read the output of w: ",
        "sh was killed after 5 s (--w.timeout); exposing no sessions",
        "w works again after 5 failed runs",
        "w failed: ",
    ];
    assert_eq!(log.len(), expected.len(), "{log:#?}");
    for (line, expected) in log.iter().zip(expected) {
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn counts_and_the_last_success_outlive_a_failure() {
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &["--scrape.interval=0"]);
    let success = samples(&exporter.metrics(), "w_last_success_timestamp_seconds");
    fake.becomes("exit 1");
    let metrics = exporter.metrics();
    assert_eq!(samples(&metrics, "w_last_success_timestamp_seconds"), success);
    assert!(metrics.contains("what_w_runs_total{outcome=\"ok\"} 1\n"), "{metrics}");
    assert!(metrics.contains("what_w_runs_total{outcome=\"failed\"} 1\n"), "{metrics}");
}

/// A folder with this script as `w`, and a PATH that begins with it.
fn path_with_w(script: &str) -> (FakeW, String) {
    let fake = FakeW::new(script);
    let folder = fake.folder.join("bin");
    fs::create_dir(&folder).unwrap();
    // A link to the shell would not find its script. Like BusyBox and procps, this program is found
    // by its name.
    let wrapper = format!("#!/bin/sh\nexec sh {}/w \"$@\"\n", fake.folder.display());
    let file = folder.join("w");
    write_script(&file, &wrapper);
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    (fake, path)
}

const REFUSES: &str = "echo \"w$1\" >>$DIR/asked; [ -z \"$1\" ] || { echo \"w: invalid option -- 'i'\" >&2; exit 1; }; cat $TABLE";

#[test]
fn where_the_default_option_is_refused_plain_w_is_run_and_remembered() {
    let (fake, path) = path_with_w(REFUSES);
    let exporter = Exporter::start(program().env("PATH", path).args(["--scrape.interval", "0"]));
    for _ in 0..3 {
        assert!(exporter.metrics().contains("user=\"alice\""));
    }
    assert_eq!(fake.read("asked"), "w-i\nw\nw\nw\n");
    assert!(exporter.metrics().contains("what_w_runs_total{outcome=\"ok\"} 4\n"));
    // A machine without session files logs another line.
    let log = exporter.log().join("\n");
    assert!(!log.contains("failed"), "{log}");
}

#[test]
fn a_stop_also_ends_plain_w_after_the_refused_option() {
    let (fake, path) = path_with_w(&REFUSES.replace("cat $TABLE", "echo $$ >$DIR/pid; sleep 1000"));
    let mut exporter = Exporter::start(program().env("PATH", path));
    let mut scrape = exporter.connect();
    scrape.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    until("plain w runs", || !fake.read("pid").is_empty());
    exporter.signal("TERM");
    assert_eq!(exporter.end().0, Some(0));
    until("plain w is gone", || !signal("0", fake.read("pid").trim()));
}

#[test]
fn a_usage_on_standard_output_is_a_refusal_too() {
    let script = "[ -z \"$1\" ] || { echo 'usage: w -hlsufV [user]'; exit 1; }; cat $TABLE";
    let (_fake, path) = path_with_w(script);
    let exporter = Exporter::start(program().env("PATH", path));
    assert!(exporter.metrics().contains("user=\"alice\""));
}

#[test]
fn another_command_or_another_failure_does_not_fall_back() {
    let (fake, path) = path_with_w(REFUSES);
    let exporter = Exporter::start(program().env("PATH", &path).args(["--w.command", "w -i -h"]));
    assert_eq!(samples(&exporter.metrics(), "up"), [UP_0]);
    assert_eq!(fake.read("asked"), "w-i\n");
    let (fake, path) =
        path_with_w("echo \"w$1\" >>$DIR/asked; echo 'w: /proc is missing' >&2; exit 1");
    let exporter = Exporter::start(program().env("PATH", &path));
    assert_eq!(samples(&exporter.metrics(), "up"), [UP_0]);
    assert_eq!(fake.read("asked"), "w-i\n");
}

#[test]
fn entries_without_a_process_are_logged_once() {
    let fake = FakeW::new("sed 's/ 3 users/34 users/' $TABLE");
    let exporter = Exporter::of(&fake.command(), &["--scrape.interval=0"]);
    for _ in 0..3 {
        assert_eq!(samples(&exporter.metrics(), "users_reported"), ["users_reported 34"]);
    }
    fake.becomes("cat $TABLE");
    exporter.metrics();
    fake.becomes("sed 's/ 3 users/4 users/' $TABLE");
    let metrics = exporter.metrics();
    // The command is not this host's w, so it is not known what it can see.
    assert!(!metrics.contains("what_session_source_visible"), "{metrics}");
    let log = exporter.log();
    assert_eq!(log.len(), 2, "{log:#?}");
    assert!(log[1].contains("w counts 34 users but lists 3"), "{log:?}");
    assert!(log[1].contains("killed sshd") && log[1].contains("/etc/passwd"), "{log:?}");
}

#[test]
fn without_utc_there_are_no_login_times_and_the_log_and_the_page_say_why() {
    let fake = FakeW::new("");
    // Half a day before or after now.
    let hours = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() / 3600;
    let away = (hours + 12) % 24;
    fake.becomes(&format!("sed '1s/^ *..:/ {away:02}:/' $TABLE"));
    let exporter = Exporter::of(&fake.command(), &["--scrape.interval=0"]);
    for _ in 0..2 {
        let metrics = exporter.metrics();
        assert!(metrics.contains("user=\"alice\""), "{metrics}");
        assert!(!metrics.contains("login_timestamp_seconds{"), "{metrics}");
    }
    let log = exporter.log();
    assert_eq!(log.len(), 2, "{log:#?}");
    assert!(log[1].contains("exposing no login times") && log[1].contains("env TZ=UTC0"));
    let page = exporter.get("/").body;
    assert!(page.contains("There are no login times:") && page.contains("TZ=UTC0"), "{page}");
    fake.becomes("cat $TABLE");
    assert!(exporter.metrics().contains("login_timestamp_seconds{"));
}

#[test]
fn w_of_this_host_says_what_it_can_see() {
    let (_fake, path) = path_with_w("cat $TABLE");
    let exporter = Exporter::start(program().env("PATH", path));
    let metrics = exporter.metrics();
    let sources = samples(&metrics, "session_source_visible");
    assert_eq!(sources.len(), 4, "{metrics}");
    assert_eq!(sources[0], "session_source_visible{source=\"host_processes\"} 1");
    assert!(sources[1].starts_with("session_source_visible{source=\"login_records\"} "));
}

#[test]
fn runs_leave_no_descriptor_and_no_child() {
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &["--scrape.interval=0"]);
    exporter.metrics();
    let before = exporter.descriptors();
    for script in ["exit 1", "kill -s KILL $$", "true", "cat $TABLE"] {
        fake.becomes(script);
        exporter.metrics();
    }
    // The connection of the last scrape is closed a moment after its answer.
    until("as many descriptors as before", || exporter.descriptors() <= before);
    assert_eq!(exporter.children(), "");
}
