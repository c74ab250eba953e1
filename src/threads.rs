//! Starts threads.

use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result};

/// Starts a thread.
///
/// # Errors
/// The system provides no thread, or no memory for its stack.
pub(crate) fn start(run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    Builder::new().spawn(run).context(
        "no more threads can be started; raise the limit of threads (ulimit -u, or TasksMax= of the systemd unit) or of memory (ulimit -v)",
    )
}
