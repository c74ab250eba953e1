//! All open connections and their states, under one lock. If there are too many, this module
//! chooses which one is closed.

use std::{
    net::{Shutdown, TcpStream},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::limits::{
    ATTACK_EVICTIONS, ATTACK_PAUSE, EVICTION_CHECK, EVICTION_GRACE, MAX_CONNECTIONS,
    MAX_KEPT_CONNECTIONS, WRITE_GRACE,
};
use crate::lock::locked;

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Waits for its first request, since this time.
    New(Instant),
    /// Was answered, and waits for its next request since this time.
    Idle(Instant),
    /// Waits for its reply.
    Serving,
    /// Has been sending its answer since this time.
    Writing(Instant),
    /// Has got its last answer. What the client still sends is read and dropped.
    Closing,
    /// Was closed to make room. A request that arrived before is still answered.
    Evicted,
}

/// All connections.
#[derive(Default)]
pub(crate) struct Connections {
    entries: Mutex<Entries>,
    /// Notified if a connection ends or is about to end.
    left: Condvar,
}

#[derive(Default)]
struct Entries {
    next_id: u64,
    open: Vec<Entry>,
    new_evictions: Evictions,
}

/// Counts new connections that were closed to make room, one less than `ATTACK_PAUSE` after
/// another.
#[derive(Default)]
struct Evictions {
    count: u32,
    last: Option<Instant>,
}

struct Entry {
    id: u64,
    state: State,
    stream: Arc<TcpStream>,
}

impl Connections {
    /// Adds a connection. Waits until there is room, and makes room if possible.
    pub(crate) fn enter(&self, stream: &Arc<TcpStream>) -> u64 {
        let mut entries = locked(&self.entries);
        while entries.open.len() >= MAX_CONNECTIONS {
            entries.evict_one();
            let waited = self.left.wait_timeout(entries, EVICTION_CHECK);
            entries = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let id = entries.next_id;
        entries.next_id += 1;
        let state = State::New(Instant::now());
        entries.open.push(Entry { id, state, stream: Arc::clone(stream) });
        id
    }

    /// Whether there are so many that a connection should end with its next answer. A client that
    /// reads `Connection: close` loses no request. A client whose idle connection is closed while
    /// it sends one does.
    pub(crate) fn are_many(&self) -> bool {
        locked(&self.entries).open.len() > MAX_KEPT_CONNECTIONS
    }

    /// Sets the state of a connection and returns the state before. An evicted connection can only
    /// get an answer.
    pub(crate) fn set(&self, id: u64, state: State) -> State {
        let mut entries = locked(&self.entries);
        let Some(entry) = entries.open.iter_mut().find(|entry| entry.id == id) else {
            return State::Evicted;
        };
        let before = entry.state;
        if before != State::Evicted || matches!(state, State::Serving | State::Writing(_)) {
            entry.state = state;
        }
        if state == State::Closing {
            self.left.notify_all();
        }
        before
    }

    /// Removes a connection.
    pub(crate) fn leave(&self, id: u64) {
        locked(&self.entries).open.retain(|entry| entry.id != id);
        self.left.notify_all();
    }

    /// Closes one connection to make room, if one may be closed.
    pub(crate) fn evict_one(&self) {
        locked(&self.entries).evict_one();
    }

    /// Waits until no connection is being answered, at most for this time.
    pub(crate) fn wait_until_answered(&self, time: Duration) {
        let deadline = Instant::now() + time;
        let mut entries = locked(&self.entries);
        let is_unanswered =
            |entry: &Entry| matches!(entry.state, State::Serving | State::Writing(_));
        while entries.open.iter().any(is_unanswered) && Instant::now() < deadline {
            // In short steps, because most changes of state do not notify.
            let waited = self.left.wait_timeout(entries, Duration::from_millis(5));
            entries = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Entries {
    /// Closes a connection that has got its last answer; or the one that has been idle longest; or
    /// the one that has waited longest for its first request; or the one whose client has read its
    /// answer for longest. Connections that were answered or accepted just before are not closed,
    /// because their requests may be on the way.
    fn evict_one(&mut self) {
        // One at a time. The one before is about to leave.
        if self.open.iter().any(|entry| entry.state == State::Evicted) {
            return;
        }
        let now = Instant::now();
        let new_grace = self.new_evictions.grace(now);
        let rank = |state: State| {
            let (rank, since, grace) = match state {
                State::Closing => (0, now, Duration::ZERO),
                State::Idle(since) => (1, since, EVICTION_GRACE),
                State::New(since) => (2, since, new_grace),
                State::Writing(since) => (3, since, WRITE_GRACE),
                State::Serving | State::Evicted => return None,
            };
            (now.saturating_duration_since(since) >= grace).then_some((rank, since))
        };
        let ranked = self.open.iter_mut().filter_map(|entry| Some((rank(entry.state)?, entry)));
        if let Some((_, entry)) = ranked.min_by_key(|(rank, _)| *rank) {
            if let State::New(_) = entry.state {
                self.new_evictions.add(now);
            }
            let how = match entry.state {
                State::Writing(_) => Shutdown::Both,
                _ => Shutdown::Read,
            };
            // The state is set before the shutdown, so that the thread sees either this state or
            // the end of the stream.
            entry.state = State::Evicted;
            let _ = entry.stream.shutdown(how);
        }
    }
}

impl Evictions {
    fn add(&mut self, now: Instant) {
        self.count = if self.go_on(now) { self.count.saturating_add(1) } else { 1 };
        self.last = Some(now);
    }

    /// The time that a new connection has to send its request.
    fn grace(&self, now: Instant) -> Duration {
        if self.count >= ATTACK_EVICTIONS && self.go_on(now) {
            Duration::ZERO
        } else {
            EVICTION_GRACE
        }
    }

    fn go_on(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| now.saturating_duration_since(last) < ATTACK_PAUSE)
    }
}
