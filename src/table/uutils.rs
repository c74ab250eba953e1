//! The layout of uutils' `w`: procps' header without FROM, and figures of its own behind it.
//!
//! Its LOGIN@ is the weekday and the day of the month, in the same shape as procps' weekday and hour, and a clock time on the
//! same day of any month: no login time can be told from it.

use super::{
    Row,
    cursor::Cursor,
    layout::{Column, RowResult},
};
use crate::table::elapsed::{Interval, number};

/// Which of its two forms it is.
pub struct Columns {
    /// LOGIN@, JCPU and PCPU are shown.
    long: bool,
}

impl Columns {
    /// The layout that a header can mean.
    pub fn of_header(words: &[(&[u8], usize)]) -> Option<Columns> {
        let long = match *words {
            [
                (b"USER", 0),
                (b"TTY", 9),
                (b"LOGIN@", 19),
                (b"IDLE", 28),
                (b"JCPU", 35),
                (b"PCPU", 42),
                (b"WHAT", 48),
            ] => true,
            [(b"USER", 0), (b"TTY", 9), (b"IDLE", 18), (b"WHAT", 25)] => false,
            _ => return None,
        };
        Some(Columns { long })
    }

    /// Reads one row.
    pub fn row<'a>(&self, line: &'a [u8]) -> RowResult<'a> {
        let mut cursor = Cursor(line);
        let user = cursor.column(8).ok_or(Column::User)?;
        let tty = cursor.column(if self.long { 9 } else { 8 }).ok_or(Column::Tty)?;
        if self.long {
            cursor.column(8).filter(|text| text.len() == 5).ok_or(Column::Login)?;
        }
        let idle = figure(&mut cursor, 6).ok_or(Column::Idle)?;
        let idle = match idle {
            b"" => None,
            _ => Some(Interval::procps(idle).ok_or(Column::Idle)?),
        };
        let mut cpu = None;
        if self.long {
            cpu = Some(figure(&mut cursor, 6).and_then(Interval::decimal).ok_or(Column::Jcpu)?);
            let pcpu = figure(&mut cursor, 5).ok_or(Column::Pcpu)?;
            number(pcpu).map(|_| ()).or(Interval::decimal(pcpu).map(|_| ())).ok_or(Column::Pcpu)?;
        }
        Ok(Row { user, tty, from: b"", login: None, idle, cpu, what: Some(cursor.0) })
    }
}

/// A figure padded on its right, and the blank behind it.
fn figure<'a>(cursor: &mut Cursor<'a>, width: usize) -> Option<&'a [u8]> {
    let figure = cursor.padded_word(width)?;
    cursor.blanks(1)?;
    Some(figure)
}
