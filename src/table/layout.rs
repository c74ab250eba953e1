//! Which layouts a header can mean, and how each reads a row.

use anyhow::Result;

use super::{
    bsd, builtin, busybox, procps,
    row::{Row, RowResult},
    terminal, toybox, uutils,
};

/// The words of the longest header. Each other header that is read by its words has some of them,
/// in this order.
pub(super) const HEADER_WORDS: [&[u8]; 8] =
    [b"USER", b"TTY", b"FROM", b"LOGIN@", b"IDLE", b"JCPU", b"PCPU", b"WHAT"];

/// Where the columns stand, for each family of programs.
pub(super) enum Layout {
    Procps(procps::Columns),
    Uutils(uutils::Columns),
    Bsd(bsd::Columns),
    Builtin,
    Busybox,
    Toybox,
}

impl Layout {
    /// The layouts that a header can stand for: several if programs share it, none if it is
    /// unknown.
    pub(super) fn of_header(line: &[u8]) -> Vec<Layout> {
        if line == builtin::HEADER.as_bytes() {
            return vec![Layout::Builtin];
        }
        if line == busybox::HEADER {
            return vec![Layout::Busybox];
        }
        if line == toybox::HEADER {
            return vec![Layout::Toybox];
        }
        let words = words(line);
        let procps = procps::Columns::of_header(&words).into_iter().map(Layout::Procps);
        let uutils = uutils::Columns::of_header(&words).into_iter().map(Layout::Uutils);
        let bsd = bsd::Columns::of_header(&words).into_iter().map(Layout::Bsd);
        procps.chain(uutils).chain(bsd).collect()
    }

    /// Whether a line is a row of any program's table, whatever widths its columns have.
    pub(super) fn is_row_of_any(line: &[u8]) -> bool {
        let words = words(line);
        let procps = procps::Columns::of_row(&words).into_iter().map(Layout::Procps);
        let uutils = uutils::Columns::of_row().into_iter().map(Layout::Uutils);
        let bsd = bsd::Columns::of_row(&words).into_iter().map(Layout::Bsd);
        let mut all = procps.chain(uutils).chain(bsd).chain([Layout::Busybox, Layout::Toybox]);
        // A user, and one of the times. In the short forms, nearly any line has the rest.
        all.any(|layout| {
            layout.row(line).is_ok_and(|row| {
                let is_timed = row.login.is_some() || row.idle.is_some() || row.cpu.is_some();
                is_timed && !row.user.is_empty() && !row.user.contains(&b' ')
            })
        })
    }

    /// Whether there is a FROM column.
    pub(super) fn shows_from(&self) -> bool {
        match self {
            Layout::Procps(columns) => columns.shows_from(),
            Layout::Uutils(_) => false,
            Layout::Bsd(_) | Layout::Builtin | Layout::Busybox | Layout::Toybox => true,
        }
    }

    /// Compares the number of rows with the users that the first line counts, where rows that it
    /// does not count are forged.
    ///
    /// # Errors
    /// They differ.
    pub(super) fn check_count(&self, header: &[u8], users: Option<u64>, rows: u64) -> Result<()> {
        match self {
            Layout::Uutils(_) => uutils::check_count(header, users, rows),
            _ => Ok(()),
        }
    }

    /// Reads one row.
    pub(super) fn row<'a>(&self, line: &'a [u8]) -> RowResult<'a> {
        let row = match self {
            Layout::Procps(columns) => columns.row(line),
            Layout::Uutils(columns) => columns.row(line),
            Layout::Bsd(columns) => columns.row(line),
            // It knows which are terminals.
            Layout::Builtin => return builtin::row(line),
            Layout::Busybox => busybox::row(line),
            Layout::Toybox => toybox::row(line),
        }?;
        let has_terminal = match self {
            Layout::Bsd(_) => bsd::is_terminal(row.tty),
            _ => terminal::is_terminal(row.tty),
        };
        Ok(if has_terminal { row } else { Row { idle: None, cpu: None, ..row } })
    }
}

/// The words of a header, and the byte at which each begins. Of a longer line, one word more than a
/// header can have.
pub(super) fn words(line: &[u8]) -> Vec<(&[u8], usize)> {
    let mut start = 0;
    let words = line.split(|&byte| byte == b' ').map(|word| {
        let begin = start;
        start += word.len() + 1;
        (word, begin)
    });
    words.filter(|(word, _)| !word.is_empty()).take(HEADER_WORDS.len() + 1).collect()
}
