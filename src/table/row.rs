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
    /// WHAT; `None` where it is not shown, empty where there is nothing in it.
    pub what: Option<&'a [u8]>,
}

/// A column, in the order of the programs that share a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Column {
    User,
    Tty,
    From,
    Login,
    Idle,
    Time,
    Jcpu,
    Pcpu,
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
            Column::Idle => "IDLE",
            Column::Time => "TIME",
            Column::Jcpu => "JCPU",
            Column::Pcpu => "PCPU",
            Column::What => "WHAT",
        })
    }
}
