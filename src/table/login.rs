//! The forms of the login times in LOGIN@ and TIME, and the moments that they mean at the time of a
//! run.

use super::{
    elapsed::{number, pair, two_digits},
    resolution::Resolution,
};
use crate::calendar::{
    DAY, HOUR, MINUTE, MONTHS, Span, WEEKDAYS, days_of_date, weekday_of, year_of,
};

/// A login time as `w` prints it. Most forms leave out what a reader at that time knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// procps' `21:16`: within the last twelve hours, or on the day of the run. Seconds into the
    /// day.
    Recent(i64),
    /// The BSDs' ` 9:03AM`: on the day of the run. Seconds into the day.
    Today(i64),
    /// `Sun00`, `Mon03PM`: on another day of the last seven. Weekday from Sunday = 0, and hour.
    Weekday(i64, i64),
    /// `15Oct26`: day, month from 1, and the last two figures of the year.
    Date(i64, i64, i64),
    /// BusyBox's `Nov 24 00:15:27`: month from 1, day, and seconds into the day.
    Yearless(i64, i64, i64),
    /// toybox's `Tue Nov 24 00:15:28 2026`: Unix seconds.
    Exact(i64),
}

/// When a session began, and how precisely that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginTime {
    /// Unix seconds, at the start of the step that was printed.
    pub unix: i64,
    /// The step.
    pub resolution: Resolution,
}

impl Login {
    /// Reads BusyBox's form, which is also in toybox's: `Nov 24 00:15:27` (`ctime` without weekday
    /// and year).
    pub fn yearless(text: &[u8]) -> Option<Login> {
        let (month, rest) = text.split_at_checked(3)?;
        let day = number(rest.get(1..3)?.trim_ascii_start())?;
        let seconds = time_of_day(rest.get(4..)?)?;
        (rest.first() == Some(&b' ') && rest.get(3) == Some(&b' ') && (1..=31).contains(&day))
            .then_some(Login::Yearless(name(&MONTHS, month)? + 1, signed(day), seconds))
    }

    /// Finds the moment that this means if `w` ran at that time. `None` if no date fits, or one
    /// before 1970.
    pub fn time(self, run: Span) -> Option<LoginTime> {
        let unix = self.seen_at(run.ended)?;
        // Later than the run ended, though printed before: perhaps it was printed before midnight.
        let unix = match self.seen_at(run.began) {
            Some(earlier) if unix > run.ended && earlier <= run.began => earlier,
            _ => unix,
        };
        (unix >= 0).then_some(LoginTime { unix, resolution: self.resolution() })
    }

    fn resolution(self) -> Resolution {
        match self {
            Login::Recent(_) | Login::Today(_) => Resolution::Minute,
            Login::Weekday(..) => Resolution::Hour,
            Login::Date(..) => Resolution::Day,
            Login::Yearless(..) | Login::Exact(_) => Resolution::Second,
        }
    }

    fn seen_at(self, now: i64) -> Option<i64> {
        let today = now.div_euclid(DAY);
        match self {
            Login::Recent(seconds) => {
                let unix = today * DAY + seconds;
                let yesterday = unix - DAY;
                // It lacks the seconds, so twelve hours can look like a minute more. Otherwise it
                // is of today, even if it is later than now: then the clock was set back.
                Some(if now - yesterday < 12 * HOUR + MINUTE { yesterday } else { unix })
            }
            Login::Today(seconds) => Some(today * DAY + seconds),
            Login::Weekday(weekday, hour) => (1..=7)
                .map(|back| today - back)
                .find(|&day| weekday_of(day) == weekday)
                .map(|day| day * DAY + hour * HOUR),
            Login::Date(day, month, short_year) => {
                let this_year = year_of(today);
                let year = this_year - (this_year - short_year).rem_euclid(100);
                let unix = days_of_date(year, month, day).map(|days| days * DAY);
                unix.filter(|&unix| unix <= now)
                    .or_else(|| days_of_date(year - 100, month, day).map(|days| days * DAY))
            }
            Login::Yearless(month, day, seconds) => {
                // The last such date; up to twelve hours ahead it is this year's, and the clock was
                // set back.
                let latest = now + 12 * HOUR;
                let this_year = year_of(latest.div_euclid(DAY));
                (0..=8)
                    .filter_map(|back| days_of_date(this_year - back, month, day))
                    .map(|days| days * DAY + seconds)
                    .find(|&unix| unix <= latest)
            }
            Login::Exact(unix) => Some(unix),
        }
    }
}

