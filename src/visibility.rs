//! Checks whether this process, and so the `w` that it starts, can see what it needs. The checks are
//! cheap and need no privileges.
//!
//! [`Evidence`] is what was looked at, and [`Visibility::of`] judges it.

use std::{
    env,
    fs::{self, File},
    path::Path,
};

/// The session files of utmp, below the root folder. The first is of utmps (Alpine), which makes it
/// where it is in use; OpenRC leaves an empty `/run/utmp` at each boot.
pub(crate) const UTMP: [&str; 3] = ["run/utmps/utmp", "run/utmp", "var/run/utmp"];
/// The folder of logind's session files, below the root folder.
pub(crate) const LOGIND: &str = "run/systemd/sessions";
/// The folders of programs, and the ssh servers there.
const PROGRAM_FOLDERS: [&str; 6] =
    ["usr/sbin", "usr/bin", "usr/local/sbin", "usr/local/bin", "sbin", "bin"];
const SSH_SERVERS: [&str; 2] = ["sshd", "dropbear"];
/// The folders of libraries. Each has PAM's modules in `security`, or in `security` of a folder for
/// each processor, such as `x86_64-linux-gnu`.
const LIBRARY_FOLDERS: [&str; 5] = ["usr/lib", "usr/lib64", "usr/local/lib", "lib", "lib64"];
/// The modules that tell logind of logins: of systemd, and of elogind.
const PAM_MODULES: [&str; 2] = ["security/pam_systemd.so", "security/pam_elogind.so"];

/// The initial PID namespace of a machine always has this number (`PROC_PID_INIT_INO`,
/// `include/uapi/linux/nsfs.h`).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Where this process runs, which decides what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a service of systemd.
    Unit,
    /// In a container, and in no service of its systemd.
    Container,
    /// Directly on a machine.
    Machine,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Where this process runs.
    pub place: Place,
    /// A file of utmp can be read.
    pub utmp: bool,
    /// logind's session files can be listed.
    pub logind: bool,
    /// This file system has an sshd or a dropbear.
    pub ssh_server: bool,
    /// PAM has a module that tells logind of logins.
    pub pam_systemd: bool,
    /// Process numbers are those of the machine. True also if that can't be told.
    pub initial_pid_namespace: bool,
    /// `/proc` shows the first process, which is root's.
    pub first_process: bool,
}

/// Whether all logins are recorded where `w` looks. Assumed, unless there is evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginRecords {
    /// They are.
    Complete,
    /// There is an ssh server, and nothing that records its logins.
    WithoutSsh,
    /// The built-in `w` reads logind, and utmp has a login that logind lacks.
    OnlyInUtmp,
}

/// What is known of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// It is the built-in `w`'s.
    pub by_builtin: bool,
    /// More logins are counted than listed.
    pub fewer: bool,
}

/// What can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visibility {
    /// The files in which sessions are recorded: utmp or logind's.
    pub session_files: bool,
    /// Whether all logins are recorded where `w` looks.
    pub login_records: LoginRecords,
    /// The processes of the host. False only if there is evidence, because a system container (LXC,
    /// WSL, nspawn) sees its own logins.
    pub host_processes: bool,
    /// The processes of other users.
    pub other_users_processes: bool,
    /// Where this process runs.
    pub place: Place,
}

impl Evidence {
    /// Looks.
    pub fn look() -> Evidence {
        Evidence::below(Path::new("/"), env::var_os("KUBERNETES_SERVICE_HOST").is_some())
    }

    /// Looks below a root folder. `in_pod`: whether Kubernetes has started this process.
    fn below(root: &Path, in_pod: bool) -> Evidence {
        let initial_pid_namespace = is_initial_pid_namespace(root);
        Evidence {
            place: place(root, in_pod || !initial_pid_namespace),
            utmp: UTMP.iter().any(|path| File::open(root.join(path)).is_ok()),
            logind: fs::read_dir(root.join(LOGIND)).is_ok(),
            ssh_server: has_ssh_server(root),
            pam_systemd: has_pam_systemd(root),
            initial_pid_namespace,
            first_process: File::open(root.join("proc/1/stat")).is_ok(),
        }
    }
}

fn has_ssh_server(root: &Path) -> bool {
    let has = |folder: &str| SSH_SERVERS.iter().any(|name| root.join(folder).join(name).exists());
    PROGRAM_FOLDERS.into_iter().any(has)
}

fn has_pam_systemd(root: &Path) -> bool {
    let has = |folder: &Path| PAM_MODULES.iter().any(|module| folder.join(module).exists());
    LIBRARY_FOLDERS.into_iter().any(|folder| {
        let folder = root.join(folder);
        let of_processors = fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut of_processors = of_processors
            .filter(|entry| entry.file_name().to_string_lossy().contains("-linux-"))
            .map(|entry| entry.path());
        has(&folder) || of_processors.any(|folder| has(&folder))
    })
}

