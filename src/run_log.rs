//! What is logged of the runs: a failure begins, changes its kind or ends; `w` stops seeing everybody or sees everybody again.
//! Nothing is logged twice.

use crate::{command::Outcome, log, table::Table};

/// What was logged last.
#[derive(Debug, Default)]
pub struct RunLog {
    failing: Option<Outcome>,
    failed_runs: u64,
    blind: bool,
    without_from: bool,
}

impl RunLog {
    /// A run gave no table.
    pub fn failed(&mut self, outcome: Outcome, complaint: &str) {
        if self.failing != Some(outcome) {
            log::line(&format!("no sessions are served ({}): {complaint}", outcome.name()));
        }
        self.failing = Some(outcome);
        self.failed_runs += 1;
    }

    /// A run gave a table.
    pub fn worked(&mut self, table: &Table) {
        if self.failing.take().is_some() {
            let runs = if self.failed_runs == 1 { "run" } else { "runs" };
            log::line(&format!("w works again after {} failed {runs}", self.failed_runs));
            self.failed_runs = 0;
        }
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
