//! One row of a table, and the columns that it is read by.

use std::fmt;

use super::{elapsed::Elapsed, login::Login};

/// One row. Each column is as printed, without the blanks that pad it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// USER.
    pub user: &'a [u8],
    /// TTY; empty where it is blank.
    pub tty: &'a [u8],
    /// FROM; empty where it is blank or not shown.
    pub from: &'a [u8],
    /// LOGIN@, or BusyBox's TIME; `None` if it is not shown, or in an ambiguous form (uutils).
    pub login: Option<Login>,
    /// IDLE; `None` where it is not shown or not known, and where TTY is no terminal.
    pub idle: Option<Elapsed>,
    /// JCPU; `None` where it is not shown or not known, and where TTY is no terminal.
    pub cpu: Option<Elapsed>,
    /// What logind tells; `None` from other programs than the built-in `w`, and from utmp.
    pub logind: Option<Logind<'a>>,
    /// WHAT; `None` where it is not shown, empty where there is nothing in it.
    pub what: Option<&'a [u8]>,
}

/// What logind tells of a session, besides what every `w` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logind<'a> {
    /// REMOTE: whether the user is at another host; `None` if logind does not say.
    pub remote: Option<bool>,
    /// CLASS, such as `user`. Never empty.
    pub class: &'a [u8],
    /// TYPE: `tty`, `x11`, `wayland`, `web` or `unspecified`.
    pub kind: &'a [u8],
    /// SERVICE: the name for PAM of the program that logged in, such as `sshd`.
    pub service: &'a [u8],
    /// SEAT: `seat0` for a display and keyboard; empty elsewhere.
    pub seat: &'a [u8],
}

/// A column, in the order of the programs that share a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Column {
    User,
    Tty,
    From,
    Login,
    /// The built-in's, in Unix seconds.
    UnixLogin,
    Idle,
    Time,
    Jcpu,
    Pcpu,
    /// The built-in's five columns that logind fills.
    Logind,
    What,
}

/// A row, or the first column that does not stand where the header puts it.
pub(super) type RowResult<'a> = Result<Row<'a>, Column>;

impl fmt::Display for Column {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Column::User => "USER",
            Column::Tty => "TTY",
            Column::From => "FROM",
            Column::Login => "LOGIN@",
            Column::UnixLogin => "LOGIN",
            Column::Idle => "IDLE",
            Column::Time => "TIME",
            Column::Jcpu => "JCPU",
            Column::Pcpu => "PCPU",
            Column::Logind => "REMOTE to SEAT",
            Column::What => "WHAT",
        })
    }
}
