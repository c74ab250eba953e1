//! Errors: wrong flags, wrong values, and addresses that cannot be bound.

use std::fs;

use crate::harness::{Exporter, fixture, folder, run, short_lived_program};

/// The error for a wrong command line or environment: one line, and exit status 2.
pub(super) fn complaint(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = short_lived_program();
    let output = command.args(arguments).envs(variables.iter().copied()).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?} {variables:?}");
    assert!(output.stdout.is_empty());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    let line = stderr.trim_end().strip_prefix("prometheus-what-active-users-exporter: ");
    line.unwrap_or_else(|| panic!("{stderr}")).to_owned()
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
        .args(["--once", "--w.command", &super::mix()])
        .env("EXPORTER_WEB_CONFIG_FILE", "")
        .output();
    assert_eq!(unset.unwrap().status.code(), Some(0));
}

#[test]
fn a_bad_value_is_named_with_its_flag_or_variable_and_what_was_expected() {
    let host = "expected an address or a host name";
    let no_port = "expected an address or a host name without a port, which --listen.port takes";
    let port = "expected a TCP port from 0 to 65535";
    let time = "expected milliseconds, or a time such as 500ms, 5s, 1m30s, 1h or 1d, up to a year";
    let prefix = "expected letters, digits and _, starting with a letter and not ending in _, or an empty value";
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
        ("--metrics.prefix", "EXPORTER_METRICS_PREFIX", "what_", prefix),
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
        ("--scrape.interval", "EXPORTER_CHECK_INTERVAL_MILLIS", "30s1m", time),
        ("--scrape.interval", "EXPORTER_CHECK_INTERVAL_MILLIS", "1m1m", time),
        ("--scrape.interval", "EXPORTER_CHECK_INTERVAL_MILLIS", "1m30", time),
        ("--scrape.interval", "EXPORTER_CHECK_INTERVAL_MILLIS", "365d1ms", time),
        ("--scrape.interval", "EXPORTER_CHECK_INTERVAL_MILLIS", "99999999999999999999", time),
        ("--scrape.interval", "EXPORTER_CHECK_INTERVAL_MILLIS", "18446744073709551615d", time),
        ("--scrape.interval", "EXPORTER_CHECK_INTERVAL_MILLIS", "18446744073709551s1000ms", time),
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
    for flag in ["--foo", "-p", "--", "-"] {
        assert_eq!(complaint(&[flag, "x"], &[]), format!("unknown flag {flag}; see --help"));
    }
    assert_eq!(complaint(&["--foo=1"], &[]), "unknown flag --foo; see --help");
    assert_eq!(complaint(&["who", "-i"], &[]), "unexpected argument \"who\"; see --help");
    assert_eq!(complaint(&["--once", "w"], &[]), "unexpected argument \"w\"; see --help");
    assert_eq!(complaint(&["w", "-i"], &[]), "w \"-i\": expected nothing after w");
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
        assert_eq!(complaint(arguments, &[]), "--listen.port was given twice");
    }
    let value_of_another = ["--once", "--w.command=--listen-port", "--listen.port=1"];
    assert_eq!(run(&value_of_another).status.code(), Some(1));
}

#[test]
fn an_unknown_flag_is_an_error_that_says_what_was_probably_meant() {
    let log = "the log has one line per event, and there is nothing to set";
    for (arguments, flag, advice) in [
        (&["--listen.prot", "1"][..], "--listen.prot", "did you mean --listen.port?"),
        (&["--listen-host=::"], "--listen-host", "did you mean --listen.host?"),
        (&["-scrape.interval=1s"], "-scrape.interval", "did you mean --scrape.interval?"),
        (&["--web.config", "web.yml"], "--web.config", "did you mean --web.config.file?"),
        (&["-web.config=web.yml"], "-web.config", "did you mean --web.config.file?"),
        (
            &["--web.listen-address=:9839"],
            "--web.listen-address",
            "use --listen.host and --listen.port",
        ),
        (
            &["-web.listen-address", ":9839"],
            "-web.listen-address",
            "use --listen.host and --listen.port",
        ),
        (&["--listen.address=::"], "--listen.address", "use --listen.host and --listen.port"),
        (&["--web.telemetry-path=/m"], "--web.telemetry-path", "use --metrics.endpoint"),
        (&["-web.telemetry-path", "/m"], "-web.telemetry-path", "use --metrics.endpoint"),
        (&["--log.level=debug"], "--log.level", log),
        (&["--log.format", "json"], "--log.format", log),
        (&["-log.level", "warn"], "-log.level", log),
        (&["--log-level=warn"], "--log-level", log),
        // Older versions of the Node.js exporter had it. Only its beginning is near to others.
        (&["--metrics.retention=1h"], "--metrics.retention", "see --help"),
    ] {
        assert_eq!(complaint(arguments, &[]), format!("unknown flag {flag}; {advice}"));
    }
}

