//! Who is logged in: the rows that are sessions, and what their FROM and WHAT mean.

use crate::{
    calendar::{MINUTE, Span},
    table::{
        Logind, Row, Table,
        elapsed::Elapsed,
        login::{Login, LoginTime},
    },
};

/// One login session. Its texts are those that `w` printed; bytes that are not UTF-8 become U+FFFD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// FROM, whether it is an address, a name, or `-`.
    pub ip: Box<str>,
    /// USER.
    pub user: Box<str>,
    /// TTY.
    pub tty: Box<str>,
    /// The part of WHAT that may be shown; `None` if nothing may, or if `w` shows none.
    pub command: Option<Box<str>>,
    /// Whether the user is at this host or another one.
    pub origin: Origin,
    /// When it began.
    pub login: Option<LoginTime>,
    /// How long its terminal has not been used.
    pub idle: Option<Elapsed>,
    /// The CPU time of all processes on its terminal.
    pub cpu: Option<Elapsed>,
    /// What only logind knows of it.
    pub info: Option<Info>,
}

/// What logind knows of a session, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Info {
    /// The program that logged in, by its name for PAM: `sshd`, `login`, `gdm-password`.
    pub service: Box<str>,
    /// `tty`, `x11`, `wayland`, `web` or `unspecified`.
    pub kind: Box<str>,
    /// `user`, or one of its kinds such as `user-early`.
    pub class: Box<str>,
    /// `seat0` at a display and keyboard; empty elsewhere.
    pub seat: Box<str>,
}

/// Whether a session comes from this host or another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// At the console, or inside another session of this host.
    Local,
    /// FROM names another host or an address.
    Remote,
}

impl Origin {
    /// What logind says.
    fn of(is_remote: bool) -> Origin {
        if is_remote { Origin::Remote } else { Origin::Local }
    }
}

/// How much of WHAT is served, because a command line can hold secrets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CommandShown {
    /// Nothing.
    #[default]
    None,
    /// The program's name.
    Name,
    /// The whole command line.
    Full,
}

/// The sessions of a table, sorted by their labels: ip, user, tty, command. They have no login
/// times if the table's clock does not show the time of the run in UTC.
pub fn of_table(table: &Table, run: Span, shown: CommandShown) -> Vec<Session> {
    let utc = table.is_in_utc(run).then_some(run);
    let logins = table.rows.iter().filter(|row| !is_service_manager(row));
    let mut sessions: Vec<Session> = logins.map(|row| session(row, utc, shown)).collect();
    sessions.sort_unstable_by(|a, b| labels(a).cmp(&labels(b)));
    sessions
}

fn labels(session: &Session) -> (&str, &str, &str, Option<&str>) {
    (&session.ip, &session.user, &session.tty, session.command.as_deref())
}

fn session(row: &Row, utc: Option<Span>, shown: CommandShown) -> Session {
    let command = match shown {
        CommandShown::None => None,
        CommandShown::Name => row.what.map(|what| text(program_name(what))),
        CommandShown::Full => row.what.map(command_line),
    };
    let login = utc.zip(row.login).and_then(|(run, login)| {
        let time = login.time(run)?;
        let is_whole = matches!(login, Login::Exact(_));
        (is_whole || !is_contradicted(time, row, run)).then_some(time)
    });
    Session {
        ip: text(row.from),
        user: text(row.user),
        tty: text(row.tty),
        command,
        origin: row
            .logind
            .and_then(|logind| logind.remote)
            .map_or_else(|| origin(row.from), Origin::of),
        login,
        idle: row.idle,
        cpu: row.cpu,
        info: row.logind.map(info),
    }
}

fn info(logind: Logind) -> Info {
    Info {
        service: text(logind.service),
        kind: text(logind.kind),
        class: text(logind.class),
        seat: text(logind.seat),
    }
}

fn text(bytes: &[u8]) -> Box<str> {
    String::from_utf8_lossy(bytes).into()
}

