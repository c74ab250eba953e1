//! Makes a result of what `w` printed: reads its table, finds the sessions, counts the run, and
//! logs what changed. Other modules run `w`.

use std::{mem, time::Duration};

use anyhow::anyhow;

use crate::{
    clock::{self, Moment},
    command::{Failure, FailureKind, Outcome},
    metrics::Options,
    process_metrics::ProcessUse,
    run_log::RunLog,
    runner::Printed,
    session,
    snapshot::{Listing, Snapshot},
    table::{self, Table},
    visibility::{Listed, Visibility},
};

/// Finds out what `w` can see.
pub type Look = fn(Listed) -> Visibility;

/// What is known of the current run, and what is kept from one run to the next.
pub struct Collector {
    options: Options,
    look: Option<Look>,
    /// When the current run began.
    began: Moment,
    /// How long the last run took.
    took: Option<Duration>,
    runs: [u64; 4],
    last_success: Option<Moment>,
    /// The runs since the last one that gave a table.
    failed_runs: u64,
    log: RunLog,
}

impl Collector {
    /// Makes a collector whose first run begins now.
    pub fn new(now: Moment, options: Options) -> Collector {
        Collector {
            options,
            look: None,
            began: now,
            took: None,
            runs: [0; 4],
            last_success: None,
            failed_runs: 0,
            log: RunLog::default(),
        }
    }

    /// Also finds out at each run what `w` can see. Only for this host's `w`, which sees what this
    /// process sees.
    pub fn looking(mut self, look: Look) -> Collector {
        self.look = Some(look);
        self
    }

    /// A run begins.
    pub fn begin(&mut self, now: Moment) {
        self.began = now;
    }

    /// The result, good or bad, of the run that has ended now.
    pub fn ended(&mut self, now: Moment, printed: Printed) -> Snapshot {
        self.took = Some(now.instant.saturating_duration_since(self.began.instant));
        let result = printed.and_then(|printed| {
            let unreadable = |error| Failure { kind: FailureKind::Unreadable, error };
            let table = table::read(&printed).map_err(unreadable)?;
            Ok(self.listing(&table, now))
        });
        match &result {
            Ok(_) => {
                self.count(Outcome::Ok);
                self.last_success = Some(now);
            }
            Err(failure) => {
                self.count(Outcome::Failure(failure.kind));
                self.failed_runs += 1;
                self.log.failed(failure);
            }
        }
        self.snapshot(now, result)
    }

    /// What a scraper gets whose own timeout ends now, during the run. The run goes on, and is not
    /// counted yet.
    pub fn answered_early(&mut self, now: Moment) -> Snapshot {
        let waited = now.instant.saturating_duration_since(self.began.instant);
        let tenths = (waited.as_millis() + 50) / 100;
        let error = anyhow!(
            "w is still running after {}.{} s, and the scraper's timeout is about to expire; raise \
             scrape_timeout, or find out why w is slow",
            tenths / 10,
            tenths % 10
        );
        self.log.answered_early(&error);
        self.snapshot(now, Err(Failure { kind: FailureKind::Timeout, error }))
    }

    fn listing(&mut self, table: &Table, ended: Moment) -> Listing {
        let (by_builtin, fewer) = (table.unlisted.is_some(), table.lists_fewer_than_it_counts());
        let visibility = self.look.map(|look| look(Listed { by_builtin, fewer }));
        let span = clock::span(self.began, ended);
        let in_utc = table.is_in_utc(span);
        self.log.worked(table, visibility, in_utc, mem::take(&mut self.failed_runs));
        let sessions = session::of_table(table, span, self.options.command);
        let users_reported = table.users_reported;
        Listing { sessions, users_reported, lists_fewer: fewer, visibility, in_utc }
    }

    fn count(&mut self, outcome: Outcome) {
        for (count, counted) in self.runs.iter_mut().zip(Outcome::ALL) {
            *count += u64::from(counted == outcome);
        }
    }

    fn snapshot(&self, ended: Moment, result: Result<Listing, Failure>) -> Snapshot {
        Snapshot {
            ended,
            took: self.took,
            result,
            runs: self.runs,
            last_success: self.last_success,
            process: ProcessUse::read(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::CommandShown;

    #[test]
    fn an_answer_during_a_run_tells_how_long_the_last_one_took() {
        let options =
            Options { prefix: String::new(), timestamps: false, command: CommandShown::None };
        let start = clock::system();
        let second =
            |second| Moment { instant: start.instant + Duration::from_secs(second), ..start };
        let mut collector = Collector::new(start, options);
        assert_eq!(collector.answered_early(second(2)).took, None);
        assert_eq!(collector.ended(second(3), Ok(Vec::new())).took, Some(Duration::from_secs(3)));
        collector.begin(second(10));
        assert_eq!(collector.answered_early(second(11)).took, Some(Duration::from_secs(3)));
        assert_eq!(collector.ended(second(15), Ok(Vec::new())).took, Some(Duration::from_secs(5)));
    }
}
