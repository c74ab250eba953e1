//! The log: one line per event, on standard error. Lines have time and level, except in the
//! journal, which adds its own.

use std::{
    env,
    io::{self, Write},
};

use rustix::fs::fstat;

use crate::{calendar::utc, clock};

/// Logs what the program does. Control characters in the message are escaped, so output of `w` or a
/// client's request cannot start a new line or move a terminal's cursor.
pub fn info(message: &str) {
    write(&format!("{}{message}", prefix("INFO")));
}

/// Logs what prevents sessions or clients from being served.
pub fn warn(message: &str) {
    write(&format!("{}{message}", prefix("WARN")));
}

/// Logs why the program ends.
pub fn error(message: &str) {
    write(&format!("{}{message}", prefix("ERROR")));
}

/// Writes an error about the command line, without time and level.
pub fn complaint(message: &str) {
    write(message);
}

fn write(message: &str) {
    let mut text = String::with_capacity(message.len() + 1);
    for char in message.chars() {
        if char.is_control() {
            text.extend(char.escape_default());
        } else {
            text.push(char);
        }
    }
    text.push('\n');
    // If standard error is closed, this cannot be reported anywhere.
    let _ = io::stderr().write_all(text.as_bytes());
}

fn prefix(level: &str) -> String {
    if is_journal() {
        String::new()
    } else {
        format!("{} {level} ", rfc3339(clock::system().unix_seconds()))
    }
}

/// Whether standard error is the stream that systemd names in `JOURNAL_STREAM`. The variable alone
/// is not enough: processes inherit it even if their standard error goes somewhere else.
fn is_journal() -> bool {
    let (Ok(stream), Ok(stat)) = (env::var("JOURNAL_STREAM"), fstat(io::stderr())) else {
        return false;
    };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}

fn rfc3339(unix: i64) -> String {
    let (year, month, day, hour, minute, second) = utc(unix);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_date() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_592_154, "2026-11-25T07:35:54Z"),
        ] {
            assert_eq!(rfc3339(unix), text);
        }
    }
}
