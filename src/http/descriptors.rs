//! The file descriptors of this process. Clients get as many as leave enough for `w`.

use anyhow::{Result, bail};
use rustix::{
    event::{EventfdFlags, eventfd},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use super::limits::{
    DESCRIPTORS, MAX_CONNECTIONS, MIN_CONNECTIONS, OWN_CONNECTIONS, RUN_DESCRIPTORS,
    START_DESCRIPTORS,
};
use crate::log;

/// How many connections can be open, of at most `MAX_CONNECTIONS`.
#[derive(Clone, Copy)]
pub(super) struct Connections(usize);

impl Connections {
    /// The most open connections.
    pub(super) fn most(self) -> usize {
        self.0
    }

    /// If more connections are open, each ends with its next answer.
    pub(super) fn kept(self) -> usize {
        self.0 * 3 / 4
    }

    /// The most requests that wait for the loop.
    pub(super) fn waiting(self) -> usize {
        self.0 - OWN_CONNECTIONS
    }
}

/// Raises the limit of descriptors where it is low, and decides how many connections can be open.
/// To be called before the rest of the start opens descriptors.
///
/// # Errors
/// There are too few descriptors for the start, a run of `w` and a few clients.
pub(super) fn provide() -> Result<Connections> {
    raise_limit();
    let reserved = START_DESCRIPTORS + RUN_DESCRIPTORS;
    let connections = spare(reserved + MAX_CONNECTIONS).saturating_sub(reserved);
    let remedy = || {
        format!("raise the limit to {DESCRIPTORS} (ulimit -n, or LimitNOFILE of the systemd unit)")
    };
    if connections < MIN_CONNECTIONS {
        bail!("there are too few file descriptors; {}", remedy());
    }
    if connections < MAX_CONNECTIONS {
        log::warn(&format!(
            "there are file descriptors for {connections} clients instead of {MAX_CONNECTIONS}; {}",
            remedy()
        ));
    }
    Ok(Connections(connections))
}

/// Not further than is needed. `w` inherits the limit, and some programs close each number below it.
fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let highest = limit.maximum.map_or(DESCRIPTORS, |maximum| maximum.min(DESCRIPTORS));
    if limit.current.is_some_and(|current| current < highest) {
        // If it fails, there are fewer connections.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(highest), ..limit });
    }
}

/// How many descriptors can be opened, of at most this many. They are opened, because those that
/// the process has inherited count too, and /proc may be missing.
fn spare(most: usize) -> usize {
    let opened: Vec<_> = (0..most).map_while(|_| eventfd(0, EventfdFlags::CLOEXEC).ok()).collect();
    opened.len()
}
