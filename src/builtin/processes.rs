//! All processes, from `/proc`, which is read once.

use std::{fs, io, path::Path};

use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{CWD, Mode, OFlags, openat},
    param::clock_ticks_per_second,
    path::Arg,
};

/// The largest `/proc/PID/stat` has some 400 bytes, with a name of at most 64.
const STAT: usize = 1024;
/// The longest command line that is read.
const COMMAND: usize = 1024;

/// What a session needs to know of a process.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub pid: u32,
    parent: u32,
    group: i32,
    /// The number of its terminal; 0 if it has none.
    terminal: u32,
    /// The group in the foreground of its terminal.
    foreground: i32,
    /// CPU time of itself, without that of ended children; clock ticks.
    ticks: u64,
    /// Clock ticks since the machine started.
    started: u64,
}

impl Process {
    /// Reads `/proc/PID/stat` (proc_pid_stat(5)). `None` if it is cut off.
    fn read(pid: u32, stat: &[u8]) -> Option<Process> {
        // Its name, in parentheses, can hold anything. Numbers follow it.
        let name_end = stat.iter().rposition(|&byte| byte == b')')?;
        let mut fields = stat.get(name_end + 2..)?.split(|&byte| byte == b' ').skip(1);
        let mut after = |skipped: usize| number(fields.nth(skipped)?);
        let process = Process {
            pid,
            parent: after(0)? as u32,
            group: after(0)? as i32,
            terminal: after(1)? as u32,
            foreground: after(0)? as i32,
            ticks: (after(5)?.checked_add(after(0)?)?) as u64,
            started: after(6)? as u64,
        };
        // Without the next field, the last one can be cut off.
        fields.next().map(|_| process)
    }

    /// CPU time, hundredths of a second.
    pub(super) fn cpu(&self) -> u64 {
        self.ticks * 100 / clock_ticks_per_second().max(1)
    }
}

fn number(field: &[u8]) -> Option<i64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// All processes that can be seen.
pub(super) struct Processes {
    proc: OwnedFd,
    all: Vec<Process>,
    /// By number.
    by_number: Index,
    /// Those with a terminal, by its number, from the oldest to the newest.
    by_terminal: Index,
    /// Those with a terminal, by their parents and by their grandparents, from the oldest to the
    /// newest.
    by_ancestor: Index,
}

/// A sorted list: a key, what orders those with the same key, and the index of a process. There is
/// one type for all of them, because each type that is sorted makes the program larger by 5 KB.
struct Index(Vec<[u64; 3]>);

impl Index {
    fn new(mut entries: Vec<[u64; 3]>) -> Index {
        entries.sort_unstable();
        Index(entries)
    }

    /// The indices with this key, in their order.
    fn find(&self, key: u32) -> impl Iterator<Item = usize> {
        let key = key.into();
        let begins = self.0.partition_point(|&[other, ..]| other < key);
        let found = self.0[begins..].iter().take_while(move |&&[other, ..]| other == key);
        // It was an index before.
        found.map(|&[.., index]| index as usize)
    }
}

