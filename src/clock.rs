//! The time, from outside: the only place that asks the system for it.

use std::time::{Duration, Instant, SystemTime};

use crate::table::login::Span;

/// One moment, by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Never goes back: for ages and durations.
    pub instant: Instant,
    /// Since the Unix epoch; 0 if the clock is set to before it.
    pub unix: Duration,
}

/// Tells the moment; tests set their own.
pub type Clock = Box<dyn Fn() -> Moment>;

/// The system's clocks.
pub fn system() -> Moment {
    Moment {
        instant: Instant::now(),
        unix: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
    }
}

/// The time that a run took, in whole Unix seconds.
pub fn span(began: Moment, ended: Moment) -> Span {
    let seconds = |moment: Moment| i64::try_from(moment.unix.as_secs()).unwrap_or(i64::MAX);
    Span { began: seconds(began), ended: seconds(ended) }
}
