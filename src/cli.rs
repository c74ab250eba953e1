//! The settings: from flags, environment variables or defaults. An argument or a variable that
//! cannot be used is an error or a warning, never ignored.

mod arguments;
mod flag;
mod flags;
mod help;
mod suggestion;
mod value;
mod variables;

use std::ffi::OsString;

use anyhow::{Result, anyhow};
use argh::FromArgs;
pub use flags::Config;
use flags::{Arguments, config};
use variables::Variables;

use crate::{
    about::{NAME, RUSTC, TARGET, TLS, VERSION},
    builtin::Extras,
};

/// What the program is asked to do.
pub enum Task {
    /// Serve until stopped.
    Serve(Config),
    /// Run `w` once and print the answer.
    Once(Config),
    /// Print the table of the built-in `w`.
    W(Extras),
    /// Print this text, the help or the version.
    Print(String),
}

/// Reads the arguments, without the program's name, and the environment variables.
///
/// # Errors
/// An unknown flag, a missing or unusable value, or two variables of one flag that differ: one line
/// that names the flag or variable, the value, and what was expected.
pub fn parse(
    arguments: impl Iterator<Item = OsString>,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Task> {
    let mut arguments = arguments.peekable();
    if arguments.next_if(|first| first == "w").is_some() {
        return Ok(Task::W(arguments::extras(arguments)?));
    }
    let Some(arguments) = arguments::undotted(arguments)? else {
        return Ok(Task::Print(help::help()));
    };
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // It has nothing left to refuse.
    let parsed = Arguments::from_args(&[NAME], &words)
        .map_err(|early| anyhow!("{}", early.output.trim_end()))?;
    if parsed.version {
        return Ok(Task::Print(version()));
    }
    let once = parsed.once;
    let config = config(parsed, &Variables::new(variables))?;
    Ok(if once { Task::Once(config) } else { Task::Serve(config) })
}

fn version() -> String {
    let tls = if TLS { "with TLS" } else { "without TLS" };
    format!("{NAME} {VERSION} ({TARGET}, rustc {RUSTC}, {tls})\n")
}
