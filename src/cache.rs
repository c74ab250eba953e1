//! Keeps the last result until it is older than the scrape interval.

use std::time::{Duration, Instant};

use crate::{answers::Answers, snapshot::Snapshot};

/// The last result.
pub struct Cache {
    interval: Duration,
    latest: Option<Answers>,
}

impl Cache {
    /// A result younger than the interval is reused.
    pub fn new(interval: Duration) -> Cache {
        Cache { interval, latest: None }
    }

    /// The last result, if it may answer a request that was read at this time: it is younger than
    /// the interval, or newer than the request.
    pub fn fresh(&self, read_at: Instant, now: Instant) -> Option<&Answers> {
        self.latest.as_ref().filter(|latest| {
            let ended = latest.snapshot.ended.instant;
            ended > read_at || now.saturating_duration_since(ended) < self.interval
        })
    }

    /// Forgets the last result, which is out of date. Without it, a large table takes less memory
    /// during the next run.
    pub fn clear(&mut self) {
        self.latest = None;
    }

    /// Keeps a result.
    pub fn keep(&mut self, snapshot: Snapshot) -> &Answers {
        self.latest.insert(snapshot.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Moment, collector::Collector, metrics::Options, session::CommandShown};

    /// A cache with the result of a run that ended at a moment.
    fn cache(interval: Duration) -> (Cache, Instant) {
        let ended = Moment { instant: Instant::now(), unix: Duration::from_secs(1_000_000) };
        let options =
            Options { prefix: String::new(), timestamps: false, command: CommandShown::None };
        let header = b"USER     TTY      FROM             LOGIN@   IDLE   JCPU   PCPU WHAT\n";
        let mut cache = Cache::new(interval);
        cache.keep(Collector::new(ended, options).ended(ended, Ok(header.to_vec())));
        (cache, ended.instant)
    }

    #[test]
    fn a_result_is_fresh_until_the_interval_is_over() {
        let interval = Duration::from_secs(5);
        let (mut cache, ended) = cache(interval);
        let now = ended + interval - Duration::from_millis(1);
        assert!(cache.fresh(now, now).is_some());
        let now = ended + interval;
        assert!(cache.fresh(now, now).is_none());
        cache.clear();
        assert!(cache.fresh(ended, ended).is_none());
    }

    #[test]
    fn with_an_interval_of_zero_only_requests_from_before_the_end_of_the_run_share_it() {
        let (cache, ended) = cache(Duration::ZERO);
        let second = Duration::from_secs(1);
        assert!(cache.fresh(ended - second, ended + second).is_some());
        assert!(cache.fresh(ended + second, ended + second).is_none());
    }
}
