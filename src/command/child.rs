//! Runs the command, within a time and a size, and leaves nothing of it behind. Knows no table.

use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::process::CommandExt,
    },
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result, anyhow};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Access, access},
    io::Errno,
    process::{
        Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group,
        pidfd_open, wait, waitid,
    },
};

use crate::{lock::locked, memory};

/// The command when no other is given; only this one falls back to plain `w`.
pub const DEFAULT_COMMAND: &str = "w -i";

/// Standard output is read up to this many bytes: some 40,000 sessions.
pub const MAX_OUTPUT: usize = 16 * 1024 * 1024;

/// Room for the output, taken at once and given back but for what was used. A piece of more than 32 MiB comes from the system and
/// goes back to it; one that grows would stay with glibc, for each of its arenas once.
const ROOM: usize = 2 * MAX_OUTPUT + (1 << 20);

/// For each byte of output, what reading and rendering it takes at most.
const MEMORY_PER_BYTE: usize = 26;

/// Standard error is kept up to this many bytes; the rest is read and dropped.
const MAX_COMPLAINT: usize = 2048;

/// A killed process that has not ended by then (it hangs in the kernel) is left to a later run to collect.
const KILL_GRACE: Duration = Duration::from_millis(500);

/// How a run ended, as in the label `outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It gave a table that could be read.
    Ok,
    /// It could not be started, or ended with a status other than 0.
    Failed,
    /// It was killed at the timeout.
    Timeout,
    /// It gave something else, or too much.
    Unreadable,
}

impl Outcome {
    /// All of them, in the order of their names.
    pub const ALL: [Outcome; 4] =
        [Outcome::Failed, Outcome::Ok, Outcome::Timeout, Outcome::Unreadable];

    /// The label's value.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Failed => "failed",
            Outcome::Timeout => "timeout",
            Outcome::Unreadable => "unreadable",
        }
    }
}

/// A run that gave nothing to read.
#[derive(Debug)]
pub struct Failure {
    /// Which of the outcomes other than ok.
    pub outcome: Outcome,
    /// What was run, and what happened.
    pub error: Error,
}

impl Failure {
    fn failed(error: Error) -> Failure {
        Failure { outcome: Outcome::Failed, error }
    }
}

/// The process group that runs now, so that it can be killed from another thread when the exporter stops.
#[derive(Debug, Default)]
pub struct Running(Mutex<RunningState>);

#[derive(Debug, Default)]
struct RunningState {
    group: Option<Pid>,
    stopped: bool,
}

impl Running {
    /// Kills what runs, and lets nothing start from now on.
    pub fn stop(&self) {
        let mut state = locked(&self.0);
        state.stopped = true;
        if let Some(group) = state.group {
            kill_group(group);
        }
    }

    fn start(&self, command: &mut Command) -> io::Result<Child> {
        let mut state = locked(&self.0);
        if state.stopped {
            return Err(io::Error::other("the exporter is stopping"));
        }
        let child = command.spawn()?;
        state.group = Some(Pid::from_child(&child));
        Ok(child)
    }

    fn ended(&self) {
        locked(&self.0).group = None;
    }
}

/// The command `w`, ready to be run.
#[derive(Debug)]
pub struct W {
    words: Vec<String>,
    timeout: Duration,
    running: Arc<Running>,
    /// `-i` was refused once, and the command was not the user's choice.
    without_option: bool,
}

impl W {
    /// Takes the command, split at blanks; nothing is run yet.
    pub fn new(command: &str, timeout: Duration, running: Arc<Running>) -> W {
        W {
            words: command.split_ascii_whitespace().map(str::to_owned).collect(),
            timeout,
            running,
            without_option: false,
        }
    }

    /// Runs it once and gives what it printed.
    ///
    /// # Errors
    /// It can't be started, ends with a status other than 0, takes longer than the timeout, or prints too much.
    pub fn run(&mut self) -> Result<Vec<u8>, Failure> {
        let deadline = Instant::now() + self.timeout;
        let (program, arguments) =
            self.words.split_first().context("the command is empty").map_err(Failure::failed)?;
        if !self.without_option {
            let ended = self.run_until(program, arguments, deadline)?;
            if !(self.words.join(" ") == DEFAULT_COMMAND && ended.refused_option()) {
                return ended.output(&self.words.join(" "));
            }
        }
        let ended = self.run_until(program, &[], deadline)?;
        self.without_option |= ended.status.success();
        ended.output(program)
    }

