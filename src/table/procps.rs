//! The layout of procps 2.0.11 to 4.0 (`showinfo` in `w.c`), in its long and its short form.
//!
//! With U the width of USER and F that of FROM: USER, a blank, TTY in 8, a blank, FROM in exactly
//! F, then LOGIN@ in 8 and IDLE, JCPU and PCPU in 7 each, all with a blank first, then one more
//! blank (two before December 2002) and WHAT. The header is only nearly aligned with that, and in
//! three ways. It always gives U exactly. With S the byte where FROM ends, it heads
//!
//! | | LOGIN@ at | WHAT after PCPU | IDLE of the short form at | WHAT after it |
//! |---|---|---|---|---|
//! | 2.0.11 to 3.3.2, where F is 16 | S + 2 | 5 (6 before December 2002) | S + 3 | 5 (6) |
//! | 3.3.3 to 4.0.4 | S + 1 | 5 | S + 2 | 5 |
//! | the same without FROM | S + 2 | 5 | S + 3 | 5 |
//! | 4.0.5 and later, Debian 13 | S + 1 | 6 | S + 3 | 5 |
//!
//! A header can stand for two of them. A row with an idle time fits only one, because each number
//! is padded to two places. A row of the short form without an idle time fits both if WHAT begins
//! with a blank. Then this blank counts as part of the layout.

use super::{
    Row,
    cursor::{Cursor, trim_end},
    layout::{Column, RowResult},
    login::Login,
};

/// Widths of the columns that vary.
pub(super) struct Columns {
    user: usize,
    /// `None`: not shown.
    from: Option<usize>,
    /// LOGIN@, JCPU and PCPU are shown.
    long: bool,
    /// The blanks before WHAT.
    before_what: usize,
}

impl Columns {
    /// The layouts that a header can mean.
    pub(super) fn of_header(words: &[(&[u8], usize)]) -> Vec<Columns> {
        let Some(((b"USER", 0), [(b"TTY", tty), rest @ ..])) = words.split_first() else {
            return Vec::new();
        };
        let (from, rest) = match rest {
            [(b"FROM", from), rest @ ..] => (Some(*from), rest),
            rest => (None, rest),
        };
        let (long, first, to_what) = match *rest {
            [
                (b"LOGIN@", login),
                (b"IDLE", idle),
                (b"JCPU", jcpu),
                (b"PCPU", pcpu),
                (b"WHAT", what),
            ] if idle == login + 9 && jcpu == idle + 7 && pcpu == jcpu + 7 => {
                (true, login, what - pcpu)
            }
            [(b"IDLE", idle), (b"WHAT", what)] => (false, idle, what - idle),
            _ => return Vec::new(),
        };
        // The bytes from the end of FROM to the next word of the header, and the blanks before
        // WHAT.
        let versions: &[(usize, usize)] = match (long, to_what) {
            (true, 5) => &[(1, 1), (2, 1)],
            (true, 6) => &[(1, 1), (2, 2)],
            (false, 5) => &[(2, 1), (3, 1)],
            (false, 6) => &[(3, 2)],
            _ => &[],
        };
        let after_tty = tty + 9;
        let columns = |&(shift, before_what): &(usize, usize)| {
            let width = first.checked_sub(after_tty + shift)?;
            let from = match from {
                // `PROCPS_FROMLEN` is refused outside these bounds.
                Some(from) => {
                    (from == after_tty && (8..=256).contains(&width)).then_some(Some(width))?
                }
                None => (width == 0).then_some(None)?,
            };
            Some(Columns { user: tty - 1, from, long, before_what })
        };
        versions.iter().filter_map(columns).collect()
    }

    /// Whether FROM is shown.
    pub(super) fn shows_from(&self) -> bool {
        self.from.is_some()
    }

    /// Reads one row.
    pub(super) fn row<'a>(&self, line: &'a [u8]) -> RowResult<'a> {
        let mut cursor = Cursor(line);
        let user = cursor.column(self.user).ok_or(Column::User)?;
        let tty = cursor.column(8).ok_or(Column::Tty)?;
        let from = trim_end(cursor.take(self.from.unwrap_or(0)).ok_or(Column::From)?);
        let login = if self.long { Some(login(&mut cursor).ok_or(Column::Login)?) } else { None };
        let idle = cursor.procps_interval().ok_or(Column::Idle)?;
        let cpu = if self.long {
            let jcpu = cursor.procps_interval().ok_or(Column::Jcpu)?;
            cursor.procps_interval().ok_or(Column::Pcpu)?;
            jcpu
        } else {
            None
        };
        cursor.blanks(self.before_what).ok_or(Column::What)?;
        Ok(Row { user, tty, from, login, idle, cpu, what: Some(cursor.0) })
    }
}

/// LOGIN@ in its eight bytes: a blank, and a form of five or seven, padded.
fn login(cursor: &mut Cursor) -> Option<Login> {
    cursor.blanks(1)?;
    let text = cursor.take(7)?;
    Login::procps(text.strip_suffix(b"  ").unwrap_or(text))
}
