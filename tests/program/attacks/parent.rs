//! What the process that starts the exporter hands down: signals that it ignores or blocks, and
//! streams that are closed or that nobody reads.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, net::UnixStream},
    },
    process::Command,
    thread,
    time::Duration,
};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::ioctl_fionread,
    pipe::{PipeFlags, pipe_with},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};

use crate::harness::{Exporter, FakeW, PROGRAM, program, promised, until, without_variables};

/// The program, started with these options of env(1).
fn started_with(options: &[&str]) -> Command {
    let mut env = without_variables(Command::new("env"));
    env.args(options).arg(PROGRAM);
    env
}

/// The signals of a set in `/proc/PID/status`, as bits from signal 1.
fn signals(exporter: &Exporter, set: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", exporter.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(set)).unwrap();
    u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap()
}

#[test]
fn a_parent_that_ignores_sigchld_does_not_hide_how_w_ends() {
    let fake = FakeW::new("cat $TABLE");
    let mut command = started_with(&["--ignore-signal=CHLD"]);
    let exporter =
        Exporter::start(command.args(["--scrape.interval=0", "--w.command", &fake.command()]));
    assert!(exporter.metrics().contains("user=\"alice\""), "{:?}", exporter.log());
    fake.becomes("exit 3");
    exporter.metrics();
    assert!(exporter.log()[1].contains("exited with status 3"), "{:?}", exporter.log());
}

#[test]
fn signals_that_the_parent_blocks_stop_it_and_are_not_blocked_in_w() {
    let fake = FakeW::new("grep SigBlk /proc/self/status >$DIR/blocked; cat $TABLE");
    let mut command = started_with(&["--block-signal=TERM,INT,HUP,CHLD"]);
    let mut exporter = Exporter::start(command.args(["--w.command", &fake.command()]));
    exporter.metrics();
    assert_eq!(fake.read("blocked").trim_end(), "SigBlk:\t0000000000000000");
    exporter.signal("TERM");
    assert_eq!(exporter.end().0, Some(0));
}

#[test]
fn a_hangup_that_the_parent_ignores_stays_ignored() {
    let hangup = 1;
    for (options, is_ignored) in
        [(["--ignore-signal=HUP"], true), (["--default-signal=HUP"], false)]
    {
        let mut exporter = Exporter::start(started_with(&options).args(["--w.command", "true"]));
        assert_eq!(signals(&exporter, "SigIgn") & hangup != 0, is_ignored);
        exporter.signal("HUP");
        if is_ignored {
            assert_eq!(exporter.get("/-/healthy").status, 200);
            exporter.signal("TERM");
        }
        assert_eq!(exporter.end().0, Some(0));
    }
}

#[test]
fn it_starts_through_the_dynamic_linker() {
    // The test was started by the same one.
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut files = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let linker = files.find(|file| file.contains("/ld-")).unwrap();
    let fake = FakeW::new("cat $TABLE");
    let mut command = without_variables(Command::new(linker));
    let exporter = Exporter::start(command.args([PROGRAM, "--w.command", &fake.command()]));
    assert!(exporter.metrics().contains("user=\"alice\""));
}

/// A stream that the exporter writes, and the other end, which nobody reads.
struct Unread {
    reader: File,
    writer: OwnedFd,
}

impl Unread {
    fn pipe() -> Unread {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        Unread { reader: reader.into(), writer }
    }

    fn socket() -> Unread {
        let (reader, writer) = UnixStream::pair().unwrap();
        Unread { reader: OwnedFd::from(reader).into(), writer: writer.into() }
    }

