//! Runs a process with limits on time and output. Afterwards, nothing of its process group is left.

use std::{
    fs::File,
    io::{self, Read},
    mem,
    os::fd::{AsFd, BorrowedFd},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{
        Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group,
        pidfd_open, wait, waitid,
    },
};

use crate::lock::locked;

/// The most bytes of standard output that are accepted: 50,000 sessions of procps, or 240,000 of
/// the shortest rows.
pub(crate) const MAX_OUTPUT: usize = 16 * 1024 * 1024;

/// The first bytes of standard error that are kept. The rest is read and dropped.
const MAX_COMPLAINT: usize = 2048;

/// How long to wait for the end of a killed process. If it hangs in the kernel for longer, a later
/// run collects it.
const KILL_GRACE: Duration = Duration::from_millis(500);

/// How often the caller gets control while the process runs.
const STEP: Duration = Duration::from_millis(20);

/// Called every few milliseconds during a run.
pub type Meanwhile<'m> = dyn FnMut() -> Next + 'm;

/// What to do with the current run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Go on: somebody waits for it.
    Wait,
    /// Kill it: nobody waits for it.
    GiveUp,
}

/// The process group of the current run, so that another thread can kill it when the exporter
/// stops.
#[derive(Clone, Debug, Default)]
pub struct Running(Arc<Mutex<RunningState>>);

#[derive(Debug, Default)]
enum RunningState {
    #[default]
    Idle,
    Running(Pid),
    Stopped,
}

impl Running {
    /// Kills the current run and prevents new ones.
    pub fn stop(&self) {
        let mut state = locked(&self.0);
        if let RunningState::Running(group) = mem::replace(&mut *state, RunningState::Stopped) {
            kill_group(group);
        }
    }

    fn start(&self, command: &mut Command) -> Result<Child, Fault> {
        let mut state = locked(&self.0);
        if let RunningState::Stopped = *state {
            return Err(Fault::Stopped);
        }
        let child = command.spawn().map_err(Fault::NotStarted)?;
        *state = RunningState::Running(Pid::from_child(&child));
        Ok(child)
    }

    /// From now on, the run is not killed. Returns whether it may have been.
    fn ended(&self) -> bool {
        let mut state = locked(&self.0);
        if let RunningState::Running(_) = *state {
            *state = RunningState::Idle;
        }
        matches!(*state, RunningState::Stopped)
    }
}

/// A process that exited by itself.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// Everything that it printed.
    pub stdout: Vec<u8>,
    /// The beginning of its standard error.
    pub stderr: Vec<u8>,
}

/// Why a run has no output.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It could not be started.
    NotStarted(io::Error),
    /// It was killed at the deadline.
    Late,
    /// It was killed because nobody waited for it.
    GivenUp,
    /// It was killed or not started because the exporter stops.
    Stopped,
    /// It was killed because it printed more than `MAX_OUTPUT`.
    TooMuch,
    /// Its output could not be read.
    Io(io::Error),
}

/// Runs a process until it ends. Afterwards, nothing of its process group is left.
///
/// # Errors
/// It could not be started, did not exit in time, or printed too much.
pub(crate) fn run(
    command: &mut Command,
    running: &Running,
    deadline: Instant,
    meanwhile: &mut Meanwhile,
) -> Result<Ended, Fault> {
    let mut child = running.start(command)?;
    let group = Pid::from_child(&child);
    let read = read_both(&mut child, deadline, meanwhile);
    let ended = read.and_then(|read| wait_until(group, deadline, meanwhile).map(|()| read));
    // This also kills processes that it started and left. Its leader is not collected yet, so the
    // number still belongs to this group.
    kill_group(group);
    if ended.is_err() {
        has_ended_by(group, Instant::now() + KILL_GRACE);
    }
    let is_stopped = running.ended();
    let ended = ended.and_then(|(stdout, stderr)| {
        let status = child.wait().map_err(Fault::Io)?;
        Ok(Ended { status, stdout, stderr })
    });
    collect_ended_children();
    match ended {
        Ok(ended) if ended.status.success() => Ok(ended),
        _ if is_stopped => Err(Fault::Stopped),
        ended => ended,
    }
}

/// An empty standard input. It works without /dev/null too.
pub(crate) fn nothing() -> io::Result<Stdio> {
    match File::open("/dev/null") {
        Ok(null) => Ok(null.into()),
        Err(_) => Ok(pipe_with(PipeFlags::CLOEXEC)?.0.into()),
    }
}

/// Reads both streams to their ends at the same time, so that the child blocks on neither.
fn read_both(
    child: &mut Child,
    deadline: Instant,
    meanwhile: &mut Meanwhile,
) -> Result<(Vec<u8>, Vec<u8>), Fault> {
    let mut stdout = Stream::new(child.stdout.take());
    let mut stderr = Stream::new(child.stderr.take());
    let mut buffer = vec![0; 64 * 1024];
    while stdout.is_open() || stderr.is_open() {
        let time = next_step(deadline, meanwhile)?;
        let (out_ready, err_ready) = ready(stdout.fd(), stderr.fd(), time).map_err(Fault::Io)?;
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

/// Calls `meanwhile` and returns how long to wait until the next call.
fn next_step(deadline: Instant, meanwhile: &mut Meanwhile) -> Result<Duration, Fault> {
    let left = deadline.checked_duration_since(Instant::now()).ok_or(Fault::Late)?;
    match meanwhile() {
        Next::Wait => Ok(left.min(STEP)),
        Next::GiveUp => Err(Fault::GivenUp),
    }
}

/// One of the child's streams, while it is open, and the bytes that were kept.
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

    /// Reads once, keeps at most `keep` bytes in total, and closes the stream at its end.
    fn read(&mut self, buffer: &mut [u8], keep: usize) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(());
        };
        match pipe.read(buffer) {
            Ok(0) => self.pipe = None,
            Ok(count) => {
                let room = keep.saturating_sub(self.kept.len()).min(count);
                self.make_room(room)?;
                self.kept.extend_from_slice(&buffer[..room]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The command decides how many bytes come, so an allocation can fail.
    fn make_room(&mut self, bytes: usize) -> io::Result<()> {
        Ok(self.kept.try_reserve(bytes)?)
    }
}

/// Waits until one of the two can be read or has ended, or the time is over.
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

/// Waits for the end of a child that has closed its pipes. It is not collected yet.
fn wait_until(child: Pid, deadline: Instant, meanwhile: &mut Meanwhile) -> Result<(), Fault> {
    while !has_ended_by(child, deadline.min(Instant::now() + STEP)) {
        next_step(deadline, meanwhile)?;
    }
    Ok(())
}

/// Waits until a child has ended or the time is over, and returns whether it has ended. It is not
/// collected yet.
fn has_ended_by(child: Pid, deadline: Instant) -> bool {
    // Without pidfd (Linux before 5.3, some sandboxes) this sleeps and looks again.
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
    // It is not an error if the group is already empty.
    let _ = kill_process_group(group, Signal::KILL);
}

/// Collects all children that have ended: a killed command, and, as PID 1 of a container, the
/// processes that `w` leaves. Only one command runs at a time, so the exit status of no other is
/// lost.
fn collect_ended_children() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}
