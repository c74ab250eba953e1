//! Keeps the last result, and replaces it when it is older than the scrape interval.

use std::time::{Duration, Instant};

use crate::{
    answers::Answers,
    clock::Clock,
    collector::{Collector, History},
    command::child::Next,
};

/// The last result, and what makes the next one.
pub struct Cache {
    interval: Duration,
    clock: Clock,
    collector: Collector,
    latest: Option<Answers>,
}

impl Cache {
    /// A result younger than the interval is reused.
    pub fn new(interval: Duration, clock: Clock, collector: Collector) -> Cache {
        Cache { interval, clock, collector, latest: None }
    }

    /// The last result, if it may answer a request that was read at this time: it is younger than
    /// the interval, or newer than the request.
    pub fn fresh(&self, read_at: Instant) -> Option<&Answers> {
        self.latest.as_ref().filter(|latest| {
            let ended = latest.snapshot.ended.instant;
            let age = (self.clock)().instant.saturating_duration_since(ended);
            ended > read_at || age < self.interval
        })
    }

    /// Runs `w` and keeps the result; `None` if nobody waits for it any more. Calls `meanwhile`
    /// every few milliseconds.
    pub fn refresh(&mut self, meanwhile: &mut dyn FnMut(&mut History) -> Next) -> Option<&Answers> {
        // The old result is out of date. Without it, a large table takes less memory.
        self.latest = None;
        let snapshot = self.collector.collect(meanwhile)?;
        Some(self.latest.insert(snapshot.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::*;
    use crate::{
        clock::Moment, command::child::Meanwhile, metrics::Options, session::CommandShown,
    };

    /// A cache with a `w` that prints an empty table, a clock that can be set, and the number of
    /// runs.
    fn cache(interval: Duration) -> (Cache, Rc<Cell<Moment>>, Rc<Cell<u32>>) {
        let start = Moment { instant: Instant::now(), unix: Duration::from_secs(1_000_000) };
        let (time, runs) = (Rc::new(Cell::new(start)), Rc::new(Cell::new(0)));
        let clock = || -> Clock {
            let time = Rc::clone(&time);
            Box::new(move || time.get())
        };
        let counted = Rc::clone(&runs);
        let run_w = move |_: &mut Meanwhile| {
            counted.set(counted.get() + 1);
            Ok(b"USER     TTY      FROM             LOGIN@   IDLE   JCPU   PCPU WHAT\n".to_vec())
        };
        let options =
            Options { prefix: String::new(), timestamps: false, command: CommandShown::None };
        let collector = Collector::new(Box::new(run_w), clock(), options);
        (Cache::new(interval, clock(), collector), time, runs)
    }

    fn pass(time: &Cell<Moment>, by: Duration) {
        let Moment { instant, unix } = time.get();
        time.set(Moment { instant: instant + by, unix: unix + by });
    }

    #[test]
    fn a_result_is_fresh_until_the_interval_is_over() {
        let interval = Duration::from_secs(5);
        let (mut cache, time, runs) = cache(interval);
        assert!(cache.fresh(time.get().instant).is_none(), "before the first run");
        assert!(cache.refresh(&mut |_| Next::Wait).is_some());
        pass(&time, interval - Duration::from_millis(1));
        assert!(cache.fresh(time.get().instant).is_some());
        pass(&time, Duration::from_millis(1));
        assert!(cache.fresh(time.get().instant).is_none());
        assert_eq!(runs.get(), 1);
    }

    #[test]
    fn with_an_interval_of_zero_only_requests_from_before_the_end_of_the_run_share_it() {
        let (mut cache, time, _) = cache(Duration::ZERO);
        let before = time.get().instant;
        pass(&time, Duration::from_secs(1));
        cache.refresh(&mut |_| Next::Wait);
        pass(&time, Duration::from_secs(1));
        assert!(cache.fresh(before).is_some());
        assert!(cache.fresh(time.get().instant).is_none());
    }
}
