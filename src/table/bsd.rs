//! The layouts of FreeBSD's, macOS's, NetBSD's and OpenBSD's `w` (`w.c` and `pr_time.c` of each).
//!
//! All have USER, TTY, FROM, then the login time and the idle time in 7 bytes each, with a blank
//! first and last, and WHAT. The columns of FreeBSD, macOS and NetBSD since 5 are aligned with
//! their header. In OpenBSD and older NetBSD, the word TTY is one column too far left, the column
//! has two bytes, and a long user name shifts its row.

use super::{
    cursor::Cursor,
    elapsed::{Elapsed, number, pair},
    login::{Login, date, signed, weekday_and_hour},
    resolution::Resolution,
    row::{Column, Row, RowResult},
};
use crate::calendar::{HOUR, MINUTE};

/// Widths of the columns that vary.
pub(super) struct Columns {
    user: usize,
    /// A longer user name is printed whole and shifts its row.
    user_shifts: bool,
    tty: usize,
    from: usize,
}

impl Columns {
    /// The layouts that a row without a header may have, by where its words begin.
    pub(super) fn of_row(words: &[(&[u8], usize)]) -> Vec<Columns> {
        let [_, (_, tty), (_, from), rest @ ..] = words else { return Vec::new() };
        let columns = |start: usize| {
            Some(Columns {
                user: tty - 1,
                user_shifts: false,
                tty: from - tty - 1,
                from: start.checked_sub(from + 1)?,
            })
        };
        // The login time has up to two of its seven bytes blank before it.
        let starts = rest.iter().flat_map(|(_, start)| start - 2..=*start);
        starts.filter_map(columns).collect()
    }

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
        Ok(Row {
            user,
            tty,
            from,
            login: Some(login),
            idle,
            cpu: None,
            logind: None,
            what: Some(cursor.0),
        })
    }
}

/// The idle time with a blank first and last, in seven bytes, or more from ten days on. NetBSD
/// prints `?` if it is unknown.
fn idle(cursor: &mut Cursor) -> Option<Option<Elapsed>> {
    let lead = cursor.leading_blanks();
    let word = cursor.padded_word(6usize.checked_sub(lead)?)?;
    cursor.blanks(1)?;
    (1..=5).contains(&lead).then_some(())?;
    match word {
        b"?" => Some(None),
        _ => Elapsed::bsd(word).map(Some),
    }
}

/// Whether this is a name of a terminal in a BSD's `w`, which leaves out rows without a device and
/// removes `tty`: `v0`, `p3`, `00`, `s001`, `pts/0`, `console`. So everything that can be a name
/// there is one.
pub(super) fn is_terminal(name: &[u8]) -> bool {
    let of_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'/';
    !name.is_empty() && name.iter().all(of_name) && !name.starts_with(b"seat")
}

impl Login {
    /// Reads the BSDs' forms (`pr_attime` in `pr_time.c`): `9:03AM`, `9:03`, `Mon03PM`, `Mon15`,
    /// `15Oct26`.
    pub fn bsd(text: &[u8]) -> Option<Login> {
        let (short, afternoon) = match (text.strip_suffix(b"AM"), text.strip_suffix(b"PM")) {
            (Some(short), _) => (short, Some(false)),
            (_, Some(short)) => (short, Some(true)),
            _ => (text, None),
        };
        let full_hour = |hour: i64| match afternoon {
            None => (hour < 24).then_some(hour),
            Some(afternoon) => {
                (1..=12).contains(&hour).then(|| hour % 12 + if afternoon { 12 } else { 0 })
            }
        };
        if let Some((hour, minute)) = pair(short, b':') {
            return Some(Login::Today(full_hour(signed(hour))? * HOUR + signed(minute) * MINUTE));
        }
        if let Some(Login::Weekday(day, hour)) = weekday_and_hour(short) {
            return Some(Login::Weekday(day, full_hour(hour)?));
        }
        date(text)
    }
}

impl Elapsed {
    /// Reads the BSDs' forms (`pr_idle` in `pr_time.c`): `-` (active), `12` (minutes), `1:23`
    /// (h:mm), `1day`, `2days`.
    pub fn bsd(text: &[u8]) -> Option<Elapsed> {
        if text == b"-" {
            return Some(Elapsed::seconds(0, Resolution::Minute));
        }
        if let Some(days) = text.strip_suffix(b"days").or_else(|| text.strip_suffix(b"day")) {
            return Elapsed::days(number(days)?);
        }
        let minutes = match pair(text, b':') {
            Some((hours, minutes)) => hours * 60 + minutes,
            None => number(text)?,
        };
        Some(Elapsed::seconds(minutes.checked_mul(60)?, Resolution::Minute))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(f64, Resolution)> {
        Elapsed::bsd(text.as_bytes())
            .map(|elapsed| (elapsed.duration.as_secs_f64(), elapsed.resolution))
    }

    #[test]
    fn bsd_forms_count_minutes_and_a_dash_is_active() {
        assert_eq!(read("-"), Some((0.0, Resolution::Minute)));
        assert_eq!(read("0"), Some((0.0, Resolution::Minute)));
        assert_eq!(read("59"), Some((3540.0, Resolution::Minute)));
        assert_eq!(read("35:59"), Some((129_540.0, Resolution::Minute)));
        assert_eq!(read("1day"), Some((86_400.0, Resolution::Day)));
        assert_eq!(read("100days"), Some((8_640_000.0, Resolution::Day)));
        assert_eq!(read("?"), None);
    }

    #[test]
    fn other_texts_are_no_login_time() {
        for text in ["0:05AM", "13:00PM", "Mon00AM", "24:00", "AM", "9AM"] {
            assert_eq!(Login::bsd(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn everything_with_a_name_is_a_terminal() {
        for name in ["v0", "u0", "p3", "00", "C0", "E1", "s001", "pts/0", "console", "cons"] {
            assert!(is_terminal(name.as_bytes()), "{name}");
        }
        for name in ["", "seat0", ":0", "web cons", "?", "-", "../x"] {
            assert!(!is_terminal(name.as_bytes()), "{name}");
        }
    }
}
