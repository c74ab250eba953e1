//! Logs changes between runs: a failure begins, changes its kind or ends; `w` cannot see something,
//! or can see it again. A state that lasts is logged once.

use anyhow::Error;

use crate::{
    command::{Failure, FailureKind},
    log,
    plural::counted,
    table::Table,
    visibility::Visibility,
};

/// What was logged last.
#[derive(Debug, Default)]
pub(crate) struct RunLog {
    failing: Option<FailureKind>,
    unseen: Vec<String>,
    /// `w` counts more users than it lists, for no known reason. Logged only once, because this
    /// changes with every session.
    leftovers_logged: bool,
    /// Logged only once, because it can differ from scraper to scraper.
    early_answer_logged: bool,
    without_from: bool,
    not_in_utc: bool,
}

/// Why there are no login times, and what to do.
pub(crate) const NOT_IN_UTC: &str = "the clock in the first line of w does not show the time in UTC; \
     a wrapper has dropped TZ (--w.command \"ssh host env TZ=UTC0 LC_ALL=C w -i\" sets it), the clock of its host is wrong, or the table is an old one";

impl RunLog {
    /// Logs that a run gave no table, if that is new.
    pub(crate) fn failed(&mut self, failure: &Failure) {
        if self.failing != Some(failure.kind) {
            let what = match failure.kind {
                FailureKind::Failed => "w failed: ",
                FailureKind::Timeout => "",
                FailureKind::Unreadable => "cannot read the output of w: ",
            };
            log::warn(&format!("{what}{:#}; exposing no sessions", failure.error));
        }
        self.failing = Some(failure.kind);
    }

    /// Logs why a scraper was answered before `w` had ended.
    pub(crate) fn answered_early(&mut self, why: &Error) {
        if !self.early_answer_logged {
            log::warn(&format!("answering without sessions: {why:#}"));
        }
        self.early_answer_logged = true;
    }

    /// Logs what changed with a run that gave a table, after this many that gave none.
    pub(crate) fn worked(
        &mut self,
        table: &Table,
        visibility: Option<Visibility>,
        in_utc: bool,
        failed_runs: u64,
    ) {
        if self.failing.take().is_some() {
            log::info(&format!("w works again after {}", counted(failed_runs, "failed run")));
        }
        let unseen: Vec<_> = visibility.into_iter().flat_map(Visibility::problems).collect();
        if unseen != self.unseen {
            for problem in unseen.iter().filter(|problem| !self.unseen.contains(problem)) {
                log::warn(&format!("sessions may be missing: {problem}"));
            }
            if unseen.is_empty() {
                log::info("w can see all sessions again");
            }
        }
        self.unseen = unseen;
        if self.unseen.is_empty() && table.lists_fewer_than_it_counts() && !self.leftovers_logged {
            log::warn(&leftovers(table));
            self.leftovers_logged = true;
        }
        if !table.shows_from && !self.without_from {
            log::warn("w shows no FROM column: every session has an empty ip and counts as local");
        }
        self.without_from = !table.shows_from;
        if !in_utc && !self.not_in_utc {
            log::warn(&format!("exposing no login times: {NOT_IN_UTC}"));
        }
        self.not_in_utc = !in_utc;
    }
}

fn leftovers(table: &Table) -> String {
    if let Some(unlisted) = table.unlisted {
        let logins = counted(unlisted, "login");
        return format!(
            "utmp has {logins} without a process, as a killed sshd leaves behind; not listed"
        );
    }
    let users = counted(table.users_reported.unwrap_or(0), "user");
    format!(
        "w counts {users} but lists {}: it leaves out entries without a process (left behind by a killed sshd, or logind is still closing the session) \
         and users that this system does not know (in a container, mount the host's /etc/passwd)",
        table.rows.len()
    )
}
