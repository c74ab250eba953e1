//! Notices that the installed `w` shows no terminals where the built-in one does: procps without
//! Debian's patch does not find them for logins over ssh. Then there is no idle time and no CPU
//! time.

use crate::{
    log,
    runner::Printed,
    session::{self, Origin},
    table::{self, Row, Table},
};

/// What has been compared.
#[derive(Debug, Default)]
pub(crate) struct MissingTerminals {
    /// The most sessions without a terminal that there were.
    compared: usize,
    logged: bool,
}

impl MissingTerminals {
    /// Runs the built-in `w` if the installed one shows more remote sessions without a terminal
    /// than ever, and logs once that it shows a terminal for one of them.
    pub(crate) fn check(&mut self, installed: &[u8], run_builtin: impl FnOnce() -> Printed) {
        if self.logged {
            return;
        }
        let Ok(installed) = table::read(installed) else { return };
        let without = installed.rows.iter().filter(|row| is_remote_without_terminal(row)).count();
        let is_builtin = installed.unlisted.is_some();
        if is_builtin || without <= self.compared {
            return;
        }
        self.compared = without;
        let Ok(printed) = run_builtin() else { return };
        let Ok(builtin) = table::read(&printed) else { return };
        self.logged = is_shown_by(&installed, &builtin);
        if self.logged {
            log::warn(
                "w shows no terminal for a session over the network, and so no idle and no CPU time; \
                 --w.command builtin shows them",
            );
        }
    }
}

fn is_remote_without_terminal(row: &Row) -> bool {
    row.tty.is_empty() && session::origin(row.from) == Origin::Remote
}

/// Whether the built-in `w` has more terminals of a user from an address.
fn is_shown_by(installed: &Table, builtin: &Table) -> bool {
    let terminals = |table: &Table, of: &Row| {
        let same = |row: &&Row| row.user == of.user && row.from == of.from && !row.tty.is_empty();
        table.rows.iter().filter(same).count()
    };
    let mut without = installed.rows.iter().filter(|row| is_remote_without_terminal(row));
    without.any(|row| terminals(builtin, row) > terminals(installed, row))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const INSTALLED: &str = "\
USER     TTY      FROM             LOGIN@   IDLE   JCPU   PCPU  WHAT
alice             192.0.2.7        00:16           0.00s  0.02s sshd: alice [priv]
bob      pts/1    192.0.2.8        00:16    1.00s  0.00s  0.02s -bash
root              -                00:16           0.00s  0.02s login -- root
";

    fn is_shown(rows: &[(&str, &str, &str)]) -> bool {
        let rows = rows.iter().map(|(user, tty, from)| {
            format!("{user}\t{tty}\t{from}\t1795478400\t\t\t1\tuser\ttty\tsshd\t\t\n")
        });
        let builtin = format!("{}\n{}", table::builtin::HEADER, rows.collect::<String>());
        let (installed, builtin) =
            (table::read(INSTALLED.as_bytes()), table::read(builtin.as_bytes()));
        is_shown_by(&installed.unwrap(), &builtin.unwrap())
    }

    #[test]
    fn only_a_terminal_that_the_installed_w_lacks_is_news() {
        let bob = ("bob", "pts/1", "192.0.2.8");
        assert!(is_shown(&[("alice", "pts/0", "192.0.2.7"), bob]));
        // A session over sftp has none.
        assert!(!is_shown(&[("alice", "", "192.0.2.7"), bob]));
        assert!(!is_shown(&[("alice", "pts/0", "192.0.2.9"), ("root", "tty1", "-"), bob]));
        assert!(!is_shown(&[]));
    }
}
