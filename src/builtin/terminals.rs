//! Names and numbers of terminals, and when they were last used.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

/// The first major number of pseudo-terminals (`UNIX98_PTY_SLAVE_MAJOR`).
const PTS: u32 = 136;

/// A terminal of this system.
pub(super) struct Terminal {
    /// As in `/proc/PID/stat`.
    pub number: u32,
    /// When somebody last typed, Unix seconds; `None` without a device.
    pub used: Option<i64>,
    pub owner: Option<u32>,
    is_pseudo: bool,
}

impl Terminal {
    /// `None` if this is no name of a terminal here.
    pub(super) fn find(dev: &Path, name: &[u8]) -> Option<Terminal> {
        let name = std::str::from_utf8(name)
            .ok()
            .filter(|name| !name.is_empty() && !name.contains(".."))?;
        let minor = name.strip_prefix("pts/").and_then(|minor| minor.parse().ok());
        let is_pseudo = minor.is_some();
        match fs::metadata(dev.join(name)) {
            Ok(device) if device.file_type().is_char_device() => Some(Terminal {
                number: device.rdev() as u32,
                used: Some(device.atime()),
                owner: Some(device.uid()),
                is_pseudo,
            }),
            _ => Some(Terminal { number: number(PTS, minor?), used: None, owner: None, is_pseudo }),
        }
    }

    /// Whether it can be this user's. sshd and terminal emulators give a pseudo-terminal to its
    /// user. If `/dev/pts` is that of a container, the one with the same number there is not his. In
    /// a user namespace that does not have this user, the owner of his own cannot be told either.
    pub(super) fn is_of(&self, uid: Option<u32>) -> bool {
        !self.is_pseudo || self.owner.zip(uid).is_none_or(|(owner, uid)| owner == uid)
    }
}

/// A number of the kernel (`new_encode_dev`).
fn number(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// The kernel's list of terminals, `/proc/tty/drivers`.
pub(super) struct Drivers(String);

impl Drivers {
    pub(super) fn read(root: &Path) -> Drivers {
        Drivers(fs::read_to_string(root.join("proc/tty/drivers")).unwrap_or_default())
    }

    /// The name in `/dev` of the terminal with this number.
    pub(super) fn name(&self, number: u32) -> Option<Vec<u8>> {
        let major = (number >> 8) & 0xfff;
        let minor = (number & 0xff) | ((number >> 12) & 0xf_ff00);
        let name = self.0.lines().find_map(|line| name(line, major, minor))?;
        Some(name.into_bytes())
    }
}

/// Reads a line: name, path, major number, minor numbers, type. `/dev/tty` stands for the consoles
/// from `tty1` on, and for serial lines such as `/dev/ttyS` the first minor is line 0.
fn name(line: &str, major: u32, minor: u32) -> Option<String> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let path = words.next()?.strip_prefix("/dev/")?;
    let is_major = words.next()?.parse() == Ok(major);
    let minors = words.next()?;
    let (first, last) = minors.split_once('-').unwrap_or((minors, minors));
    let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
    if !is_major || !(first..=last).contains(&minor) {
        return None;
    }
    Some(match path {
        _ if first == last => path.to_owned(),
        "tty" => format!("tty{minor}"),
        "pts" => format!("pts/{}", minor - first),
        _ => format!("{path}{}", minor - first),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRIVERS: &str = "\
/dev/tty             /dev/tty        5       0 system:/dev/tty
/dev/console         /dev/console    5       1 system:console
/dev/ptmx            /dev/ptmx       5       2 system
/dev/vc/0            /dev/vc/0       4       0 system:vtmaster
hvc                  /dev/hvc      229 0-7 system
rfcomm               /dev/rfcomm   216 0-255 serial
serial               /dev/ttyS       4 64-95 serial
ttyAMA               /dev/ttyAMA   204 64-77 serial
pty_slave            /dev/pts      136 0-1048575 pty:slave
pty_master           /dev/ptm      128 0-1048575 pty:master
unknown              /dev/tty        4 1-63 console
";

    #[test]
    fn terminals_are_named_as_in_dev() {
        let drivers = Drivers(DRIVERS.to_owned());
        for (major, minor, expected) in [
            (136, 0, "pts/0"),
            (136, 255, "pts/255"),
            (136, 256, "pts/256"),
            (136, 1_048_575, "pts/1048575"),
            (4, 1, "tty1"),
            (4, 63, "tty63"),
            (4, 64, "ttyS0"),
            (204, 65, "ttyAMA1"),
            (229, 7, "hvc7"),
            (5, 1, "console"),
            (4, 0, "vc/0"),
            (216, 3, "rfcomm3"),
        ] {
            let name = drivers.name(number(major, minor)).unwrap_or_default();
            assert_eq!(String::from_utf8_lossy(&name), expected);
        }
        for (major, minor) in [(229, 8), (3, 0), (204, 63), (0, 0)] {
            assert_eq!(drivers.name(number(major, minor)), None, "{major} {minor}");
        }
        for line in
            ["", "\n", "a", "a /dev/a", "a /dev/a 0", "a /dev/a 0 x", "a b 0 0", "a /dev/a 0 0-x"]
        {
            assert_eq!(Drivers(line.to_owned()).name(0), None, "{line}");
        }
    }

    #[test]
    fn only_terminals_are_found() {
        let dev = Path::new("/dev");
        for name in [
            "",
            "null/x",
            "../dev/null",
            "pts/x",
            "pts/-1",
            "seat0",
            "web console",
            ":0",
            "shm",
            "\0",
            "pts/",
        ] {
            assert!(Terminal::find(dev, name.as_bytes()).is_none(), "{name}");
        }
        assert!(Terminal::find(dev, b"\xff").is_none());
        let device = Terminal::find(dev, b"null");
        assert_eq!(device.map(|found| (found.number, found.owner)), Some((number(1, 3), Some(0))));
    }

    #[test]
    fn without_a_device_a_pseudo_terminal_has_its_number_only() {
        let found = Terminal::find(Path::new("/nowhere"), b"pts/256");
        let facts = found.map(|found| (found.number, found.used, found.is_of(Some(1000))));
        assert_eq!(facts, Some((number(136, 256), None, true)));
        assert!(Terminal::find(Path::new("/nowhere"), b"tty1").is_none());
    }

    #[test]
    fn a_pseudo_terminal_of_another_user_is_not_that_of_the_session() {
        let terminal = |owner, is_pseudo| Terminal { number: 0, used: None, owner, is_pseudo };
        assert!(terminal(Some(1000), true).is_of(Some(1000)));
        assert!(!terminal(Some(0), true).is_of(Some(1000)));
        // The console of a display server is root's.
        assert!(terminal(Some(0), false).is_of(Some(1000)));
        assert!(terminal(Some(0), true).is_of(None));
    }
}
