//! Flags, variables, defaults, and the errors for wrong values.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    process::{Command, Stdio},
    time::SystemTime,
};

use rustix::pipe::PipeFlags;

use crate::harness::{
    Exporter, FakeW, fixture, folder, once, program, run, samples, short_lived_program,
};

fn mix() -> String {
    format!("cat {}", fixture("captures/debian12-procps-4.0.2/mix.i.txt"))
}

/// The error for a wrong command line or environment: one line, and exit status 2.
fn complaint(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = short_lived_program();
    let output = command.args(arguments).envs(variables.iter().copied()).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?} {variables:?}");
    assert!(output.stdout.is_empty());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    let line = stderr.trim_end().strip_prefix("prometheus-what-active-users-exporter: ");
    line.unwrap_or_else(|| panic!("{stderr}")).to_owned()
}

#[test]
fn help_shows_every_flag_with_its_variable_and_default() {
    let output = run(&["--help"]);
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = help.split_whitespace().collect();
    let help = words.join(" ");
    for (flag, variable, default) in [
        ("--listen.host", "EXPORTER_LISTEN_HOST", "127.0.0.1"),
        ("--listen.port", "EXPORTER_LISTEN_PORT", "9839"),
        ("--metrics.endpoint", "EXPORTER_METRICS_ENDPOINT", "/metrics"),
        ("--metrics.prefix", "EXPORTER_METRICS_PREFIX", "what"),
        ("--metrics.with-timestamp", "EXPORTER_METRICS_APPEND_TIMESTAMP", "false"),
        ("--metrics.command", "EXPORTER_METRICS_COMMAND", "none"),
        ("--scrape.interval", "EXPORTER_CHECK_INTERVAL_MILLIS", "5000"),
        ("--w.command", "EXPORTER_W_COMMAND", "w -i"),
        ("--w.timeout", "EXPORTER_W_TIMEOUT_MILLIS", "8000"),
    ] {
        assert!(words.contains(&flag), "{flag}");
        assert!(help.contains(&format!("[{variable}, default {default}]")), "{variable}\n{help}");
    }
    assert!(!help.contains("--listen-host"), "{help}");
}

#[test]
fn help_fits_a_terminal_and_has_examples_that_work_and_the_exit_statuses() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    for arguments in [&["-h"][..], &["--once", "--help", "--foo"], &["--listen.port=1", "-h", "x"]]
    {
        assert_eq!(run(arguments).stdout, help.as_bytes(), "{arguments:?}");
    }
    let wide: Vec<&str> = help.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
    assert!(help.starts_with("Usage: prometheus-what-active-users-exporter "), "{help}");
    for line in [
        "  -V, --version",
        "  -h, --help",
        "  --once",
        "  --listen.port PORT",
        "      TCP port to listen on; 0 takes a free one",
    ] {
        assert!(help.lines().any(|other| other == line), "{line}: {help}");
    }
    assert!(
        help.contains("Exit status:\n  0  ")
            && help.contains("\n  1  ")
            && help.contains("\n  2  ")
    );
    let (_, examples) = help.split_once("Examples:\n").unwrap();
    let (examples, _) = examples.split_once("\n\n").unwrap();
    let examples = examples.replace("\\\n", " ");
    assert_eq!(examples.lines().count(), 2, "{examples}");
    for example in examples.lines() {
        let mut words = example.split_whitespace();
        assert_eq!(words.next(), Some("prometheus-what-active-users-exporter"));
        let words: Vec<&str> = words.filter(|word| *word != "--once").collect();
        let output =
            short_lived_program().arg("--once").args(&words).args(["--w.command", &mix()]).output();
        assert_eq!(output.unwrap().status.code(), Some(0), "{example}");
    }
}

#[test]
fn version_names_version_target_and_compiler() {
    let output = run(&["--version"]);
    assert!(output.status.success());
    assert_eq!(run(&["-V"]), output);
    let version = String::from_utf8(output.stdout).unwrap();
    let start = concat!("prometheus-what-active-users-exporter ", env!("CARGO_PKG_VERSION"), " (");
    assert!(
        version.starts_with(start) && version.contains("-linux-") && version.contains("rustc 1."),
        "{version}"
    );
}

