//! Finds, starts and runs the command, which is `w` unless the user sets another, and judges how it
//! ended. The output is read elsewhere.

mod child;
mod stop;

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    io::ErrorKind,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{self, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result, anyhow};
use rustix::fs as unix_fs;

use child::{Ended, Fault, Launcher, MAX_OUTPUT};
pub use stop::{StopFlag, StopHandle, stop_flag};

/// The default command. Only this one falls back to `w` without options.
pub const DEFAULT_COMMAND: &str = "w -i";

/// What is run to get the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The user chose nothing: `w -i`, or what can stand in for it.
    Default,
    /// The exporter's own `w`.
    Builtin,
    /// The user's command, at least one word.
    Words(Vec<String>),
}

/// The environment of `w`, besides `PATH`. `docs/supported-w.md` says what each does.
pub const ENVIRONMENT: [(&str, &str); 5] = [
    ("LC_ALL", "C"),
    ("TZ", "UTC0"),
    ("PROCPS_USERLEN", "32"),
    ("PROCPS_FROMLEN", "256"),
    ("COLUMNS", "512"),
];

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

/// Whether a command is this host's `w`, which sees what the exporter sees. A command that connects
/// to another host, enters a container or runs a script of another name is not.
pub fn is_plain_w(command: &str) -> bool {
    let program = command.split_ascii_whitespace().next().unwrap_or_default();
    program.rsplit('/').next() == Some("w")
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

/// The command, split into words.
#[derive(Debug)]
pub struct W {
    words: Vec<String>,
    timeout: Duration,
    launcher: Launcher,
    /// The default command was refused its option `-i`, so it runs without from then on.
    without_option: bool,
}

impl W {
    /// Splits the command at blanks. It does not run it. When the flag is set, the current run is
    /// killed, and no other begins.
    pub fn new(command: &str, timeout: Duration, stop: StopFlag) -> W {
        let words = command.split_ascii_whitespace().map(str::to_owned).collect();
        W { words, timeout, launcher: Launcher::new(stop), without_option: false }
    }

    /// Runs the command and returns its output.
    ///
    /// # Errors
    /// It cannot be started, exits with a status other than 0, exceeds the timeout, or prints too
    /// much.
    pub fn run(&mut self) -> Result<Vec<u8>, Failure> {
        let deadline = Instant::now() + self.timeout;
        let words = self.words.clone();
        let (program, arguments) =
            words.split_first().context("the command is empty").map_err(Failure::failed)?;
        if !self.without_option {
            let ended = self.run_until(program, arguments, deadline)?;
            if !(words.join(" ") == DEFAULT_COMMAND && ended.refused_option()) {
                return ended.output(&words.join(" "));
            }
        }
        let ended = self.run_until(program, &[], deadline)?;
        self.without_option |= ended.status.success();
        ended.output(program)
    }

    /// Runs it, and once more if it failed only because a session ended while it ran.
    fn run_until(
        &mut self,
        program: &str,
        arguments: &[String],
        deadline: Instant,
    ) -> Result<Ended, Failure> {
        let mut run = || {
            let mut command = command(program, arguments).map_err(Failure::failed)?;
            let ended = self.launcher.run(&mut command, deadline);
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
                "{program} was not started: the last run can't be killed and goes on \
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

fn command(program: &str, arguments: &[String]) -> Result<process::Command> {
    let path = env::var_os("PATH");
    // By its path: to look up a name in a changed environment, std would fork instead of calling
    // posix_spawn.
    let mut command = process::Command::new(find(program, path.as_ref())?);
    command
        .arg0(program)
        .args(arguments)
        .env_clear()
        .envs(path.map(|path| ("PATH", path)))
        .envs(ENVIRONMENT)
        .stdin(child::nothing().context("no empty standard input can be made")?)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    Ok(command)
}

/// Looks for the program of a command, as a run does.
///
/// # Errors
/// It is missing, or there is no permission to run it.
pub fn look_up(command: &str) -> Result<()> {
    let program = command.split_ascii_whitespace().next().unwrap_or_default();
    find(program, env::var_os("PATH").as_ref()).map(drop)
}

/// Where execvp(3) looks if `PATH` is not set.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Finds a program as execvp(3) does.
fn find(program: &str, path: Option<&OsString>) -> Result<PathBuf> {
    let is_runnable =
        |file: &PathBuf| file.is_file() && unix_fs::access(file, unix_fs::Access::EXEC_OK).is_ok();
    if program.contains('/') {
        let file = PathBuf::from(program);
        return match fs::metadata(&file) {
            Ok(_) if is_runnable(&file) => Ok(file),
            Ok(metadata) if metadata.is_dir() => {
                Err(anyhow!("{program} is a directory; --w.command must name a program"))
            }
            Ok(_) => Err(anyhow!("no permission to run {program}")),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(anyhow!("{program} not found; --w.command must name an existing program"))
            }
            Err(error) => Err(Error::new(error).context(format!("{program} can't be run"))),
        };
    }
    let path = path.map_or(OsStr::new(DEFAULT_PATH), OsString::as_os_str);
    let files: Vec<PathBuf> = env::split_paths(path).map(|folder| folder.join(program)).collect();
    if let Some(file) = files.iter().find(|file| is_runnable(file)) {
        return Ok(file.clone());
    }
    if let Some(file) = files.iter().find(|file| file.is_file()) {
        return Err(anyhow!("no permission to run {}", file.display()));
    }
    let remedy = match program {
        "w" => "install it (Debian, Ubuntu: procps; Alpine, Fedora, RHEL: procps-ng)",
        _ => "install it, or name another program with --w.command",
    };
    Err(anyhow!("{program} not found in PATH ({}); {remedy}", path.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_w_itself_sees_what_the_exporter_sees() {
        for plain in ["w", "w -i", " /usr/bin/w -s"] {
            assert!(is_plain_w(plain), "{plain}");
        }
        for other in ["ssh host w", "chroot /host w -i", "nsenter -t 1 -m w", "sh w", "/opt/my-w"] {
            assert!(!is_plain_w(other), "{other}");
        }
    }
}
