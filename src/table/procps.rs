//! The layout of procps 3.2 to 4.0 (`showinfo` in `w.c`), in its long and its short form.
//!
//! With U the width of USER and F that of FROM: USER, a blank, TTY in 8, a blank, FROM in exactly F, then LOGIN@ in 8 and IDLE,
//! JCPU and PCPU in 7 each, all with a blank first, and WHAT behind one more blank. The header is only nearly aligned with
//! that: it gives U exactly, and F but for one column in 3.2.

use super::{
    Row, RowResult,
    cursor::{Cursor, trim_end},
};
use crate::table::login::Login;

/// Widths of the columns that vary.
pub struct Columns {
    user: usize,
    /// `None`: not shown. The width may be 0 only then.
    from: Option<usize>,
    /// LOGIN@, JCPU and PCPU are shown.
    long: bool,
}

impl Columns {
    /// The layouts that a header can mean.
    pub fn of_header(words: &[(&[u8], usize)]) -> Vec<Columns> {
        let Some(((b"USER", 0), [(b"TTY", tty), rest @ ..])) = words.split_first() else {
            return Vec::new();
        };
        let (from, rest) = match rest {
            [(b"FROM", from), rest @ ..] => (Some(*from), rest),
            rest => (None, rest),
        };
        let (long, starts) = match *rest {
            [
                (b"LOGIN@", login),
                (b"IDLE", idle),
                (b"JCPU", jcpu),
                (b"PCPU", pcpu),
                (b"WHAT", what),
            ] if idle == login + 9
                && jcpu == idle + 7
                && pcpu == jcpu + 7
                && (5..=6).contains(&(what - pcpu)) =>
            {
                (true, [login.checked_sub(1), login.checked_sub(2)])
            }
            [(b"IDLE", idle), (b"WHAT", what)] if what == idle + 5 => {
                (false, [idle.checked_sub(3), None])
            }
            _ => return Vec::new(),
        };
        let after_tty = tty + 9;
        let columns = |start: usize| {
            let width = start.checked_sub(after_tty)?;
            let from = match from {
                Some(from) => (from == after_tty && width > 0).then_some(Some(width))?,
                None => (width == 0).then_some(None)?,
            };
            let user = tty - 1;
            Some(Columns { user, from, long })
        };
        starts.into_iter().flatten().filter_map(columns).collect()
    }

    /// Whether FROM is shown.
    pub fn shows_from(&self) -> bool {
        self.from.is_some()
    }

    /// Reads one row.
    pub fn row<'a>(&self, line: &'a [u8]) -> RowResult<'a> {
        let mut cursor = Cursor(line);
        let user = cursor.column(self.user).ok_or("USER")?;
        let tty = cursor.column(8).ok_or("TTY")?;
        let from = trim_end(cursor.take(self.from.unwrap_or(0)).ok_or("FROM")?);
        let login = match self.long {
            true => Some(login(&mut cursor).ok_or("LOGIN@")?),
            false => None,
        };
        let idle = cursor.procps_interval().ok_or("IDLE")?;
        let cpu = match self.long {
            true => {
                let jcpu = cursor.procps_interval().ok_or("JCPU")?;
                cursor.procps_interval().ok_or("PCPU")?;
                jcpu
            }
            false => None,
        };
        cursor.blanks(1).ok_or("WHAT")?;
        Ok(Row { user, tty, from, login, idle, cpu, what: Some(cursor.0) })
    }
}

/// LOGIN@ in its eight bytes: a blank, and a form of five or seven, padded.
fn login(cursor: &mut Cursor) -> Option<Login> {
    cursor.blanks(1)?;
    let text = cursor.take(7)?;
    Login::procps(text.strip_suffix(b"  ").unwrap_or(text))
}
