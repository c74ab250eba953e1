//! Prints what a user asked for on standard output.

use std::io::{self, ErrorKind, IsTerminal, Stdout};

use anyhow::{Context, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{OFlags, Stat, fcntl_getfl, fstat, stat},
    io::Errno,
};
use what::printable::printable;

/// Prints text. On a terminal, characters that it would obey are made visible. A reader that stops
/// early, such as `head`, is not an error.
///
/// # Errors
/// Standard output can't be written.
pub(crate) fn print(text: &[u8]) -> Result<()> {
    print_lines(text, printable)
}

/// Prints a table with tabs between its columns, which stay as they are.
///
/// # Errors
/// Standard output can't be written.
pub(crate) fn print_table(table: &[u8]) -> Result<()> {
    print_lines(table, |line| line.split('\t').map(printable).collect::<Vec<_>>().join("\t"))
}

fn print_lines(text: &[u8], visible: fn(&str) -> String) -> Result<()> {
    let output = io::stdout();
    if !output.is_terminal() {
        return write(&output, text).context(UNWRITABLE);
    }
    let lines = String::from_utf8_lossy(text);
    let visible: String = lines.lines().flat_map(|line| [visible(line), "\n".into()]).collect();
    write(&output, visible.as_bytes()).context(UNWRITABLE)
}

const UNWRITABLE: &str = "standard output can't be written";

/// Writes everything. Whoever made the stream may have set it not to wait, so this waits.
fn write(output: &Stdout, mut text: &[u8]) -> io::Result<()> {
    while !text.is_empty() {
        match rustix::io::write(output, text) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => text = &text[count..],
            Err(Errno::PIPE) => return Ok(()),
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(output, PollFlags::OUT)], None);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
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
