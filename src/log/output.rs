//! Standard error, written without ever waiting. `O_NONBLOCK` is of no use on standard error
//! itself: it would also apply to the other processes that have inherited it.

use std::{
    borrow::Cow,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FileType, OFlags, fstat},
    io::Errno,
    net::{SendFlags, send},
};

/// The longest line that is written in one piece, whatever else is written meanwhile (`PIPE_BUF`).
const LONGEST: usize = 4096;

/// How standard error is written.
pub(super) enum Output {
    /// A socket, such as systemd's, takes the request not to wait with each message.
    Socket,
    /// A pipe or a terminal, opened again without waiting, for this process alone.
    Reopened(File),
    /// A file, which never waits, or a pipe that this user may not open again.
    Inherited,
}

impl Output {
    pub(super) fn of_standard_error() -> Output {
        let kind = fstat(io::stderr()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        match kind {
            Ok(FileType::Socket) => Output::Socket,
            Ok(FileType::Fifo | FileType::CharacterDevice) => {
                let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
                let opened = OpenOptions::new()
                    .write(true)
                    .custom_flags(flags.bits() as i32)
                    .open("/proc/self/fd/2");
                opened.map_or(Output::Inherited, Output::Reopened)
            }
            _ => Output::Inherited,
        }
    }

    /// Writes a line, and cuts it where it is too long to be written in one piece.
    ///
    /// # Errors
    /// There is no room for it, or nobody can read it any more.
    pub(super) fn write(&self, line: &str) -> io::Result<()> {
        let line = shortened(line);
        let written = match self {
            Output::Socket => {
                send(io::stderr(), line.as_bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?
            }
            Output::Reopened(file) => (&mut &*file).write(line.as_bytes())?,
            Output::Inherited if has_room() => io::stderr().write(line.as_bytes())?,
            Output::Inherited => return Err(Errno::AGAIN.into()),
        };
        if written < line.len() { Err(io::ErrorKind::WriteZero.into()) } else { Ok(()) }
    }
}

/// Whether a write to standard error would not wait.
fn has_room() -> bool {
    let stderr = io::stderr();
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut polled = [PollFd::new(&stderr, PollFlags::OUT)];
    poll(&mut polled, Some(&at_once)).is_ok_and(|ready| ready > 0)
}

fn shortened(line: &str) -> Cow<'_, str> {
    const END: &str = " …\n";
    if line.len() <= LONGEST {
        return line.into();
    }
    let is_end = |end: &usize| line.is_char_boundary(*end);
    let end = (0..=LONGEST - END.len()).rev().find(is_end).unwrap_or(0);
    format!("{}{END}", &line[..end]).into()
}
