//! The table of the built-in `w`: a header, then a row for each session, with a tab between the
//! fields. LOGIN is Unix seconds, IDLE and JCPU are seconds. What is not known is empty.
//!
//! A last line can follow the rows: how many logins are on record that have no row.

use super::{
    elapsed::{Elapsed, number},
    login::{Login, signed},
    resolution::Resolution,
    row::{Column, Logind, Row, RowResult},
};

/// The whole header line.
pub(crate) const HEADER: &str =
    "USER\tTTY\tFROM\tLOGIN\tIDLE\tJCPU\tREMOTE\tCLASS\tTYPE\tSERVICE\tSEAT\tWHAT";
/// What begins the last line, if there is one. It has no tab, so it is no row.
pub(crate) const UNLISTED_LINE: &str = "unlisted logins: ";

/// Reads one row.
pub(super) fn row(line: &[u8]) -> RowResult<'_> {
    let mut fields = line.split(|&byte| byte == b'\t');
    let mut field = |column: Column| fields.next().ok_or(column);
    let user = field(Column::User)?;
    let row = Row {
        user: if user.is_empty() { return Err(Column::User) } else { user },
        tty: field(Column::Tty)?,
        from: field(Column::From)?,
        login: Some(login(field(Column::UnixLogin)?).ok_or(Column::UnixLogin)?),
        idle: known(field(Column::Idle)?, idle).ok_or(Column::Idle)?,
        cpu: known(field(Column::Jcpu)?, Elapsed::decimal).ok_or(Column::Jcpu)?,
        logind: logind([(); 5].map(|()| field(Column::Logind)))?,
        what: Some(field(Column::What)?).filter(|what| !what.is_empty()),
    };
    if row.tty.is_empty() && (row.idle.is_some() || row.cpu.is_some()) {
        return Err(Column::Tty);
    }
    let is_clean = !line.iter().any(|&byte| byte.is_ascii_control() && byte != b'\t');
    if is_clean && fields.next().is_none() { Ok(row) } else { Err(Column::What) }
}

fn logind<'a>(fields: [Result<&'a [u8], Column>; 5]) -> Result<Option<Logind<'a>>, Column> {
    let [remote, class, kind, service, seat] = fields;
    let (remote, class, kind, service, seat) = (remote?, class?, kind?, service?, seat?);
    let remote = match remote {
        b"" => None,
        b"0" => Some(false),
        b"1" => Some(true),
        _ => return Err(Column::Logind),
    };
    if class.is_empty() {
        let is_empty =
            remote.is_none() && [kind, service, seat].iter().all(|field| field.is_empty());
        return if is_empty { Ok(None) } else { Err(Column::Logind) };
    }
    Ok(Some(Logind { remote, class, kind, service, seat }))
}

fn login(text: &[u8]) -> Option<Login> {
    number(text).map(|unix| Login::Exact(signed(unix)))
}

fn idle(text: &[u8]) -> Option<Elapsed> {
    number(text).map(|seconds| Elapsed::seconds(seconds, Resolution::Second))
}

/// `Some(None)` if the field is empty, `None` if it cannot be read.
fn known<T>(field: &[u8], read: fn(&[u8]) -> Option<T>) -> Option<Option<T>> {
    if field.is_empty() { Some(None) } else { read(field).map(Some) }
}

