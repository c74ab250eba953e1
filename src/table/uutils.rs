//! The layout of uutils' `w` since April 2025 (`src/uu/w/src/w.rs`): procps' header without FROM,
//! and other forms of numbers.
//!
//! Columns are padded by characters. Only USER is cut, to 8. All others are printed whole, so a
//! number can fill its column and touch the next one, or overrun it and shift what follows:
//!
//! | | long form | short form |
//! |---|---|---|
//! | USER | 9 | 9 |
//! | TTY | 10 | 9 |
//! | LOGIN@ | 9, of which it takes 5 | |
//! | IDLE | 6, and a blank | 7 |
//! | JCPU | 7, two decimals | |
//! | PCPU | 6, up to two decimals and no zero at the end | |
//!
//! Its LOGIN@ is the weekday and the day of the month, in the same shape as procps' weekday and
//! hour, and a clock time on the same day of any month. So it can't be read as a login time. A line
//! feed in a command line is printed as it is, so only the count in the first line says how many
//! rows there are.

use anyhow::{bail, ensure};

use super::{
    elapsed::{Elapsed, two_digits},
    row::{Column, Row, RowResult},
};
use crate::plural::counted;

/// Which of its two forms it is.
pub(super) struct Columns {
    /// LOGIN@, JCPU and PCPU are shown.
    long: bool,
}

/// What is left of a row.
struct Rest<'a>(&'a str);

impl Columns {
    /// Both layouts, for a row without a header.
    pub(super) fn of_row() -> [Columns; 2] {
        [Columns { long: true }, Columns { long: false }]
    }

    /// The layout that a header can mean.
    pub(super) fn of_header(words: &[(&[u8], usize)]) -> Option<Columns> {
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
    pub(super) fn row<'a>(&self, line: &'a [u8]) -> RowResult<'a> {
        // It prints only UTF-8.
        let mut rest = Rest(std::str::from_utf8(line).map_err(|_| Column::User)?);
        let user = rest.column(9).ok_or(Column::User)?;
        let (tty, idle, cpu) = if self.long { rest.long_figures()? } else { rest.short_figures()? };
        let idle = match idle {
            "" => None,
            idle => Some(Elapsed::procps(idle.as_bytes()).ok_or(Column::Idle)?),
        };
        Ok(Row {
            user: user.as_bytes(),
            tty: tty.as_bytes(),
            from: b"",
            login: None,
            idle,
            cpu,
            logind: None,
            what: Some(rest.0.as_bytes()),
        })
    }
}

/// Before April 2025 its header differed from procps': LOGIN@ was one column further left, or there
/// were tabs.
pub(super) fn is_older_header(line: &[u8]) -> bool {
    matches!(
        line,
        b"USER     TTY      LOGIN@   IDLE   JCPU   PCPU WHAT"
            | b"USER\tTTY\tLOGIN@\tIDLE\tJCPU\tPCPU\tWHAT"
            | b"USER\tTTY\tIDLE\tWHAT"
    )
}

/// The error for a table without a first line.
pub(super) fn uncounted(header: &[u8]) -> String {
    format!(
        "it is of uutils' w before April 2025: no first line counts its rows, so anybody can forge one with a line feed in a command line; update it: \"{}\"",
        header.escape_ascii()
    )
}

/// Compares its rows with the users that its first line counts.
///
/// # Errors
/// There is no such line, or there are more or fewer rows, so one can be forged.
pub(super) fn check_count(header: &[u8], users: Option<u64>, rows: u64) -> anyhow::Result<()> {
    let Some(users) = users else { bail!(uncounted(header)) };
    ensure!(
        users == rows,
        "its first line counts {}, but it has {}: a line feed in a command line can forge one (uutils' w)",
        counted(users, "user"),
        counted(rows, "row")
    );
    Ok(())
}

type Figures<'a> = (&'a str, &'a str, Option<Elapsed>);