/// The command line, with blanks for the NUL bytes that separate and end the arguments in uutils' `w`
/// from April 2025 to April 2026.
fn command_line(what: &[u8]) -> Box<str> {
    match what.contains(&b'\0') {
        true => text(what).trim_end_matches('\0').replace('\0', " ").into(),
        false => text(what),
    }
}

/// Whether the terminal was unused for longer than the session lasts, as far as both are printed.
/// procps prints `21:16` also for a login on this day of an earlier year.
///
/// A pseudo-terminal begins with its session. Other terminals begin with the system: that of a
/// desktop may never be used, and so look idle since before the login.
fn is_contradicted(login: LoginTime, row: &Row, run: Span) -> bool {
    // As long as it can be: the login is at the start of its step. The minute is for the moments
    // between the terminal's start, the login and the run's end.
    let longest = run.ended.saturating_sub(login.unix).saturating_add(MINUTE);
    let is_longer =
        |idle: Elapsed| i64::try_from(idle.duration.as_secs()).is_ok_and(|idle| idle > longest);
    row.tty.starts_with(b"pts/") && row.idle.is_some_and(is_longer)
}

/// `/lib/systemd/systemd --user` without a terminal: systemd starts one for each user who is logged
/// in. It has no address. A row with an address is a login, whatever it runs, and so is one of which
/// logind has told the class: the built-in `w` lists no managers.
fn is_service_manager(row: &Row) -> bool {
    let Some((program, arguments)) = row.what.and_then(first_word) else {
        return false;
    };
    row.logind.is_none()
        && row.tty.is_empty()
        && matches!(row.from, b"" | b"-")
        && (program == b"systemd" || program.ends_with(b"/systemd"))
        && arguments
            .strip_prefix(b"--user")
            .is_some_and(|rest| matches!(rest, [] | [b' ' | b'\0', ..]))
}

/// A command line up to its first blank, or NUL byte in uutils' `w`, and what follows; `None` if it
/// has no arguments.
fn first_word(what: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = what.iter().position(|byte| matches!(byte, b' ' | b'\0'))?;
    Some((&what[..end], &what[end + 1..]))
}

/// Local are `-`, nothing, X displays, tmux, screen, terminals and display managers of this host;
/// everything else is remote.
pub(crate) fn origin(from: &[u8]) -> Origin {
    // `:0` and `:pts/3:S.0` are displays; `::1` and `::ffff:192.0.2.9` are addresses.
    let display = from.starts_with(b":") && !from.starts_with(b"::");
    let name = from.strip_prefix(b"/dev/").unwrap_or(from);
    // procps prints a host up to its first blank, and a dash instead of the blank.
    let local = matches!(name, b"" | b"-" | b"screen" | b"login screen" | b"login-" | b"console");
    if display || local || name.starts_with(b"tmux(") || is_detached(name) || is_terminal(name) {
        Origin::Local
    } else {
        Origin::Remote
    }
}

/// `local:S.0`: a window of a GNU screen that was started detached.
fn is_detached(from: &[u8]) -> bool {
    let window = from.strip_prefix(b"local:S.").unwrap_or_default();
    !window.is_empty() && window.iter().all(u8::is_ascii_digit)
}

/// `tty7`, `ttyS0`, `ttyAMA0`, `pts/3`, `hvc0`, `rfcomm0`, `seat0`.
fn is_terminal(name: &[u8]) -> bool {
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let Some((unnumbered, [_, ..])) = name.split_at_checked(name.len() - digits) else {
        return false;
    };
    let serial = |kind: &[u8]| kind.len() <= 4 && kind.iter().all(u8::is_ascii_uppercase);
    matches!(unnumbered, b"pts/" | b"hvc" | b"rfcomm" | b"seat" | b"vc/")
        || unnumbered.strip_prefix(b"tty").is_some_and(serial)
}

