//! Runs `w` for a scrape, reads its table, finds the sessions, counts the run, and logs what
//! changed. Other modules own the sockets and the cache.

use std::mem;

use anyhow::anyhow;

use crate::{
    clock::{self, Clock, Moment},
    command::{
        Failure, FailureKind, Outcome,
        child::{Meanwhile, Next},
    },
    metrics::Options,
    process_metrics::ProcessUse,
    run_log::RunLog,
    session,
    snapshot::{Listing, Snapshot},
    table::{self, Table},
    visibility::Visibility,
};

/// Runs `w` and returns its output. Tests use their own.
pub type RunW = Box<dyn FnMut(&mut Meanwhile) -> Result<Vec<u8>, Failure>>;

/// Finds out what `w` can see. The argument is whether `w` counted more users than it listed.
pub type Look = fn(bool) -> Visibility;

/// Runs `w` and makes a snapshot of what it lists.
pub struct Collector {
    run_w: RunW,
    history: History,
}

/// What is known of the current run, and what is kept from one run to the next.
pub struct History {
    clock: Clock,
    options: Options,
    look: Option<Look>,
    runs: [u64; 4],
    last_success: Option<Moment>,
    log: RunLog,
    /// The runs since the last one that gave a table.
    failed_runs: u64,
    /// When the current run began.
    began: Moment,
    /// The current run is counted before it ends if a scraper cannot wait for it.
    is_counted: bool,
}

impl Collector {
    /// Makes a collector. It does not run anything yet.
    pub fn new(run_w: RunW, clock: Clock, options: Options) -> Collector {
        let history = History {
            began: clock(),
            clock,
            options,
            look: None,
            runs: [0; 4],
            last_success: None,
            log: RunLog::default(),
            failed_runs: 0,
            is_counted: false,
        };
        Collector { run_w, history }
    }

    /// Also finds out at each run what `w` can see. Only for this host's `w`, which sees what this
    /// process sees.
    pub fn looking(mut self, look: Look) -> Collector {
        self.history.look = Some(look);
        self
    }

    /// Runs `w` and returns the result, good or bad; `None` if nobody waits for it any more. Calls
    /// `meanwhile` every few milliseconds.
    pub fn collect(&mut self, meanwhile: &mut dyn FnMut(&mut History) -> Next) -> Option<Snapshot> {
        let Collector { run_w, history } = self;
        history.began = (history.clock)();
        history.is_counted = false;
        let mut given_up = false;
        let printed = run_w(&mut || {
            let next = meanwhile(history);
            given_up |= next == Next::GiveUp;
            next
        });
        (!given_up).then(|| history.ended(printed))
    }
}

impl History {
    /// The result for a scraper whose timeout ends before the current run.
    pub fn timed_out(&mut self) -> Snapshot {
        let ended = (self.clock)();
        let waited = ended.instant.saturating_duration_since(self.began.instant);
        let error = anyhow!(
            "the scraper waits no longer than {:.1} s for it; raise scrape_timeout, or find out why w is slow",
            waited.as_secs_f64()
        );
        self.snapshot(ended, Err(Failure { kind: FailureKind::Timeout, error }))
    }

    fn ended(&mut self, printed: Result<Vec<u8>, Failure>) -> Snapshot {
        let ended = (self.clock)();
        let listing = printed.and_then(|printed| {
            let unreadable = |error| Failure { kind: FailureKind::Unreadable, error };
            let table = table::read(&printed).map_err(unreadable)?;
            Ok(self.listing(&table, ended))
        });
        self.snapshot(ended, listing)
    }

    fn listing(&mut self, table: &Table, ended: Moment) -> Listing {
        let visibility = self.look.map(|look| look(table.lists_fewer_than_it_counts()));
        let span = clock::span(self.began, ended);
        let in_utc = table.is_in_utc(span);
        self.log.worked(table, visibility, in_utc, mem::take(&mut self.failed_runs));
        let sessions = session::of_table(table, span, self.options.command);
        Listing { sessions, users_reported: table.users_reported, visibility, in_utc }
    }

    fn snapshot(&mut self, ended: Moment, result: Result<Listing, Failure>) -> Snapshot {
        match &result {
            Ok(_) => {
                self.count(Outcome::Ok);
                self.last_success = Some(ended);
            }
            Err(failure) => {
                self.count(Outcome::Failure(failure.kind));
                self.log.failed(failure);
            }
        }
        Snapshot {
            began: self.began,
            ended,
            result,
            runs: self.runs,
            last_success: self.last_success,
            process: ProcessUse::read(),
        }
    }

    /// Counts the current run, with the first outcome that a scraper got.
    fn count(&mut self, outcome: Outcome) {
        if mem::replace(&mut self.is_counted, true) {
            return;
        }
        for (count, counted) in self.runs.iter_mut().zip(Outcome::ALL) {
            *count += u64::from(counted == outcome);
        }
        self.failed_runs += u64::from(outcome != Outcome::Ok);
    }
}
