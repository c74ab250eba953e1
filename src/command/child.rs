//! Runs a process with limits on time and output. Afterwards, nothing of its process group runs,
//! unless it can't be killed. Then nothing else is run until it has ended.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{
        Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group,
        test_kill_process_group, wait, waitid,
    },
};

use super::stop::StopFlag;

/// The most bytes of standard output that are accepted: 50,000 sessions of procps, or 240,000 of
/// the shortest rows.
pub(crate) const MAX_OUTPUT: usize = 16 * 1024 * 1024;

/// The room for standard output: more than 32 MiB, because glibc's allocator takes such blocks from
/// the system and returns them when they are freed. Smaller ones it keeps, once it has seen one of
/// their size. What is not written takes no memory.
const ROOM: usize = 2 * MAX_OUTPUT + 64 * 1024;

/// The first bytes of standard error that are kept. The rest is read and dropped.
const MAX_COMPLAINT: usize = 2048;

/// How long to wait for the end of killed processes. One that hangs in the kernel, or has another
/// user's rights, can stay for longer.
const KILL_GRACE: Duration = Duration::from_millis(500);

/// How long to sleep before looking again whether a process has ended: at first and at most.
const NAPS: (Duration, Duration) = (Duration::from_micros(20), Duration::from_millis(10));

/// Runs processes, one after the other.
#[derive(Debug)]
pub(crate) struct Launcher {
    stop: StopFlag,
    /// The process group of an earlier run that could not be killed.
    survivor: Option<Pid>,
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
    /// It was not started, because this process group of an earlier run still runs.
    NotAlone(Pid),
    /// It did not end before the deadline.
    Late,
    /// It was killed or not started because the exporter stops.
    Stopped,
    /// It printed more than `MAX_OUTPUT`.
    TooMuch,
    /// Its output could not be read.
    Io(io::Error),
}

impl Launcher {
    /// Nothing runs. When the flag is set, the current run is killed, and no other begins.
    pub(crate) fn new(stop: StopFlag) -> Launcher {
        Launcher { stop, survivor: None }
    }

    /// Runs a process until it ends.
    ///
    /// # Errors
    /// It could not be started, did not exit in time, or printed too much.
    pub(crate) fn run(&mut self, command: &mut Command, deadline: Instant) -> Result<Ended, Fault> {
        let _run = self.stop.begin_run().ok_or(Fault::Stopped)?;
        collect_ended_children();
        if let Some(group) = self.survivor.filter(|group| is_running(*group)) {
            return Err(Fault::NotAlone(group));
        }
        self.survivor = None;
        let mut child = command.spawn().map_err(Fault::NotStarted)?;
        let group = Pid::from_child(&child);
        let output = read(&mut child, &self.stop, deadline);
        // This also kills processes that it started and left. Its leader is not collected yet, so
        // the number still belongs to this group.
        let _ = kill_process_group(group, Signal::KILL);
        let ended = match output {
            Ok((stdout, stderr)) => {
                let status = child.wait().map_err(Fault::Io);
                status.map(|status| Ended { status, stdout, stderr })
            }
            // The process ends now, so there is no time to wait.
            Err(Fault::Stopped) => return Err(Fault::Stopped),
            Err(fault) => Err(fault),
        };
        // Usually nothing is left. What else it started ends a moment later, and PID 1 must collect
        // it, now and not at the next run.
        let is_gone = is_gone_by(group, Instant::now() + KILL_GRACE);
        self.survivor = (!is_gone).then_some(group);
        collect_ended_children();
        ended
    }

    /// Whether processes of the last run could not be killed.
    pub(crate) fn has_survivor(&self) -> bool {
        self.survivor.is_some()
    }
}