    fn run_until(
        &self,
        program: &str,
        arguments: &[String],
        deadline: Instant,
    ) -> Result<Ended, Failure> {
        let mut command = command(program, arguments).map_err(Failure::failed)?;
        let child = self.running.start(&mut command);
        let mut child = child
            .with_context(|| format!("{program} can't be started"))
            .map_err(Failure::failed)?;
        let group = Pid::from_child(&child);
        let read = read_both(&mut child, deadline);
        let in_time = read.is_ok() && has_ended_by(group, deadline);
        // Also what it started and left behind. The leader is not collected yet, so that the group's number is still its own.
        kill_group(group);
        let killed_in_time = in_time || has_ended_by(group, Instant::now() + KILL_GRACE);
        let status = if killed_in_time { Some(child.wait()) } else { None };
        self.running.ended();
        collect_orphans();
        let late = || Failure {
            outcome: Outcome::Timeout,
            error: anyhow!(
                "{program} was killed: it took longer than {:?} (--w.timeout)",
                self.timeout
            ),
        };
        let (stdout, stderr) = read.map_err(|fault| match fault {
            Fault::Late => late(),
            Fault::TooMuch => Failure {
                outcome: Outcome::Unreadable,
                error: anyhow!("{program} was killed: it printed more than {MAX_OUTPUT} bytes"),
            },
            Fault::Io(error) => Failure::failed(
                Error::new(error).context(format!("what {program} prints can't be read")),
            ),
        })?;
        match status {
            Some(status) if in_time => {
                let status =
                    status.with_context(|| format!("the status of {program} can't be read"));
                let status = status.map_err(Failure::failed)?;
                Ok(Ended { status, stdout, stderr })
            }
            _ => Err(late()),
        }
    }
}

/// A process that ended by itself.
struct Ended {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Ended {
    /// As BusyBox and procps 3.2 do with `-i`: a status other than 0, a word about the option or the usage, and no table. The
    /// usage may come on either stream.
    fn refused_option(&self) -> bool {
        let (stdout, stderr) = (self.stdout.to_ascii_lowercase(), self.stderr.to_ascii_lowercase());
        let says = |text: &[u8], word: &[u8]| text.windows(word.len()).any(|window| window == word);
        let usage = stdout.starts_with(b"usage");
        !self.status.success()
            && (usage
                || (stdout.is_empty() && (says(&stderr, b"option") || says(&stderr, b"usage"))))
    }

