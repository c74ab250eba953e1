//! The line of uptime and load before the header: what time it was, and how many users there are.
//! Knows the forms of procps, uutils and toybox (` 00:17:39 up  1:25, 34 users,  load average: …`)
//! and of the BSDs (` 9:03AM  up 33 secs, 1 user, load averages: …`).

use super::elapsed::{number, pair, two_digits};
use crate::calendar::{DAY, HOUR, MINUTE, Span};

/// What it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FirstLine {
    /// The clock that it begins with.
    pub time_of_day: Option<TimeOfDay>,
    /// The users that it counts.
    pub users: Option<u64>,
}

/// A time of day in the zone that `w` ran in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOfDay {
    /// Seconds into the day.
    seconds: i64,
    /// Its step: a second, or a minute on a BSD.
    step: i64,
}

impl FirstLine {
    /// Reads it. Any other line gives nothing.
    pub fn read(line: &[u8]) -> FirstLine {
        FirstLine { time_of_day: TimeOfDay::read(line), users: users(line) }
    }
}

impl TimeOfDay {
    /// Reads `00:17:39`, `9:03AM` or `9:03`, followed by a blank.
    fn read(line: &[u8]) -> Option<TimeOfDay> {
        let text = line.trim_ascii_start().split(|&byte| byte == b' ').next()?;
        let (text, half) = match text.split_last_chunk::<2>() {
            Some((text, b"AM")) => (text, Some(0)),
            Some((text, b"PM")) => (text, Some(12 * HOUR)),
            _ => (text, None),
        };
        let (minutes, second) = match text.split_last_chunk::<3>() {
            Some((minutes, [b':', second @ ..])) if minutes.contains(&b':') => {
                (minutes, Some(two_digits(second).filter(|&second| second <= 60)?))
            }
            _ => (text, None),
        };
        let (hour, minute) = pair(minutes, b':')?;
        let hour = match half {
            None => i64::try_from(hour).ok().filter(|&hour| hour < 24)? * HOUR,
            Some(half) => {
                i64::try_from(hour).ok().filter(|hour| (1..=12).contains(hour))? % 12 * HOUR + half
            }
        };
        let minute = i64::try_from(minute).ok()? * MINUTE;
        let step = if second.is_some() { 1 } else { MINUTE };
        let second = i64::try_from(second.unwrap_or(0)).ok()?;
        Some(TimeOfDay { seconds: hour + minute + second, step })
    }

    /// Whether it shows the time of the run in UTC, within a minute, also across midnight.
    ///
    /// Otherwise `w` ran in another zone, because a wrapper such as `ssh` dropped `TZ`, or at
    /// another time, as for a saved table.
    pub fn agrees_with(self, run: Span) -> bool {
        let earliest = run.began.min(run.ended) - MINUTE;
        let latest = run.began.max(run.ended) + MINUTE;
        // When it began to show this, if it still did at the earliest moment or later.
        let first = earliest - (self.step - 1);
        first + (self.seconds - first).rem_euclid(DAY) <= latest
    }
}

