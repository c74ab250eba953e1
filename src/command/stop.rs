//! Ends the current run when the exporter stops. The thread that runs `w` is the only one that
//! knows and kills its processes; this tells it to.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    pipe::{PipeFlags, pipe_with},
};

/// Sets the flag.
#[derive(Debug)]
pub struct StopHandle {
    writer: OwnedFd,
    /// Its owners are counted: the handle, the flag, and a run as long as it may have processes.
    runs: Arc<()>,
}

/// Set when the exporter stops: no new run begins, and the current one is killed. A pipe whose
/// other end is closed then, so that a run can wait for it and for output at the same time.
#[derive(Debug)]
pub struct StopFlag {
    reader: OwnedFd,
    runs: Arc<()>,
}

/// Makes a flag that is not set, and its handle.
///
/// # Errors
/// Too few file descriptors are available.
pub fn stop_flag() -> Result<(StopHandle, StopFlag)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).context("no pipe can be made")?;
    let runs = Arc::new(());
    Ok((StopHandle { writer, runs: Arc::clone(&runs) }, StopFlag { reader, runs }))
}

impl StopHandle {
    /// Sets the flag, and waits until the processes of the current run are killed, at most for this
    /// time.
    pub fn stop(self, time: Duration) {
        drop(self.writer);
        let deadline = Instant::now() + time;
        while Arc::strong_count(&self.runs) > 2 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl StopFlag {
    /// Begins a run; `None` if the flag is set. A stop waits for it until what this returns is
    /// dropped.
    pub(crate) fn begin_run(&self) -> Option<Arc<()>> {
        // In this order, so that a stop either prevents the run or waits for it.
        let run = Arc::clone(&self.runs);
        (!self.is_set()).then_some(run)
    }

    fn is_set(&self) -> bool {
        let mut polled = [PollFd::new(&self.reader, PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut polled, Some(&at_once)).is_ok_and(|ready| ready > 0)
    }
}

impl AsFd for StopFlag {
    /// Can be read when the flag is set.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
