//! The `Date` of an answer.

use crate::calendar::{DAY, MONTHS, WEEKDAYS, utc, weekday_of};

/// A time as in the `Date` field, such as `Tue, 24 Nov 2026 00:15:56 GMT` (RFC 9110, 5.6.7).
pub(crate) fn http_date(unix: i64) -> String {
    let (year, month, day, hour, minute, second) = utc(unix);
    // In range by their calculation: 0 to 6, and 0 to 11.
    let weekday = WEEKDAYS[weekday_of(unix.div_euclid(DAY)) as usize];
    let month = MONTHS[(month - 1) as usize];
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_http_writes_it() {
        for (unix, date) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (1_795_479_356, "Tue, 24 Nov 2026 00:15:56 GMT"),
        ] {
            assert_eq!(http_date(unix), date);
        }
    }
}
