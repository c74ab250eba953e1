//! The table that `w` prints: the layout that its header stands for, and its rows. This module
//! knows bytes and columns, not their use.
//!
//! A table is read exactly or refused. In every row, each column must be where the header puts it,
//! in a form that the program can print.

mod bsd;
pub(crate) mod builtin;
mod busybox;
mod cursor;
pub mod elapsed;
pub mod first_line;
mod head;
mod layout;
mod lines;
pub mod login;
mod procps;
pub mod resolution;
mod row;
pub(crate) mod terminal;
mod toybox;
mod uutils;

use anyhow::{Context, Result, bail};

use first_line::{FirstLine, TimeOfDay};
use head::Head;
use layout::Layout;
use lines::lines;
pub use row::{Logind, Row};

use crate::calendar::Span;

/// What one run of `w` printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table<'a> {
    /// The number of users that the first line counts; `None` if there is no such line.
    pub users_reported: Option<u64>,
    /// The logins on record that have no row, as the built-in `w` counts them; `None` for others.
    pub unlisted: Option<u64>,
    /// The clock at the start of the first line; `None` if there is no such line.
    pub time_of_day: Option<TimeOfDay>,
    /// Whether there is a FROM column.
    pub shows_from: bool,
    /// The rows, in the order printed.
    pub rows: Vec<Row<'a>>,
}

impl Table<'_> {
    /// Whether more logins are counted than there are rows.
    pub fn lists_fewer_than_it_counts(&self) -> bool {
        self.users_reported.is_some_and(|users| users > self.rows.len() as u64)
            || self.unlisted.is_some_and(|logins| logins > 0)
    }

    /// Whether its clock, if it has one, shows the time of the run in UTC. Otherwise its login
    /// times are from another zone or another day, and no session gets one.
    pub fn is_in_utc(&self, run: Span) -> bool {
        self.time_of_day.is_none_or(|time| time.agrees_with(run))
    }
}

/// Reads what `w` printed. The line of uptime and load before the header may be missing or empty.
///
/// # Errors
/// It is empty, its last line is cut off, its header is unknown, or a row does not fit the header.
pub fn read(printed: &[u8]) -> Result<Table<'_>> {
    if printed.is_empty() {
        bail!("it printed nothing, not even a header line; {}", head::WHOLE_TABLE);
    }
    let Some(printed) = printed.strip_suffix(b"\n") else {
        bail!("its last line is cut off");
    };
    let mut head = head::read(printed)?;
    let unlisted = head.take_unlisted();
    let (layout, rows) = read_rows(&head)?;
    let FirstLine { time_of_day, users } = head.first_line;
    let shows_from = layout.shows_from();
    Ok(Table { users_reported: users, unlisted, time_of_day, shows_from, rows })
}

/// Reads all rows in the first layout that fits all of them. The error is about the layout that
/// fits furthest.
fn read_rows<'a, 'h>(head: &'h Head<'a>) -> Result<(&'h Layout, Vec<Row<'a>>)> {
    let mut furthest = None;
    for layout in &head.layouts {
        let mut rows = Vec::with_capacity(most_rows(head));
        let bad = lines(head.rows).enumerate().find_map(|(index, line)| match layout.row(line) {
            Ok(row) => {
                rows.push(row);
                None
            }
            Err(column) => Some((index + 1, column)),
        });
        let Some(bad) = bad else {
            layout.check_count(head.header, head.first_line.users, rows.len() as u64)?;
            return Ok((layout, rows));
        };
        if furthest.is_none_or(|(_, furthest)| bad > furthest) {
            furthest = Some((layout, bad));
        }
    }
    let (layout, (row, column)) = furthest.context("its header is not known")?;
    let rows = lines(head.rows).count() as u64;
    layout.check_count(head.header, head.first_line.users, rows)?;
    if lines(head.rows).nth(row - 1).is_some_and(|line| line.trim_ascii().is_empty()) {
        bail!("row {row} is blank; the command must print nothing but the table");
    }
    bail!("row {row} does not fit the header in column {column}")
}

