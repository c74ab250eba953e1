//! Checks whether this process, and so the `w` that it starts, can see what it needs. The three
//! checks are cheap and need no privileges.

use std::fs::{self, File};

/// The session file of utmp, and the directory of logind's session files.
const UTMP: &str = "/run/utmp";
const LOGIND: &str = "/run/systemd/sessions";

/// The initial PID namespace of a machine always has this number (`PROC_PID_INIT_INO`,
/// `include/uapi/linux/nsfs.h`).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// What can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visibility {
    /// The files in which sessions are recorded: utmp or logind's.
    pub session_files: bool,
    /// The processes of the host. False only if there is evidence, because a system container (LXC,
    /// WSL, nspawn) sees its own logins.
    pub host_processes: bool,
    /// The processes of other users.
    pub other_users_processes: bool,
}

impl Visibility {
    /// Checks. `fewer_listed`: whether `w` counted more users than it listed.
    pub fn look(fewer_listed: bool) -> Visibility {
        Visibility {
            session_files: File::open(UTMP).is_ok() || fs::read_dir(LOGIND).is_ok(),
            host_processes: is_initial_pid_namespace() || !fewer_listed,
            other_users_processes: File::open("/proc/1/stat").is_ok(),
        }
    }

    /// The value of the label `source` for each source, and whether it can be seen.
    pub fn sources(self) -> [(&'static str, bool); 3] {
        [
            ("host_processes", self.host_processes),
            ("other_users_processes", self.other_users_processes),
            ("session_files", self.session_files),
        ]
    }

    /// What cannot be seen, and how to fix it.
    pub fn problems(self) -> impl Iterator<Item = &'static str> {
        let session_files = "neither /run/utmp nor /run/systemd/sessions can be read; \
             in a container, mount them from the host, read-only";
        let host_processes = "w counts more users than it lists, and this process has its own PID namespace; \
             give the container the host's (docker run --pid=host, hostPID: true)";
        let other_users_processes = "/proc hides the processes of other users (hidepid, ProtectProc=); \
             run the exporter in the group of the mount option gid=, or with ProtectProc=default";
        let problems = [
            (self.session_files, session_files),
            (self.host_processes, host_processes),
            (self.other_users_processes, other_users_processes),
        ];
        problems.into_iter().filter(|(seen, _)| !seen).map(|(_, problem)| problem)
    }
}

/// Whether process numbers are those of the machine. True also if that can't be told.
pub(crate) fn is_initial_pid_namespace() -> bool {
    let namespace = fs::read_link("/proc/self/ns/pid");
    namespace.map_or(true, |link| link.as_os_str() == INITIAL_PID_NAMESPACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_that_is_not_seen_has_its_remedy() {
        let seen =
            Visibility { session_files: true, host_processes: true, other_users_processes: true };
        assert_eq!(seen.problems().count(), 0);
        for (visibility, remedy) in [
            (Visibility { session_files: false, ..seen }, "/run/utmp"),
            (Visibility { host_processes: false, ..seen }, "--pid=host"),
            (Visibility { other_users_processes: false, ..seen }, "gid="),
        ] {
            let problems: Vec<_> = visibility.problems().collect();
            assert!(problems.len() == 1 && problems[0].contains(remedy), "{problems:?}");
            assert_eq!(visibility.sources().iter().filter(|(_, seen)| !seen).count(), 1);
        }
    }
}
