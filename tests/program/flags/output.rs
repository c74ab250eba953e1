//! What is said at the start, and how output and log are written.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::MetadataExt,
    process::{Command, Stdio},
    time::SystemTime,
};

use rustix::{fs::OFlags, pipe::PipeFlags};

use super::mix;
use crate::harness::{
    Exporter, FakeW, PROGRAM, folder, program, short_lived_program, until, without_variables,
};

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

/// In place of a closed stream, Rust opens /dev/null for reading and writing.
#[test]
fn standard_output_that_is_closed_is_an_error_unless_nothing_is_to_be_seen() {
    for (redirection, status) in [(">&-", 1), (">/dev/null", 0), (">>/dev/null", 0)] {
        let mut shell = without_variables(Command::new("sh"));
        let script = format!("exec \"$0\" \"$@\" {redirection}");
        shell.args(["-c", &script, PROGRAM, "--once", "--w.command", &mix()]);
        let output = shell.output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{redirection}: {output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.contains("standard output is closed"), status == 1, "{said}");
    }
}

/// The table of the built-in `w` is printed to be read, as the answer of `--once` is.
#[test]
fn a_table_for_a_closed_standard_output_is_an_error() {
    for (redirection, is_error) in [(">&-", true), (">/dev/null", false)] {
        let mut shell = without_variables(Command::new("sh"));
        let output =
            shell.args(["-c", &format!("exec \"$0\" w {redirection}"), PROGRAM]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.contains("standard output is closed"), is_error, "{redirection}: {said}");
        assert!(!is_error || output.status.code() == Some(1), "{redirection}: {}", output.status);
    }
}

/// As Node.js makes it for a child, for example.
#[test]
fn a_reader_that_is_slow_gets_everything_from_an_output_that_does_not_wait() {
    let fake = FakeW::new(
        "cat $TABLE; yes \"$(tail -n 1 $TABLE)\" | head -n 3000 | awk '{$2 = \"pts/\" NR} {printf \"%-8s %-8s -                15Oct26  3:26m  0.00s   ?    x\\n\", $1, $2}'",
    );
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
    let mut reader = File::from(reader);
    rustix::fs::fcntl_setfl(&writer, OFlags::WRONLY | OFlags::NONBLOCK).unwrap();
    let mut command = short_lived_program();
    command.args(["--once", "--w.command", &fake.command()]).stdout(writer).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Holds the other end of the pipe.
    drop(command);
    until("the pipe is full, or it gave up", || {
        rustix::io::ioctl_fionread(&reader).unwrap() > 60_000 || child.try_wait().unwrap().is_some()
    });
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text.len() > 200_000 && text.contains("what_exporter_build_info{"), "{}", text.len());
}

#[test]
fn the_version_can_be_asked_for_by_who_drops_it() {
    for redirection in [">&-", ">/dev/null", "<>/dev/null >&0"] {
        let mut shell = without_variables(Command::new("sh"));
        shell.args(["-c", &format!("exec \"$0\" --version {redirection}"), PROGRAM]);
        assert!(shell.status().unwrap().success(), "{redirection}");
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
    let said = "w failed: false exited with status 1 and printed no error; exposing no sessions\n";
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
fn the_start_line_names_every_setting_that_is_not_the_default_and_its_source() {
    let fake = FakeW::new("cat $TABLE");
    let mut command = program();
    command.args(["--metrics.prefix=", "--w.timeout", "8s", "--metrics.with-timestamp"]);
    command.envs([
        ("EXPORTER_CHECK_INTERVAL_MILLIS", "5s"),
        ("EXPORTER_METRICS_COMMAND", "name"),
        ("EXPORTER_METRICS_PREFIX", "site"),
        ("EXPORTER_METRICS_ENDPOINT", ""),
        ("EXPORTER_W_COMMAND", &fake.command()),
    ]);
    let exporter = Exporter::start(&mut command);
    let log = exporter.log();
    let expected = format!(
        " listens on http://{}/metrics with --listen.port \"0\" (flag), --metrics.prefix \"\" (flag), --metrics.with-timestamp \"true\" (flag), --metrics.command \"name\" (EXPORTER_METRICS_COMMAND), --w.command {:?} (EXPORTER_W_COMMAND)",
        exporter.address,
        fake.command()
    );
    assert!(log.len() == 1 && log[0].ends_with(&expected), "{log:#?}");
}

#[test]
fn a_missing_program_is_named_at_the_start() {
    let missing = |log: &[String]| -> Vec<String> {
        let warnings = log.iter().filter_map(|line| line.split_once(" WARN "));
        warnings.map(|(_, warning)| warning.to_owned()).collect()
    };
    let of_flag = Exporter::of("/no/such -i", &[]);
    assert_eq!(
        missing(&of_flag.log()),
        [
            "--w.command \"/no/such -i\": /no/such not found; --w.command must name an existing program"
        ]
    );
    let file = folder().join("w");
    fs::write(&file, "").unwrap();
    let of_variable = Exporter::start(program().env("EXPORTER_W_COMMAND", &file));
    assert_eq!(
        missing(&of_variable.log()),
        [format!("EXPORTER_W_COMMAND {file:?}: no permission to run {}", file.display())]
    );
    let there = Exporter::of(&FakeW::new("cat $TABLE").command(), &[]);
    assert_eq!(missing(&there.log()), [""; 0]);
}
