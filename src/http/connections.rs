//! The connections that are open, and what each of them does: one lock, from which the next to be closed is chosen.

use std::{
    net::{Shutdown, TcpStream},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::limits::{
    CALM_TIME, EVICTION_CHECK, MAX_CONNECTIONS, MAX_KEPT_CONNECTIONS, MAX_PATIENT_EVICTIONS,
    PATIENCE,
};
use crate::lock::locked;

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Its first request has not arrived whole; since then.
    New(Instant),
    /// It was answered, and its next request has not arrived whole; since then.
    Idle(Instant),
    /// It is being answered.
    Serving,
    /// It has its last answer; what it still sends is read and dropped.
    Closing,
    /// It was closed to make room. A request that had arrived by then is still answered.
    Evicted,
}

/// All connections.
#[derive(Default)]
pub(crate) struct Connections {
    entries: Mutex<Entries>,
    /// One left, or is about to.
    left: Condvar,
}

#[derive(Default)]
struct Entries {
    next_id: u64,
    open: Vec<Entry>,
    new_evictions: Evictions,
}

/// New connections that were closed to make room, with less than a second between each and the next.
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
    /// Enters a connection. Waits until there is room, and makes room where it can.
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

    /// Whether there are so many that a connection should end with its next answer. A client that reads `Connection: close` loses
    /// nothing; one that is cut off while it sends a request does.
    pub(crate) fn are_many(&self) -> bool {
        locked(&self.entries).open.len() > MAX_KEPT_CONNECTIONS
    }

    /// Says what a connection does now, and gives what it did. One that was evicted stays so.
    pub(crate) fn set(&self, id: u64, state: State) -> State {
        let mut entries = locked(&self.entries);
        let Some(entry) = entries.open.iter_mut().find(|entry| entry.id == id) else {
            return State::Evicted;
        };
        let before = entry.state;
        // The request of one that was evicted is answered; it does not become idle afterwards.
        if before != State::Evicted || state == State::Serving {
            entry.state = state;
        }
        if state == State::Closing {
            self.left.notify_all();
        }
        before
    }

    /// Takes a connection out.
    pub(crate) fn leave(&self, id: u64) {
        locked(&self.entries).open.retain(|entry| entry.id != id);
        self.left.notify_all();
    }

    /// Closes the connection that is needed least, if there is one.
    pub(crate) fn evict_one(&self) {
        locked(&self.entries).evict_one();
    }

    /// Waits until none is being answered, at most that long.
    pub(crate) fn wait_until_answered(&self, time: Duration) {
        let deadline = Instant::now() + time;
        let mut entries = locked(&self.entries);
        while entries.open.iter().any(|entry| entry.state == State::Serving)
            && Instant::now() < deadline
        {
            // In short steps: a change of state alone is not announced.
            let waited = self.left.wait_timeout(entries, Duration::from_millis(5));
            entries = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Entries {
    /// First one that has its last answer, then the one that is idle for longest, then the one that owes its first request for
    /// longest, but not one that has just been answered or has just come: its request may be on the way.
    fn evict_one(&mut self) {
        // One at a time: the last one is about to leave.
        if self.open.iter().any(|entry| entry.state == State::Evicted) {
            return;
        }
        let now = Instant::now();
        let new_patience = self.new_evictions.patience(now);
        let rank = |state: State| {
            let (rank, since, patience) = match state {
                State::Closing => (0, now, Duration::ZERO),
                State::Idle(since) => (1, since, PATIENCE),
                State::New(since) => (2, since, new_patience),
                State::Serving | State::Evicted => return None,
            };
            (now.saturating_duration_since(since) >= patience).then_some((rank, since))
        };
        let ranked = self.open.iter_mut().filter_map(|entry| Some((rank(entry.state)?, entry)));
        if let Some((_, entry)) = ranked.min_by_key(|(rank, _)| *rank) {
            if let State::New(_) = entry.state {
                self.new_evictions.add(now);
            }
            // Marked first: its thread either finds this mark when it has read a request, or the end of the stream.
            entry.state = State::Evicted;
            let _ = entry.stream.shutdown(Shutdown::Read);
        }
    }
}

impl Evictions {
    fn add(&mut self, now: Instant) {
        self.count = if self.go_on(now) { self.count.saturating_add(1) } else { 1 };
        self.last = Some(now);
    }

    /// How long a new connection is given to send its request.
    fn patience(&self, now: Instant) -> Duration {
        match self.count >= MAX_PATIENT_EVICTIONS && self.go_on(now) {
            true => Duration::ZERO,
            false => PATIENCE,
        }
    }

    fn go_on(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| now.saturating_duration_since(last) < CALM_TIME)
    }
}