/// The module `tls` has the flag of the other build.
#[cfg(not(feature = "tls"))]
#[test]
fn a_build_without_tls_refuses_its_file_and_names_the_one_that_takes_it() {
    let expected = "expected a build with TLS and passwords, which this one is not: take the binary whose name ends in -tls, or build with --features tls";
    for (arguments, variables, source) in [
        (&["--web.config.file", "web.yml"][..], &[][..], "--web.config.file"),
        (&["--once", "--web.config.file=web.yml"], &[], "--web.config.file"),
        (&[], &[("EXPORTER_WEB_CONFIG_FILE", "web.yml")], "EXPORTER_WEB_CONFIG_FILE"),
    ] {
        assert_eq!(complaint(arguments, variables), format!("{source} \"web.yml\": {expected}"));
    }
    let unset = short_lived_program()
        .args(["--once", "--w.command", &mix()])
        .env("EXPORTER_WEB_CONFIG_FILE", "")
        .output();
    assert_eq!(unset.unwrap().status.code(), Some(0));
}

#[test]
fn a_bad_value_is_named_with_its_flag_or_variable_and_what_was_expected() {
    let host = "expected an address or a host name";
    let no_port = "expected an address or a host name without a port, which --listen.port takes";
    let port = "expected a TCP port from 0 to 65535";
    let time = "expected milliseconds, or a time such as 500ms, 5s, 1m, 1h or 1d, up to a year";
    let prefix = "expected letters, digits and _, starting with a letter, or nothing";
    let health = "expected another path, because this one answers health checks";
    for (flag, variable, value, expected) in [
        ("--listen.host", "EXPORTER_LISTEN_HOST", "a b", host),
        ("--listen.host", "EXPORTER_LISTEN_HOST", "http://a", host),
        ("--listen.host", "EXPORTER_LISTEN_HOST", "127.0.0.1:9839", no_port),
        ("--listen.host", "EXPORTER_LISTEN_HOST", "localhost:0", no_port),
        ("--listen.host", "EXPORTER_LISTEN_HOST", "[::1]:9839", no_port),
        ("--listen.port", "EXPORTER_LISTEN_PORT", "65536", port),
        ("--listen.port", "EXPORTER_LISTEN_PORT", "-1", port),
        ("--listen.port", "EXPORTER_LISTEN_PORT", "+1", port),
        ("--listen.port", "EXPORTER_LISTEN_PORT", "http", port),
        (
            "--metrics.endpoint",
            "EXPORTER_METRICS_ENDPOINT",
            "metrics",
            "expected a path that begins with /",
        ),
        ("--metrics.endpoint", "EXPORTER_METRICS_ENDPOINT", "/a?b", "expected a path without '?'"),
        ("--metrics.endpoint", "EXPORTER_METRICS_ENDPOINT", "/a b", "expected a path without ' '"),
        ("--metrics.endpoint", "EXPORTER_METRICS_ENDPOINT", "/é", "expected a path without 'é'"),
        ("--metrics.endpoint", "EXPORTER_METRICS_ENDPOINT", "/-/healthy", health),
        ("--metrics.prefix", "EXPORTER_METRICS_PREFIX", "1a", prefix),
        ("--metrics.prefix", "EXPORTER_METRICS_PREFIX", "_a", prefix),
        ("--metrics.prefix", "EXPORTER_METRICS_PREFIX", "a:b", prefix),
        ("--metrics.prefix", "EXPORTER_METRICS_PREFIX", "a-b", prefix),
        (
            "--metrics.with-timestamp",
            "EXPORTER_METRICS_APPEND_TIMESTAMP",
            "maybe",
            "expected true or false",
        ),
        ("--metrics.command", "EXPORTER_METRICS_COMMAND", "all", "expected none, name or full"),
        ("--scrape.interval", "EXPORTER_CHECK_INTERVAL_MILLIS", "5 s", time),
        ("--scrape.interval", "EXPORTER_CHECK_INTERVAL_MILLIS", "366d", time),
        ("--scrape.interval", "EXPORTER_CHECK_INTERVAL_MILLIS", "1w", time),
        ("--scrape.interval", "EXPORTER_CHECK_INTERVAL_MILLIS", "s", time),
        ("--scrape.interval", "EXPORTER_CHECK_INTERVAL_MILLIS", "-1", time),
        ("--scrape.interval", "EXPORTER_CHECK_INTERVAL_MILLIS", "99999999999999999999", time),
        ("--w.command", "EXPORTER_W_COMMAND", "  ", "expected a command, such as w -i"),
        ("--w.timeout", "EXPORTER_W_TIMEOUT_MILLIS", "0", "expected a time longer than 0"),
        ("--w.timeout", "EXPORTER_W_TIMEOUT_MILLIS", "soon", time),
    ] {
        let joined = format!("{flag}={value}");
        assert_eq!(complaint(&[&joined], &[]), format!("{flag} {value:?}: {expected}"));
        assert_eq!(
            complaint(&[], &[(variable, value)]),
            format!("{variable} {value:?}: {expected}")
        );
    }
    assert_eq!(complaint(&["--listen.port="], &[]), format!("--listen.port \"\": {port}"));
    assert_eq!(complaint(&["--listen.host="], &[]), format!("--listen.host \"\": {host}"));
    // Also if the value is a separate argument.
    assert_eq!(
        complaint(&["--metrics.with-timestamp", "maybe"], &[]),
        "--metrics.with-timestamp \"maybe\": expected true or false"
    );
}

