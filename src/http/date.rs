//! The `Date` of an answer.

use crate::table::civil::utc;

/// A time as in the `Date` field, such as `Tue, 24 Nov 2026 00:15:56 GMT` (RFC 9110, 5.6.7).
pub(crate) fn http_date(unix_seconds: u64) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = i64::try_from(unix_seconds).unwrap_or(i64::MAX);
    let (year, month, day, hour, minute, second) = utc(seconds);
    // In range by their calculation: 0 to 6, and 0 to 11.
    let weekday = WEEKDAYS[seconds.div_euclid(86_400).rem_euclid(7) as usize];
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
