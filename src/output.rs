//! Prints what a user asked for on standard output.

use std::io::{self, ErrorKind, IsTerminal, Write};

use anyhow::{Context, Result, bail};
use rustix::fs::{OFlags, Stat, fcntl_getfl, fstat, stat};
use what::printable::printable;

/// Prints text. On a terminal, characters that it would obey are made visible. A reader that stops
/// early, such as `head`, is not an error.
///
/// # Errors
/// Standard output is closed or can't be written.
pub(crate) fn print(text: &[u8]) -> Result<()> {
    if was_closed() {
        bail!("standard output is closed");
    }
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

/// Whether standard output was closed when the program started. Then Rust has opened /dev/null in
/// its place, for reading and writing and for the programs that this one starts. Whoever wants
/// nothing printed opens it for writing only, as the shell does, or first for itself, as Python
/// does.
fn was_closed() -> bool {
    let output = io::stdout();
    let device = |stat: Stat| stat.st_rdev;
    let (Ok(of_output), Ok(of_null)) = (fstat(&output), stat("/dev/null")) else { return false };
    let (of_output, of_null) = (device(of_output), device(of_null));
    let flags = fcntl_getfl(&output).unwrap_or(OFlags::empty());
    let opened = flags & (OFlags::RWMODE | OFlags::CLOEXEC);
    of_output == of_null && opened == OFlags::RDWR
}
