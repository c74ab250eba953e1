//! The built-in `w`: who is logged in, by logind's session files or utmp, and what `/proc` and
//! `/dev` tell of each session.
//!
//! It is a program of its own, which happens to be in the same file: the exporter starts itself as
//! its child, with the same timeout and limits as any other `w`, and reads its table by the header.
//! [`Extras`] is what the exporter asks for besides the table.
//!
//! The path of a session: a source (`logind` or `utmp`) → `processes` and `terminals` →
//! a row → `print`. `/proc` is listed once. What turns bytes into values uses no file.

mod logind;
mod print;
mod processes;
mod terminals;
mod utmp;

use std::{
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, Result, bail};
use processes::{Cgroup, Process, Processes};
use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};
use terminals::Terminal;

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

/// When a login can have begun, Unix seconds: to the year 2286, as the reader of the table takes it.
const LOGINS: RangeInclusive<u64> = 1..=9_999_999_999;

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
    /// What only logind knows; nothing from utmp.
    logind: logind::Facts,
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

/// The table of everybody who is logged in on the system at `root`, which is `/` except in tests.
///
/// # Errors
/// No source can be read, or it holds something that cannot be understood. Then there is no table,
/// because one with a gap looks like one without.
pub fn table(root: &Path, extras: Extras) -> Result<Vec<u8>> {
    // The host decides what is read, not what is in it, so that does not change while people log in
    // and out.
    let (rows, unlisted) = match fs::read_dir(root.join(LOGIND)) {
        Ok(entries) => of_logind(root, logind::read(entries)?, extras)?,
        Err(without_logind) => {
            let entries = utmp(root)?.with_context(|| {
                format!(
                    "no logins can be read: there is no readable /run/systemd/sessions ({without_logind}) and no readable /run/utmp; \
                     in a container, mount /run/systemd/sessions or /run/utmp of the host, read-only"
                )
            })?;
            of_utmp(root, entries, extras)?
        }
    };
    if let Some(Row { login, .. }) = rows.iter().find(|row| !LOGINS.contains(&row.login.began)) {
        bail!("there is no possible login time for {}", login.user.escape_ascii());
    }
    Ok(print::table(&rows, extras.unlisted.then_some(unlisted)))
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
    let unlisted = recorded.iter().filter(|login| host.is_outside_logind(login, &sessions)).count();
    let rows = sessions.into_iter().map(|mut session| {
        let Some((leader, cgroup)) = host.leader(&session) else {
            return Row { login: session, idle: None, cpu: None, what: Vec::new() };
        };
        if session.tty.is_empty() {
            // sshd does not tell logind its terminal.
            let terminal = host.processes.terminal_below(leader.pid);
            session.tty = terminal.and_then(terminals::pts).unwrap_or_default();
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
    let unlisted = count - rows.len();
    Ok((rows, unlisted))
}

/// What `/proc` and `/dev` tell.
struct Host {
    processes: Processes,
    dev: PathBuf,
    /// The control group of this process, if its PID namespace is not the machine's: process numbers
    /// of the machine are other processes here.
    container: Option<Cgroup>,
    /// Unix seconds.
    now: i64,
}

impl Host {
    fn read(root: &Path) -> Result<Host> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let own = || Cgroup(fs::read(root.join("proc/self/cgroup")).unwrap_or_default());
        Ok(Host {
            processes: Processes::read(&root.join("proc")).context("/proc can't be read")?,
            dev: root.join("dev"),
            container: (!visibility::is_initial_pid_namespace(root)).then(own),
            now: now.as_secs().try_into().unwrap_or(i64::MAX),
        })
    }

    /// The process that logged in, and its control group; `None` if it cannot be seen. In another
    /// PID namespace its number is another process, which is not in the session's control group.
    fn leader(&self, session: &Login) -> Option<(&Process, Cgroup)> {
        let facts = &session.logind;
        let leader = self.processes.get(session.process?)?;
        let cgroup = self.processes.cgroup(leader.pid).unwrap_or_default();
        let may_be_moved = !facts.has_scope && self.container.is_none();
        (cgroup.is_in(&facts.unit) || may_be_moved).then_some((leader, cgroup))
    }

    /// Whether a login of utmp is alive and belongs to no session or user that logind knows.
    fn is_outside_logind(&self, login: &Login, sessions: &[Login]) -> bool {
        let Some(pid) = login.process else { return false };
        let seen = self.processes.get(pid).and_then(|process| self.processes.cgroup(process.pid));
        let Some(cgroup) = seen else {
            let is_known = || sessions.iter().any(|session| session.user == login.user);
            return self.container.is_none() && is_hidden(pid) && !is_known();
        };
        // A container's processes are all in one group. LXC and systemd-nspawn have logins of their
        // own, with an sshd in a group of its own.
        let is_of_container = self.container.as_ref() == Some(&cgroup);
        let is_known = cgroup.user_slice().is_some()
            || sessions.iter().any(|session| cgroup.is_in(&session.logind.unit));
        !is_of_container && !is_known
    }

    fn row(&self, login: Login, process: &Process, cgroup: &Cgroup, extras: Extras) -> Row {
        // Each devpts counts from 0, so terminals of a container have the numbers of those of the
        // host. Its processes are in no slice of this user, unless he started it himself, without
        // root: those of such a container count as his.
        let slice = cgroup.user_slice();
        let is_of_user = |process: &&Process| {
            slice.is_none()
                || self.processes.cgroup(process.pid).is_some_and(|own| own.user_slice() == slice)
        };
        // utmp has no user's number.
        let uid = login.logind.uid.or(slice.map(|(_, uid)| uid));
        let terminal = Terminal::find(&self.dev, &login.tty, uid);
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
        let idle = terminal.and_then(|terminal| terminal.idle(self.now));
        Row { login, idle, cpu, what }
    }
}

/// Whether this is a process that `/proc` hides (`hidepid`), as the kernel allows no signal to it.
fn is_hidden(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) == Err(Errno::PERM))
}
