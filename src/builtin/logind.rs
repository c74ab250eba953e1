//! What logind knows: the files `/run/systemd/sessions/ID`, which libsystemd's sd-login reads too.
//!
//! systemd calls them private. Their lines have had the same form and these names from 247 (Debian
//! 11) to 262, and elogind has them as well. A file that lacks what a session must have is an
//! error, never a guess.
//!
//! | version | values |
//! |---|---|
//! | to 257 | as they are; REMOTE_HOST and SERVICE with C's escapes (`cescape`) |
//! | 258 on | in double quotes where a shell needs them, with a backslash before `"`, `\`, `` ` `` and `$`; a line feed can stand between the quotes |
//!
//! To 257, DISPLAY is as it is too, and the user of a session can set it to any text (`SetDisplay`):
//! `x\nSTATE=closing`, a quote that nothing closes, megabytes. logind writes UID, USER, STATE, REMOTE,
//! TYPE, CLASS and SCOPE before it, and LEADER and REALTIME after it. So such a user can only add
//! what logind has not written of this session: its terminal, seat, address or service.

use std::{
    fs::{self, ReadDir},
    io,
};

use anyhow::{Context, Result, bail};

use super::Login;

/// What only logind tells of a session.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub uid: Option<u32>,
    /// `1` if the user is at another host, else `0`.
    pub remote: Vec<u8>,
    pub class: Vec<u8>,
    pub kind: Vec<u8>,
    pub service: Vec<u8>,
    pub seat: Vec<u8>,
    /// The control group of its processes: SCOPE; without it the session's identifier, as elogind
    /// names it.
    pub unit: Vec<u8>,
    pub has_scope: bool,
}

/// Reads all sessions of users that are not closing.
pub(super) fn read(entries: ReadDir) -> Result<Vec<Login>> {
    let mut sessions = Vec::new();
    for entry in entries {
        let entry = entry.context("/run/systemd/sessions can't be read")?;
        let name = entry.file_name();
        let id = name.as_encoded_bytes();
        // Named pipes end in .ref, and files that are being written begin with a dot.
        if !id.iter().all(u8::is_ascii_alphanumeric) {
            continue;
        }
        let path = entry.path();
        let file = match fs::read(&path) {
            // It has ended.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file.with_context(|| format!("{} can't be read", path.display()))?,
        };
        sessions.extend(session(id, &ends(file)).with_context(|| path.display().to_string())?);
    }
    Ok(sessions)
}

/// logind's own values take less at both ends of a file. Between them, DISPLAY can have any length.
const END: usize = 8 * 1024;

/// The file, or if it is longer than logind makes one, both its ends.
fn ends(file: Vec<u8>) -> Vec<u8> {
    if file.len() <= 2 * END {
        return file;
    }
    [&file[..END], b"\n", &file[file.len() - END..]].concat()
}

/// Reads a file. `None` if it is no session of a user, or is closing: its first process has ended,
/// and only what it left behind runs.
fn session(id: &[u8], file: &[u8]) -> Result<Option<Login>> {
    let values = Values::read(file)?;
    let class = values.get("CLASS").context("it has no CLASS")?;
    if !class.starts_with(b"user") || values.get("STATE") == Some(b"closing") {
        return Ok(None);
    }
    let scope = values.get("SCOPE");
    let remote = values.text("REMOTE");
    if !matches!(remote.as_slice(), b"" | b"0" | b"1") {
        bail!("REMOTE is neither 0 nor 1: {}", remote.escape_ascii());
    }
    let facts = Facts {
        uid: values.number("UID")?,
        remote,
        class: class.to_vec(),
        kind: values.text("TYPE"),
        service: values.text("SERVICE"),
        seat: values.text("SEAT"),
        unit: scope.unwrap_or(id).to_vec(),
        has_scope: scope.is_some(),
    };
    let microseconds: u64 = values.number("REALTIME")?.context("it has no login time")?;
    Ok(Some(Login {
        user: values.get("USER").context("it has no USER")?.to_vec(),
        tty: values.text("TTY"),
        from: values.text("REMOTE_HOST"),
        began: microseconds / 1_000_000,
        process: values.number("LEADER")?,
        logind: facts,
    }))
}

/// The names and values of a file.
struct Values<'a>(Vec<(&'a [u8], Vec<u8>)>);