/// Takes the last line from the rows, if it says how many logins have no row.
pub(super) fn take_unlisted(rows: &mut Option<&[u8]>) -> Option<u64> {
    let text = (*rows)?;
    let (before, last) = match text.iter().rposition(|&byte| byte == b'\n') {
        Some(end) => (Some(&text[..end]), &text[end + 1..]),
        None => (None, text),
    };
    let unlisted = number(last.strip_prefix(UNLISTED_LINE.as_bytes())?)?;
    *rows = before;
    Some(unlisted)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::read, *};

    const ROW: &str =
        "alice\tpts/3\t192.0.2.7\t1795478400\t61\t1.73\t1\tuser\ttty\tsshd\tseat0\tvim notes.txt";

    fn complaint(rows: &str) -> String {
        let text = format!("{HEADER}\n{rows}\n");
        read(text.as_bytes())
            .map_or_else(|error| format!("{error:#}"), |table| format!("read: {table:?}"))
    }

    #[test]
    fn a_row_is_read() {
        let cpu = Elapsed { duration: Duration::from_millis(1730), resolution: Resolution::Second };
        let logind = Logind {
            remote: Some(true),
            class: b"user",
            kind: b"tty",
            service: b"sshd",
            seat: b"seat0",
        };
        let full = Row {
            user: b"alice",
            tty: b"pts/3",
            from: b"192.0.2.7",
            login: Some(Login::Exact(1_795_478_400)),
            idle: Some(Elapsed::seconds(61, Resolution::Second)),
            cpu: Some(cpu),
            logind: Some(logind),
            what: Some(b"vim notes.txt"),
        };
        assert_eq!(row(ROW.as_bytes()), Ok(full.clone()));
        let bare = Row { tty: b"", idle: None, cpu: None, logind: None, what: None, ..full };
        assert_eq!(row(b"alice\t\t192.0.2.7\t1795478400\t\t\t\t\t\t\t\t"), Ok(bare));
    }

    #[test]
    fn a_row_that_does_not_fit_is_refused_with_its_column() {
        let replaced = |old: &str, new: &str| ROW.replacen(old, new, 1);
        for (row, column) in [
            (replaced("alice", ""), "USER"),
            (replaced("pts/3", ""), "TTY"),
            (replaced("1795478400", "00:16"), "LOGIN"),
            (replaced("1795478400", ""), "LOGIN"),
            (replaced("\t61\t", "\t-61\t"), "IDLE"),
            (replaced("\t61\t", "\t1:01\t"), "IDLE"),
            (replaced("1.73", "1.7"), "JCPU"),
            (replaced("1.73", "173"), "JCPU"),
            (replaced("\t1\tuser", "\tyes\tuser"), "REMOTE to SEAT"),
            (replaced("\tuser\t", "\t\t"), "REMOTE to SEAT"),
            (replaced("\t1\tuser\ttty\tsshd\tseat0", "\t1\t\t\t\t"), "REMOTE to SEAT"),
            (replaced("\t1\tuser\ttty\tsshd\tseat0", "\t\t\ttty\t\t"), "REMOTE to SEAT"),
            (replaced("pts/3", "").replacen("\t61\t", "\t\t", 1), "TTY"),
            (replaced("pts/3", "").replacen("1.73", "", 1), "TTY"),
            (replaced("vim notes.txt", "vim\tnotes.txt"), "WHAT"),
            (replaced("vim notes.txt", "vim\x1b[2J"), "WHAT"),
            (replaced("alice", "al\rice"), "WHAT"),
            (replaced("\tvim notes.txt", ""), "WHAT"),
        ] {
            let expected = format!("row 2 does not fit the header in column {column}");
            assert_eq!(complaint(&format!("{ROW}\n{row}\n{ROW}")), expected, "{row}");
        }
    }

    #[test]
    fn a_table_that_is_cut_off_is_refused() {
        let text = format!("{HEADER}\n{ROW}\n");
        for end in 0..text.len() {
            let table = read(&text.as_bytes()[..end]);
            let is_whole_line = text[..end].ends_with('\n');
            assert_eq!(table.is_ok(), is_whole_line, "{end}: {table:?}");
        }
    }

    #[test]
    fn the_last_line_can_count_the_logins_that_have_no_row() {
        for (rows, count, unlisted) in [
            ("unlisted logins: 0".to_owned(), 0, Some(0)),
            (format!("{ROW}\n{ROW}\nunlisted logins: 12"), 2, Some(12)),
            (ROW.to_owned(), 1, None),
        ] {
            let text = format!("{HEADER}\n{rows}\n");
            let table = read(text.as_bytes()).map(|table| (table.rows.len(), table.unlisted));
            assert_eq!(table.ok(), Some((count, unlisted)), "{text}");
        }
        for last in ["unlisted logins: ", "unlisted logins: x", "unlisted logins: 1 ", "unlisted"] {
            let complaint = complaint(&format!("{ROW}\n{last}"));
            assert_eq!(complaint, "row 2 does not fit the header in column TTY");
        }
        let complaint = complaint(&format!("unlisted logins: 1\n{ROW}"));
        assert_eq!(complaint, "row 1 does not fit the header in column TTY");
    }
}
