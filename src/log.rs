//! The log: one line per event, on standard error. Lines have time and level, except in the
//! journal, which adds its own. Nothing waits for the reader of standard error: where it does not
//! read, lines are dropped and counted.

mod output;

use std::{
    env, io,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::fs::fstat;

use crate::{calendar::utc, clock, plural::counted, printable::printable};
use output::Output;

/// Standard error, once the program has opened its log. Tests that use the library have no log.
static OUTPUT: OnceLock<Output> = OnceLock::new();

/// Lines that were dropped since the last one that was written.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Opens the log. Before, nothing is logged.
pub fn open() {
    OUTPUT.get_or_init(Output::of_standard_error);
}

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
    let Some(output) = OUTPUT.get() else { return };
    let dropped = DROPPED.swap(0, Ordering::Relaxed);
    let notice = match dropped {
        0 => String::new(),
        _ => format!("{}{}\n", prefix("WARN"), lines_dropped(dropped)),
    };
    if output.write(&format!("{notice}{}\n", printable(message))).is_err() {
        DROPPED.fetch_add(dropped + 1, Ordering::Relaxed);
    }
}

fn lines_dropped(count: u64) -> String {
    let lines = counted(count, "line");
    format!("dropped {lines} of the log because nobody read standard error")
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