/// Whether process numbers are those of the machine. True also if that can't be told.
pub(crate) fn is_initial_pid_namespace(root: &Path) -> bool {
    let namespace = fs::read_link(root.join("proc/self/ns/pid"));
    namespace.map_or(true, |link| link.as_os_str() == INITIAL_PID_NAMESPACE)
}

/// A unit's processes are in its cgroup, which a container does not show. Docker, Podman and
/// systemd-nspawn each leave a sign in their containers.
fn place(root: &Path, in_container: bool) -> Place {
    let cgroups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let signs = [".dockerenv", "run/.containerenv", "run/host/container-manager"];
    if cgroups.lines().any(|path| path.ends_with(".service")) {
        Place::Unit
    } else if in_container || signs.iter().any(|sign| root.join(sign).exists()) {
        Place::Container
    } else {
        Place::Machine
    }
}

impl Visibility {
    /// Looks, and judges.
    pub fn look(listed: Listed) -> Visibility {
        Visibility::of(Evidence::look(), listed)
    }

    /// What the evidence shows for a `w` that reads utmp or logind's files and `/proc`.
    pub fn of(evidence: Evidence, listed: Listed) -> Visibility {
        // It lists sessions of logind also if it does not see their processes.
        let needs_no_processes = listed.by_builtin && evidence.logind;
        Visibility {
            session_files: evidence.utmp || evidence.logind,
            login_records: if needs_no_processes && listed.fewer {
                LoginRecords::OnlyInUtmp
            } else if evidence.ssh_server && !evidence.utmp && !evidence.pam_systemd {
                LoginRecords::WithoutSsh
            } else {
                LoginRecords::Complete
            },
            host_processes: needs_no_processes || evidence.initial_pid_namespace || !listed.fewer,
            other_users_processes: needs_no_processes || evidence.first_process,
            place: evidence.place,
        }
    }

    /// The value of the label `source` for each source, and whether it can be seen.
    pub fn sources(self) -> [(&'static str, bool); 4] {
        [
            ("host_processes", self.host_processes),
            ("login_records", self.login_records == LoginRecords::Complete),
            ("other_users_processes", self.other_users_processes),
            ("session_files", self.session_files),
        ]
    }

    /// What cannot be seen, and what helps where this process runs.
    pub fn problems(self) -> impl Iterator<Item = String> {
        let problems = [
            (self.session_files, no_session_files(self.place)),
            (self.login_records != LoginRecords::WithoutSsh, no_records_of_ssh(self.place)),
            (self.login_records != LoginRecords::OnlyInUtmp, ONLY_IN_UTMP),
            (self.host_processes, no_host_processes(self.place)),
            (self.other_users_processes, no_other_users_processes(self.place)),
        ];
        let unseen = problems.into_iter().filter(|(seen, _)| !seen);
        unseen.map(|(_, (problem, remedy))| format!("{problem}; {remedy}"))
    }
}

/// A problem, and its remedy.
type Problem = (&'static str, &'static str);

fn no_session_files(place: Place) -> Problem {
    let remedy = match place {
        Place::Unit => {
            "let the unit see /run (no InaccessiblePaths= or TemporaryFileSystem= there), \
             and install what records logins: systemd-logind or elogind, or utmps on Alpine"
        }
        Place::Container => {
            "mount /run/systemd/sessions and /run/systemd/system, or /run/utmp, of the host, read-only"
        }
        Place::Machine => {
            "install what records logins: systemd-logind or elogind, or utmps on Alpine"
        }
    };
    ("neither /run/utmp nor /run/utmps/utmp nor /run/systemd/sessions can be read", remedy)
}

const ONLY_IN_UTMP: Problem = (
    "utmp has a login that logind does not know, such as one over an sshd without pam_systemd",
    "install libpam-systemd, which tells logind of the logins that follow, or set --w.command to a w that reads utmp",
);

fn no_records_of_ssh(place: Place) -> Problem {
    let remedy = match place {
        Place::Unit | Place::Machine => {
            "install libpam-systemd (utmps on Alpine); it records the logins that follow"
        }
        Place::Container => {
            "install libpam-systemd (utmps on Alpine) where the ssh server runs; \
             it records the logins that follow"
        }
    };
    let problem = "an ssh server is installed, but nothing records its logins: \
                   there is no utmp, and no pam_systemd.so tells logind";
    (problem, remedy)
}

fn no_host_processes(place: Place) -> Problem {
    let remedy = match place {
        Place::Unit => {
            "set PrivatePIDs=no in the unit, or if its systemd is itself in a container, \
             give that container the host's (--pid=host)"
        }
        Place::Container | Place::Machine => {
            "give the container the host's (docker run --pid=host, hostPID: true)"
        }
    };
    ("w counts more users than it lists, and this process has its own PID namespace", remedy)
}

fn no_other_users_processes(place: Place) -> Problem {
    let remedy = match place {
        Place::Unit => {
            "set ProtectProc=default in the unit, or if /proc is mounted with hidepid, \
             SupplementaryGroups= to the group of its option gid="
        }
        Place::Container => {
            "run the container as root, or in the group of the mount option gid= (hidepid)"
        }
        Place::Machine => {
            "run the exporter as root, or in the group of the mount option gid= (hidepid)"
        }
    };
    ("/proc hides the processes of other users", remedy)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        os::unix::fs::symlink,
        path::PathBuf,
        process,
        sync::atomic::{AtomicU32, Ordering},
    };

