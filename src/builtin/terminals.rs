//! Names and numbers of terminals, and when they were last used.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use crate::{calendar::MINUTE, table::terminal::is_terminal};

/// The first major number of pseudo-terminals (`UNIX98_PTY_SLAVE_MAJOR`).
const PTS: u32 = 136;

/// A terminal of this system.
pub(super) struct Terminal {
    /// As in `/proc/PID/stat`.
    pub number: u32,
    pub owner: Option<u32>,
    /// When somebody last typed, Unix seconds; `None` without a device.
    used: Option<i64>,
}

impl Terminal {
    /// `None` if this is no name of a terminal here, or if the terminal is not this user's.
    ///
    /// sshd and terminal emulators give a pseudo-terminal to its user. If `/dev/pts` is that of a
    /// container, the one with the same number there is another's. In a user namespace that does not
    /// have this user, the owner of his own cannot be told either.
    pub(super) fn find(dev: &Path, name: &[u8], uid: Option<u32>) -> Option<Terminal> {
        // Whoever can choose a name must not choose a path.
        let name = std::str::from_utf8(name).ok().filter(|name| is_terminal(name.as_bytes()))?;
        let minor = name.strip_prefix("pts/").map(str::parse);
        let device = fs::metadata(dev.join(name));
        let Some(device) = device.ok().filter(|device| device.file_type().is_char_device()) else {
            let number = number(PTS, minor?.ok()?);
            return Some(Terminal { number, owner: None, used: None });
        };
        let (number, owner) = (device.rdev() as u32, device.uid());
        let is_of_another = minor.is_some() && uid.is_some_and(|uid| uid != owner);
        let used = Some(device.atime());
        (!is_of_another).then_some(Terminal { number, owner: Some(owner), used })
    }

    /// For how many seconds nobody has typed. `None` if it was last used at an impossible time,
    /// because its user can set that time to any.
    pub(super) fn idle(&self, now: i64) -> Option<u64> {
        // It can have been used since the clock was read.
        let possible = 0..=now.saturating_add(MINUTE);
        let used = self.used.filter(|used| possible.contains(used))?;
        u64::try_from((now - used).max(0)).ok()
    }
}

/// A number of the kernel (`new_encode_dev`).
fn number(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// The name in `/dev` of the pseudo-terminal with this number. `None` if it is another terminal.
pub(super) fn pts(number: u32) -> Option<Vec<u8>> {
    let major = (number >> 8) & 0xfff;
    let minor = (number & 0xff) | ((number >> 12) & 0xf_ff00);
    (major == PTS).then(|| format!("pts/{minor}").into_bytes())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{env, os::unix::fs::symlink, path::PathBuf, process};

    use super::*;

    #[test]
    fn pseudo_terminals_are_named_as_in_dev() {
        for (minor, expected) in
            [(0, "pts/0"), (255, "pts/255"), (256, "pts/256"), (1_048_575, "pts/1048575")]
        {
            let name = pts(number(PTS, minor)).unwrap_or_default();
            assert_eq!(String::from_utf8_lossy(&name), expected);
        }
        for (major, minor) in [(4, 1), (4, 64), (135, 0), (137, 0), (0, 0)] {
            assert_eq!(pts(number(major, minor)), None, "{major} {minor}");
        }
    }

    /// A folder in which a name is a link to a device that every system has. It is removed with this
    /// value.
    struct Dev(PathBuf);

    impl Dev {
        fn with(name: &str) -> Dev {
            let dev = env::temp_dir().join(format!("{}-{}", process::id(), name.replace('/', "-")));
            fs::create_dir_all(dev.join("pts")).unwrap();
            symlink("/dev/null", dev.join(name)).unwrap();
            Dev(dev)
        }

        fn number(&self, name: &str, uid: Option<u32>) -> Option<u32> {
            Terminal::find(&self.0, name.as_bytes(), uid).map(|found| found.number)
        }
    }

    impl Drop for Dev {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn only_terminals_are_found() {
        let dev = Dev::with("ttyS0");
        assert_eq!(dev.number("ttyS0", None), Some(number(1, 3)));
        for name in [
            "",
            "/dev/null",
            "ttyS1",
            "ttyS0/x",
            "../dev/null",
            "./ttyS0",
            "pts",
            "pts/x",
            "pts/-1",
            "pts/99999999999",
            "seat0",
            "web console",
            ":0",
            "shm",
            "\0",
            "pts/",
        ] {
            assert_eq!(dev.number(name, None), None, "{name}");
        }
        assert!(Terminal::find(&dev.0, b"\xff", None).is_none());
    }

    #[test]
    fn without_a_device_a_pseudo_terminal_has_its_number_only() {
        let found = Terminal::find(Path::new("/nowhere"), b"pts/256", Some(1000)).unwrap();
        assert_eq!((found.number, found.owner, found.idle(1)), (number(136, 256), None, None));
        assert!(Terminal::find(Path::new("/nowhere"), b"tty1", None).is_none());
    }

    #[test]
    fn a_pseudo_terminal_of_another_user_is_not_that_of_the_session() {
        let dev = Dev::with("pts/0");
        let owner = fs::metadata("/dev/null").unwrap().uid();
        assert!(dev.number("pts/0", Some(owner)).is_some());
        assert_eq!(dev.number("pts/0", Some(owner + 1)), None);
        assert!(dev.number("pts/0", None).is_some());
        // The console of a display server is root's.
        let dev = Dev::with("tty7");
        assert!(dev.number("tty7", Some(owner + 1)).is_some());
    }

    #[test]
    fn a_time_that_cannot_be_is_no_idle_time() {
        let idle = |used| Terminal { number: 0, owner: None, used: Some(used) }.idle(1000);
        for (used, seconds) in [(1000, 0), (999, 1), (0, 1000), (1001, 0), (1060, 0)] {
            assert_eq!(idle(used), Some(seconds), "{used}");
        }
        for used in [-1, -9_000_000_000, i64::MIN, 1061, i64::MAX] {
            assert_eq!(idle(used), None, "{used}");
        }
    }
}
