//! The layout of toybox's `w`: USER and TTY cut to 8, LOGIN@ in 24, FROM in parentheses, cut to 12.
//! No idle time, no WHAT.

use super::{
    cursor::{Cursor, trim_end},
    elapsed::number,
    login::{Login, name, signed},
    row::{Column, Row, RowResult},
};
use crate::calendar::{DAY, WEEKDAYS, days_of_date, weekday_of};

/// The whole header line.
pub(super) const HEADER: &[u8] = b"USER     TTY             LOGIN@              FROM";

/// Reads one row.
pub(super) fn row(line: &[u8]) -> RowResult<'_> {
    let mut cursor = Cursor(line);
    let user = cursor.column(8).ok_or(Column::User)?;
    let tty = cursor.column(9).ok_or(Column::Tty)?;
    let login = cursor.column(24).and_then(Login::toybox).ok_or(Column::Login)?;
    let from =
        cursor.0.strip_prefix(b"(").and_then(|from| from.strip_suffix(b")")).ok_or(Column::From)?;
    if from.is_empty() || from.len() > 12 {
        return Err(Column::From);
    }
    Ok(Row {
        user,
        tty,
        from: trim_end(from),
        login: Some(login),
        idle: None,
        cpu: None,
        logind: None,
        what: None,
    })
}

impl Login {
    /// Reads toybox's form: `Tue Nov 24 00:15:28 2026` (`ctime`), whose weekday must be the date's.
    pub fn toybox(text: &[u8]) -> Option<Login> {
        let weekday = name(&WEEKDAYS, text.get(..3)?)?;
        let Login::Yearless(month, day, seconds) = Login::yearless(text.get(4..19)?)? else {
            return None;
        };
        let year = signed(number(text.get(20..)?)?);
        let days = days_of_date(year, month, day)?;
        (text.get(3) == Some(&b' ') && text.get(19) == Some(&b' ') && weekday_of(days) == weekday)
            .then_some(Login::Exact(days * DAY + seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told() {
        let read = |text: &str| Login::toybox(text.as_bytes());
        assert_eq!(read("Tue Nov 24 00:15:28 2026"), Some(Login::Exact(1_795_479_328)));
        assert_eq!(read("Tue Jan 19 03:14:07 2038"), Some(Login::Exact(2_147_483_647)));
    }

    #[test]
    fn other_texts_are_no_login_time() {
        for text in [
            "Tue Nov 24 00:15:28",
            "Mon Nov 24 00:15:28 2026",
            "Tue Nov 24 00:15:60 2026",
            "Tue Nov 31 00:15:28 2026",
        ] {
            assert_eq!(Login::toybox(text.as_bytes()), None, "{text}");
        }
    }
}