impl<'a> Rest<'a> {
    /// TTY, IDLE and JCPU.
    fn long_figures(&mut self) -> Result<Figures<'a>, Column> {
        let tty = self.column(10).or_else(|| self.overrun_before_login()).ok_or(Column::Tty)?;
        let login = self.column(9).ok_or(Column::Login)?;
        is_login(login.as_bytes()).then_some(()).ok_or(Column::Login)?;
        let idle = self.elapsed(6).ok_or(Column::Idle)?;
        self.blanks(1).ok_or(Column::Idle)?;
        let jcpu = self.figure(7, decimals(self.0, 2..=2)).ok_or(Column::Jcpu)?;
        let cpu = Elapsed::decimal(jcpu.as_bytes()).ok_or(Column::Jcpu)?;
        self.figure(6, pcpu(self.0)).ok_or(Column::Pcpu)?;
        Ok((tty, idle, Some(cpu)))
    }

    /// TTY and IDLE.
    fn short_figures(&mut self) -> Result<Figures<'a>, Column> {
        let tty = self.column(9).or_else(|| self.overrun_before_idle()).ok_or(Column::Tty)?;
        let idle = self.elapsed(7).ok_or(Column::Idle)?;
        Ok((tty, idle, None))
    }

    fn take(&mut self, bytes: usize) -> Option<&'a str> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn blanks(&mut self, count: usize) -> Option<()> {
        self.take(count)?.bytes().all(|byte| byte == b' ').then_some(())
    }

    /// A column of that many characters, the last of them a blank, without the blanks at its end.
    fn column(&mut self, width: usize) -> Option<&'a str> {
        let (last, char) = self.0.char_indices().nth(width - 1)?;
        if char != ' ' {
            return None;
        }
        self.take(last + 1).map(|text| text.trim_end_matches(' '))
    }

    /// A figure of that many bytes, padded to that many.
    fn figure(&mut self, width: usize, length: Option<usize>) -> Option<&'a str> {
        let length = length?;
        let figure = self.take(length)?;
        self.blanks(width.saturating_sub(length))?;
        Some(figure)
    }

    /// An idle time, which is empty in the old style (`w -o`).
    fn elapsed(&mut self, width: usize) -> Option<&'a str> {
        let length = if self.0.starts_with(' ') { Some(0) } else { elapsed(self.0) };
        self.figure(width, length)
    }

    /// A terminal's name that is longer than its column and so touches LOGIN@.
    fn overrun_before_login(&mut self) -> Option<&'a str> {
        let word = self.0.split(' ').next()?;
        let tty = word.get(..word.len().checked_sub(5)?)?;
        (tty.chars().count() >= 10).then_some(())?;
        self.take(tty.len())
    }

    /// A terminal's name that is longer than its column and so touches IDLE: both hold digits, and
    /// only the padding after it shows where the name ends. If WHAT begins with a blank, several
    /// places are possible, and the row is refused.
    fn overrun_before_idle(&mut self) -> Option<&'a str> {
        let word = self.0.split(' ').next()?;
        let ends = word.char_indices().skip(9).map(|(at, _)| at);
        let mut fitting = ends.filter(|&end| {
            let mut rest = Rest(&self.0[end..]);
            rest.elapsed(7).is_some()
        });
        let end = fitting.next()?;
        match fitting.next() {
            None => self.take(end),
            Some(_) => None,
        }
    }
}

/// `09:51` or `Mon23`.
fn is_login(text: &[u8]) -> bool {
    let is_number = |text| two_digits(text).is_some();
    match text {
        [hour @ .., b':', minute_tens, minute_ones] => {
            is_number(hour) && is_number(&[*minute_tens, *minute_ones])
        }
        [weekday @ .., day_tens, day_ones] if weekday.len() == 3 => {
            weekday.iter().all(u8::is_ascii_alphabetic) && is_number(&[*day_tens, *day_ones])
        }
        _ => false,
    }
}

/// How many digits a text begins with.
fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// The length of the number that a text begins with, of so many decimals.
fn decimals(text: &str, count: std::ops::RangeInclusive<usize>) -> Option<usize> {
    let whole = digits(text);
    let places = digits(text.get(whole..)?.strip_prefix('.')?).min(*count.end());
    count.contains(&places).then_some(whole + 1 + places)
}

