//! The layout of toybox's `w`: USER and TTY cut to 8, LOGIN@ in 24, FROM in parentheses, cut to 12.
//! No idle time, no WHAT.

use super::{
    Row,
    cursor::{Cursor, trim_end},
    layout::{Column, RowResult},
    login::Login,
};

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
        what: None,
    })
}