pub(super) fn name(names: &[&str], text: &[u8]) -> Option<i64> {
    names
        .iter()
        .position(|name| name.as_bytes() == text)
        .and_then(|index| i64::try_from(index).ok())
}

/// Only for numbers of a few digits, as `number` returns them.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn weekday_and_hour(text: &[u8]) -> Option<Login> {
    let (weekday, hour) = text.split_at_checked(3)?;
    let hour = two_digits(hour).filter(|&hour| hour < 24)?;
    Some(Login::Weekday(name(&WEEKDAYS, weekday)?, signed(hour)))
}

pub(super) fn date(text: &[u8]) -> Option<Login> {
    if text.len() != 7 {
        return None;
    }
    let day = two_digits(text.get(..2)?).filter(|day| (1..=31).contains(day))?;
    let month = name(&MONTHS, text.get(2..5)?)? + 1;
    Some(Login::Date(signed(day), month, signed(two_digits(text.get(5..)?)?)))
}

fn time_of_day(text: &[u8]) -> Option<i64> {
    let (hour, rest) = text.split_at_checked(2)?;
    let hour = two_digits(hour).filter(|&hour| hour < 24)?;
    let (minute, second) =
        pair(rest.strip_prefix(b":")?, b':').filter(|&(minute, _)| minute < 60)?;
    (text.len() == 8).then_some(signed(hour) * HOUR + signed(minute) * MINUTE + signed(second))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// `2026-11-24 00:17:39` as Unix seconds.
    fn at(text: &str) -> i64 {
        let part = |from: usize, to: usize| -> i64 { text[from..to].parse().unwrap() };
        let days = days_of_date(part(0, 4), part(5, 7), part(8, 10)).unwrap();
        days * DAY + part(11, 13) * HOUR + part(14, 16) * MINUTE + part(17, 19)
    }

    fn found(login: Option<Login>, now: &str) -> Option<i64> {
        let now = at(now);
        login.and_then(|login| login.time(Span { began: now, ended: now })).map(|time| time.unix)
    }

    fn procps(text: &str, now: &str) -> Option<i64> {
        found(Login::procps(text.as_bytes()), now)
    }

    #[test]
    fn a_clock_time_is_of_today_or_of_last_night() {
        assert_eq!(procps("00:16", "2026-11-24 00:17:39"), Some(at("2026-11-24 00:16:00")));
        assert_eq!(procps("21:16", "2026-11-24 00:17:39"), Some(at("2026-11-23 21:16:00")));
        assert_eq!(procps("08:00", "2026-11-24 23:59:59"), Some(at("2026-11-24 08:00:00")));
        assert_eq!(procps("23:59", "2027-01-01 00:00:00"), Some(at("2026-12-31 23:59:00")));
    }

    #[test]
    fn the_seconds_that_a_clock_time_lacks_do_not_move_it_to_today() {
        // w printed it as a clock time because the login was at 12:00:30, less than twelve hours
        // ago.
        assert_eq!(procps("12:00", "2026-11-24 00:00:10"), Some(at("2026-11-23 12:00:00")));
        assert_eq!(procps("12:00", "2026-11-24 00:00:59"), Some(at("2026-11-23 12:00:00")));
        assert_eq!(procps("12:00", "2026-11-24 00:01:00"), Some(at("2026-11-24 12:00:00")));
    }

    #[test]
    fn a_clock_time_ahead_is_of_today_when_the_clock_was_set_back() {
        assert_eq!(procps("02:16", "2026-11-24 00:17:39"), Some(at("2026-11-24 02:16:00")));
    }

    #[test]
    fn a_run_across_midnight_is_read_by_when_it_was_printed() {
        let run = Span { began: at("2026-11-23 23:59:59"), ended: at("2026-11-24 00:00:03") };
        let read = |text: &str| {
            Login::procps(text.as_bytes()).and_then(|login| login.time(run)).map(|time| time.unix)
        };
        assert_eq!(read("08:00"), Some(at("2026-11-23 08:00:00")));
        assert_eq!(read("00:00"), Some(at("2026-11-24 00:00:00")));
        assert_eq!(read("23:59"), Some(at("2026-11-23 23:59:00")));
        let until_midnight = Span { ended: at("2026-11-24 00:00:00"), ..run };
        let login = Login::procps(b"00:00").and_then(|login| login.time(until_midnight));
        assert_eq!(login.map(|time| time.unix), Some(until_midnight.ended));
    }

    #[test]
    fn a_weekday_is_the_last_one_and_never_today() {
        assert_eq!(procps("Sun00", "2026-11-24 00:17:39"), Some(at("2026-11-22 00:00:00")));
        assert_eq!(procps("Mon11", "2026-11-24 00:17:39"), Some(at("2026-11-23 11:00:00")));
        assert_eq!(procps("Wed23", "2026-11-24 23:30:00"), Some(at("2026-11-18 23:00:00")));
        assert_eq!(procps("Thu22", "2027-01-01 12:00:00"), Some(at("2026-12-31 22:00:00")));
        assert_eq!(
            found(Login::bsd(b"Tue03PM"), "2026-11-24 10:00:00"),
            Some(at("2026-11-17 15:00:00"))
        );
    }

    #[test]
    fn a_short_year_is_the_last_one_that_ends_so() {
        assert_eq!(procps("15Oct26", "2026-11-24 00:17:39"), Some(at("2026-10-15 00:00:00")));
        assert_eq!(procps("20Oct25", "2026-11-24 00:17:39"), Some(at("2025-10-20 00:00:00")));
        assert_eq!(procps("21Feb72", "2026-11-24 00:17:39"), Some(at("1972-02-21 00:00:00")));
        assert_eq!(procps("29Feb24", "2026-11-24 00:17:39"), Some(at("2024-02-29 00:00:00")));
        assert_eq!(procps("29Feb23", "2026-11-24 00:17:39"), None, "no such day");
        assert_eq!(procps("31Dec99", "2026-11-24 00:17:39"), Some(at("1999-12-31 00:00:00")));
        assert_eq!(procps("01Jan69", "2026-11-24 00:17:39"), None, "before 1970");
        assert_eq!(procps("25Nov26", "2026-11-24 00:17:39"), None, "that of 1926");
        assert_eq!(procps("31Dec71", "2071-01-01 00:00:00"), Some(at("1971-12-31 00:00:00")));
    }

    #[test]
    fn other_texts_are_no_date_without_a_year() {
        for text in [
            "Nov_24 00:15:27",
            "Nov 24_00:15:27",
            "Nov  0 00:15:27",
            "Nov 32 00:15:27",
            "Nov 24 24:00:27",
            "Nov 24 00:60:27",
            "Nov 24 00:15:60",
            "Nov 24 00:15",
            "Okt 24 00:15:27",
        ] {
            assert_eq!(Login::yearless(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn noon_and_midnight_are_read_in_twelve_hours() {
        let now = "2026-11-24 23:00:00";
        assert_eq!(found(Login::bsd(b"12:05AM"), now), Some(at("2026-11-24 00:05:00")));
        assert_eq!(found(Login::bsd(b"12:05PM"), now), Some(at("2026-11-24 12:05:00")));
        assert_eq!(found(Login::bsd(b"9:03PM"), now), Some(at("2026-11-24 21:03:00")));
        assert_eq!(found(Login::bsd(b"9:03"), now), Some(at("2026-11-24 09:03:00")));
        assert_eq!(found(Login::bsd(b"Mon12AM"), now), Some(at("2026-11-23 00:00:00")));
    }

    #[test]
    fn a_date_without_a_year_is_the_last_such() {
        let now = "2026-11-24 00:17:39";
        let read = |text: &str| found(Login::yearless(text.as_bytes()), now);
        assert_eq!(read("Nov 24 00:15:27"), Some(at("2026-11-24 00:15:27")));
        assert_eq!(
            read("Nov 24 02:16:26"),
            Some(at("2026-11-24 02:16:26")),
            "the clock was set back"
        );
        assert_eq!(read("Nov 25 00:15:54"), Some(at("2025-11-25 00:15:54")));
        assert_eq!(read("Dec 31 23:59:59"), Some(at("2025-12-31 23:59:59")));
        assert_eq!(read("Nov  4 00:15:27"), Some(at("2026-11-04 00:15:27")));
        assert_eq!(read("Feb 29 12:00:00"), Some(at("2024-02-29 12:00:00")));
        assert_eq!(
            found(Login::yearless(b"Jan  1 00:00:01"), "2026-12-31 23:59:00"),
            Some(at("2027-01-01 00:00:01"))
        );
    }
}
