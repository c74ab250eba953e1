//! The calendar: days counted from 1970-01-01, and dates, in UTC, with the short English names that
//! `w` and HTTP use.

/// From Sunday = 0, as [`weekday_of`] counts.
pub const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
/// From January = 0.
pub const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds.
pub const MINUTE: i64 = 60;
/// Seconds.
pub const HOUR: i64 = 60 * MINUTE;
/// Seconds: UTC's days as Unix counts them all have as many.
pub const DAY: i64 = 24 * HOUR;

/// The UTC date and time of a moment: year, month, day, hour, minute, second.
pub fn utc(unix: i64) -> (i64, i64, i64, i64, i64, i64) {
    let (days, seconds) = (unix.div_euclid(DAY), unix.rem_euclid(DAY));
    let (year, month, day) = date_of(days);
    (year, month, day, seconds / HOUR, seconds % HOUR / MINUTE, seconds % MINUTE)
}

/// The weekday from Sunday = 0: day 0, the first of 1970, was a Thursday.
pub fn weekday_of(days: i64) -> i64 {
    (days + 4).rem_euclid(7)
}

/// The year in which a day is.
pub fn year_of(days: i64) -> i64 {
    date_of(days).0
}

/// Days since 1970-01-01 of a date that exists. Years begin in March here, so that the leap day
/// comes last (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
pub fn days_of_date(year: i64, month: i64, day: i64) -> Option<i64> {
    let (march_year, from_march) = (year - i64::from(month <= 2), (month + 9) % 12);
    let (era, of_era) = (march_year.div_euclid(400), march_year.rem_euclid(400));
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468;
    (date_of(days) == (year, month, day)).then_some(days)
}

/// The date of a day counted from 1970-01-01; the reverse of `days_of_date`, from the same source.
fn date_of(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * of_era + of_era / 4 - of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = (from_march + 2) % 12 + 1;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    (era * 400 + of_era + i64::from(month <= 2), month, day)
}

/// When the run of `w` began and ended, in Unix seconds.
///
/// Both matter if midnight is between them: `21:16` is yesterday's if it was printed before
/// midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Just before `w` was started.
    pub began: i64,
    /// Just after it ended.
    pub ended: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_day_numbers_are_each_others_reverse() {
        for days in -800_000..800_000 {
            let (year, month, day) = date_of(days);
            assert_eq!(days_of_date(year, month, day), Some(days));
        }
        assert_eq!(utc(1_795_479_356), (2026, 11, 24, 0, 15, 56));
    }
}