impl<'a> Values<'a> {
    fn read(mut file: &'a [u8]) -> Result<Values<'a>> {
        let mut values = Vec::new();
        while !file.is_empty() {
            let end =
                file.iter().position(|byte| matches!(byte, b'=' | b'\n')).unwrap_or(file.len());
            let (name, rest) = file.split_at(end);
            let Some(value) = rest.strip_prefix(b"=") else {
                // The comment at the top.
                file = rest.get(1..).unwrap_or_default();
                continue;
            };
            // A quote that nothing closes is part of the value.
            let quoted = value.strip_prefix(b"\"").and_then(unquote);
            let (text, rest) = quoted
                .or_else(|| until_line_feed(name, value))
                .with_context(|| format!("it is cut off in {}", name.escape_ascii()))?;
            values.push((name, text));
            file = rest;
        }
        // Of two equal names, the first counts up to DISPLAY, and the last after it.
        if let Some(display) = values.iter().position(|(name, _)| *name == b"DISPLAY") {
            values[display..].reverse();
        }
        Ok(Values(values))
    }

    /// A value that is there and not empty.
    fn get(&self, name: &str) -> Option<&[u8]> {
        let value = self.0.iter().find(|(other, _)| *other == name.as_bytes());
        value.map(|(_, text)| text.as_slice()).filter(|text| !text.is_empty())
    }

    fn text(&self, name: &str) -> Vec<u8> {
        self.get(name).unwrap_or_default().to_vec()
    }

    fn number<N: std::str::FromStr>(&self, name: &str) -> Result<Option<N>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        match number {
            Some(number) => Ok(Some(number)),
            None => bail!("{name} is no number: {}", text.escape_ascii()),
        }
    }
}

/// A value without quotes, and what follows its line feed.
fn until_line_feed<'a>(name: &[u8], text: &'a [u8]) -> Option<(Vec<u8>, &'a [u8])> {
    let end = text.iter().position(|&byte| byte == b'\n')?;
    let (value, rest) = (&text[..end], &text[end + 1..]);
    let is_escaped = matches!(name, b"REMOTE_HOST" | b"SERVICE");
    Some((if is_escaped { unescape(value) } else { value.to_vec() }, rest))
}

/// A value up to its closing quote, and what follows the line feed behind that.
fn unquote(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut value = Vec::new();
    let mut rest = text;
    loop {
        rest = match rest {
            [b'"', b'\n', rest @ ..] => return Some((value, rest)),
            [b'\\', byte @ (b'"' | b'\\' | b'`' | b'$'), rest @ ..] | [byte, rest @ ..] => {
                value.push(*byte);
                rest
            }
            [] => return None,
        };
    }
}

/// Undoes systemd's `cescape`: letters and three octal digits.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        let (byte, length) = match byte {
            b'\\' => escape(after).unwrap_or((b'\\', 0)),
            byte => (*byte, 0),
        };
        value.push(byte);
        rest = &after[length..];
    }
    value
}

