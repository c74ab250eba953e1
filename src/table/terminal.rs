//! Which names in TTY are terminals. Without a terminal there is no idle time and no CPU time,
//! whatever `w` prints. procps prints 0.00s for both if there is no such device. For a blank TTY,
//! several versions print the idle time of the directory `/dev`.
//!
//! Logins without a device have other names there: `seat0` (gdm), `web cons` (Cockpit's `web
//! console`), `:0` and `:pts/3:S.0` (X, screen), `ftpd4711`, `smb/7`, `sshd`. There is no list of
//! such names, so this is a list of terminals.

/// Whether this is a name of a terminal on Linux: the virtual and serial lines `tty…`,
/// pseudo-terminals, serial lines over Bluetooth (`rfcomm…`), and the consoles of hypervisors and containers that systemd starts a login on.
/// procps cuts the name to 8 bytes.
pub(crate) fn is_terminal(name: &[u8]) -> bool {
    const NUMBERED: [&[u8]; 8] =
        [b"pts/", b"hvc", b"hvsi", b"xvc", b"vc/", b"tts/", b"rfcomm", b"sclp_line"];
    const NAMED: [&[u8]; 3] = [b"tty", b"lxc/", b"3270/"];
    let rest_is = |starts: &[&[u8]], kind: fn(&u8) -> bool| {
        let mut rests = starts.iter().filter_map(|start| name.strip_prefix(*start));
        rests.any(|rest| !rest.is_empty() && rest.iter().all(kind))
    };
    matches!(name, b"console" | b"sclp_lin")
        || rest_is(&NUMBERED, u8::is_ascii_digit)
        || rest_is(&NAMED, u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_have_a_device() {
        for name in [
            "tty1",
            "tty63",
            "ttyS0",
            "ttyAMA0",
            "ttyUSB10",
            "ttymxc1",
            "ttysclp0",
            "ttyp0",
            "ttyzf",
            "pts/0",
            "pts/1234",
            "hvc0",
            "hvsi0",
            "xvc0",
            "vc/1",
            "tts/0",
            "rfcomm0",
            "rfcomm10",
            "console",
            "lxc/tty1",
            "lxc/cons",
            "lxc/console",
            "3270/tty",
            "3270/tty1",
            "sclp_lin",
            "sclp_line0",
        ] {
            assert!(is_terminal(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn what_else_is_logged_in_has_none() {
        for name in [
            "", "seat0", "web cons", "web", ":0", ":0.0", ":pts/3:S", "ftpd4711", "vsftpd:1",
            "smb/7", "sshd", "ssh", "notty", "cron", "login", "~", "?", "-", "tty", "tty+5",
            "tty/", "pts/", "pts/x", "pts", "a b\tc", "../etc/p", "xxxxxxxx", "unix:1", "dev/pts/",
            "hvc", "rfcomm", "rfcomm-",
        ] {
            assert!(!is_terminal(name.as_bytes()), "{name}");
        }
    }
}
