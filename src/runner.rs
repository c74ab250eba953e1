//! Runs `w` in a thread of its own, so that the loop can answer requests meanwhile. Only this
//! thread starts processes.

use std::sync::mpsc::{self, Receiver, Sender};

use anyhow::Result;

use crate::{command::Failure, threads};

/// What `w` printed, or why there is nothing.
pub type Printed = Result<Vec<u8>, Failure>;

/// Runs `w` and returns its output. Tests use their own.
pub type RunW = Box<dyn FnMut() -> Printed + Send>;

/// The loop's end of the thread.
pub(crate) struct Runner {
    starts: Sender<()>,
    printed: Receiver<Printed>,
}

impl Runner {
    /// Starts the thread, which runs nothing yet. It calls `wake` after each run.
    ///
    /// # Errors
    /// Too few threads are available.
    pub(crate) fn start(mut run_w: RunW, wake: impl Fn() + Send + 'static) -> Result<Runner> {
        let (starts, started) = mpsc::channel();
        let (sender, printed) = mpsc::channel();
        let run_all = move || {
            for () in started {
                // The loop may be gone, as at the end of a test.
                if sender.send(run_w()).is_err() {
                    return;
                }
                wake();
            }
        };
        threads::start(run_all)?;
        Ok(Runner { starts, printed })
    }

    /// Begins a run. The last one must have ended.
    pub(crate) fn run(&self) {
        // The thread ends only after this.
        let _ = self.starts.send(());
    }

    /// What the run printed, if it has ended.
    pub(crate) fn printed(&self) -> Option<Printed> {
        self.printed.try_recv().ok()
    }
}
