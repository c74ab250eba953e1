//! The signals that stop the exporter, and what it inherits from the process that starts it.

use std::{
    fs,
    sync::{Arc, atomic::AtomicBool},
};

use anyhow::{Context, Result};
use nix::sys::signal::SigSet;
use signal_hook::{
    consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM},
    flag,
    iterator::Signals,
};

use crate::threads;

/// Undoes what the parent process may have set and would break this one: blocked signals, so that
/// nothing could stop it, and an ignored SIGCHLD, so that the exit status of `w` would be lost.
/// Must be called before any thread is started, because threads inherit the blocked signals.
///
/// # Errors
/// The system does not allow it.
pub(crate) fn reset() -> Result<()> {
    SigSet::empty().thread_set_mask().context("signals can't be unblocked")?;
    // Any handler does. Processes that are started do not inherit it.
    flag::register(SIGCHLD, Arc::new(AtomicBool::new(false))).context("SIGCHLD can't be caught")?;
    Ok(())
}

/// Calls `stop` with the signal's name on SIGTERM, SIGINT or SIGHUP, in a separate thread. This
/// also works for PID 1, which signals do not end by default. A SIGHUP that the parent process
/// ignores, as `nohup` does, stays ignored.
///
/// # Errors
/// No handler for the signals can be installed, or no thread can be started.
pub(crate) fn on_stop(stop: impl FnOnce(&str) + Send + 'static) -> Result<()> {
    let mut caught = vec![SIGTERM, SIGINT];
    if !is_hangup_ignored() {
        caught.push(SIGHUP);
    }
    let mut signals = Signals::new(caught).context("signals can't be caught")?;
    threads::start(move || match signals.forever().next() {
        Some(SIGTERM) => stop("SIGTERM"),
        Some(SIGINT) => stop("SIGINT"),
        Some(_) => stop("SIGHUP"),
        None => {}
    })?;
    Ok(())
}

/// Whether SIGHUP is among the ignored signals, which /proc tells as a hexadecimal set. Without
/// /proc, no signal is known to be ignored.
fn is_hangup_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0);
    ignored >> (SIGHUP - 1) & 1 == 1
}