/// The length of PCPU: as short as a number is written.
fn pcpu(text: &str) -> Option<usize> {
    let whole = digits(text);
    let decimals = decimals(text, 1..=2).map(|length| text[..length].trim_end_matches('0').len());
    (whole > 0).then_some(decimals.filter(|&length| length > whole + 1).unwrap_or(whole))
}

/// The length of the idle time that a text begins with: `0.05s`, `1:05`, `1:05m`, `2days`. Of
/// numbers, none but 0 begins with a zero.
fn elapsed(text: &str) -> Option<usize> {
    let whole = digits(text);
    let figure = text.get(..whole)?;
    let rest = text.get(whole..)?;
    let length = if rest.starts_with("days") {
        whole + 4
    } else if rest.starts_with('.') {
        let length = decimals(text, 2..=2)?;
        text.get(length..)?.starts_with('s').then_some(length + 1)?
    } else {
        (rest.starts_with(':') && digits(rest.get(1..)?) == 2).then_some(())?;
        let length = whole + 3;
        if text.get(length..)?.starts_with('m') { length + 1 } else { length }
    };
    let zero = figure == "0" && rest.starts_with('.');
    (zero || whole > 0 && !figure.starts_with('0')).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_time_is_written_as_short_as_it_can_be() {
        for (text, read) in [
            ("0     -bash", "0"),
            ("0.4   /usr/bin/zsh", "0.4"),
            ("12.5  zsh", "12.5"),
            ("123.45/usr/bin/kded5", "123.45"),
            ("123.457zip", "123.45"),
            ("1000.507zip", "1000.5"),
            ("1000.00.sh", "1000"),
            ("123456./x", "123456"),
            ("100.05", "100.05"),
        ] {
            assert_eq!(pcpu(text).map(|length| &text[..length]), Some(read), "{text}");
        }
        assert_eq!(pcpu(".5"), None);
        assert_eq!(pcpu("x"), None);
    }

    #[test]
    fn an_idle_time_ends_by_itself() {
        for (text, read) in [
            ("0.05s  vim", "0.05s"),
            ("59.99s vim", "59.99s"),
            ("1:05   vim", "1:05"),
            ("47:59m vim", "47:59m"),
            ("100daysvim", "100days"),
            ("1000daysm", "1000days"),
        ] {
            assert_eq!(elapsed(text).map(|length| &text[..length]), Some(read), "{text}");
        }
        for text in [
            "", "s", "days", ":05", ".05s", "00.05s", "05:00", "0days", "0:05", "1:5", "1:055",
            "1.5s", "1.05", "1day", "1.",
        ] {
            assert_eq!(elapsed(text), None, "{text}");
        }
    }

    #[test]
    fn a_login_time_is_a_clock_time_or_a_weekday_and_a_day() {
        for text in ["09:51", "Mon23", "Sat31"] {
            assert!(is_login(text.as_bytes()), "{text}");
        }
        for text in [
            "", "9:51", "009:51", "09:5", "0951", "23", "Mo23", "Tues23", "Mo231", "Mon2", "Mon 3",
            "M0n23", "a9:51", "09:5x",
        ] {
            assert!(!is_login(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_terminal_that_touches_the_idle_time_is_read_where_it_can_end_in_one_place_only() {
        let tty = |text| Rest(text).overrun_before_idle();
        assert_eq!(tty("lxc/console0.05s  vim"), Some("lxc/console"));
        assert_eq!(tty("pts/123451:05m  vim"), Some("pts/12345"));
        assert_eq!(tty("pts/123452days  vim"), Some("pts/12345"));
        assert_eq!(tty("pts/12345100daysvim"), Some("pts/12345"));
        assert_eq!(tty("pts/1234510.05s vim"), Some("pts/12345"));
        assert_eq!(
            tty("pts/1234510.05s  vim"),
            None,
            "or it is pts/123451, and WHAT begins without a blank"
        );
        assert_eq!(tty("pts/1234522days  vim"), None);
        assert_eq!(tty("lxc/console2days   vim"), Some("lxc/console"));
        assert_eq!(tty("pts/12345"), None);
    }
}