/// The byte that an escape stands for, and its length without the backslash.
fn escape(text: &[u8]) -> Option<(u8, usize)> {
    let octal = |digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok();
    Some(match text.first()? {
        // A control character, which is printed like this.
        b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' => (b'?', 1),
        byte @ (b'\\' | b'"' | b'\'') => (*byte, 1),
        _ => (octal(text.get(..3)?)?, 3),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As logind of systemd 252 writes it.
    const FILE: &str = "\
# This is private data. Do not parse.
UID=1000
USER=alice
ACTIVE=1
IS_DISPLAY=1
STATE=active
REMOTE=1
TYPE=tty
ORIGINAL_TYPE=tty
CLASS=user
SCOPE=session-3.scope
FIFO=/run/systemd/sessions/3.ref
TTY_VALIDITY=from-pam
REMOTE_HOST=192.0.2.7
SERVICE=sshd
LEADER=812
AUDIT=3
REALTIME=1795478400123456
MONOTONIC=12345678
";

    fn read(file: &str) -> Result<Option<Login>> {
        session(b"3", file.as_bytes())
    }

    fn complaint(file: &str) -> String {
        read(file).map_or_else(|error| format!("{error:#}"), |login| format!("read: {login:?}"))
    }

    fn login() -> Login {
        Login {
            user: b"alice".to_vec(),
            tty: Vec::new(),
            from: b"192.0.2.7".to_vec(),
            began: 1_795_478_400,
            process: Some(812),
            logind: Facts {
                uid: Some(1000),
                remote: b"1".to_vec(),
                class: b"user".to_vec(),
                kind: b"tty".to_vec(),
                service: b"sshd".to_vec(),
                seat: Vec::new(),
                unit: b"session-3.scope".to_vec(),
                has_scope: true,
            },
        }
    }

    #[test]
    fn a_session_file_is_read() {
        assert_eq!(read(FILE).unwrap(), Some(login()));
        // As 258 and later write what a shell would have to quote.
        let quoted = FILE.replace("=192.0.2.7", "=\"192.0.2.7\"").replace("=alice", "=\"alice\"");
        assert_eq!(read(&quoted).unwrap(), Some(login()));
    }

    #[test]
    fn only_sessions_of_users_that_are_not_closing_are_listed() {
        for class in ["user", "user-early", "user-light", "user-early-light", "user-incomplete"] {
            let file = FILE.replace("CLASS=user", &format!("CLASS={class}"));
            assert!(read(&file).unwrap().is_some(), "{class}");
        }
        for class in ["greeter", "lock-screen", "background", "background-light", "manager", "none"]
        {
            let file = FILE.replace("CLASS=user", &format!("CLASS={class}"));
            assert_eq!(read(&file).unwrap(), None, "{class}");
        }
        for state in ["opening", "online"] {
            let file = FILE.replace("STATE=active", &format!("STATE={state}"));
            assert!(read(&file).unwrap().is_some(), "{state}");
        }
        assert_eq!(read(&FILE.replace("STATE=active", "STATE=closing")).unwrap(), None);
    }

    #[test]
    fn what_a_session_must_have_is_never_guessed() {
        for (without, said) in [
            ("USER=alice\n", "it has no USER"),
            ("CLASS=user\n", "it has no CLASS"),
            ("REALTIME=1795478400123456\n", "it has no login time"),
        ] {
            assert_eq!(complaint(&FILE.replace(without, "")), said);
        }
        assert_eq!(complaint(&FILE.replace("USER=alice", "USER=")), "it has no USER");
        assert_eq!(complaint(""), "it has no CLASS");
        assert_eq!(
            complaint(&FILE.replace("REALTIME=1795", "REALTIME=x1795")),
            "REALTIME is no number: x1795478400123456"
        );
        let remote = FILE.replace("REMOTE=1", "REMOTE=yes");
        assert_eq!(complaint(&remote), "REMOTE is neither 0 nor 1: yes");
        assert_eq!(complaint(FILE.trim_end()), "it is cut off in MONOTONIC");
    }

    #[test]
    fn what_a_session_can_lack_is_empty() {
        let mut bare = login();
        bare.process = None;
        bare.from.clear();
        let class = b"user".to_vec();
        bare.logind = Facts { class, unit: b"3".to_vec(), ..Facts::default() };
        let file = "USER=alice\nCLASS=user\nREALTIME=1795478400123456\n";
        assert_eq!(read(file).unwrap(), Some(bare));
    }

    #[test]
    fn escapes_are_undone_where_a_version_writes_them() {
        let host = |value: &str| {
            let file = FILE.replace("REMOTE_HOST=192.0.2.7", &format!("REMOTE_HOST={value}"));
            read(&file).unwrap().map(|login| String::from_utf8(login.from).unwrap()).unwrap()
        };
        for (value, is) in [
            (r"m\303\274nchen", "m\u{fc}nchen"),
            (r"a\nUSER=root", "a?USER=root"),
            (r#"\"\'\\\t"#, "\"'\\?"),
            (r"\9\40", r"\9\40"),
            (r"\", r"\"),
            (r#""a \"b\" \\ \$c \`d\` \n""#, r#"a "b" \ $c `d` \n"#),
            ("\"a\nUSER=root\nSTATE=closing\"", "a\nUSER=root\nSTATE=closing"),
        ] {
            assert_eq!(host(value), is, "{value}");
        }
        // Users of a domain.
        let user = |value: &str| {
            let file = FILE.replace("USER=alice", &format!("USER={value}"));
            read(&file).unwrap().map(|login| String::from_utf8(login.user).unwrap()).unwrap()
        };
        assert_eq!(user(r"CORP\alice"), r"CORP\alice");
        assert_eq!(user(r#""CORP\\alice""#), r"CORP\alice");
    }

    /// The session with this text in DISPLAY, which stands behind SCOPE and before REMOTE_HOST.
    fn with_display(display: &str) -> Option<Login> {
        let before = "REMOTE_HOST=";
        let file = FILE.replace(before, &format!("DISPLAY={display}\n{before}"));
        session(b"3", &ends(file.into_bytes())).unwrap()
    }

    #[test]
    fn with_display_a_user_hides_no_session_and_takes_no_other_name() {
        let lines = [
            "UID=0",
            "USER=root",
            "STATE=closing",
            "REMOTE=0",
            "TYPE=x11",
            "CLASS=greeter",
            "SCOPE=a",
            "REMOTE_HOST=x",
            "REMOTE_HOST=\"x",
            "SERVICE=\"x\"",
            "LEADER=x",
            "REALTIME=x",
            "=",
            "x=\"",
        ];
        for line in lines {
            for display in [format!("x\n{line}"), format!("\"\n{line}"), format!("\"x\"\n{line}")] {
                assert_eq!(with_display(&display), Some(login()), "{display:?}");
            }
        }
        for display in ["", ":0", "\"", "\"x", "\"x\"", "\\", "\"\\", "\n", "\n\n"] {
            assert_eq!(with_display(display), Some(login()), "{display:?}");
        }
        for long in ["x", "\n", "=\n", "a=\"\n", "TYPE=x11\n", "SERVICE=\"\n"] {
            assert_eq!(with_display(&long.repeat(1_000_000)), Some(login()), "{long:?}");
        }
        // What logind has not written.
        let forged = with_display("x\nTTY=pts/7\nSEAT=seat0").unwrap();
        assert_eq!((forged.tty, forged.logind.seat), (b"pts/7".to_vec(), b"seat0".to_vec()));
        // Without it, the first counts.
        assert_eq!(read(&format!("{FILE}USER=root\nREALTIME=x\n")).unwrap(), Some(login()));
    }

    #[test]
    fn of_a_long_file_both_ends_are_read() {
        let whole = vec![b'a'; 2 * 8192];
        assert_eq!(ends(whole.clone()), whole);
        let long = [[b'a'; 8192], [b'x'; 8192], [b'z'; 8192]].concat();
        assert_eq!(ends(long), [&[b'a'; 8192][..], b"\n", &[b'z'; 8192]].concat());
    }

    #[test]
    fn a_file_that_is_cut_off_is_never_another_session() {
        let quoted = FILE.replace("=192.0.2.7", "=\"192.0.2.7 x\"");
        for file in [FILE, &quoted] {
            let whole = read(file).unwrap().unwrap();
            // Nothing that is listed stands behind REALTIME.
            let complete = file.find("MONOTONIC").unwrap();
            for end in 0..file.len() {
                if let Ok(login) = read(&file[..end]) {
                    assert!(end >= complete && login.as_ref() == Some(&whole), "{end}");
                }
            }
        }
    }

    /// As logind of systemd 258 and later writes a value.
    fn quote(value: &[u8]) -> Vec<u8> {
        let mut quoted = vec![b'"'];
        for &byte in value {
            if b"\"\\`$".contains(&byte) {
                quoted.push(b'\\');
            }
            quoted.push(byte);
        }
        quoted.push(b'"');
        quoted
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(file in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = session(b"3", &file);
        }

        #[test]
        fn no_display_forges_what_logind_writes(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("\n"), Just("\""), Just("="), Just("\\"), Just("x"), Just("STATE=closing\n"),
                    Just("USER=root\n"), Just("LEADER=\""), Just("REALTIME=1"), Just("REMOTE_HOST="),
                ],
                0..30,
            ),
        ) {
            prop_assert_eq!(with_display(&parts.concat()), Some(login()));
        }

        #[test]
        fn no_value_in_quotes_forges_another(
            value in proptest::collection::vec(
                prop_oneof![Just(b'"'), Just(b'\\'), Just(b'\n'), Just(b'='), 1u8..],
                1..60,
            ),
        ) {
            let (before, after) = FILE.split_once("192.0.2.7").unwrap();
            let file = [before.as_bytes(), &quote(&value), after.as_bytes()].concat();
            let expected = Login { from: value, ..login() };
            prop_assert_eq!(session(b"3", &file).unwrap(), Some(expected));
        }
    }
}
