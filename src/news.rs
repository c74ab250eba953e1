//! What is worth a line in the log: a failure begins, changes its kind or ends; `w` turns blind or sees again. Knows only the
//! last run.

use crate::{
    command::child::{Failure, Outcome},
    log,
    table::Table,
};

/// What was said last, so that nothing is said twice.
#[derive(Debug, Default)]
pub struct News {
    failing: Option<Outcome>,
    failed_runs: u64,
    blind: bool,
    without_from: bool,
}

impl News {
    /// Logs what is new in a run's result.
    pub fn tell(&mut self, result: Result<&Table, &Failure>) {
        match result {
            Err(failure) => {
                if self.failing != Some(failure.outcome) {
                    log::line(&format!(
                        "no sessions are served ({}): {:#}",
                        failure.outcome.name(),
                        failure.error
                    ));
                }
                self.failing = Some(failure.outcome);
                self.failed_runs += 1;
            }
            Ok(table) => {
                if self.failing.take().is_some() {
                    log::line(&format!(
                        "w can be read again, after {} runs that failed",
                        self.failed_runs
                    ));
                    self.failed_runs = 0;
                }
                self.tell_of_table(table);
            }
        }
    }

    fn tell_of_table(&mut self, table: &Table) {
        let rows = table.rows.len();
        let users = table.users_reported.unwrap_or(0);
        let blind = usize::try_from(users).is_ok_and(|users| users > rows);
        if blind && !self.blind {
            log::line(&format!(
                "w counts {users} users but lists {rows}: it can't see the processes of the others; in a container give it the host's \
                 PID namespace and /etc/passwd, with hidepid give it the group of /proc's gid option"
            ));
        } else if self.blind && !blind {
            log::line("w lists all the users that it counts");
        }
        self.blind = blind;
        if !table.shows_from && !self.without_from {
            log::line("w shows no FROM column: every session has an empty ip and counts as local");
        }
        self.without_from = !table.shows_from;
    }
}
