//! Keeps the last result until it is older than the scrape interval, also by time that the machine
//! slept.

use std::time::{Duration, Instant};

use crate::{answers::Answers, clock::Moment, snapshot::Snapshot};

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
    pub fn fresh(&self, read_at: Instant, now: Moment) -> Option<&Answers> {
        self.latest.as_ref().filter(|latest| {
            let ended = latest.snapshot.ended;
            // The clock that goes on while the machine sleeps is 0 where the system lacks it.
            let age = now.since_boot.saturating_sub(ended.since_boot);
            let awake = now.instant.saturating_duration_since(ended.instant);
            ended.instant > read_at || age.max(awake) < self.interval
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
    use crate::{clock, collector::Collector, metrics::Options, session::CommandShown};

    /// A cache with the result of a run that ended at a moment.
    fn cache(interval: Duration) -> (Cache, Moment) {
        let ended = clock::system();
        let options =
            Options { prefix: String::new(), timestamps: false, command: CommandShown::None };
        let header = b"USER     TTY      FROM             LOGIN@   IDLE   JCPU   PCPU WHAT\n";
        let mut cache = Cache::new(interval);
        cache.keep(Collector::new(ended, options).ended(ended, Ok(header.to_vec())));
        (cache, ended)
    }

    /// A moment later, while the machine was awake.
    fn after(moment: Moment, time: Duration) -> Moment {
        let Moment { instant, since_boot, unix } = moment;
        Moment { instant: instant + time, since_boot: since_boot + time, unix: unix + time }
    }

    #[test]
    fn a_result_is_fresh_until_the_interval_is_over() {
        let interval = Duration::from_secs(5);
        let (mut cache, ended) = cache(interval);
        let now = after(ended, interval - Duration::from_millis(1));
        assert!(cache.fresh(now.instant, now).is_some());
        let now = after(ended, interval);
        assert!(cache.fresh(now.instant, now).is_none());
        cache.clear();
        assert!(cache.fresh(ended.instant, ended).is_none());
    }

    #[test]
    fn a_result_grows_old_also_without_the_clock_that_goes_on_while_the_machine_sleeps() {
        let interval = Duration::from_secs(5);
        let (cache, ended) = cache(interval);
        let now = Moment { since_boot: ended.since_boot, ..after(ended, interval) };
        assert!(cache.fresh(now.instant, now).is_none());
    }

    #[test]
    fn a_result_grows_old_while_the_machine_sleeps() {
        let (cache, ended) = cache(Duration::from_secs(5));
        let second = after(ended, Duration::from_secs(1));
        let slept = Duration::from_secs(3600);
        let woken = Moment { since_boot: second.since_boot + slept, ..second };
        assert!(cache.fresh(second.instant, second).is_some());
        assert!(cache.fresh(woken.instant, woken).is_none());
    }

    #[test]
    fn with_an_interval_of_zero_only_requests_from_before_the_end_of_the_run_share_it() {
        let (cache, ended) = cache(Duration::ZERO);
        let second = Duration::from_secs(1);
        let later = after(ended, second);
        assert!(cache.fresh(ended.instant - second, later).is_some());
        assert!(cache.fresh(later.instant, later).is_none());
    }
}