    fn output(self, command: &str) -> Result<Vec<u8>, Failure> {
        if self.status.success() {
            return if memory::is_left(self.stdout.len() * MEMORY_PER_BYTE) {
                Ok(self.stdout)
            } else {
                Err(Failure::failed(anyhow!(
                    "no memory is left for the {} bytes that {command} printed: give the exporter more, or look for what takes it",
                    self.stdout.len()
                )))
            };
        }
        let complaint = String::from_utf8_lossy(&self.stderr);
        let complaint: Vec<&str> =
            complaint.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
        let complaint = if complaint.is_empty() {
            "it said nothing".to_owned()
        } else {
            complaint.join("; ").chars().take(300).collect()
        };
        Err(Failure::failed(anyhow!("{command} ended with {}: {complaint}", self.status)))
    }
}

/// The environment is of our making: what each variable does to which `w` is in the README.
fn command(program: &str, arguments: &[String]) -> Result<Command> {
    let path = env::var_os("PATH");
    // By its full name: with a name to look up and an environment of its own, std would fork instead of calling posix_spawn.
    let mut command = Command::new(find(program, path.as_ref())?);
    command
        .arg0(program)
        .args(arguments)
        .env_clear()
        .envs(path.map(|path| ("PATH", path)))
        .env("LC_ALL", "C")
        .env("TZ", "UTC0")
        .env("PROCPS_USERLEN", "32")
        .env("PROCPS_FROMLEN", "256")
        .env("COLUMNS", "512")
        .stdin(nothing().context("no empty standard input can be made")?)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    Ok(command)
}

/// An empty standard input, also where there is no /dev/null.
fn nothing() -> io::Result<Stdio> {
    match File::open("/dev/null") {
        Ok(null) => Ok(null.into()),
        Err(_) => io::pipe().map(|(reader, _)| reader.into()),
    }
}

/// Finds a program as a shell would.
fn find(program: &str, path: Option<&OsString>) -> Result<PathBuf> {
    const REMEDY: &str = "install it (Debian, Ubuntu: procps; Alpine, Fedora: procps-ng) or name another with --w.command";
    let runnable = |file: &PathBuf| access(file, Access::EXEC_OK).is_ok() && file.is_file();
    if program.contains('/') {
        let file = PathBuf::from(program);
        return match file.exists() {
            true if runnable(&file) => Ok(file),
            true => Err(anyhow!("no permission to run {program}")),
            false => Err(anyhow!("there is no {program}: {REMEDY}")),
        };
    }
    let path = path.cloned().unwrap_or_default();
    let files: Vec<PathBuf> = env::split_paths(&path).map(|folder| folder.join(program)).collect();
    if let Some(file) = files.iter().find(|file| runnable(file)) {
        return Ok(file.clone());
    }
    match files.iter().find(|file| file.is_file()) {
        Some(file) => Err(anyhow!("no permission to run {}", file.display())),
        None => Err(anyhow!("there is no {program} in the PATH {}: {REMEDY}", path.display())),
    }
}

/// Why the reading stopped.
enum Fault {
    Late,
    TooMuch,
    Io(io::Error),
}

/// Reads both streams to their ends, whichever has something, so that the child blocks on neither.
fn read_both(child: &mut Child, deadline: Instant) -> Result<(Vec<u8>, Vec<u8>), Fault> {
    let mut stdout = Stream::new(child.stdout.take());
    let mut stderr = Stream::new(child.stderr.take());
    let room = stdout.kept.try_reserve_exact(ROOM);
    room.map_err(|error| Fault::Io(error.into()))?;
    let mut buffer = vec![0; 64 * 1024];
    while stdout.is_open() || stderr.is_open() {
        let left = deadline.checked_duration_since(Instant::now()).ok_or(Fault::Late)?;
        let (out_ready, err_ready) = ready(stdout.fd(), stderr.fd(), left).map_err(Fault::Io)?;
        if out_ready {
            stdout.read(&mut buffer, usize::MAX).map_err(Fault::Io)?;
        }
        if err_ready {
            stderr.read(&mut buffer, MAX_COMPLAINT).map_err(Fault::Io)?;
        }
        if stdout.kept.len() > MAX_OUTPUT {
            return Err(Fault::TooMuch);
        }
    }
    stdout.kept.shrink_to_fit();
    Ok((stdout.kept, stderr.kept))
}

/// One of the child's streams, while it is open, and what was kept of it.
struct Stream<R> {
    pipe: Option<R>,
    kept: Vec<u8>,
}

impl<R: Read + AsFd> Stream<R> {
    fn new(pipe: Option<R>) -> Stream<R> {
        Stream { pipe, kept: Vec::new() }
    }

    fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Reads once, keeps up to that many bytes in all, and closes at the end.
    fn read(&mut self, buffer: &mut [u8], keep: usize) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(());
        };
        match pipe.read(buffer) {
            Ok(0) => self.pipe = None,
            Ok(count) => {
                let room = keep.saturating_sub(self.kept.len()).min(count);
                self.kept.extend_from_slice(buffer.get(..room).unwrap_or_default());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Waits until one of the two can be read, or has ended, or the time is over.
fn ready(
    out: Option<BorrowedFd>,
    err: Option<BorrowedFd>,
    timeout: Duration,
) -> io::Result<(bool, bool)> {
    let both: Vec<BorrowedFd> = out.into_iter().chain(err).collect();
    let mut polled: Vec<PollFd> = both.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let timeout = Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
    match poll(&mut polled, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut answers = polled.iter().map(|fd| !fd.revents().is_empty());
    let out_ready = out.is_some() && answers.next().unwrap_or(false);
    Ok((out_ready, err.is_some() && answers.next().unwrap_or(false)))
}

/// Whether a child has ended, or does by then; it is not collected. It closes its pipes just before it ends.
fn has_ended_by(child: Pid, deadline: Instant) -> bool {
    // Without it (Linux before 5.3, some sandboxes) naps do; a nap is longer than most ends take.
    let end = pidfd_open(child, PidfdFlags::empty()).ok();
    let mut nap = Duration::from_micros(20);
    loop {
        match waitid(
            WaitId::Pid(child),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT,
        ) {
            Ok(None) | Err(Errno::INTR) => {}
            Ok(Some(_)) | Err(_) => return true,
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        match &end {
            Some(end) if ready(Some(end.as_fd()), None, left).is_ok() => {}
            _ => thread::sleep(nap),
        }
        nap = (nap * 2).min(Duration::from_millis(10));
    }
}

fn kill_group(group: Pid) {
    // It is no error if nobody is left in it.
    let _ = kill_process_group(group, Signal::KILL);
}

/// Collects the children that are not ours: as PID 1 of a container the exporter inherits what `w` left behind. One run at a time
/// makes this safe, as its own child is collected by then.
fn collect_orphans() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}