#[test]
fn an_unknown_flag_or_a_missing_value_is_named() {
    for flag in ["--foo", "--listen-host", "-p", "--", "-"] {
        assert_eq!(complaint(&[flag, "x"], &[]), format!("unknown flag {flag}; see --help"));
    }
    assert_eq!(complaint(&["--foo=1"], &[]), "unknown flag --foo; see --help");
    assert_eq!(complaint(&["w", "-i"], &[]), "unexpected argument \"w\"; see --help");
    assert_eq!(complaint(&["--once=true"], &[]), "--once \"true\": expected no value");
    for arguments in [["--listen.port"].as_slice(), &["--listen.port", "--once"]] {
        assert_eq!(complaint(arguments, &[]), "--listen.port: expected a value after it");
    }
}

#[test]
fn a_flag_given_twice_is_named_with_its_second_value() {
    for arguments in [
        ["--listen.port", "1", "--listen.port=2"].as_slice(),
        &["--listen.port=1", "--listen.port", "2"],
    ] {
        assert_eq!(complaint(arguments, &[]), "--listen.port \"2\": expected this flag only once");
    }
}

#[test]
fn a_time_can_be_in_hours_and_days() {
    let w = mix();
    for time in ["5s", "1m", "1h", "1d", "365d", "60000", "60000ms"] {
        let output =
            run(&["--once", "--w.command", &w, "--scrape.interval", time, "--w.timeout", time]);
        assert_eq!(output.status.code(), Some(0), "{time}: {output:?}");
    }
}

#[test]
fn an_empty_variable_counts_as_unset_but_for_the_prefix() {
    let mut command = short_lived_program();
    for variable in [
        "EXPORTER_LISTEN_HOST",
        "EXPORTER_LISTEN_PORT",
        "EXPORTER_METRICS_ENDPOINT",
        "EXPORTER_METRICS_PREFIX",
        "EXPORTER_METRICS_APPEND_TIMESTAMP",
        "EXPORTER_METRICS_COMMAND",
        "EXPORTER_CHECK_INTERVAL_MILLIS",
        "EXPORTER_W_TIMEOUT_MILLIS",
    ] {
        command.env(variable, "");
    }
    command.args(["--once", "--w.command", &mix()]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\nuser_sessions_currently_active{user=\"alice\"} 4\n"), "{text}");
}

