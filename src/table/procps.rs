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

use std::ops::RangeInclusive;

use super::{
    cursor::{Cursor, trim_end},
    elapsed::{Elapsed, number, pair},
    login::{Login, date, signed, weekday_and_hour},
    resolution::Resolution,
    row::{Column, Row, RowResult},
};
use crate::calendar::{HOUR, MINUTE};

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

/// `PROCPS_USERLEN` and `PROCPS_FROMLEN` are refused outside these bounds.
const USER_WIDTHS: RangeInclusive<usize> = 8..=32;
const FROM_WIDTHS: RangeInclusive<usize> = 8..=256;

impl Columns {
    /// The layouts that a row without a header may have: any of its words may be the first after
    /// FROM. A second blank before WHAT is then part of it.
    pub(super) fn of_row(words: &[(&[u8], usize)]) -> Vec<Columns> {
        let columns = |user: usize, to_word: usize, long| {
            // LOGIN@ begins with a blank, and IDLE with one or two.
            let from = match to_word.checked_sub(user + 11)? {
                0 => None,
                width if FROM_WIDTHS.contains(&width) => Some(width),
                _ => return None,
            };
            Some(Columns { user, from, long, before_what: 1 })
        };
        let of_words = |user| {
            words.iter().flat_map(move |&(_, start)| {
                let short = start.checked_sub(1).and_then(|start| columns(user, start, false));
                [columns(user, start, true), columns(user, start, false), short]
            })
        };
        USER_WIDTHS.flat_map(of_words).flatten().collect()
    }

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
                Some(from) => {
                    (from == after_tty && FROM_WIDTHS.contains(&width)).then_some(Some(width))?
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
        let idle = cursor.procps_elapsed().ok_or(Column::Idle)?;
        let cpu = if self.long {
            let jcpu = cursor.procps_elapsed().ok_or(Column::Jcpu)?;
            cursor.procps_elapsed().ok_or(Column::Pcpu)?;
            jcpu
        } else {
            None
        };
        cursor.blanks(self.before_what).ok_or(Column::What)?;
        Ok(Row { user, tty, from, login, idle, cpu, logind: None, what: Some(cursor.0) })
    }
}

/// LOGIN@ in its eight bytes: a blank, and a form of five or seven, padded.
fn login(cursor: &mut Cursor) -> Option<Login> {
    cursor.blanks(1)?;
    let text = cursor.take(7)?;
    Login::procps(text.strip_suffix(b"  ").unwrap_or(text))
}

impl Login {
    /// Reads procps' forms (`print_logintime` in `w.c`): `21:16`, `Sun00`, `15Oct26`.
    pub fn procps(text: &[u8]) -> Option<Login> {
        if text.len() == 5 {
            if let Some((hour, minute)) = pair(text, b':') {
                return (hour < 24)
                    .then(|| Login::Recent(signed(hour) * HOUR + signed(minute) * MINUTE));
            }
            return weekday_and_hour(text);
        }
        date(text)
    }
}

impl Elapsed {
    /// Reads procps' forms (`print_time_ival7` in `w.c`): `1.73s`, `1:05` (m:ss), `1:05m` (h:mm),
    /// `2days`.
    pub fn procps(text: &[u8]) -> Option<Elapsed> {
        if let Some(days) = text.strip_suffix(b"days") {
            return Elapsed::days(number(days)?);
        }
        if let Some(hours_minutes) = text.strip_suffix(b"m") {
            let (hours, minutes) = pair(hours_minutes, b':')?;
            return Some(Elapsed::seconds(hours * 3600 + minutes * 60, Resolution::Minute));
        }
        if let Some(decimal) = text.strip_suffix(b"s") {
            return Elapsed::decimal(decimal);
        }
        let (minutes, seconds) = pair(text, b':')?;
        Some(Elapsed::seconds(minutes * 60 + seconds, Resolution::Second))
    }
}

impl Cursor<'_> {
    /// A duration in procps' seven bytes, the first of them blank. `Some(None)` if it is blank, `?`
    /// or `?xdm?`.
    ///
    /// From 100 days on it is longer than seven bytes and shifts what follows. Its first figure is
    /// padded to two places, so it fits at one place only.
    pub(super) fn procps_elapsed(&mut self) -> Option<Option<Elapsed>> {
        if matches!(self.0.get(..7)?, b"       " | b" ?xdm? " | b"   ?   ") {
            self.take(7)?;
            return Some(None);
        }
        let lead = self.leading_blanks();
        let word = self.padded_word(7usize.checked_sub(lead)?)?;
        let figures = word.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let padded = matches!((lead, figures), (2, 1) | (1, 2..));
        let fits = lead + word.len() <= 7 || word.ends_with(b"days");
        (padded && fits).then_some(())?;
        Elapsed::procps(word).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(f64, Resolution)> {
        Elapsed::procps(text.as_bytes())
            .map(|elapsed| (elapsed.duration.as_secs_f64(), elapsed.resolution))
    }

    #[test]
    fn procps_forms_are_distinguished_by_their_endings() {
        assert_eq!(read("1.73s"), Some((1.73, Resolution::Second)));
        assert_eq!(read("60.00s"), Some((60.0, Resolution::Second)));
        assert_eq!(read("1:01"), Some((61.0, Resolution::Second)));
        assert_eq!(read("1:01m"), Some((3660.0, Resolution::Minute)));
        assert_eq!(read("47:59m"), Some((172_740.0, Resolution::Minute)));
        assert_eq!(read("2days"), Some((172_800.0, Resolution::Day)));
        assert_eq!(read("1000days"), Some((86_400_000.0, Resolution::Day)));
        assert_eq!(read("9999999999days"), Some((863_999_999_913_600.0, Resolution::Day)));
    }

    #[test]
    fn other_texts_are_no_procps_elapsed() {
        for text in [
            "",
            "-",
            "?",
            "1",
            "1.7s",
            "1.733s",
            "1:60",
            "1:1",
            ":01",
            "days",
            "1:00h",
            "10000000000days",
            "0.00",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn the_figure_of_a_duration_stands_at_its_place_only() {
        let length = |text: &str| {
            let mut cursor = Cursor(text.as_bytes());
            cursor.procps_elapsed().map(|_| text.len() - cursor.0.len())
        };
        for text in ["  0.05s", " 59.99s", "  1:05 ", " 47:59m", "  2days", " 10days", "   ?   "] {
            assert_eq!(length(&format!("{text} vim")), Some(7), "{text}");
        }
        assert_eq!(length(" 1000days vim"), Some(9));
        for text in [
            "0.05s  ",
            " 0.05s ",
            "   0.05s",
            "  59.99s",
            "59.99s ",
            " 1000.00s",
            " 100:00m",
            "  100days",
            " 0.05s",
            "  1:05",
        ] {
            assert_eq!(length(text), None, "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_login_time() {
        for text in [
            "",
            "24:00",
            "12:60",
            "Foo12",
            "Sun24",
            "32Oct26",
            "00Oct26",
            "15Okt26",
            "15Oct2026",
            "1:05",
            "Mon1 ",
        ] {
            assert_eq!(Login::procps(text.as_bytes()), None, "{text}");
        }
    }
}
