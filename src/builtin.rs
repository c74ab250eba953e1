//! The built-in `w`: who is logged in, by logind's session files or utmp, and what `/proc` and
//! `/dev` tell of each session.
//!
//! It is a program of its own, which happens to be in the same file: the exporter starts itself as
//! its child, with the same timeout and limits as any other `w`, and reads its table by the header.
//! [`Extras`] is what the exporter asks for besides the table.
//!
//! The path of a session: a source (`logind` or `utmp`) → `processes` and `terminals` →
//! a row → `print`. Each file is read once. What turns bytes into values uses no file.

mod logind;
mod print;
mod processes;
mod terminals;
mod utmp;

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, Result, bail};

use processes::{Cgroup, Process, Processes};
use terminals::{Drivers, Terminal};

use crate::visibility::{self, LOGIND, UTMP};

/// What is printed besides the table that a person gets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extras {
    /// Fill WHAT. Otherwise no command line is read, because reading one can hang and it can hold
    /// secrets.
    pub what: bool,
    /// A last line with the number of logins in utmp that have no row: those whose process is not
    /// visible; or with logind, those that are alive and that logind does not know.
    pub unlisted: bool,
}

/// The argument behind the sub-command that sets [`Extras::what`].
pub const WHAT: &str = "--what";
/// The argument behind the sub-command that sets [`Extras::unlisted`].
pub const UNLISTED: &str = "--unlisted";

/// One login, as its source has it.
#[derive(Debug, PartialEq, Eq)]
struct Login {
    user: Vec<u8>,
    /// The terminal, as a path in `/dev`. Empty if the source does not know it.
    tty: Vec<u8>,
    from: Vec<u8>,
    /// When it began, Unix seconds.
    began: u64,
    /// The process that logged the user in.
    process: Option<u32>,
    /// What only logind knows.
    logind: Option<logind::Facts>,
}

/// One row of the table.
struct Row {
    login: Login,
    /// How long the terminal has not been used, seconds.
    idle: Option<u64>,
    /// CPU time of the processes on the terminal, hundredths of a second.
    cpu: Option<u64>,
    /// The command line, if it was asked for.
    what: Vec<u8>,
}

/// Where the logins are recorded. The host decides it, not what is in it, so it does not change
/// while people log in and out.
enum Source {
    Logind(Vec<Login>),
    Utmp(Vec<Login>),
}

/// The table of everybody who is logged in on the system at `root`, which is `/` except in tests.
///
/// # Errors
/// No source can be read, or it holds something that cannot be understood. Then there is no table,
/// because one with a gap looks like one without.
pub fn table(root: &Path, extras: Extras) -> Result<Vec<u8>> {
    let (rows, unlisted) = match source(root)? {
        Source::Logind(sessions) => of_logind(root, sessions, extras)?,
        Source::Utmp(entries) => of_utmp(root, entries, extras)?,
    };
    Ok(print::table(&rows, extras.unlisted.then_some(unlisted)))
}

/// Whether the logins on this system are read from logind's files.
pub fn reads_logind() -> bool {
    fs::read_dir(Path::new("/").join(LOGIND)).is_ok()
}

fn source(root: &Path) -> Result<Source> {
    let folder = root.join(LOGIND);
    match fs::read_dir(&folder) {
        Ok(entries) => Ok(Source::Logind(logind::read(entries)?)),
        Err(without_logind) => match utmp(root)? {
            Some(entries) => Ok(Source::Utmp(entries)),
            None => bail!(
                "no logins can be read: there is no readable /run/systemd/sessions ({without_logind}) and no readable /run/utmp; \
                 in a container, mount /run/systemd/sessions or /run/utmp of the host, read-only"
            ),
        },
    }
}

/// The logins in the first utmp that can be read; `None` if there is none.
fn utmp(root: &Path) -> Result<Option<Vec<Login>>> {
    for path in UTMP.map(|path| root.join(path)) {
        if let Ok(file) = fs::read(&path) {
            let logins = utmp::read(&file, utmp::record_size(&path));
            return logins.with_context(|| path.display().to_string()).map(Some);
        }
    }
    Ok(None)
}

/// A session of logind is listed even if its processes cannot be seen, because logind knows that it
/// has not ended.
fn of_logind(root: &Path, sessions: Vec<Login>, extras: Extras) -> Result<(Vec<Row>, usize)> {
    // Utmp is only compared. If it is no utmp, nothing is known from it.
    let recorded = if extras.unlisted { utmp(root).ok().flatten() } else { None };
    let recorded = recorded.unwrap_or_default();
    if sessions.is_empty() && recorded.is_empty() {
        return Ok((Vec::new(), 0));
    }
    let host = Host::read(root)?;
    let leaders: Vec<_> = sessions.iter().map(|session| host.leader(session)).collect();
    let units: Vec<&[u8]> = sessions.iter().filter_map(unit).collect();
    let unlisted = recorded.iter().filter(|login| host.is_outside_logind(login, &units)).count();
    let drivers = Drivers::read(root);
    let rows = sessions.into_iter().zip(leaders).map(|(mut session, leader)| {
        let Some((leader, cgroup)) = leader else {
            return Row { login: session, idle: None, cpu: None, what: Vec::new() };
        };
        if session.tty.is_empty() {
            let terminal = host.processes.terminal_below(leader.pid);
            session.tty = terminal.and_then(|number| drivers.name(number)).unwrap_or_default();
        }
        host.row(session, leader, &cgroup, extras)
    });
    Ok((rows.collect(), unlisted))
}

