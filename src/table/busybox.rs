//! The layout of BusyBox's `w` (`who.c`): USER and TTY padded to 15, IDLE to 7, TIME in 16, HOST to
//! the end. Nothing is cut, so a long user or terminal name shifts its row.

use super::{
    Row,
    cursor::{Cursor, trim_end},
    elapsed::Interval,
    layout::{Column, RowResult},
    login::Login,
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
        text => Some(Interval::busybox(text).ok_or(Column::Idle)?),
    };
    let login = cursor.column(16).and_then(Login::busybox).ok_or(Column::Time)?;
    Ok(Row { user, tty, from: trim_end(cursor.0), login: Some(login), idle, cpu: None, what: None })
}
