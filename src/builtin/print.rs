//! Writes the table, in the form that `table::builtin` reads.

use super::Row;
use crate::table::builtin::{HEADER, UNLISTED};

/// The bytes of a row with names of usual length, to allocate once.
const ROW: usize = 128;

pub(super) fn table(rows: &[Row], unlisted: Option<usize>) -> Vec<u8> {
    let mut text = Vec::with_capacity(ROW * (rows.len() + 2));
    text.extend(HEADER.as_bytes());
    text.push(b'\n');
    for row in rows {
        print(&mut text, row);
    }
    if let Some(unlisted) = unlisted {
        text.extend(format!("{UNLISTED}{unlisted}\n").as_bytes());
    }
    text
}

fn print(text: &mut Vec<u8>, Row { login, idle, cpu, what }: &Row) {
    // As procps prints it.
    let from = if login.from.is_empty() { b"-" } else { login.from.as_slice() };
    for field in [&login.user, &login.tty, from] {
        clean(text, field);
        text.push(b'\t');
    }
    let idle = idle.map_or_else(String::new, |seconds| seconds.to_string());
    let cpu = cpu.map_or_else(String::new, |cpu| format!("{}.{:02}", cpu / 100, cpu % 100));
    text.extend(format!("{}\t{idle}\t{cpu}\t", login.began).as_bytes());
    match &login.logind {
        Some(facts) => {
            let remote = match facts.remote {
                Some(true) => "1",
                Some(false) => "0",
                None => "",
            };
            text.extend(remote.as_bytes());
            for field in [&facts.class, &facts.kind, &facts.service, &facts.seat] {
                text.push(b'\t');
                clean(text, field);
            }
        }
        None => text.extend(b"\t\t\t\t"),
    }
    text.push(b'\t');
    clean(text, what);
    text.push(b'\n');
}

/// Nobody can forge a row with a tab or a line feed in a name.
fn clean(text: &mut Vec<u8>, field: &[u8]) {
    text.extend(field.iter().map(|byte| if byte.is_ascii_control() { b'?' } else { *byte }));
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Login, logind::Facts},
        *,
    };

    fn row(user: &str, logind: Option<Facts>) -> Row {
        let login = Login {
            user: user.into(),
            tty: b"pts/3".to_vec(),
            from: b"192.0.2.7".to_vec(),
            began: 1_795_478_400,
            process: None,
            logind,
        };
        Row { login, idle: Some(61), cpu: Some(173), what: b"vim notes.txt".to_vec() }
    }

    fn facts() -> Facts {
        Facts {
            remote: Some(true),
            class: b"user".to_vec(),
            kind: b"tty".to_vec(),
            service: b"sshd".to_vec(),
            seat: b"seat0".to_vec(),
            ..Facts::default()
        }
    }

    fn printed(rows: &[Row], unlisted: Option<usize>) -> String {
        let text = String::from_utf8(table(rows, unlisted)).unwrap_or_default();
        text.strip_prefix(HEADER).unwrap_or(&text).to_owned()
    }

    #[test]
    fn what_is_not_known_is_empty() {
        let known = row("alice", Some(facts()));
        let of_utmp = row("alice", None);
        let bare = row("alice", Some(Facts::default()));
        let hidden = Row { idle: None, cpu: None, what: Vec::new(), ..bare };
        assert_eq!(
            printed(&[known, of_utmp, hidden], None),
            "\n\
             alice\tpts/3\t192.0.2.7\t1795478400\t61\t1.73\t1\tuser\ttty\tsshd\tseat0\tvim notes.txt\n\
             alice\tpts/3\t192.0.2.7\t1795478400\t61\t1.73\t\t\t\t\t\tvim notes.txt\n\
             alice\tpts/3\t192.0.2.7\t1795478400\t\t\t\t\t\t\t\t\n"
        );
        assert_eq!(printed(&[], None), "\n");
    }

    #[test]
    fn the_logins_without_a_row_are_counted_if_that_is_asked_for() {
        assert_eq!(printed(&[], Some(2)), "\nunlisted logins: 2\n");
    }

    #[test]
    fn no_name_forges_a_row() {
        let forged = "x\ty\nroot\r\x1b[2J\0\x7f";
        let printed = printed(&[row(forged, None)], None);
        assert!(printed.starts_with("\nx?y?root??[2J??\tpts/3\t"), "{printed:?}");
        assert_eq!(printed.lines().count(), 2);
    }
}
