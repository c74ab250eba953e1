//! The layouts of FreeBSD's, macOS's, NetBSD's and OpenBSD's `w` (`w.c` and `pr_time.c` of each).
//!
//! All have USER, TTY, FROM, then the login time and the idle time in 7 bytes each, with a blank
//! first and last, and WHAT. The columns of FreeBSD, macOS and NetBSD since 5 are aligned with
//! their header. In OpenBSD and older NetBSD, the word TTY is one column too far left, the column
//! has two bytes, and a long user name shifts its row.

use super::{
    Row,
    cursor::Cursor,
    elapsed::Interval,
    layout::{Column, RowResult},
    login::Login,
};

/// Widths of the columns that vary.
pub(super) struct Columns {
    user: usize,
    /// A longer user name is printed whole and shifts its row.
    user_shifts: bool,
    tty: usize,
    from: usize,
}

impl Columns {
    /// The layout that a header means.
    pub(super) fn of_header(words: &[(&[u8], usize)]) -> Option<Columns> {
        let [
            (b"USER", 0),
            (b"TTY", tty),
            (b"FROM", from),
            (b"LOGIN@", login),
            (b"IDLE", idle),
            (b"WHAT", what),
        ] = *words
        else {
            return None;
        };
        if idle != login + 8 || what != idle + 5 {
            return None;
        }
        // The login time begins one column before its header, after a blank.
        let from_width = login.checked_sub(from + 2)?;
        let user_shifts = from == tty + 4;
        Some(Columns {
            user: if user_shifts { tty } else { tty - 1 },
            user_shifts,
            tty: if user_shifts { 2 } else { from - tty - 1 },
            from: from_width,
        })
    }

    /// Reads one row.
    pub(super) fn row<'a>(&self, line: &'a [u8]) -> RowResult<'a> {
        let mut cursor = Cursor(line);
        let user = if self.user_shifts {
            cursor.shifting_column(self.user)
        } else {
            cursor.column(self.user)
        };
        let user = user.ok_or(Column::User)?;
        let tty = cursor.column(self.tty).ok_or(Column::Tty)?;
        let from = cursor.column(self.from).ok_or(Column::From)?;
        let login =
            cursor.take(7).map(<[u8]>::trim_ascii).and_then(Login::bsd).ok_or(Column::Login)?;
        let idle = idle(&mut cursor).ok_or(Column::Idle)?;
        Ok(Row { user, tty, from, login: Some(login), idle, cpu: None, what: Some(cursor.0) })
    }
}

/// The idle time with a blank first and last, in seven bytes, or more from ten days on. NetBSD
/// prints `?` if it is unknown.
fn idle(cursor: &mut Cursor) -> Option<Option<Interval>> {
    let lead = cursor.leading_blanks();
    let word = cursor.padded_word(6usize.checked_sub(lead)?)?;
    cursor.blanks(1)?;
    (1..=5).contains(&lead).then_some(())?;
    match word {
        b"?" => Some(None),
        _ => Interval::bsd(word).map(Some),
    }
}
