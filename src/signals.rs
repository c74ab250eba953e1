//! The signals that stop the exporter.

use std::thread;

use anyhow::{Context, Result};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

/// Calls back at SIGTERM, SIGINT or SIGHUP with the signal's name, in a thread of its own; as PID 1 too, where none of them ends a
/// process by itself.
///
/// # Errors
/// The signals can't be caught.
pub(crate) fn on_stop(stop: impl FnOnce(&str) + Send + 'static) -> Result<()> {
    let caught = [SIGTERM, SIGINT, SIGHUP];
    let mut signals = Signals::new(caught).context("signals can't be caught")?;
    let waiting = thread::Builder::new().spawn(move || match signals.forever().next() {
        Some(SIGTERM) => stop("SIGTERM"),
        Some(SIGINT) => stop("SIGINT"),
        Some(_) => stop("SIGHUP"),
        None => {}
    });
    waiting.context("no thread can be started")?;
    Ok(())
}
