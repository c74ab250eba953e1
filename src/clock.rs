//! The system's clocks. Only this module reads the date; time limits are measured with `Instant`
//! where they apply.

use std::time::{Duration, Instant, SystemTime};

use nix::time::{ClockId, clock_gettime};

use crate::calendar::Span;

/// One moment, read from all clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Monotonic: for durations. It stands still while the machine sleeps.
    pub instant: Instant,
    /// Time since the machine started, also while it slept: for ages. 0 if the system has no such
    /// clock.
    pub since_boot: Duration,
    /// Time since the Unix epoch; 0 if the clock is set to an earlier time.
    pub unix: Duration,
}

impl Moment {
    /// Whole seconds since the Unix epoch, as the calendar counts them.
    pub fn unix_seconds(self) -> i64 {
        i64::try_from(self.unix.as_secs()).unwrap_or(i64::MAX)
    }
}

/// The system's clocks.
pub fn system() -> Moment {
    Moment {
        instant: Instant::now(),
        since_boot: clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default(),
        unix: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
    }
}

/// The time from the start of a run to its end, in whole Unix seconds.
pub fn span(began: Moment, ended: Moment) -> Span {
    Span { began: began.unix_seconds(), ended: ended.unix_seconds() }
}
