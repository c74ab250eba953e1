//! The clocks. Only this module asks the system for the time.

use std::time::{Duration, Instant, SystemTime};

use crate::table::login::Span;

/// One moment, read from both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Monotonic: for ages and durations.
    pub instant: Instant,
    /// Time since the Unix epoch; 0 if the clock is set to an earlier time.
    pub unix: Duration,
}

/// Returns the current moment. Tests use their own.
pub type Clock = Box<dyn Fn() -> Moment>;

/// The system's clocks.
pub fn system() -> Moment {
    Moment {
        instant: Instant::now(),
        unix: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
    }
}

/// The time from the start of a run to its end, in whole Unix seconds.
pub fn span(began: Moment, ended: Moment) -> Span {
    let seconds = |moment: Moment| i64::try_from(moment.unix.as_secs()).unwrap_or(i64::MAX);
    Span { began: seconds(began), ended: seconds(ended) }
}
