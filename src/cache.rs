//! Serves a result again while it is young, and lets one scrape at a time make a new one. Knows neither `w` nor HTTP.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::{
    clock::Clock,
    lock::locked,
    scrape::{Scraper, Snapshot},
};

/// The last result, and the way to the next.
pub struct Cache {
    interval: Duration,
    clock: Clock,
    latest: Mutex<Option<Arc<Snapshot>>>,
    /// Held while `w` runs.
    scraper: Mutex<Scraper>,
}

impl Cache {
    /// Results younger than the interval are served again; with 0, none is but to those who waited for it.
    pub fn new(interval: Duration, clock: Clock, scraper: Scraper) -> Cache {
        Cache { interval, clock, latest: Mutex::new(None), scraper: Mutex::new(scraper) }
    }

    /// Gives a result that is younger than the interval, or was not done yet when this was called. Runs `w`, or waits for
    /// whoever runs it, if it must.
    pub fn get(&self) -> Arc<Snapshot> {
        let asked = (self.clock)().instant;
        if let Some(snapshot) = self.fresh(asked, asked) {
            return snapshot;
        }
        let mut scraper = locked(&self.scraper);
        if let Some(snapshot) = self.fresh(asked, (self.clock)().instant) {
            return snapshot;
        }
        let snapshot = Arc::new(scraper.scrape());
        *locked(&self.latest) = Some(Arc::clone(&snapshot));
        snapshot
    }

    /// The last result, however old.
    pub fn latest(&self) -> Option<Arc<Snapshot>> {
        locked(&self.latest).clone()
    }

    fn fresh(&self, asked: Instant, now: Instant) -> Option<Arc<Snapshot>> {
        self.latest().filter(|snapshot| {
            let ended = snapshot.ended.instant;
            ended > asked || now.saturating_duration_since(ended) < self.interval
        })
    }
}