#[test]
fn an_address_that_cannot_be_bound_is_named() {
    let taken = Exporter::of("true", &[]);
    let (_, port) = taken.address.rsplit_once(':').unwrap();
    let port_flag = format!("--listen.port={port}");
    // No machine has an address that is reserved for documentation.
    for (flag, expected) in [
        (port_flag.as_str(), format!("can't listen on 127.0.0.1 port {port} ")),
        ("--listen.host=203.0.113.1", "can't listen on 203.0.113.1 port 9839 ".to_owned()),
    ] {
        let output = run(&[flag]);
        // A service manager can try again, because the address may become available.
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.lines().count() == 1 && said.contains(&format!(" ERROR {expected}")),
            "{said}"
        );
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    for printed in ["--once", "--help", "--version"] {
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
        drop(reader);
        let mut command = short_lived_program();
        let output =
            command.args([printed, "--w.command", &mix()]).stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{printed}: {output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!said.contains("standard output"), "{printed}: {said}");
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error_with_status_1() {
    for printed in ["--once", "--help"] {
        let full = File::create("/dev/full").unwrap();
        let mut command = short_lived_program();
        let output = command.args([printed, "--w.command", &mix()]).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{printed}: {output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("standard output can't be written"), "{said}");
    }
}

/// The log of a run that fails, with `JOURNAL_STREAM` made from the device and inode of its
/// standard error.
fn log_of_failure(journal: impl Fn(u64, u64) -> Option<String>) -> String {
    let path = folder().join("log");
    let file = File::create(&path).unwrap();
    let metadata = file.metadata().unwrap();
    let mut command = short_lived_program();
    command.args(["--once", "--w.command", "false"]).stdout(Stdio::null()).stderr(file);
    command.env_remove("JOURNAL_STREAM");
    if let Some(stream) = journal(metadata.dev(), metadata.ino()) {
        command.env("JOURNAL_STREAM", stream);
    }
    assert_eq!(command.status().unwrap().code(), Some(1));
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_log_line_has_time_and_level_except_in_the_journal() {
    let said = "w failed: false ended";
    let journal = log_of_failure(|dev, ino| Some(format!("{dev}:{ino}")));
    assert!(journal.starts_with(said), "{journal}");
    // Inherited from a service whose standard error is now something else, or nonsense.
    for stream in [None, Some("1:1"), Some(""), Some("8:"), Some("journal")] {
        let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let before = now();
        let log = log_of_failure(|_, _| stream.map(str::to_owned));
        let run = before..=now();
        let (time, line) = log.split_once(' ').unwrap();
        assert!(line.starts_with(&format!("WARN {said}")), "{stream:?} {log}");
        // 2026-11-25T07:32:30Z, as date reads it.
        let date = Command::new("date").args(["-u", "-d", time, "+%s"]).output().unwrap();
        let read: u64 = String::from_utf8(date.stdout).unwrap().trim().parse().unwrap();
        assert!(time.len() == 20 && time.ends_with('Z'), "{time}");
        assert!(run.contains(&read), "{time} is not in {run:?}");
    }
}

#[test]
fn a_flag_is_stronger_than_its_variable() {
    let mut command = short_lived_program();
    command.args(["--once", "--w.command", &mix(), "--metrics.prefix=flag"]);
    let output = command.env("EXPORTER_METRICS_PREFIX", "variable").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\nflag_up{") && !text.contains("variable_up"), "{text}");
}

#[test]
fn variables_are_read_where_no_flag_is_given() {
    let mut command = short_lived_program();
    command.stderr(Stdio::null()).arg("--once").env("EXPORTER_W_COMMAND", mix());
    command.env("EXPORTER_METRICS_PREFIX", "").env("EXPORTER_METRICS_COMMAND", "full");
    command.env("EXPORTER_METRICS_APPEND_TIMESTAMP", "true");
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let line = text.lines().find(|line| line.starts_with("each_session_command_info")).unwrap();
    assert!(line.split(' ').next_back().unwrap().len() == 13, "no timestamp: {line}");
    assert!(text.contains("\nwhat_up{version=\""), "{text}");

    let fake = FakeW::new("cat $TABLE");
    let mut command = program();
    command.env("EXPORTER_LISTEN_HOST", "::1").env("EXPORTER_METRICS_ENDPOINT", "/deep/metrics");
    command.env("EXPORTER_CHECK_INTERVAL_MILLIS", "0").env("EXPORTER_W_COMMAND", fake.command());
    let exporter = Exporter::start(&mut command);
    assert!(exporter.address.starts_with("[::1]:"), "{}", exporter.address);
    assert_eq!(exporter.get("/deep/metrics").status, 200);
    assert_eq!(exporter.get("/deep/metrics").status, 200);
    assert_eq!(fake.runs(), 2);
    assert_eq!(exporter.get("/metrics").status, 404);
}

#[test]
fn a_host_may_be_a_name_or_an_address_in_brackets() {
    for host in ["localhost", "[::1]", "::1", "127.0.0.1"] {
        let exporter = Exporter::of("true", &["--listen.host", host]);
        assert_eq!(exporter.get("/-/healthy").status, 200, "{host}");
    }
}

#[test]
fn the_prefix_may_be_empty_and_never_takes_up_away() {
    let text = once(&["--w.command", &mix(), "--metrics.prefix="]);
    assert!(text.contains("\nuser_sessions_currently_active{user=\"alice\"} 4\n"), "{text}");
    assert!(text.contains("\nwhat_up{version=") && !text.contains("\nup{"), "{text}");
    assert!(text.contains("\nprocess_open_fds "), "{text}");
    let text = once(&["--w.command", &mix(), "--metrics.prefix", "site"]);
    assert!(
        text.contains("\nsite_up{")
            && text.contains("\nprocess_open_fds ")
            && !text.contains("what_"),
        "{text}"
    );
}

#[test]
fn a_bare_with_timestamp_means_true() {
    for (arguments, stamped) in [
        (vec!["--metrics.with-timestamp"], true),
        (vec!["--metrics.with-timestamp", "--metrics.command=none"], true),
        (vec!["--metrics.with-timestamp", "true"], true),
        (vec!["--metrics.with-timestamp=true"], true),
        (vec!["--metrics.with-timestamp", "false"], false),
        (vec![], false),
    ] {
        let w = mix();
        let text = once(&[arguments.as_slice(), &["--w.command", &w]].concat());
        let of_run = samples(&text, "user_sessions_currently_active");
        assert!(!of_run.is_empty(), "{arguments:?} {text}");
        assert!(
            of_run.iter().all(|line| line.split(' ').count() == if stamped { 3 } else { 2 }),
            "{arguments:?} {of_run:?}"
        );
        let own = text
            .lines()
            .filter(|line| line.starts_with("process_") || line.contains("build_info{"));
        assert!(own.into_iter().all(|line| line.split(' ').count() == 2));
    }
}

#[test]
fn the_command_is_shown_only_when_asked_for() {
    let fake = FakeW::new("cat $TABLE");
    let shown = |arguments: &[&str]| once(&[&["--w.command", &fake.command()], arguments].concat());
    let none = shown(&[]);
    assert!(!none.contains("command_info") && !none.contains("mysql"), "{none}");
    let name = shown(&["--metrics.command=name"]);
    assert!(name.contains("command=\"mysql\"") && !name.contains("secret"), "{name}");
    let full = shown(&["--metrics.command=full"]);
    let line = "what_each_session_command_info{ip=\"-\",user=\"root\",tty=\"tty1\",command=\"/usr/bin/mysql -psecret\"} 1\n";
    assert!(full.contains(line), "{full}");
}

#[test]
fn once_prints_what_a_scrape_gets_and_its_status_shows_if_w_failed() {
    let fake = FakeW::new("cat $TABLE");
    let good = run(&["--once", "--w.command", &fake.command()]);
    assert_eq!(good.status.code(), Some(0));
    assert!(
        String::from_utf8(good.stdout)
            .unwrap()
            .contains("what_user_sessions_currently_active{user=\"alice\"} 2\n")
    );
    fake.becomes("exit 3");
    let bad = run(&["--once", "--w.command", &fake.command()]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(String::from_utf8(bad.stdout).unwrap().contains("what_up{version="));
    assert_eq!(String::from_utf8(bad.stderr).unwrap().lines().count(), 1);
}

#[test]
fn a_list_of_processes_shows_its_name() {
    let exporter = Exporter::of(&FakeW::new("cat $TABLE").command(), &[]);
    let name = fs::read_to_string(format!("/proc/{}/comm", exporter.pid())).unwrap();
    assert_eq!(name, "prometheus-what\n");
}