    use super::*;

    /// A root folder with these empty files. It is removed with this value.
    struct Root(PathBuf);

    impl Root {
        fn with(files: &[&str]) -> Root {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let root = env::temp_dir().join(format!("visibility-{}-{number}", process::id()));
            fs::create_dir_all(root.join("proc/self/ns")).unwrap();
            for file in files {
                let file = root.join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, "").unwrap();
            }
            Root(root)
        }

        fn look(&self) -> Evidence {
            Evidence::below(&self.0, false)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    /// A `w` that lists all that it counts.
    const INSTALLED: Listed = Listed { by_builtin: false, fewer: false };

    const DEBIAN_13: &str = "run/systemd/sessions/1";
    const PAM: &str = "usr/lib/x86_64-linux-gnu/security/pam_systemd.so";

    #[test]
    fn each_source_that_is_not_seen_has_its_remedy() {
        let seen = Visibility {
            session_files: true,
            login_records: LoginRecords::Complete,
            host_processes: true,
            other_users_processes: true,
            place: Place::Machine,
        };
        assert_eq!(seen.problems().count(), 0);
        let no_files = Visibility { session_files: false, ..seen };
        let no_records = Visibility { login_records: LoginRecords::WithoutSsh, ..seen };
        let only_in_utmp = Visibility { login_records: LoginRecords::OnlyInUtmp, ..seen };
        let no_processes = Visibility { host_processes: false, ..seen };
        let hidden = Visibility { other_users_processes: false, ..seen };
        for (visibility, [unit, container, machine]) in [
            (no_files, ["InaccessiblePaths=", "mount /run/systemd", "systemd-logind"]),
            (no_records, ["libpam-systemd"; 3]),
            (only_in_utmp, ["libpam-systemd"; 3]),
            (no_processes, ["PrivatePIDs=no", "docker run --pid=host", "--pid=host"]),
            (hidden, ["ProtectProc=default", "run the container as root", "gid="]),
        ] {
            let places =
                [(Place::Unit, unit), (Place::Container, container), (Place::Machine, machine)];
            for (place, remedy) in places {
                let problems: Vec<_> = Visibility { place, ..visibility }.problems().collect();
                assert!(problems.len() == 1 && problems[0].contains(remedy), "{problems:?}");
                let is_machine = place == Place::Machine && visibility != no_processes;
                let words = ["docker", "container", "ProtectProc", "PrivatePIDs"];
                let misplaced = words.iter().any(|word| problems[0].contains(word));
                assert!(!(is_machine && misplaced), "{problems:?}");
            }
            assert_eq!(visibility.sources().iter().filter(|(_, seen)| !seen).count(), 1);
        }
    }

    #[test]
    fn logins_are_recorded_unless_an_ssh_server_has_nothing_that_records_them() {
        for (files, recorded) in [
            (&[DEBIAN_13, "usr/sbin/sshd"][..], false),
            (&[DEBIAN_13, "usr/sbin/dropbear"], false),
            (&[DEBIAN_13, "usr/local/sbin/sshd"], false),
            (&["bin/sshd"], false),
            (&[DEBIAN_13, "usr/sbin/sshd", PAM], true),
            (&[DEBIAN_13, "usr/sbin/sshd", "lib/aarch64-linux-gnu/security/pam_systemd.so"], true),
            (&[DEBIAN_13, "usr/sbin/sshd", "usr/lib64/security/pam_systemd.so"], true),
            (&[DEBIAN_13, "usr/sbin/sshd", "usr/lib/security/pam_systemd.so"], true),
            (&[DEBIAN_13, "usr/sbin/sshd", "usr/lib/other/security/pam_systemd.so"], false),
            // elogind has a name of its own.
            (&[DEBIAN_13, "usr/sbin/sshd", "lib/security/pam_elogind.so"], true),
            (&[DEBIAN_13, "usr/sbin/sshd", "usr/lib/a-linux-gnu/security/pam_elogind.so"], true),
            (&[DEBIAN_13, "usr/sbin/sshd", "run/utmp"], true),
            (&[DEBIAN_13, "usr/sbin/sshd", "var/run/utmp"], true),
            (&["usr/sbin/sshd", "run/utmps/utmp"], true),
            // An image for the exporter has no server: what the host has is not known.
            (&[DEBIAN_13], true),
            (&[DEBIAN_13, "sbin/agetty"], true),
            (&[], true),
        ] {
            let visibility = Visibility::of(Root::with(files).look(), INSTALLED);
            assert_eq!(visibility.login_records == LoginRecords::Complete, recorded, "{files:?}");
        }
    }

    #[test]
    fn utmp_in_any_place_and_logind_have_session_files() {
        for (files, seen) in [
            (&[][..], false),
            (&["run/utmp"], true),
            (&["var/run/utmp"], true),
            (&["run/utmps/utmp"], true),
            (&[DEBIAN_13], true),
            (&["run/systemd/users/0"], false),
        ] {
            let visibility = Visibility::of(Root::with(files).look(), INSTALLED);
            assert_eq!(visibility.session_files, seen, "{files:?}");
        }
    }

    #[test]
    fn another_pid_namespace_hides_processes_only_if_users_are_missing() {
        let root = Root::with(&["proc/1/stat"]);
        for (namespace, fewer, seen) in [
            (INITIAL_PID_NAMESPACE, false, true),
            (INITIAL_PID_NAMESPACE, true, true),
            ("pid:[4026532001]", false, true),
            ("pid:[4026532001]", true, false),
        ] {
            let link = root.0.join("proc/self/ns/pid");
            symlink(namespace, &link).unwrap();
            let visibility = Visibility::of(root.look(), Listed { fewer, ..INSTALLED });
            fs::remove_file(link).unwrap();
            assert_eq!(visibility.host_processes, seen, "{namespace} {fewer}");
            assert!(visibility.other_users_processes);
        }
        assert!(!Visibility::of(Root::with(&[]).look(), INSTALLED).other_users_processes);
    }

    #[test]
    fn the_place_is_known_by_the_cgroup_and_by_what_containers_leave() {
        let unit = "0::/system.slice/exporter.service\n";
        let scope = "0::/user.slice/user-1000.slice/session-3.scope\n";
        for (cgroup, namespace, sign, place) in [
            (unit, INITIAL_PID_NAMESPACE, None, Place::Unit),
            (unit, "pid:[4026532001]", None, Place::Unit),
            (
                "1:name=systemd:/system.slice/a.service\n0::/\n",
                INITIAL_PID_NAMESPACE,
                None,
                Place::Unit,
            ),
            (scope, INITIAL_PID_NAMESPACE, None, Place::Machine),
            ("0::/\n", INITIAL_PID_NAMESPACE, None, Place::Machine),
            ("0::/\n", "pid:[4026532001]", None, Place::Container),
            ("0::/\n", INITIAL_PID_NAMESPACE, Some(".dockerenv"), Place::Container),
            ("0::/\n", INITIAL_PID_NAMESPACE, Some("run/.containerenv"), Place::Container),
            ("0::/docker/0123\n", INITIAL_PID_NAMESPACE, Some(".dockerenv"), Place::Container),
        ] {
            let root = Root::with(sign.as_slice());
            fs::write(root.0.join("proc/self/cgroup"), cgroup).unwrap();
            symlink(namespace, root.0.join("proc/self/ns/pid")).unwrap();
            assert_eq!(root.look().place, place, "{cgroup} {namespace} {sign:?}");
        }
    }

    #[test]
    fn the_built_in_w_needs_no_processes_where_logind_tells_of_the_sessions() {
        let seen = |files: &[&str], fewer| {
            let root = Root::with(files);
            symlink("pid:[4026532001]", root.0.join("proc/self/ns/pid")).unwrap();
            let visibility = Visibility::of(root.look(), Listed { by_builtin: true, fewer });
            visibility.sources().map(|(_, seen)| seen)
        };
        let utmp = "run/utmp";
        // In the order host_processes, login_records, other_users_processes, session_files.
        assert_eq!(seen(&[DEBIAN_13], false), [true; 4]);
        assert_eq!(seen(&[DEBIAN_13, utmp], true), [true, false, true, true]);
        assert_eq!(seen(&[utmp], false), [true, true, false, true]);
        assert_eq!(seen(&[utmp], true), [false, true, false, true]);
    }
}
