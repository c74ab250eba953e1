//! Prints what a user asked for on standard output.

use std::io::{self, ErrorKind, IsTerminal, Write};

use anyhow::{Context, Result, bail};
use rustix::fs::{OFlags, Stat, fcntl_getfl, fstat, stat};
use what::printable::printable;

/// Prints text. On a terminal, characters that it would obey are made visible. A reader that stops
/// early, such as `head`, is not an error.
///
/// # Errors
/// Standard output can't be written.
pub(crate) fn print(text: &[u8]) -> Result<()> {
    let mut output = io::stdout();
    let written = if output.is_terminal() {
        let text = String::from_utf8_lossy(text);
        text.lines().try_for_each(|line| writeln!(output, "{}", printable(line)))
    } else {
        output.write_all(text)
    };
    match written.and_then(|()| output.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("standard output can't be written"),
    }
}

/// Checks that somebody can get what is printed.
///
/// # Errors
/// Standard output was closed when the program started. Then Rust has opened /dev/null in its
/// place, for reading and writing. The shell's `>/dev/null` is for writing only; whoever opens it
/// for both cannot be told from a closed output.
pub(crate) fn ensure_open() -> Result<()> {
    let output = io::stdout();
    let device = |stat: Stat| stat.st_rdev;
    let is_null = match (fstat(&output), stat("/dev/null")) {
        (Ok(of_output), Ok(of_null)) => device(of_output) == device(of_null),
        _ => false,
    };
    let is_for_both =
        fcntl_getfl(&output).is_ok_and(|flags| flags & OFlags::RWMODE == OFlags::RDWR);
    if is_null && is_for_both {
        bail!("standard output is closed");
    }
    Ok(())
}
