//! The layout of BusyBox's `w` (`who.c`): USER and TTY padded to 15, IDLE to 7, TIME in 16, HOST to
//! the end. Nothing is cut, so a long user or terminal name shifts its row.

use super::{
    cursor::{Cursor, trim_end},
    elapsed::{Elapsed, pair},
    login::Login,
    resolution::Resolution,
    row::{Column, Row, RowResult},
};

/// The whole header line.
pub(super) const HEADER: &[u8] = b"USER\t\tTTY\t\tIDLE\tTIME\t\t HOST";

/// Reads one row.
pub(super) fn row(line: &[u8]) -> RowResult<'_> {
    let mut cursor = Cursor(line);
    let user = cursor.shifting_column(15).ok_or(Column::User)?;
    let tty = cursor.shifting_column(15).ok_or(Column::Tty)?;
    let idle = match cursor.column(7).ok_or(Column::Idle)? {
        // `old` is a day or more, or a terminal last used in the future; `?` is a terminal that is
        // gone.
        b"old" | b"?" => None,
        text => Some(Elapsed::busybox(text).ok_or(Column::Idle)?),
    };
    let login = cursor.column(16).and_then(Login::yearless).ok_or(Column::Time)?;
    Ok(Row {
        user,
        tty,
        from: trim_end(cursor.0),
        login: Some(login),
        idle,
        cpu: None,
        logind: None,
        what: None,
    })
}

impl Elapsed {
    /// Reads BusyBox's form (`idle_string` in `who.c`): `01:23` (hh:mm), under a day.
    pub fn busybox(text: &[u8]) -> Option<Elapsed> {
        let (hours, minutes) = pair(text, b':')?;
        (text.len() == 5 && hours < 24)
            .then(|| Elapsed::seconds(hours * 3600 + minutes * 60, Resolution::Minute))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(f64, Resolution)> {
        Elapsed::busybox(text.as_bytes())
            .map(|elapsed| (elapsed.duration.as_secs_f64(), elapsed.resolution))
    }

    #[test]
    fn busybox_shows_hours_and_minutes_of_less_than_a_day() {
        assert_eq!(read("23:59"), Some((86_340.0, Resolution::Minute)));
        assert_eq!(read("24:00"), None);
        assert_eq!(read("old"), None);
    }
}
