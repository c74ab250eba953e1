//! The columns of a table, and what a layout makes of a row.

use std::fmt;

use super::Row;

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
