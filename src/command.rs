//! The command that is run, `w` unless the user names another.

pub mod child;