/// Finds `34 users,`.
fn users(line: &[u8]) -> Option<u64> {
    line.split(|&byte| byte == b',').find_map(|part| {
        let part = part.trim_ascii();
        let figure = part.strip_suffix(b" users").or_else(|| part.strip_suffix(b" user"))?;
        number(figure.trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time_of_day(line: &str) -> Option<(i64, i64)> {
        TimeOfDay::read(line.as_bytes()).map(|time| (time.seconds, time.step))
    }

    #[test]
    fn the_clock_has_seconds_or_twelve_hours_or_neither() {
        assert_eq!(time_of_day(" 00:17:39 up  1:25, 34 users"), Some((17 * 60 + 39, 1)));
        assert_eq!(time_of_day("23:59:60 up"), Some((DAY, 1)), "a leap second");
        assert_eq!(time_of_day(" 9:03AM  up 33 secs, 1 user"), Some((9 * HOUR + 180, 60)));
        assert_eq!(time_of_day("12:00AM  up"), Some((0, 60)));
        assert_eq!(time_of_day("12:59PM  up"), Some((12 * HOUR + 59 * 60, 60)));
        assert_eq!(time_of_day(" 9:03  up 10 days"), Some((9 * HOUR + 180, 60)));
        assert_eq!(time_of_day("23:59"), Some((23 * HOUR + 59 * 60, 60)));
        for line in [
            "",
            " ",
            "up 3 days",
            "24:00:00 up",
            "9:60 up",
            "9:3 up",
            "13:00PM up",
            "0:00AM up",
            "9AM up",
            "09:03:61 up",
            "09:03:5 up",
            ":03:05 up",
            "09:03:05x up",
            "1:2:03:04 up",
            "Welcome 09:03:05",
        ] {
            assert_eq!(time_of_day(line), None, "{line}");
        }
    }

    #[test]
    fn the_users_are_counted_after_the_uptime() {
        let users = |line: &str| FirstLine::read(line.as_bytes()).users;
        assert_eq!(
            users(" 00:17:39 up  1:25, 34 users,  load average: 2.72, 2.33, 1.90"),
            Some(34)
        );
        assert_eq!(users(" 00:15:37 up  1:23,  27 users,  load average: 1.98"), Some(27));
        assert_eq!(users(" 9:03AM  up 33 secs, 1 user, load averages: 0.16, 0.04, 0.01"), Some(1));
        assert_eq!(users(" 00:15:37 up ???? days ??:??,  0 user"), Some(0));
        assert_eq!(users("Hello users, 5 users of us"), None);
        assert_eq!(FirstLine::read(b"Welcome to the host"), FirstLine::default());
    }

    #[test]
    fn a_clock_of_the_run_differs_by_a_minute_at_most() {
        let agrees = |line: &str, began: i64, ended: i64| {
            TimeOfDay::read(line.as_bytes()).map(|time| time.agrees_with(Span { began, ended }))
        };
        // 2026-11-24, 00:15:56.
        let now = 1_795_479_356;
        let same = |line| agrees(line, now, now);
        assert_eq!(same("00:15:56 up"), Some(true));
        assert_eq!(same("00:14:56 up"), Some(true));
        assert_eq!(same("00:16:56 up"), Some(true));
        assert_eq!(same("00:14:55 up"), Some(false));
        assert_eq!(same("00:16:57 up"), Some(false));
        assert_eq!(same("01:15:56 up"), Some(false));
        assert_eq!(same("23:15:56 up"), Some(false));
        assert_eq!(same("12:15AM up"), Some(true));
        assert_eq!(same("12:14AM up"), Some(true), "it may have shown 12:14 a minute ago");
        assert_eq!(same("12:13AM up"), Some(false));
        assert_eq!(same("12:16AM up"), Some(true));
        assert_eq!(same("12:17AM up"), Some(false));
        assert_eq!(same("12:15PM up"), Some(false));
        let midnight = 1_795_478_400;
        assert_eq!(agrees("23:59:30 up", midnight + 20, midnight + 20), Some(true));
        assert_eq!(agrees("00:00:20 up", midnight - 30, midnight - 30), Some(true));
        assert_eq!(agrees("23:58:30 up", midnight + 20, midnight + 20), Some(false));
        assert_eq!(agrees("11:59PM up", midnight + 20, midnight + 20), Some(true));
        assert_eq!(agrees("23:59:59 up", midnight - 8, midnight + 8), Some(true));
        assert_eq!(agrees("00:00:00 up", midnight - 8, midnight + 8), Some(true));
        assert_eq!(
            agrees("00:00:05 up", midnight + 5, midnight - 2),
            Some(true),
            "set back meanwhile"
        );
        assert_eq!(agrees("12:00:00 up", midnight - DAY, midnight), Some(true), "a run of a day");
    }
}
