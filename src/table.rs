//! The table that `w` prints: which layout its header means, and its rows. Knows bytes and columns, nothing of what they
//! are for.
//!
//! A table is read exactly or refused: every row must have each of its columns where the header puts it, in a form
//! that the program can print.

mod bsd;
mod busybox;
mod cursor;
pub mod elapsed;
pub mod first_line;
pub mod login;
mod procps;
pub mod resolution;
mod terminal;
mod toybox;
mod uutils;

use std::io::BufRead;

use anyhow::{Context, Result, bail};

use elapsed::Interval;
use first_line::{Clock, FirstLine};
use login::{Login, Span};

/// What one run of `w` printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table<'a> {
    /// The number of users that the first line claims; `None` where there is no such line.
    pub users_reported: Option<u64>,
    /// The clock that the first line begins with; `None` where there is no such line.
    pub clock: Option<Clock>,
    /// Whether there is a FROM column at all.
    pub shows_from: bool,
    /// The rows, in the order printed.
    pub rows: Vec<Row<'a>>,
}

impl Table<'_> {
    /// Whether the first line counts more users than there are rows.
    pub fn lists_fewer_than_it_counts(&self) -> bool {
        self.users_reported.is_some_and(|users| users > self.rows.len() as u64)
    }
}

impl Table<'_> {
    /// Whether its clock, if it has one, shows the time of the run in UTC. Otherwise its login times are of another zone or another
    /// day, and no session gets one.
    pub fn is_of(&self, run: Span) -> bool {
        self.clock.is_none_or(|clock| clock.agrees_with(run))
    }
}

/// One row, each column as printed less the blanks that pad it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// USER.
    pub user: &'a [u8],
    /// TTY; empty where it is blank.
    pub tty: &'a [u8],
    /// FROM; empty where it is blank or not shown.
    pub from: &'a [u8],
    /// LOGIN@, or BusyBox's TIME; `None` where it is not shown, or shown in a form that can't be told (uutils).
    pub login: Option<Login>,
    /// IDLE; `None` where it is not shown or not known, and where TTY is no terminal.
    pub idle: Option<Interval>,
    /// JCPU; `None` where it is not shown or not known, and where TTY is no terminal.
    pub cpu: Option<Interval>,
    /// WHAT; `None` where it is not shown, empty where there is nothing in it.
    pub what: Option<&'a [u8]>,
}

/// A row, or the name of the first column that does not stand where the header puts it.
type RowResult<'a> = Result<Row<'a>, &'static str>;

/// Where the columns stand, for each family of programs.
enum Layout {
    Procps(procps::Columns),
    Uutils(uutils::Columns),
    Bsd(bsd::Columns),
    Busybox,
    Toybox,
}

impl Layout {
    /// What a header can mean: several layouts where programs share it. Empty for an unknown one.
    fn of_header(line: &[u8]) -> Vec<Layout> {
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

    fn shows_from(&self) -> bool {
        match self {
            Layout::Procps(columns) => columns.shows_from(),
            Layout::Uutils(_) => false,
            Layout::Bsd(_) | Layout::Busybox | Layout::Toybox => true,
        }
    }

    fn row<'a>(&self, line: &'a [u8]) -> RowResult<'a> {
        let row = match self {
            Layout::Procps(columns) => columns.row(line),
            Layout::Uutils(columns) => columns.row(line),
            Layout::Bsd(columns) => columns.row(line),
            Layout::Busybox => busybox::row(line),
            Layout::Toybox => toybox::row(line),
        }?;
        let has_terminal = match self {
            Layout::Bsd(_) => terminal::is_of_bsd(row.tty),
            _ => terminal::is_of_linux(row.tty),
        };
        Ok(if has_terminal { row } else { Row { idle: None, cpu: None, ..row } })
    }
}

/// Reads what `w` printed. The line of uptime and load before the header may be missing or empty.
///
/// # Errors
/// Nothing printed, a last line that is cut off, a header that is not known, a row that does not fit it.
pub fn read(printed: &[u8]) -> Result<Table<'_>> {
    if printed.is_empty() {
        bail!("it printed nothing");
    }
    let Some(printed) = printed.strip_suffix(b"\n") else {
        bail!("its last line is cut off");
    };
    let (first, rest) = split_line(printed);
    let mut layouts = Layout::of_header(first);
    let (first_line, mut body) = if layouts.is_empty() {
        let (header, rest) = rest.map(split_line).unwrap_or_default();
        layouts = Layout::of_header(header);
        (FirstLine::read(first), rest)
    } else {
        (FirstLine::default(), rest)
    };
    if layouts.is_empty() {
        let line = rest.map_or(first, |rest| split_line(rest).0);
        bail!("its header is not known: {}", shown(line));
    }
    let mut lines = Vec::new();
    while let Some(bytes) = body {
        let (line, rest) = split_line(bytes);
        lines.push(line);
        body = rest;
    }
    let (shows_from, rows) = read_rows(&layouts, &lines)?;
    Ok(Table { users_reported: first_line.users, clock: first_line.clock, shows_from, rows })
}

