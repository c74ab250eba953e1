//! Writes the table, in the form that `table::builtin` reads.

use super::{Row, logind};
use crate::table::builtin::{HEADER, UNLISTED_LINE};

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
        text.extend(format!("{UNLISTED_LINE}{unlisted}\n").as_bytes());
    }
    text
}

fn print(text: &mut Vec<u8>, Row { login, idle, cpu, what }: &Row) {
    // As procps prints it.
    let from = if login.from.is_empty() { b"-" } else { login.from.as_slice() };
    let idle = idle.map_or_else(String::new, |seconds| seconds.to_string());
    let cpu = cpu.map_or_else(String::new, |cpu| format!("{}.{:02}", cpu / 100, cpu % 100));
    let logind::Facts { remote, class, kind, service, seat, .. } = &login.logind;
    let (began, idle, cpu) = (login.began.to_string(), idle.as_bytes(), cpu.as_bytes());
    let before: [&[u8]; 11] = [
        &login.user,
        &login.tty,
        from,
        began.as_bytes(),
        idle,
        cpu,
        remote,
        class,
        kind,
        service,
        seat,
    ];
    for field in before {
        clean(text, field);
        text.push(b'\t');
    }
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

    fn row(user: &str, logind: Facts) -> Row {
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
            remote: b"1".to_vec(),
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
        let known = row("alice", facts());
        let of_utmp = row("alice", Facts::default());
        let bare = row("alice", Facts::default());
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
        let printed = printed(&[row(forged, Facts::default())], None);
        assert!(printed.starts_with("\nx?y?root??[2J??\tpts/3\t"), "{printed:?}");
        assert_eq!(printed.lines().count(), 2);
    }
}
