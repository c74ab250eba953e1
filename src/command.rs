//! Finds, starts and runs the command, which is `w` unless the user sets another, and judges how it
//! ended. The output is read elsewhere.

mod child;
mod program;
mod stop;

use std::{
    path::PathBuf,
    process::ExitStatus,
    time::{Duration, Instant},
};

use anyhow::{Error, Result, anyhow};

use child::{Ended, Fault, Launcher, MAX_OUTPUT};
pub use program::ENVIRONMENT;
use program::Unusable;
pub use stop::{StopFlag, StopHandle, stop_flag};

use crate::{builtin::Extras, log};

/// The default command. Only this one falls back to `w` without its option.
pub const DEFAULT_COMMAND: &str = "w -i";
const PROGRAM: &str = "w";
const OPTION: &str = "-i";

/// What is run to get the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Command {
    /// The user chose nothing: `w -i`, or what can stand in for it.
    #[default]
    Default,
    /// The exporter's own `w`.
    Builtin,
    /// The user's command.
    Words {
        /// A name, which is looked for in `PATH`, or a path.
        program: String,
        /// What it is given.
        arguments: Vec<String>,
    },
}

/// How a run ended, as in the label `outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It printed a table that could be read.
    Ok,
    /// It gave no table.
    Failure(FailureKind),
}

/// Why a run gave no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// It could not be started, or ended with a status other than 0.
    Failed,
    /// It was killed at the timeout.
    Timeout,
    /// It printed something that is not such a table, or too much.
    Unreadable,
}

impl Outcome {
    /// All outcomes, sorted by name.
    pub const ALL: [Outcome; 4] = [
        Outcome::Failure(FailureKind::Failed),
        Outcome::Ok,
        Outcome::Failure(FailureKind::Timeout),
        Outcome::Failure(FailureKind::Unreadable),
    ];

    /// The label's value.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Failure(FailureKind::Failed) => "failed",
            Outcome::Failure(FailureKind::Timeout) => "timeout",
            Outcome::Failure(FailureKind::Unreadable) => "unreadable",
        }
    }
}

impl Command {
    /// Whether it is a `w` of this host, which sees what the exporter sees. A command that connects
    /// to another host, enters a container or runs a script of another name is not.
    pub fn is_of_this_host(&self) -> bool {
        match self {
            Command::Default | Command::Builtin => true,
            Command::Words { program, .. } => program.rsplit('/').next() == Some("w"),
        }
    }

    /// The user whose sessions alone a `w` of this host lists, if its words name one.
    pub fn only_user(&self) -> Option<&str> {
        let Command::Words { arguments, .. } = self else { return None };
        let mut words = arguments.iter().map(String::as_str);
        let is_option = |word: &&str| word.starts_with('-') && !matches!(*word, "-" | "--");
        let named = words.find(|word| !is_option(word)).filter(|_| self.is_of_this_host());
        // The word that ends the options.
        if named == Some("--") { words.next() } else { named }
    }
}

/// A run that gave no table.
#[derive(Debug)]
pub struct Failure {
    /// Why, in short.
    pub kind: FailureKind,
    /// What was run, and what happened.
    pub error: Error,
}

impl Failure {
    fn failed(error: Error) -> Failure {
        Failure { kind: FailureKind::Failed, error }
    }
}

/// What is run, and what is known of it.
#[derive(Debug)]
pub struct W {
    command: Command,
    /// What the built-in `w` is asked for.
    extras: Extras,
    timeout: Duration,
    /// When the current run, or the last one, must have ended.
    deadline: Instant,
    launcher: Launcher,
    /// The default command was refused its option `-i`, so it runs without from then on.
    without_option: bool,
    /// The built-in `w` runs because none is installed.
    stands_in: bool,
}

/// The built-in `w` in messages.
const BUILTIN: &str = "the built-in w";