#[test]
fn a_command_for_a_shell_is_refused_with_the_character_and_the_way_out() {
    for (command, sign) in [
        ("w -i | cat", "|"),
        ("w -i >table", ">"),
        ("cat <table", "<"),
        ("w -i; true", ";"),
        ("w -i && true", "&"),
        ("ssh host 'w -i'", "'"),
        ("sh -c \"w -i\"", "\""),
        ("ssh $HOST w", "$"),
        ("ssh `cat host` w", "`"),
        ("w -i \\", "\\"),
        ("w -i *", "*"),
        ("cat /tmp/t?ble", "?"),
        ("(w -i)", "("),
        ("w -i )", ")"),
        ("~/bin/w -i", "~ at the start of a word"),
        ("w -i ~", "~ at the start of a word"),
    ] {
        let expected = format!(
            "expected a command without {sign}, because no shell runs it; put it into a script that begins with #!/bin/sh, and give the path of the script"
        );
        assert_eq!(
            complaint(&["--w.command", command], &[]),
            format!("--w.command {command:?}: {expected}")
        );
        assert_eq!(
            complaint(&[], &[("EXPORTER_W_COMMAND", command)]),
            format!("EXPORTER_W_COMMAND {command:?}: {expected}")
        );
    }
}

/// systemd's EnvironmentFile and Docker's --env-file keep what stands behind a value. `w` would list
/// the sessions of a user called `#`: nobody.
#[test]
fn a_comment_behind_a_command_is_refused() {
    for command in ["w -i # show addresses", "w -i #addresses", "builtin # our own"] {
        let expected = "expected a command without a comment, which must be on a line of its own";
        let of_flag = complaint(&["--w.command", command], &[]);
        assert_eq!(of_flag, format!("--w.command {command:?}: {expected}"));
        let of_variable = complaint(&[], &[("EXPORTER_W_COMMAND", command)]);
        assert_eq!(of_variable, format!("EXPORTER_W_COMMAND {command:?}: {expected}"));
    }
}

/// A shell would pass them on as they are written, too.
#[test]
fn what_means_something_only_at_the_start_of_a_word_may_stand_within_one() {
    let folder = folder();
    let table = fixture("captures/debian12-procps-4.0.2/mix.i.txt");
    for name in ["w~", "w#1", "[2001:db8::1]:22", "alice@host", "a=b,c%d!{e}", "--"] {
        let file = folder.join(name);
        fs::copy(&table, &file).unwrap();
        let command = format!("cat {}", file.display());
        let output = run(&["--once", "--w.command", &command]);
        assert_eq!(output.status.code(), Some(0), "{name}: {output:?}");
    }
}

#[test]
fn the_word_builtin_stands_alone_and_in_lower_case() {
    let (alone, meant) = ("expected builtin alone", "did you mean builtin?");
    for (command, expected) in [
        ("builtin x", alone),
        (" builtin -i ", alone),
        ("Builtin", meant),
        ("BUILTIN -i", meant),
        ("built-in", meant),
    ] {
        let said = complaint(&["--w.command", command], &[]);
        assert_eq!(said, format!("--w.command {command:?}: {expected}"));
    }
}

/// As `ARGS="--web.config.file=$UNSET"` makes it. Plain HTTP would be served without a word.
#[test]
fn a_flag_with_an_empty_value_is_refused_unless_the_setting_can_be_empty() {
    for (flag, expected) in [
        ("--listen.host", "expected an address or a host name"),
        ("--listen.port", "expected a TCP port from 0 to 65535"),
        ("--metrics.endpoint", "expected a path that begins with /"),
        ("--metrics.with-timestamp", "expected true or false"),
        ("--metrics.command", "expected none, name or full"),
        ("--scrape.interval", "expected milliseconds, or a time "),
        ("--w.command", "expected a command, such as w -i"),
        ("--w.timeout", "expected milliseconds, or a time "),
        ("--web.config.file", "expected the path of a file"),
    ] {
        for arguments in [&[format!("{flag}=")][..], &[flag.to_owned(), String::new()]] {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let said = complaint(&arguments, &[]);
            assert!(said.starts_with(&format!("{flag} \"\": {expected}")), "{said}");
        }
    }
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
fn an_address_from_variables_is_named_with_them() {
    let taken = Exporter::of("true", &[]);
    let (_, port) = taken.address.rsplit_once(':').unwrap();
    for (variables, named) in [
        (&[("EXPORTER_LISTEN_PORT", port)][..], "--listen.host, EXPORTER_LISTEN_PORT"),
        (
            &[("EXPORTER_LISTEN_PORT", port), ("EXPORTER_LISTEN_HOST", "127.0.0.1")],
            "EXPORTER_LISTEN_HOST, EXPORTER_LISTEN_PORT",
        ),
    ] {
        let output = short_lived_program().envs(variables.iter().copied()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let expected = format!(" ERROR can't listen on 127.0.0.1 port {port} ({named}): ");
        assert!(said.contains(&expected), "{said}");
    }
}