/// A login of utmp is listed while its process exists, because utmp keeps entries of sessions that
/// were killed.
fn of_utmp(root: &Path, entries: Vec<Login>, extras: Extras) -> Result<(Vec<Row>, usize)> {
    if entries.is_empty() {
        return Ok((Vec::new(), 0));
    }
    let host = Host::read(root)?;
    let count = entries.len();
    let rows = entries.into_iter().filter_map(|entry| {
        let process = host.processes.get(entry.process?)?;
        let cgroup = host.processes.cgroup(process.pid).unwrap_or_default();
        Some(host.row(entry, process, &cgroup, extras))
    });
    let rows: Vec<Row> = rows.collect();
    if let Some(row) = rows.iter().find(|row| row.login.began == 0) {
        bail!("utmp has no login time for {}", row.login.user.escape_ascii());
    }
    let unlisted = count - rows.len();
    Ok((rows, unlisted))
}

/// The name that the control group of a session's processes has.
fn unit(session: &Login) -> Option<&[u8]> {
    session.logind.as_ref().map(|facts| facts.unit.as_slice())
}

/// What `/proc` and `/dev` tell.
struct Host {
    processes: Processes,
    dev: PathBuf,
    /// Whether process numbers here are those of the machine.
    numbers_are_of_machine: bool,
    /// Unix seconds.
    now: i64,
}

impl Host {
    fn read(root: &Path) -> Result<Host> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(Host {
            processes: Processes::read(&root.join("proc")).context("/proc can't be read")?,
            dev: root.join("dev"),
            numbers_are_of_machine: visibility::is_initial_pid_namespace(Path::new("/")),
            now: now.as_secs().try_into().unwrap_or(i64::MAX),
        })
    }

    /// The process that logged in, and its control group; `None` if it cannot be seen. In another
    /// PID namespace its number is another process, which is not in the session's control group.
    fn leader(&self, session: &Login) -> Option<(&Process, Cgroup)> {
        let facts = session.logind.as_ref()?;
        let leader = self.processes.get(session.process?)?;
        let cgroup = self.processes.cgroup(leader.pid).unwrap_or_default();
        let may_be_moved = !facts.has_scope && self.numbers_are_of_machine;
        (cgroup.is_in(&facts.unit) || may_be_moved).then_some((leader, cgroup))
    }

    /// Whether a login of utmp is alive and belongs to no session or user that logind knows.
    fn is_outside_logind(&self, login: &Login, units: &[&[u8]]) -> bool {
        let Some(process) = login.process.and_then(|pid| self.processes.get(pid)) else {
            return false;
        };
        let cgroup = self.processes.cgroup(process.pid);
        cgroup.is_some_and(|cgroup| {
            cgroup.user_slice().is_none() && !units.iter().any(|unit| cgroup.is_in(unit))
        })
    }

    fn row(&self, login: Login, process: &Process, cgroup: &Cgroup, extras: Extras) -> Row {
        let uid = login.logind.as_ref().and_then(|facts| facts.uid);
        let terminal = Terminal::find(&self.dev, &login.tty).filter(|found| found.is_of(uid));
        // Terminals of a container have the same numbers as those of the host, because each devpts
        // counts from 0. Its processes belong to no login of this user.
        let slice = cgroup.user_slice();
        let is_of_user = |process: &&Process| {
            slice.is_none()
                || self.processes.cgroup(process.pid).is_some_and(|own| own.user_slice() == slice)
        };
        let on_terminal: Vec<&Process> = terminal
            .iter()
            .flat_map(|terminal| self.processes.on(terminal.number))
            .filter(is_of_user)
            .collect();
        let cpu = terminal.as_ref().map(|_| on_terminal.iter().map(|process| process.cpu()).sum());
        let what = if extras.what {
            let uid = uid.or(terminal.as_ref().and_then(|terminal| terminal.owner));
            self.processes.command(self.processes.foreground(&on_terminal, process, uid).pid)
        } else {
            Vec::new()
        };
        let idle = terminal.and_then(|terminal| terminal.used);
        Row { idle: idle.and_then(|used| u64::try_from(self.now - used).ok()), login, cpu, what }
    }
}