/// How many rows there can be at most, because only the last column of a row can be shorter than
/// its header. Garbage can have many more lines. Rows of the built-in `w` can be shorter.
fn most_rows(head: &Head) -> usize {
    let shortest_row = head.header.len() - "WHAT".len();
    head.rows.map_or(0, <[u8]>::len) / shortest_row
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
    fn what_is_empty_or_cut_off_is_refused() {
        assert_eq!(
            complaint(""),
            "it printed nothing, not even a header line; \
             leave out -h (--no-header), so that the command prints the whole table of w"
        );
        assert_eq!(complaint(&format!("{HEADER}alice")), "its last line is cut off");
    }

    #[test]
    fn there_is_room_for_all_rows_of_a_table_and_not_for_all_lines_of_garbage() {
        let room = |text: &str| head::read(text.as_bytes()).map(|head| most_rows(&head)).ok();
        let row = "alice    pts/0    203.0.113.7      00:16    1:13   0.00s   ?    w";
        for rows in [1, 2, 1000] {
            let table = format!("{HEADER}{}", vec![row; rows].join("\n"));
            assert!(room(&table).is_some_and(|room| (rows..=rows + rows / 20).contains(&room)));
        }
        assert_eq!(room(HEADER.trim_end()), Some(0));
        assert!(room(&format!("{HEADER}{}", "\n".repeat(1000))).is_some_and(|room| room < 20));
    }

    #[test]
    fn more_users_than_rows_are_noticed() {
        for (users, is_fewer) in [(0, false), (1, false), (2, true), (34, true)] {
            let first = format!(" 00:17:39 up  1:25, {users} users,  load average: 2.72\n");
            let text = format!("{first}{HEADER}{ROW}");
            let table = read(text.as_bytes());
            let fewer = table.map(|table| table.lists_fewer_than_it_counts());
            assert_eq!(fewer.ok(), Some(is_fewer), "{users}");
        }
        let uncounted = format!("{HEADER}{ROW}");
        let fewer = read(uncounted.as_bytes()).map(|table| table.lists_fewer_than_it_counts());
        assert_eq!(fewer.ok(), Some(false));
    }

    #[test]
    fn a_header_with_a_column_elsewhere_is_not_known() {
        for header in [
            "USER     TTY      FROM             LOGIN@   IDLE   JCPU   PCPU WHAT",
            "USER     TTY        LOGIN@   IDLE   JCPU   PCPU WHAT",
            "USER     TTY      FROM              LOGIN@   IDLE   JCPU   PCPU  WHAT",
            "USER     TTY       LOGIN@   IDLE   JCPU   PCPU  WHAT",
            "USER       TTY      FROM                      LOGIN@  IDLE WHAT",
            "USER    TTY FROM              LOGIN@  IDLE WHAT",
        ] {
            assert!(complaint(&format!("{header}\n")).starts_with("read"), "{header}");
            for word in ["IDLE", "JCPU", "PCPU"] {
                if header.contains(word) {
                    let shifted = header.replace(word, &format!(" {word}"));
                    let complaint = complaint(&format!("{shifted}\n"));
                    assert!(complaint.starts_with("its header is not known"), "{complaint}");
                }
            }
        }
    }

    #[test]
    fn a_header_with_one_more_column_is_not_known() {
        for header in [
            "USER     TTY      FROM             LOGIN@   IDLE   JCPU   PCPU WHAT",
            "USER     TTY        LOGIN@   IDLE   JCPU   PCPU WHAT",
            "USER     TTY      FROM              IDLE WHAT",
            "USER     TTY       LOGIN@   IDLE   JCPU   PCPU  WHAT",
            "USER     TTY      IDLE   WHAT",
            "USER    TTY FROM              LOGIN@  IDLE WHAT",
            "USER     TTY             LOGIN@              FROM",
        ] {
            let complaint = complaint(&format!("{header} MORE\n"));
            assert!(complaint.starts_with("its header is not known"), "{complaint}");
        }
    }

    #[test]
    fn from_is_as_wide_as_procps_can_make_it_and_follows_tty() {
        let is_known = |header: String| complaint(&format!("{header}\n")).starts_with("read");
        let rest = " LOGIN@   IDLE   JCPU   PCPU WHAT";
        // The header allows two widths: this one, and one less.
        for (width, known) in [(7, false), (8, true), (257, true), (258, false)] {
            let header = format!("USER     TTY      {:width$}{rest}", "FROM");
            assert_eq!(is_known(header), known, "{width}");
        }
        assert!(!is_known(format!("USER     TTY     FROM             {rest}")));
        assert!(!is_known(format!("USER     TTY       FROM           {rest}")));
    }

    #[test]
    fn toybox_parenthesizes_from_in_twelve_bytes() {
        let header = "USER     TTY             LOGIN@              FROM\n";
        let row = "alice    pts/0     Tue Nov 24 00:15:28 2026 ";
        for (from, read) in [
            ("(203.0.113.7)", true),
            ("(ws.example.c)", true),
            ("( )", true),
            ("()", false),
            ("(ws.example.co)", false),
            ("(203.0.113.7", false),
            ("203.0.113.7)", false),
        ] {
            let complaint = complaint(&format!("{header}{row}{from}\n"));
            let refused = "row 1 does not fit the header in column FROM";
            assert_eq!(complaint != refused, read, "{from}: {complaint}");
        }
    }

    #[test]
    fn whether_from_is_shown_is_in_the_header() {
        for (header, shown) in [
            ("USER     TTY      FROM             LOGIN@   IDLE   JCPU   PCPU WHAT", true),
            ("USER     TTY        LOGIN@   IDLE   JCPU   PCPU WHAT", false),
            ("USER     TTY      FROM              IDLE WHAT", true),
            ("USER     TTY         IDLE WHAT", false),
            (" 10:00:00 up 3 min,  0 user\nUSER     TTY      IDLE   WHAT", false),
            ("USER    TTY FROM              LOGIN@  IDLE WHAT", true),
            ("USER\t\tTTY\t\tIDLE\tTIME\t\t HOST", true),
            ("USER     TTY             LOGIN@              FROM", true),
        ] {
            let printed = format!("{header}\n");
            let table = read(printed.as_bytes()).map(|table| table.shows_from);
            assert_eq!(table.ok(), Some(shown), "{header}");
        }
    }

    #[test]
    fn the_column_is_that_of_the_layout_that_fits_furthest() {
        let header = "USER     TTY       LOGIN@   IDLE   JCPU   PCPU  WHAT\n";
        let header =
            format!(" 10:00:00 up 3 min,  2 users,  load average: 0.00, 0.00, 0.00\n{header}");
        let row = "alice    pts/0     09:51    7:06m  0.05   0     tmux\n";
        let bad = "alice    pts/0     09:51    7:06m  0.05   x     tmux\n";
        assert_eq!(
            complaint(&format!("{header}{row}{bad}")),
            "row 2 does not fit the header in column PCPU"
        );
    }

    #[test]
    fn a_table_of_uutils_that_is_not_counted_is_refused_by_its_header() {
        for header in [
            "USER\tTTY\tLOGIN@\tIDLE\tJCPU\tPCPU\tWHAT",
            "USER\tTTY\tIDLE\tWHAT",
            "USER     TTY      LOGIN@   IDLE   JCPU   PCPU WHAT",
            "USER     TTY      IDLE   WHAT",
            "USER     TTY       LOGIN@   IDLE   JCPU   PCPU  WHAT",
        ] {
            let row = match header {
                "USER     TTY      IDLE   WHAT" => "alice    pts/0    7:06m  tmux",
                _ => "alice    pts/0     09:51    7:06m  0.05   0     tmux",
            };
            let complaint = complaint(&format!("{header}\n{row}\n"));
            assert!(complaint.starts_with("it is of uutils' w before April 2025"), "{complaint}");
            assert!(complaint.ends_with(&format!("{:?}", header)), "{complaint}");
            assert!(!complaint.contains("alice"), "{complaint}");
        }
    }

    #[test]
    fn a_command_line_with_a_line_feed_is_named_where_its_rest_is_no_row() {
        for header in [
            "USER     TTY      IDLE   WHAT\nalice    pts/0    7:06m  tmux\n",
            "USER     TTY       LOGIN@   IDLE   JCPU   PCPU  WHAT\nalice    pts/0     09:51    7:06m  0.05   0     tmux\n",
        ] {
            for rest in ["", "alice", "root     pts/9     09:51    7:06m"] {
                assert_eq!(
                    complaint(&format!(
                        " 10:00:00 up 3 min,  1 user,  load average: 0\n{header}{rest}\n"
                    )),
                    "its first line counts 1 user, but it has 2 rows: a line feed in a command line can forge one (uutils' w)",
                );
            }
        }
    }

    #[test]
    fn a_row_that_fits_no_layout_of_its_header_is_not_blamed_on_uutils() {
        let header = "USER     TTY       LOGIN@   IDLE   JCPU   PCPU  WHAT\n";
        let first = " 10:00:00 up 3 min,  2 users,  load average: 0.00, 0.00, 0.00\n";
        assert_eq!(
            complaint(&format!("{first}{header}?\n")),
            "row 1 does not fit the header in column USER"
        );
    }

    #[test]
    fn a_row_that_ends_early_is_refused_and_its_column_named() {
        let cut_at = |end: usize| complaint(&format!("{HEADER}{ROW}{}\n", &ROW[..end]));
        assert_eq!(cut_at(2), "row 2 does not fit the header in column USER");
        assert_eq!(cut_at(12), "row 2 does not fit the header in column TTY");
        assert_eq!(cut_at(24), "row 2 does not fit the header in column FROM");
        assert_eq!(cut_at(40), "row 2 does not fit the header in column LOGIN@");
        assert_eq!(cut_at(45), "row 2 does not fit the header in column IDLE");
        assert_eq!(cut_at(53), "row 2 does not fit the header in column JCPU");
        assert_eq!(cut_at(58), "row 2 does not fit the header in column PCPU");
        assert_eq!(cut_at(63), "row 2 does not fit the header in column WHAT");
    }

    #[test]
    fn a_blank_row_is_named() {
        for (rows, row) in [("\n", 1), (&format!("{ROW}\n"), 2), (&format!("{ROW}    \n{ROW}"), 2)]
        {
            assert_eq!(
                complaint(&format!("{HEADER}{rows}")),
                format!("row {row} is blank; the command must print nothing but the table")
            );
        }
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
