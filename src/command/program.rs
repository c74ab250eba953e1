//! Finds programs as execvp(3) does, and makes the commands that start them.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Error, Result, anyhow, bail};
use rustix::{
    fs as unix_fs,
    pipe::{PipeFlags, pipe_with},
};

use crate::{
    about::NAME,
    builtin::{self, Extras},
};

/// The environment of `w`, besides `PATH`. `docs/supported-w.md` says what each does.
pub const ENVIRONMENT: [(&str, &str); 5] = [
    ("LC_ALL", "C"),
    ("TZ", "UTC0"),
    ("PROCPS_USERLEN", "32"),
    ("PROCPS_FROMLEN", "256"),
    ("COLUMNS", "512"),
];

/// Where execvp(3) looks if `PATH` is not set.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The file of this program, whatever its name is now. An upgrade may have replaced it.
const OWN: &str = "/proc/self/exe";

/// Why a program can't be run.
pub(super) enum Unusable {
    /// No folder in `PATH` has it.
    Missing(Error),
    /// Anything else.
    Other(Error),
}

impl From<Unusable> for Error {
    fn from(unusable: Unusable) -> Error {
        match unusable {
            Unusable::Missing(error) | Unusable::Other(error) => error,
        }
    }
}

/// Finds a program.
pub(super) fn find(program: &str) -> Result<PathBuf, Unusable> {
    let is_runnable =
        |file: &PathBuf| file.is_file() && unix_fs::access(file, unix_fs::Access::EXEC_OK).is_ok();
    if program.contains('/') {
        let file = PathBuf::from(program);
        return Err(Unusable::Other(match fs::metadata(&file) {
            Ok(_) if is_runnable(&file) => return Ok(file),
            Ok(metadata) if metadata.is_dir() => {
                anyhow!("{program} is a directory; --w.command must name a program")
            }
            Ok(_) => anyhow!("no permission to run {program}"),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                anyhow!("{program} not found; --w.command must name an existing program")
            }
            Err(error) => Error::new(error).context(format!("{program} can't be run")),
        }));
    }
    let path = env::var_os("PATH");
    let path = path.as_ref().map_or(OsStr::new(DEFAULT_PATH), OsString::as_os_str);
    let files: Vec<PathBuf> = env::split_paths(path).map(|folder| folder.join(program)).collect();
    if let Some(file) = files.iter().find(|file| is_runnable(file)) {
        return Ok(file.clone());
    }
    if let Some(file) = files.iter().find(|file| file.is_file()) {
        return Err(Unusable::Other(anyhow!("no permission to run {}", file.display())));
    }
    let remedy = match program {
        "w" => "install it (Debian, Ubuntu: procps; Alpine, Fedora, RHEL: procps-ng)",
        _ => "install it, or name another program with --w.command",
    };
    let path = path.to_string_lossy();
    Err(Unusable::Missing(anyhow!("{program} not found in PATH ({path}); {remedy}")))
}

/// A command that runs the file of a program. By its path: to look up a name in a changed
/// environment, std would fork instead of calling posix_spawn.
pub(super) fn command(program: &str, file: &PathBuf, arguments: &[String]) -> Result<Command> {
    let mut command = Command::new(file);
    command
        .arg0(program)
        .args(arguments)
        .env_clear()
        .envs(env::var_os("PATH").map(|path| ("PATH", path)))
        .envs(ENVIRONMENT)
        .stdin(nothing().context("no empty standard input can be made")?)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    Ok(command)
}

/// An empty standard input. It works without /dev/null too.
fn nothing() -> io::Result<Stdio> {
    match File::open("/dev/null") {
        Ok(null) => Ok(null.into()),
        Err(_) => Ok(pipe_with(PipeFlags::CLOEXEC)?.0.into()),
    }
}

/// A command that runs this program as the built-in `w`.
///
/// # Errors
/// It was started through the dynamic linker, which is then what the kernel knows as its file.
pub(super) fn own(extras: Extras) -> Result<Command> {
    let file = fs::read_link(OWN).with_context(|| {
        format!("the built-in w can't be started: {OWN} can't be read; mount /proc")
    })?;
    if is_dynamic_linker(&file.file_name().unwrap_or_default().to_string_lossy()) {
        bail!(
            "the built-in w can't be started: the exporter was started through {}, so it can't find itself; start it directly",
            file.display()
        );
    }
    let arguments =
        [(true, "w"), (extras.what, builtin::WHAT), (extras.unlisted, builtin::UNLISTED)];
    let arguments = arguments.iter().filter(|(asked, _)| *asked);
    let arguments: Vec<String> = arguments.map(|(_, argument)| (*argument).to_owned()).collect();
    command(NAME, &PathBuf::from(OWN), &arguments)
}

/// `ld-linux-x86-64.so.2`, `ld-musl-x86_64.so.1`, `ld.so`, `ld-2.31.so`.
fn is_dynamic_linker(name: &str) -> bool {
    name.strip_prefix("ld")
        .is_some_and(|rest| rest.starts_with(['-', '.', '6']) && rest.contains(".so"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_linker_is_known_by_its_name() {
        for name in
            ["ld-linux-x86-64.so.2", "ld-musl-aarch64.so.1", "ld.so", "ld-2.31.so", "ld64.so.2"]
        {
            assert!(is_dynamic_linker(name), "{name}");
        }
        for name in [NAME, "ld", "ldso", "w", "what.so", "lda.so"] {
            assert!(!is_dynamic_linker(name), "{name}");
        }
    }
}