impl Processes {
    pub(super) fn read(path: &Path) -> io::Result<Processes> {
        let proc = open(CWD, path)?;
        let mut all = Vec::new();
        let mut stat = [0; STAT];
        for entry in fs::read_dir(path)? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            // If it has ended, it can't be read.
            let read = open(&proc, format!("{pid}/stat"))
                .and_then(|file| rustix::io::read(file, &mut stat));
            if let Ok(length) = read {
                all.extend(Process::read(pid, &stat[..length]));
            }
        }
        Ok(Processes::new(proc, all))
    }

    fn new(proc: OwnedFd, all: Vec<Process>) -> Processes {
        let numbered = || all.iter().zip(0..);
        let by_number =
            Index::new(numbered().map(|(process, index)| [process.pid.into(), 0, index]).collect());
        let with_terminal = || numbered().filter(|(process, _)| process.terminal != 0);
        let by_terminal = with_terminal()
            .map(|(process, index)| [process.terminal.into(), process.started, index]);
        let by_ancestor = with_terminal().flat_map(|(process, index)| {
            let parent = by_number.find(process.parent).next();
            let grandparent = parent.map_or(0, |parent| all[parent].parent);
            [process.parent, grandparent].map(|ancestor| [ancestor.into(), process.started, index])
        });
        let (by_terminal, by_ancestor) = (by_terminal.collect(), by_ancestor.collect());
        let (by_terminal, by_ancestor) = (Index::new(by_terminal), Index::new(by_ancestor));
        Processes { proc, all, by_number, by_terminal, by_ancestor }
    }

    pub(super) fn get(&self, pid: u32) -> Option<&Process> {
        self.by_number.find(pid).next().and_then(|index| self.all.get(index))
    }

    /// The processes on a terminal, from the oldest to the newest.
    pub(super) fn on(&self, terminal: u32) -> impl Iterator<Item = &Process> {
        self.by_terminal.find(terminal).filter_map(|index| self.all.get(index))
    }

    /// The number of the terminal of the oldest child or grandchild that has one. sshd's own
    /// processes have none, but the shell that they start has.
    pub(super) fn terminal_below(&self, pid: u32) -> Option<u32> {
        let oldest = self.by_ancestor.find(pid).next();
        oldest.and_then(|index| self.all.get(index)).map(|process| process.terminal)
    }

    /// The process that a user works with: the newest in the foreground of the terminal that runs
    /// as this user, unless the login itself is newer.
    pub(super) fn foreground<'a>(
        &self,
        on_terminal: &[&'a Process],
        login: &'a Process,
        uid: Option<u32>,
    ) -> &'a Process {
        let newest = on_terminal.iter().rev().find(|process| {
            process.group == process.foreground
                && uid.is_none_or(|uid| self.runs_as(process.pid, uid))
        });
        newest.filter(|newest| newest.started > login.started).copied().unwrap_or(login)
    }

    /// Whether it is this user's, by its real or its effective user.
    fn runs_as(&self, pid: u32, uid: u32) -> bool {
        let status = self.file(pid, "status", 4096).unwrap_or_default();
        let users =
            status.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:\t"));
        let mut users = users.unwrap_or_default().split(|&byte| byte == b'\t').take(2);
        users.any(|user| number(user) == Some(uid.into()))
    }

    /// The command line, with blanks between the arguments; if there is none, the name in brackets.
    pub(super) fn command(&self, pid: u32) -> Vec<u8> {
        let mut line = self.file(pid, "cmdline", COMMAND).unwrap_or_default();
        line.truncate(line.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1));
        if line.is_empty() {
            let name = self.file(pid, "comm", COMMAND).unwrap_or_default();
            return [b"[", name.trim_ascii_end(), b"]"].concat();
        }
        for byte in line.iter_mut().filter(|byte| **byte == 0) {
            *byte = b' ';
        }
        line
    }

    /// `None` if it has ended.
    pub(super) fn cgroup(&self, pid: u32) -> Option<Cgroup> {
        self.file(pid, "cgroup", 16 * 1024).map(Cgroup)
    }

    /// The first bytes of a file of a process.
    fn file(&self, pid: u32, name: &str, most: usize) -> Option<Vec<u8>> {
        let file = open(&self.proc, format!("{pid}/{name}")).ok()?;
        let mut bytes = vec![0; most];
        let length = rustix::io::read(file, &mut bytes).ok()?;
        bytes.truncate(length);
        Some(bytes)
    }
}