impl W {
    /// It does not run it. When the flag is set, the current run is killed, and no other begins.
    pub fn new(command: Command, extras: Extras, timeout: Duration, stop: StopFlag) -> W {
        W {
            command,
            extras,
            timeout,
            deadline: Instant::now(),
            launcher: Launcher::new(stop),
            without_option: false,
            stands_in: false,
        }
    }

    /// Runs the command and returns its output. If none is set and no `w` is installed, runs the
    /// built-in one.
    ///
    /// # Errors
    /// It cannot be started, exits with a status other than 0, exceeds the timeout, or prints too
    /// much.
    pub fn run(&mut self) -> Result<Vec<u8>, Failure> {
        self.deadline = Instant::now() + self.timeout;
        let (program, arguments) = match &self.command {
            Command::Builtin => return self.run_builtin(),
            Command::Default => (PROGRAM.to_owned(), vec![OPTION.to_owned()]),
            Command::Words { program, arguments } => (program.clone(), arguments.clone()),
        };
        let found = program::find(&program);
        if self.command == Command::Default {
            let is_missing = matches!(found, Err(Unusable::Missing(_)));
            self.stand_in(is_missing);
            if is_missing {
                return self.run_builtin();
            }
        }
        let file = found.map_err(|unusable| Failure::failed(unusable.into()))?;
        self.run_installed(&program, &file, &arguments)
    }

    /// Runs the built-in `w` as part of the last run, in what is left of its time, and returns its
    /// output.
    ///
    /// # Errors
    /// As `run`.
    pub fn run_builtin(&mut self) -> Result<Vec<u8>, Failure> {
        let mut command = program::own(self.extras).map_err(Failure::failed)?;
        let ended = self.launcher.run(&mut command, self.deadline);
        ended.map_err(|fault| self.failure(BUILTIN, fault))?.output(BUILTIN)
    }

    /// Logs that the built-in `w` runs because none is installed, or does not any more.
    fn stand_in(&mut self, is_missing: bool) {
        if is_missing && !self.stands_in {
            log::info("there is no w in PATH, so the built-in one runs (--w.command builtin)");
        } else if !is_missing && self.stands_in {
            log::info("there is a w in PATH now, so it runs instead of the built-in one");
        }
        self.stands_in = is_missing;
    }

    fn run_installed(
        &mut self,
        program: &str,
        file: &PathBuf,
        arguments: &[String],
    ) -> Result<Vec<u8>, Failure> {
        if !self.without_option {
            let ended = self.run_until(program, file, arguments)?;
            // Also where the user has set what is the default.
            let can_do_without = program == PROGRAM && arguments == [OPTION];
            if !(can_do_without && ended.refused_option()) {
                return ended.output(&[&[program.to_owned()], arguments].concat().join(" "));
            }
        }
        let ended = self.run_until(program, file, &[])?;
        self.without_option |= ended.status.success();
        ended.output(program)
    }

    /// Runs it, and once more if it failed only because a session ended while it ran.
    fn run_until(
        &mut self,
        program: &str,
        file: &PathBuf,
        arguments: &[String],
    ) -> Result<Ended, Failure> {
        let mut run = || {
            let command = program::command(program, file, arguments);
            let ended = self.launcher.run(&mut command.map_err(Failure::failed)?, self.deadline);
            ended.map_err(|fault| self.failure(program, fault))
        };
        let ended = run()?;
        if ended.lost_a_race() { run() } else { Ok(ended) }
    }