/// Reads all rows in the first layout that fits every one of them; the complaint is about the first layout.
fn read_rows<'a>(layouts: &[Layout], lines: &[&'a [u8]]) -> Result<(bool, Vec<Row<'a>>)> {
    let mut complaint = None;
    for layout in layouts {
        let mut rows = Vec::with_capacity(lines.len());
        let bad = lines.iter().enumerate().find_map(|(index, line)| match layout.row(line) {
            Ok(row) => {
                rows.push(row);
                None
            }
            Err(column) => Some((index + 1, column)),
        });
        match bad {
            None => return Ok((layout.shows_from(), rows)),
            Some(bad) => complaint = complaint.or(Some(bad)),
        }
    }
    let (row, column) = complaint.context("its header is not known")?;
    bail!("row {row} does not fit the header in column {column}")
}

/// The first line, and what follows its line feed, if there is one.
fn split_line(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut rest = bytes;
    // Most of a row is blanks; this looks for its end many bytes at a time. Reading memory does not fail.
    let length = rest.skip_until(b'\n').unwrap_or(0);
    let line = bytes.get(..length).unwrap_or_default();
    match line.strip_suffix(b"\n") {
        Some(line) => (line, Some(rest)),
        None => (line, None),
    }
}

/// The words of a header and the byte at which each begins.
fn words(line: &[u8]) -> Vec<(&[u8], usize)> {
    let mut start = 0;
    let mut words = Vec::new();
    for word in line.split(|&byte| byte == b' ') {
        if !word.is_empty() {
            words.push((word, start));
        }
        start += word.len() + 1;
    }
    words
}

/// A line for a message: shortened, and nothing in it that moves a terminal's cursor.
fn shown(line: &[u8]) -> String {
    let cut = line.get(..60).unwrap_or(line);
    format!("\"{}\"", cut.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "USER     TTY      FROM             LOGIN@   IDLE   JCPU   PCPU WHAT\n";
    const ROW: &str =
        "alice    pts/0    203.0.113.7      00:16    1:13   0.00s   ?    vim notes.txt\n";

    fn complaint(text: &str) -> String {
        read(text.as_bytes())
            .map_or_else(|error| format!("{error:#}"), |table| format!("read: {table:?}"))
    }

    #[test]
    fn the_first_line_may_be_missing_or_empty() {
        for (first, users) in [
            ("", None),
            ("\n", None),
            (" 00:17:39 up  1:25, 34 users,  load average: 2.72, 2.33, 1.90\n", Some(34)),
            (" 00:15:37 up  1:23,  27 users,  load average: 1.98, 2.02, 1.74\n", Some(27)),
            (" 9:03AM  up 33 secs, 1 user, load averages: 0.16, 0.04, 0.01\n", Some(1)),
            (" 9:03AM  33 secs, 0 users, load averages: 0.16, 0.04, 0.01\n", Some(0)),
        ] {
            let text = format!("{first}{HEADER}{ROW}");
            let table = read(text.as_bytes()).map_err(|error| format!("{error:#}"));
            assert_eq!(table.as_ref().map(|table| table.users_reported), Ok(users), "{text}");
            assert_eq!(table.map(|table| table.rows.len()), Ok(1), "{text}");
        }
    }

    #[test]
    fn what_is_no_table_is_refused_with_its_reason() {
        assert_eq!(complaint(""), "it printed nothing");
        assert_eq!(complaint(&format!("{HEADER}alice")), "its last line is cut off");
        assert_eq!(complaint("\n"), "its header is not known: \"\"");
        assert_eq!(complaint("\x1b[31m\u{0}\n"), "its header is not known: \"\\x1b[31m\\x00\"");
        assert_eq!(
            complaint("BENUTZER TTY      VON              LOGIN@   IDLE   JCPU   PCPU WHAT\n"),
            "its header is not known: \"BENUTZER TTY      VON              LOGIN@   IDLE   JCPU   PC\""
        );
        assert_eq!(complaint(&format!("a\nb\n{HEADER}")), "its header is not known: \"b\"");
    }

    #[test]
    fn a_row_that_ends_early_is_refused_and_its_column_named() {
        let cut_at = |end: usize| {
            complaint(&format!("{HEADER}{ROW}{}\n", ROW.get(..end).unwrap_or_default()))
        };
        assert_eq!(cut_at(0), "row 2 does not fit the header in column USER");
        assert_eq!(cut_at(12), "row 2 does not fit the header in column TTY");
        assert_eq!(cut_at(24), "row 2 does not fit the header in column FROM");
        assert_eq!(cut_at(40), "row 2 does not fit the header in column LOGIN@");
        assert_eq!(cut_at(45), "row 2 does not fit the header in column IDLE");
        assert_eq!(cut_at(53), "row 2 does not fit the header in column JCPU");
        assert_eq!(cut_at(58), "row 2 does not fit the header in column PCPU");
        assert_eq!(cut_at(63), "row 2 does not fit the header in column WHAT");
    }

    #[test]
    fn a_line_feed_in_a_name_does_not_make_two_sessions() {
        let row = ROW.replace("alice ", "al\nice");
        assert_eq!(
            complaint(&format!("{HEADER}{row}")),
            "row 1 does not fit the header in column USER"
        );
    }
}