/// The name of the program in a command line: `-bash` is bash, `/usr/bin/vim x` is vim, `sshd:
/// eve@notty` is sshd.
fn program_name(what: &[u8]) -> &[u8] {
    let leading = what.iter().take_while(|&&byte| byte == b' ').count();
    let what = &what[leading..];
    let program = first_word(what).map_or(what, |(program, _)| program);
    let name = match program.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => &program[slash + 1..],
        None => program,
    };
    let name = name.strip_suffix(b":").unwrap_or(name);
    match name {
        // For a process without a command line, `w` prints only this.
        b"-" => name,
        _ => name.strip_prefix(b"-").unwrap_or(name),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn consoles_displays_and_multiplexers_are_local() {
        for from in [
            "",
            "-",
            ":0",
            ":0.0",
            ":1",
            ":pts/3:S.0",
            "local:S.0",
            "local:S.11",
            "rfcomm0",
            "tmux(1234).%0",
            "screen",
            "login screen",
            "login-",
            "console",
            "tty1",
            "tty7",
            "ttyS0",
            "ttyUSB0",
            "pts/3",
            "/dev/pts/3",
            "hvc0",
            "seat0",
        ] {
            assert_eq!(origin(from.as_bytes()), Origin::Local, "{from}");
        }
    }

    #[test]
    fn addresses_and_names_are_remote() {
        for from in [
            "203.0.113.7",
            "2001:db8::1",
            "::1",
            "::ffff:192.0.2.9",
            "fe80::1%eth0",
            "192.0.2.44:10.0",
            "203.0.113.9-",
            "10.0.0.7:S.0",
            "141:S.11",
            "local:S.",
            "local:S.x",
            "local",
            "mosh-",
            "203.0.113.9 via mosh [12345]",
            "ws.example.com",
            "name-only-host",
            "localhost",
            "127.0.0.1",
            "login",
            "tty",
            "ttyserver1",
            "ttyab1",
            "ttyABCDE1",
            "screen-host",
            "pts/x",
        ] {
            assert_eq!(origin(from.as_bytes()), Origin::Remote, "{from}");
        }
    }

    fn row<'a>(tty: &'a str, from: &'a str, what: &'a str) -> Row<'a> {
        Row {
            user: b"alice",
            tty: tty.as_bytes(),
            from: from.as_bytes(),
            login: None,
            idle: None,
            cpu: None,
            logind: None,
            what: Some(what.as_bytes()),
        }
    }

    #[test]
    fn a_service_manager_is_no_session() {
        assert!(is_service_manager(&row("", "-", "/lib/systemd/systemd --user")));
        assert!(is_service_manager(&row(
            "",
            "",
            "/usr/lib/systemd/systemd --user --deserialize 4"
        )));
        assert!(is_service_manager(&row("", "", "/usr/lib/systemd/systemd\0--user\0")));
        assert!(is_service_manager(&row("", "", "systemd\0--user\0--deserialize\0x\0")));
        assert!(!is_service_manager(&row("", "", "systemd\0--username\0")));
        assert!(!is_service_manager(&row("pts/0", "-", "/lib/systemd/systemd --user")));
        assert!(!is_service_manager(&row("", "203.0.113.7", "/lib/systemd/systemd --user")));
        assert!(!is_service_manager(&row("", "-", "/tmp/notsystemd --user")));
        assert!(!is_service_manager(&row("", "-", "/lib/systemd/systemd --username")));
        assert!(!is_service_manager(&row("", "-", "")));
        // logind says what it is, and any user can name a process so.
        let logind = Logind { remote: None, class: b"user", kind: b"", service: b"", seat: b"" };
        let of_logind = Row { logind: Some(logind), ..row("", "-", "systemd --user") };
        assert!(!is_service_manager(&of_logind));
    }

    #[test]
    fn login_times_are_given_only_where_w_ran_in_utc() {
        let header = "USER     TTY      FROM             LOGIN@   IDLE   JCPU   PCPU WHAT\n";
        let row = "alice    pts/0    203.0.113.7      00:10    1.00s  0.00s   ?    -bash\n";
        // 2026-11-24, 00:15:56.
        let run = Span { began: 1_795_479_355, ended: 1_795_479_356 };
        for (first_line, login) in [
            ("", Some(1_795_479_000)),
            ("\n", Some(1_795_479_000)),
            (" 00:15:56 up  1:25, 1 user,  load average: 0.00, 0.00, 0.00\n", Some(1_795_479_000)),
            (" 09:15:56 up  1:25, 1 user,  load average: 0.00, 0.00, 0.00\n", None),
            (" 19:15:56 up  1:25, 1 user,  load average: 0.00, 0.00, 0.00\n", None),
            (" 00:18:56 up  1:25, 1 user,  load average: 0.00, 0.00, 0.00\n", None),
        ] {
            let printed = format!("{first_line}{header}{row}");
            let table = crate::table::read(printed.as_bytes()).unwrap();
            let sessions = of_table(&table, run, CommandShown::None);
            let logins: Vec<_> =
                sessions.iter().map(|session| session.login.map(|login| login.unix)).collect();
            assert_eq!(logins, [login], "{first_line}");
            assert_eq!(table.is_in_utc(run), login.is_some(), "{first_line}");
        }
    }

    #[test]
    fn the_name_of_a_command_holds_none_of_its_arguments() {
        for (what, name) in [
            ("vim notes.txt", "vim"),
            ("-bash", "bash"),
            ("/usr/bin/mysql -psecret", "mysql"),
            ("sshd: alice@notty", "sshd"),
            ("  leading trailing ", "leading"),
            ("[python3] <defunct>", "[python3]"),
            ("-", "-"),
            ("", ""),
            ("   ", ""),
            ("/usr/bin/", ""),
            ("mysql\0-u\0root\0-psecret\0", "mysql"),
            ("/usr/bin/mysql\0-psecret\0", "mysql"),
            ("-bash\0", "bash"),
            ("sshd: alice@notty\0", "sshd"),
            ("\0", ""),
        ] {
            assert_eq!(program_name(what.as_bytes()), name.as_bytes(), "{what}");
        }
    }

    #[test]
    fn a_command_line_has_blanks_for_nul_bytes() {
        for (what, shown) in [
            ("mysql\0-u\0root\0", "mysql -u root"),
            ("sh\0-c\0\0x\0\0", "sh -c  x"),
            ("vim \0a b", "vim  a b"),
            (" both ends ", " both ends "),
            ("\0", ""),
        ] {
            assert_eq!(&*command_line(what.as_bytes()), shown, "{what:?}");
        }
    }

    #[test]
    fn a_login_time_that_the_idle_time_contradicts_is_not_given() {
        // 2026-11-24, 00:15:56.
        let run = Span { began: 1_795_479_355, ended: 1_795_479_356 };
        let given = |tty: &str, login: &str, idle: &str| {
            let header = "USER     TTY      FROM             LOGIN@   IDLE   JCPU   PCPU WHAT";
            let printed = format!(
                "{header}\nalice    {tty:<8} 203.0.113.7      {login:<7} {idle:<6}  0.00s   ?    -bash\n"
            );
            let table = crate::table::read(printed.as_bytes()).unwrap();
            of_table(&table, run, CommandShown::None)[0].login.is_some()
        };
        for (tty, login, idle, is_given) in [
            ("pts/0", "00:05", "365days", false),
            ("pts/0", "00:05", "731days", false),
            ("pts/0", "00:05", " 2days", false),
            ("pts/0", "00:05", "12:30 ", false),
            ("pts/0", "00:05", "11:55 ", true),
            ("pts/0", "00:05", "10:55 ", true),
            ("pts/0", "21:15", " 3:01m", true),
            ("pts/0", "21:15", " 3:02m", false),
            ("pts/0", "Sun00", "48:10m", true),
            ("pts/0", "Sun00", " 2days", true),
            ("pts/0", "Sun00", " 3days", false),
            ("pts/0", "24Nov25", "364days", true),
            ("pts/0", "00:05", "  ?   ", true),
            ("tty2", "00:05", " 2days", true),
        ] {
            assert_eq!(given(tty, login, idle), is_given, "{tty} {login} {idle}");
        }
    }
}
