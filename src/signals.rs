//! The signals that stop the exporter.

use std::thread;

use anyhow::{Context, Result};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

/// Calls `stop` with the signal's name on SIGTERM, SIGINT or SIGHUP, in a separate thread. This
/// also works for PID 1, which signals do not end by default.
///
/// # Errors
/// No handler for the signals can be installed.
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