/// Unlike the standard library with musl, it makes one system call.
fn open(folder: impl AsFd, path: impl Arg) -> rustix::io::Result<OwnedFd> {
    openat(folder, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// The control groups of a process, as in `/proc/PID/cgroup`: lines such as
/// `0::/user.slice/user-1000.slice/session-3.scope`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cgroup(pub Vec<u8>);

impl Cgroup {
    /// Whether one of the groups is in a unit of this name.
    pub(super) fn is_in(&self, unit: &[u8]) -> bool {
        let mut names = self.0.split(|byte| matches!(byte, b'\n' | b'/'));
        names.any(|name| name == unit)
    }

    /// The group of the user whose login a process belongs to, with what is above it
    /// (`0::/user.slice/user-1000.slice`), and the user.
    pub(super) fn user_slice(&self) -> Option<(&[u8], u32)> {
        self.0.split(|&byte| byte == b'\n').find_map(|line| {
            let mut end = 0;
            let mut names = line.split(|&byte| byte == b'/');
            names.find_map(|name| {
                end += name.len() + 1;
                let user = number(name.strip_prefix(b"user-")?.strip_suffix(b".slice")?)?;
                Some((&line[..end - 1], user.try_into().ok()?))
            })
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAT_OF_BASH: &str = "812 (bash) S 811 812 812 34816 900 4194304 900 0 0 0 \
        150 23 7 9 20 0 1 0 4711 7340032 900 18446744073709551615 1 1 0 0 0 0 65536 3686404 \
        1266761467 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n";

    fn bash() -> Process {
        Process {
            pid: 812,
            parent: 811,
            group: 812,
            terminal: 34816,
            foreground: 900,
            ticks: 173,
            started: 4711,
        }
    }

    #[test]
    fn a_process_is_read_whatever_its_name() {
        for name in ["bash", "", ")", " ", ") S 1 1 1 1 1", "a) (b", "((", "\n", "x y z", "\u{fc}"]
        {
            let stat = STAT_OF_BASH.replace("(bash)", &format!("({name})"));
            assert_eq!(Process::read(812, stat.as_bytes()), Some(bash()), "{name}");
        }
        // Of the kernel, without a terminal.
        let stat = STAT_OF_BASH.replace("34816 900", "0 -1");
        let kernel = Process { terminal: 0, foreground: -1, ..bash() };
        assert_eq!(Process::read(812, stat.as_bytes()), Some(kernel));
    }

    #[test]
    fn a_process_that_is_cut_off_is_none() {
        let complete = STAT_OF_BASH.find(" 7340032").unwrap();
        for end in 0..STAT_OF_BASH.len() {
            let read = Process::read(812, &STAT_OF_BASH.as_bytes()[..end]);
            assert_eq!(read, (end > complete).then(bash), "{end}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(stat in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Process::read(1, &stat);
            let cgroup = Cgroup(stat);
            let _ = (cgroup.user_slice(), cgroup.is_in(b"session-1.scope"));
        }

        #[test]
        fn no_name_forges_a_process(name in proptest::collection::vec(any::<u8>(), 0..64)) {
            let (before, after) = STAT_OF_BASH.split_once("bash").unwrap();
            let stat = [before.as_bytes(), &name, after.as_bytes()].concat();
            prop_assert_eq!(Process::read(812, &stat), Some(bash()));
        }
    }

    #[test]
    fn cpu_time_is_in_hundredths_of_a_second() {
        assert_eq!(bash().cpu() * clock_ticks_per_second(), 173 * 100);
    }

    #[test]
    fn the_slice_of_a_user_is_told_from_that_of_a_container() {
        let slice = |cgroup: &str| {
            let cgroup = Cgroup(cgroup.as_bytes().to_vec());
            cgroup
                .user_slice()
                .map(|(slice, uid)| (String::from_utf8_lossy(slice).into_owned(), uid))
        };
        let of_user = Some(("0::/user.slice/user-1000.slice".to_owned(), 1000));
        for cgroup in [
            "0::/user.slice/user-1000.slice/session-3.scope\n",
            "0::/user.slice/user-1000.slice/user@1000.service/tmux-spawn-1.scope\n",
            "0::/user.slice/user-1000.slice",
            "1:name=x:/\n0::/user.slice/user-1000.slice/session-3.scope\n",
        ] {
            assert_eq!(slice(cgroup), of_user, "{cgroup}");
        }
        let machine = "0::/machine.slice/m.scope/user.slice/user-1000.slice/session-3.scope\n";
        assert_ne!(slice(machine), of_user);
        for cgroup in [
            "",
            "\n",
            "0::/",
            "0::/system.slice/ssh.service\n",
            "0::/user-.slice/x",
            "0::/user-a1.slice",
            "0::/user--1.slice",
            "0::/user-4294967296.slice",
        ] {
            assert_eq!(slice(cgroup), None, "{cgroup}");
        }
    }

    #[test]
    fn a_unit_is_found_by_its_whole_name() {
        let is_in =
            |cgroup: &str, unit: &str| Cgroup(cgroup.as_bytes().to_vec()).is_in(unit.as_bytes());
        assert!(is_in("0::/user.slice/user-0.slice/session-3.scope\n", "session-3.scope"));
        assert!(is_in("0::/../../user.slice/user-0.slice/session-3.scope/x\n", "session-3.scope"));
        assert!(is_in("2:cpu:/\n1:name=elogind:/3\n", "3"));
        assert!(!is_in("0::/user.slice/user-0.slice/session-31.scope\n", "session-3.scope"));
        assert!(!is_in("0::/\n", "session-3.scope"));
    }

    /// Processes by number, parent, terminal and start.
    fn processes(all: &[(u32, u32, u32, u64)]) -> Processes {
        let all = all.iter().map(|&(pid, parent, terminal, started)| Process {
            pid,
            parent,
            terminal,
            started,
            ..bash()
        });
        Processes::new(open(CWD, "/").unwrap(), all.collect())
    }

    #[test]
    fn the_terminal_is_that_of_the_oldest_child_or_grandchild() {
        let processes = processes(&[
            (10, 1, 0, 100),
            // alice: sshd, her sshd, her shell, sudo and its command with a terminal of its own.
            (20, 10, 0, 200),
            (21, 20, 0, 201),
            (22, 21, 7, 202),
            (23, 22, 7, 203),
            (24, 23, 8, 204),
            // root: sshd, the shell, script.
            (30, 10, 0, 300),
            (31, 30, 9, 301),
            (32, 31, 11, 302),
            // A command without a terminal.
            (40, 10, 0, 400),
            (41, 40, 0, 401),
        ]);
        let found = [20, 30, 40, 41].map(|leader| processes.terminal_below(leader));
        assert_eq!(found, [Some(7), Some(9), None, None]);
        let on = |terminal| processes.on(terminal).map(|process| process.pid).collect::<Vec<_>>();
        assert_eq!([on(7), on(8), on(0), on(12)], [vec![22, 23], vec![24], vec![], vec![]]);
        assert_eq!(processes.get(21).map(|process| process.parent), Some(20));
        assert!(processes.get(25).is_none());
    }

    #[test]
    fn this_process_is_read() {
        let processes = Processes::read(Path::new("/proc")).unwrap();
        let own = processes.get(std::process::id()).unwrap();
        assert_eq!(own.parent, std::os::unix::process::parent_id());
        let command = processes.command(own.pid);
        let program = std::env::args_os().next().unwrap();
        assert!(command.starts_with(program.as_encoded_bytes()), "{}", command.escape_ascii());
        assert!(processes.runs_as(own.pid, rustix::process::getuid().as_raw()));
        assert!(!processes.runs_as(own.pid, 4_000_000_000));
        assert!(processes.cgroup(own.pid).is_some());
        assert!(processes.cgroup(u32::MAX).is_none());
    }
}