    fn failure(&self, program: &str, fault: Fault) -> Failure {
        let timeout = length(self.timeout);
        let survives = self.launcher.has_survivor();
        match fault {
            Fault::NotStarted(error) => {
                Failure::failed(Error::new(error).context(format!("{program} can't be started")))
            }
            Fault::NotAlone(group) => Failure::failed(anyhow!(
                "{program} was not started: processes of the last run go on and can't be killed \
                 (process group {})",
                group.as_raw_nonzero()
            )),
            Fault::Late => Failure {
                kind: FailureKind::Timeout,
                error: match survives {
                    false => anyhow!("{program} was killed after {timeout} (--w.timeout)"),
                    true => anyhow!(
                        "{program} did not end within {timeout} (--w.timeout) and can't be killed"
                    ),
                },
            },
            Fault::Stopped => Failure::failed(anyhow!(
                "{program} did not run to its end: the exporter is stopping"
            )),
            Fault::TooMuch => {
                let end = if survives { "can't be killed" } else { "was killed" };
                Failure {
                    kind: FailureKind::Unreadable,
                    error: anyhow!("{program} printed more than {MAX_OUTPUT} bytes and {end}"),
                }
            }
            Fault::Io(error) => Failure::failed(
                Error::new(error).context(format!("what {program} prints can't be read")),
            ),
        }
    }
}

/// A time such as "8 s" or "10 ms".
fn length(time: Duration) -> String {
    match time.subsec_millis() {
        0 => format!("{} s", time.as_secs()),
        _ => format!("{} ms", time.as_millis()),
    }
}

impl Ended {
    /// Whether it refused an option, as BusyBox and procps 3.2 refuse `-i`: a status other than 0,
    /// a message about the option or the usage, and no table. The usage can be on either stream.
    fn refused_option(&self) -> bool {
        let usage = self.stdout.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"usage"));
        let complains = says(&self.stderr, "option") || says(&self.stderr, "usage");
        !self.status.success() && (usage || (self.stdout.is_empty() && complains))
    }

    /// Whether it failed because something ended while it ran. procps with logind lists the
    /// sessions first and then reads each of them. uutils' `w` does so with processes.
    fn lost_a_race(&self) -> bool {
        let session = says(&self.stderr, "session") && says(&self.stderr, "failed");
        let user = says(&self.stderr, "get user name failed");
        let process = says(&self.stderr, "failed to fetch user info");
        !self.status.success() && (session || user || process)
    }

    fn output(self, command: &str) -> Result<Vec<u8>, Failure> {
        if self.status.success() {
            return Ok(self.stdout);
        }
        let complaint = String::from_utf8_lossy(&self.stderr);
        let complaint: Vec<&str> =
            complaint.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
        let complaint = if complaint.is_empty() {
            " and printed no error".to_owned()
        } else {
            format!(": {}", complaint.join("; ").chars().take(300).collect::<String>())
        };
        Err(Failure::failed(anyhow!("{command} {}{complaint}", end(self.status))))
    }
}

/// How a process ended.
fn end(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exited with status {code}"),
        // Such as "signal: 11 (SIGSEGV)".
        None => format!("was ended by {}", status.to_string().replacen(':', "", 1)),
    }
}

/// Whether a text contains these words, in upper or lower case.
fn says(text: &[u8], words: &str) -> bool {
    text.windows(words.len()).any(|window| window.eq_ignore_ascii_case(words.as_bytes()))
}

/// Looks for the program of a command, as a run does.
///
/// # Errors
/// It is missing, or there is no permission to run it.
pub fn look_up(command: &Command) -> Result<()> {
    match command {
        // The built-in `w` stands in for it.
        Command::Default | Command::Builtin => Ok(()),
        Command::Words { program, .. } => Ok(program::find(program).map(|_| ())?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_w_itself_sees_what_the_exporter_sees() {
        let is_of_this_host = |program: &str| {
            let arguments = vec!["w".to_owned()];
            Command::Words { program: program.to_owned(), arguments }.is_of_this_host()
        };
        for plain in ["w", "/usr/bin/w"] {
            assert!(is_of_this_host(plain), "{plain}");
        }
        for other in ["ssh", "chroot", "nsenter", "sh", "/opt/my-w"] {
            assert!(!is_of_this_host(other), "{other}");
        }
        assert!(Command::Default.is_of_this_host() && Command::Builtin.is_of_this_host());
    }
}
