//! The flags: how they are written, what each does, the help and the version. The folder has errors,
//! environment variables, and what is said at the start and at the end.

mod errors;
mod output;
mod variables;

use std::fs;

use crate::harness::{Exporter, FakeW, fixture, once, run, samples, short_lived_program};

fn mix() -> String {
    format!("cat {}", fixture("captures/debian12-procps-4.0.2/mix.i.txt"))
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
fn version_names_version_target_compiler_and_whether_it_has_tls() {
    let output = run(&["--version"]);
    assert!(output.status.success());
    assert_eq!(run(&["-V"]), output);
    let version = String::from_utf8(output.stdout).unwrap();
    let start = concat!("prometheus-what-active-users-exporter ", env!("CARGO_PKG_VERSION"), " (");
    assert!(
        version.starts_with(start) && version.contains("-linux-") && version.contains("rustc 1."),
        "{version}"
    );
    let has_tls = cfg!(feature = "tls");
    assert!(version.ends_with(if has_tls { ", with TLS)\n" } else { ", without TLS)\n" }));
    let metrics = once(&["--w.command", &mix()]);
    let built = metrics.lines().find(|line| line.starts_with("what_exporter_build_info{"));
    let label = format!(",tls=\"{has_tls}\"}} 1");
    assert!(built.is_some_and(|line| line.ends_with(&label)), "{metrics}");
}

#[test]
fn a_time_can_have_units() {
    let w = mix();
    for time in ["5s", "1m", "1h", "1d", "365d", "60000", "60000ms", "1m30s", "1d2h", "1h0m5s250ms"]
    {
        let output =
            run(&["--once", "--w.command", &w, "--scrape.interval", time, "--w.timeout", time]);
        assert_eq!(output.status.code(), Some(0), "{time}: {output:?}");
    }
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
    let text = once(&["--w.command", &mix(), "--metrics.prefix", "site"]);
    assert!(text.contains("\nsite_up{") && !text.contains("what_"), "{text}");
    let served = Exporter::of(&mix(), &["--metrics.prefix", "site"]).metrics();
    assert!(served.contains("\nsite_up{") && served.contains("\nprocess_open_fds "), "{served}");
}

/// They would be those of a process of a moment, and collide in node_exporter's textfile collector.
#[test]
fn a_run_that_only_prints_tells_nothing_of_its_own_process() {
    let text = once(&["--w.command", &mix()]);
    assert!(text.contains("\nwhat_up{version=") && !text.contains("process_"), "{text}");
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

#[test]
fn the_sub_command_w_prints_the_table_of_the_built_in_w() {
    let output = run(&["w"]);
    let table = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    // As a system without session files has none.
    match output.status.code() {
        Some(0) => assert!(table.starts_with("USER\tTTY\tFROM\tLOGIN\t") && said.is_empty()),
        Some(1) => assert!(table.is_empty() && said.lines().count() == 1, "{said}"),
        _ => panic!("{table}{said}"),
    }
}
