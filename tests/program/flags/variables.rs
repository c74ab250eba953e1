//! Environment variables: which are read, and what is said about others.

use std::{
    fs,
    process::{Output, Stdio},
};

use super::{errors::complaint, mix};
use crate::harness::{Exporter, FakeW, program, run, short_lived_program, write_script};

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

/// The output of `--once` with these variables and flags.
fn once_with(variables: &[(&str, &str)], flags: &[&str]) -> Output {
    let mut command = short_lived_program();
    command.args(["--once", "--w.command", &FakeW::new("cat $TABLE").command()]).args(flags);
    command.envs(variables.iter().copied()).output().unwrap()
}

/// The lines of the log, without time and level. It ends with status 0.
fn warnings(variables: &[(&str, &str)], flags: &[&str]) -> Vec<String> {
    let output = once_with(variables, flags);
    assert_eq!(output.status.code(), Some(0), "{variables:?} {output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    said.lines().map(|line| line.split_once(" WARN ").unwrap().1.to_owned()).collect()
}

#[test]
fn a_variable_can_have_the_name_that_follows_from_the_flag() {
    for (variable, value) in [
        ("EXPORTER_SCRAPE_INTERVAL", "x"),
        ("EXPORTER_W_TIMEOUT", "0"),
        ("EXPORTER_METRICS_WITH_TIMESTAMP", "maybe"),
        ("EXPORTER_LISTEN_PORT", "x"),
    ] {
        let said = complaint(&[], &[(variable, value)]);
        assert!(said.starts_with(&format!("{variable} {value:?}: expected ")), "{said}");
    }
    let of_flag = once_with(&[("EXPORTER_METRICS_WITH_TIMESTAMP", "true")], &[]);
    let text = String::from_utf8(of_flag.stdout).unwrap();
    let line = text.lines().find(|line| line.starts_with("what_users_currently_active ")).unwrap();
    assert_eq!(line.split(' ').count(), 3, "{line}");
}

#[test]
fn both_variables_of_a_flag_must_have_the_same_value() {
    let both =
        |one, other| [("EXPORTER_CHECK_INTERVAL_MILLIS", one), ("EXPORTER_SCRAPE_INTERVAL", other)];
    for (one, other) in [("5000", "5s"), ("5s", "5s"), ("90s", "1m30s"), ("", "6s"), ("6s", "")] {
        assert_eq!(warnings(&both(one, other), &[]), [""; 0], "{one} {other}");
    }
    assert_eq!(
        complaint(&[], &both("5000", "6s")),
        "EXPORTER_CHECK_INTERVAL_MILLIS \"5000\" and EXPORTER_SCRAPE_INTERVAL \"6s\": both set --scrape.interval; expected the same value"
    );
    assert_eq!(
        complaint(
            &[],
            &[
                ("EXPORTER_METRICS_APPEND_TIMESTAMP", "true"),
                ("EXPORTER_METRICS_WITH_TIMESTAMP", "false")
            ]
        ),
        "EXPORTER_METRICS_APPEND_TIMESTAMP \"true\" and EXPORTER_METRICS_WITH_TIMESTAMP \"false\": both set --metrics.with-timestamp; expected the same value"
    );
    // The flag is stronger than both.
    assert_eq!(warnings(&both("5000", "6s"), &["--scrape.interval=1s"]), [""; 0]);
}

#[test]
fn an_unknown_variable_is_named_with_what_to_do() {
    for (unknown, near) in [
        ("EXPORTER_LISTEN_PROT", "EXPORTER_LISTEN_PORT"),
        ("EXPORTER_PORT", "EXPORTER_LISTEN_PORT"),
        ("EXPORTER_CHECK_INTERVAL", "EXPORTER_CHECK_INTERVAL_MILLIS"),
        ("EXPORTER_INTERVAL", "EXPORTER_SCRAPE_INTERVAL"),
        ("EXPORTER_TIMEOUT", "EXPORTER_W_TIMEOUT"),
        ("EXPORTER_METRIC_PREFIX", "EXPORTER_METRICS_PREFIX"),
        ("EXPORTER_WEB_CONFIG", "EXPORTER_WEB_CONFIG_FILE"),
    ] {
        assert_eq!(
            warnings(&[(unknown, "")], &[]),
            [format!("{unknown} is ignored: there is no such setting; did you mean {near}?")]
        );
    }
    // What other exporters have.
    let address = "use EXPORTER_LISTEN_HOST and EXPORTER_LISTEN_PORT";
    let log = "the log has one line per event, and there is nothing to set";
    for (unknown, advice) in [
        ("EXPORTER_LISTEN_ADDRESS", address),
        ("EXPORTER_WEB_LISTEN_ADDRESS", address),
        ("EXPORTER_WEB_TELEMETRY_PATH", "use EXPORTER_METRICS_ENDPOINT"),
        ("EXPORTER_METRICS_PATH", "use EXPORTER_METRICS_ENDPOINT"),
        ("EXPORTER_LOG_LEVEL", log),
        ("EXPORTER_LOG_FORMAT", log),
    ] {
        assert_eq!(
            warnings(&[(unknown, "1")], &[]),
            [format!("{unknown} is ignored: there is no such setting; {advice}")]
        );
    }
    for unknown in ["EXPORTER_", "EXPORTER_FOO", "EXPORTER_METRICS_RETENTION"] {
        assert_eq!(
            warnings(&[(unknown, "1"), ("OTHER", "1")], &[]),
            [format!("{unknown} is ignored: there is no such setting; remove it, or see --help")]
        );
    }
    // Also if it serves, before it listens.
    let exporter = Exporter::start(program().env("EXPORTER_LISTEN_PROT", "1"));
    let log = exporter.log();
    assert!(log[0].contains(" WARN EXPORTER_LISTEN_PROT is ignored"), "{log:#?}");
}

#[test]
fn a_small_number_without_a_unit_works_with_a_warning() {
    for (variable, flag) in
        [("EXPORTER_SCRAPE_INTERVAL", "--scrape.interval"), ("EXPORTER_W_TIMEOUT", "--w.timeout")]
    {
        let of_variable = format!("{variable} \"99\": 99 means 99 ms; for seconds write 99s");
        assert_eq!(warnings(&[(variable, "99")], &[]), [of_variable]);
        let of_flag = format!("{flag} \"99\": 99 means 99 ms; for seconds write 99s");
        assert_eq!(warnings(&[(variable, "98")], &[flag, "99"]), [of_flag]);
        for plain in ["100", "99ms", "60s"] {
            assert_eq!(warnings(&[], &[flag, plain]), [""; 0], "{plain}");
        }
    }
    assert_eq!(warnings(&[], &["--scrape.interval=0", "--metrics.prefix=a5"]), [""; 0]);
    let five = warnings(&[], &["--scrape.interval=5"]);
    assert_eq!(five, ["--scrape.interval \"5\": 5 means 5 ms; for seconds write 5s"]);
}

/// Another user's session would be missing without a sign.
#[test]
fn a_command_that_lists_one_user_only_works_with_a_warning() {
    let fake = FakeW::new("cat $TABLE");
    let w = fake.folder.join("bin/w");
    fs::create_dir(fake.folder.join("bin")).unwrap();
    write_script(&w, &format!("#!/bin/sh\nexec {}\n", fake.command()));
    let warned = |arguments: &str| {
        let command = format!("{} {arguments}", w.display());
        let output = run(&["--once", "--w.command", &command]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap().replace(&command, "w …");
        said.split_once(" WARN ").map(|(_, warning)| warning.to_owned())
    };
    for arguments in ["-i alice", "alice -i", "-i alice bob", "-i -- alice"] {
        let expected = "--w.command \"w …\" lists the sessions of alice only\n";
        assert_eq!(warned(arguments).as_deref(), Some(expected), "{arguments}");
    }
    for arguments in ["", "-i", "-i -f", "-is --"] {
        assert_eq!(warned(arguments), None, "{arguments}");
    }
    // Also if it serves, before it listens; and what another command's words mean is not known.
    let command = format!("{} alice", w.display());
    let exporter = Exporter::start(program().env("EXPORTER_W_COMMAND", &command));
    let log = exporter.log();
    let expected = format!(" WARN EXPORTER_W_COMMAND {command:?} lists the sessions of alice only");
    assert!(log[0].ends_with(&expected), "{log:#?}");
    let other = once_with(&[], &[]);
    assert!(other.stderr.is_empty(), "{other:?}");
}