    fn terminal() -> Unread {
        let reader = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&reader).unwrap();
        unlockpt(&reader).unwrap();
        let name = ptsname(&reader, Vec::new()).unwrap();
        let mut options = OpenOptions::new();
        let writer = options.write(true).open(OsStr::from_bytes(name.as_bytes())).unwrap();
        Unread { reader: reader.into(), writer: writer.into() }
    }

    /// Writes until there is no room.
    fn fill(&self) {
        let mut writer = File::from(self.writer.try_clone().unwrap());
        let flags = fcntl_getfl(&writer).unwrap();
        fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
        until("it is full", || {
            // A terminal moves up to 4,095 bytes to its reader, a moment later, and then has room
            // again.
            let was_moved = ioctl_fionread(&self.reader).unwrap() > 3900;
            while writer.write(&[b'.'; 1000]).is_ok() {}
            while writer.write(b".").is_ok() {}
            was_moved
        });
        fcntl_setfl(&writer, flags).unwrap();
    }

    /// Reads what there is.
    fn read(&mut self) -> String {
        let flags = fcntl_getfl(&self.reader).unwrap();
        fcntl_setfl(&self.reader, flags | OFlags::NONBLOCK).unwrap();
        let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(count @ 1..) = self.reader.read(&mut buffer) {
            text.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// Fails in every other run, so that each run is logged.
const TURNS: &str = "test $(($(wc -l <$DIR/runs) % 2)) = 0 || exit 1; cat $TABLE";

#[test]
fn a_log_that_nobody_reads_stops_nothing_and_the_lines_are_counted() {
    for (kind, mut stderr) in
        [("pipe", Unread::pipe()), ("socket", Unread::socket()), ("terminal", Unread::terminal())]
    {
        stderr.fill();
        let fake = FakeW::new(TURNS);
        let mut command = program();
        command.args(["--scrape.interval=0", "--w.command", &fake.command()]);
        command.stderr(stderr.writer.try_clone().unwrap());
        let mut exporter = Exporter::start_unlogged(&mut command);
        for _ in 0..5 {
            exporter.metrics();
        }
        let mut log = String::new();
        until(&format!("{kind}: the lines are counted"), || {
            log += &stderr.read();
            exporter.metrics();
            log.contains("lines of the log because nobody read standard error")
        });
        // The line of the start, and one for each run but the first ones.
        let (before, _) = log.split_once(" lines of the log because").unwrap();
        let count = before.rsplit(' ').next().unwrap();
        assert!(count.parse::<u32>().unwrap() >= 6, "{kind}: {log}");
        stderr.fill();
        exporter.signal("TERM");
        let (status, took) = exporter.end();
        assert_eq!(status, Some(0), "{kind}");
        assert!(took < promised(Duration::from_secs(1)), "{kind}: {took:?}");
    }
}

/// Nothing is full at first, and lines do not fit exactly into what is left.
#[test]
fn a_log_whose_reader_stops_stops_nothing() {
    let complaint = "x".repeat(290);
    for (kind, stderr) in
        [("pipe", Unread::pipe()), ("socket", Unread::socket()), ("terminal", Unread::terminal())]
    {
        let fake = FakeW::new(&format!("echo {complaint} >&2; {TURNS}"));
        let mut command = program();
        command.args(["--scrape.interval=0", "--w.command", &fake.command()]);
        command.stderr(stderr.writer.try_clone().unwrap());
        let mut exporter = Exporter::start_unlogged(&mut command);
        // More than the 64 KB of a pipe, and more than a terminal or a socket holds.
        for _ in 0..300 {
            exporter.metrics();
        }
        exporter.signal("TERM");
        assert_eq!(exporter.end().0, Some(0), "{kind}");
    }
}

/// O_NONBLOCK belongs to the stream, and so to every process that has inherited it.
#[test]
fn the_streams_of_other_processes_still_wait() {
    let (mut stderr, fake) = (Unread::pipe(), FakeW::new("exit 1"));
    let mut command = program();
    command.args(["--w.command", &fake.command()]).stderr(stderr.writer.try_clone().unwrap());
    let exporter = Exporter::start_unlogged(&mut command);
    exporter.metrics();
    until("it logs", || stderr.read().contains("w failed"));
    assert!(!fcntl_getfl(&stderr.writer).unwrap().contains(OFlags::NONBLOCK));
}

/// What a program prints on a terminal.
fn printed_on_a_terminal(command: &mut Command) -> io::Result<String> {
    let mut terminal = Unread::terminal();
    let mut child = command.stdout(terminal.writer.try_clone()?).spawn()?;
    let mut text = String::new();
    until("it ends", || {
        text += &terminal.read();
        child.try_wait().is_ok_and(|ended| ended.is_some())
    });
    thread::sleep(Duration::from_millis(20));
    Ok(text + &terminal.read())
}

#[test]
fn a_terminal_is_shown_what_it_would_obey() {
    let fake = FakeW::new("sed 's/vim/\\x1b[2J\\xe2\\x80\\xaevim/' $TABLE");
    let arguments = ["--once", "--metrics.command=full", "--w.command", &fake.command()];
    let shown = printed_on_a_terminal(program().args(arguments)).unwrap();
    assert!(shown.contains("command=\"\\u{1b}[2J\\u{202e}vim"), "{shown}");
    assert!(!shown.contains('\x1b') && shown.contains("\nwhat_up{"), "{shown}");
    // Whatever else reads it gets the bytes.
    let output = program().args(arguments).output().unwrap();
    let piped = String::from_utf8(output.stdout).unwrap();
    assert!(piped.contains("command=\"\x1b[2J\u{202e}vim"), "{piped}");
}