/// Reads both streams at the same time, so that the child blocks on neither, until standard output
/// and the child have ended. Standard error can be open for longer, in a process that it left.
fn read(
    child: &mut Child,
    stop: &StopFlag,
    deadline: Instant,
) -> Result<(Vec<u8>, Vec<u8>), Fault> {
    let leader = Pid::from_child(child);
    let mut stdout = Captured::new(child.stdout.take().map(OwnedFd::from), MAX_OUTPUT + 1);
    // Where the address space is limited, the room grows with the output.
    let _ = stdout.kept.try_reserve_exact(ROOM);
    let mut stderr = Captured::new(child.stderr.take().map(OwnedFd::from), MAX_COMPLAINT);
    let mut buffer = [0; 4096];
    let mut nap = NAPS.0;
    while stdout.is_open() || !has_ended(leader) {
        let left = deadline.checked_duration_since(Instant::now()).ok_or(Fault::Late)?;
        let time = if stdout.is_open() { left } else { nap.min(left) };
        let fds = [Some(stop.as_fd()), stdout.fd(), stderr.fd()];
        let [is_stopped, out_ready, err_ready] = ready(fds, time).map_err(Fault::Io)?;
        if is_stopped {
            return Err(Fault::Stopped);
        }
        if out_ready {
            stdout.read(&mut buffer).map_err(Fault::Io)?;
        } else if !stdout.is_open() {
            nap = (nap * 2).min(NAPS.1);
        }
        if err_ready {
            stderr.read(&mut buffer).map_err(Fault::Io)?;
        }
        if stdout.kept.len() > MAX_OUTPUT {
            return Err(Fault::TooMuch);
        }
    }
    // What it said last.
    while !stderr.is_full() && ready([stderr.fd()], Duration::ZERO).map_err(Fault::Io)?[0] {
        stderr.read(&mut buffer).map_err(Fault::Io)?;
    }
    Ok((stdout.kept, stderr.kept))
}

/// What a process writes to a pipe: the pipe while it is open, and the first bytes.
struct Captured {
    pipe: Option<File>,
    kept: Vec<u8>,
    most: usize,
}

impl Captured {
    fn new(pipe: Option<OwnedFd>, most: usize) -> Captured {
        Captured { pipe: pipe.map(File::from), kept: Vec::new(), most }
    }

    fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    fn is_full(&self) -> bool {
        self.kept.len() >= self.most
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Reads once, and closes the pipe at its end.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(());
        };
        match pipe.read(buffer) {
            Ok(0) => self.pipe = None,
            Ok(count) => {
                let room = self.most.saturating_sub(self.kept.len()).min(count);
                // The command decides how many bytes come, so an allocation can fail.
                self.kept.try_reserve(room)?;
                self.kept.extend_from_slice(&buffer[..room]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Waits until one of these can be read or has ended, or the time is over. Returns which.
fn ready<const N: usize>(fds: [Option<BorrowedFd>; N], timeout: Duration) -> io::Result<[bool; N]> {
    let open = fds.iter().flatten();
    let mut polled: Vec<PollFd> = open.map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let timeout = Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
    match poll(&mut polled, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut answers = polled.iter().map(|fd| !fd.revents().is_empty());
    Ok(fds.map(|fd| fd.is_some() && answers.next().unwrap_or(false)))
}

/// Whether a child has ended. It is not collected yet.
fn has_ended(child: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::Pid(child), options), Ok(None) | Err(Errno::INTR))
}

/// Waits until no process of a killed group runs or the time is over, and returns whether none
/// does.
fn is_gone_by(group: Pid, deadline: Instant) -> bool {
    let mut nap = NAPS.0;
    loop {
        collect_ended_children();
        if !is_running(group) {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(nap);
        nap = (nap * 2).min(NAPS.1);
    }
}

/// Whether a process of the group still runs. One that has ended and waits for its parent does not.
fn is_running(group: Pid) -> bool {
    match test_kill_process_group(group) {
        Err(Errno::SRCH) => false,
        Ok(()) => has_live_process(group),
        // All that are left have another user's rights. /proc may hide them.
        Err(_) => true,
    }
}

/// Looks in /proc, whose `stat` has the state and the group as the first and third field after the
/// name.
fn has_live_process(group: Pid) -> bool {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let group = group.to_string();
    entries.filter_map(|entry| fs::read(entry.path().join("stat")).ok()).any(|stat| {
        let stat = String::from_utf8_lossy(&stat);
        let mut fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ');
        let is_dead = matches!(fields.next(), Some("Z" | "X"));
        !is_dead && fields.nth(1) == Some(&group)
    })
}

/// Collects all children that have ended: a killed command, and, as PID 1 of a container, the
/// processes that `w` leaves. Only one command runs at a time, so the exit status of no other is
/// lost.
fn collect_ended_children() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}
