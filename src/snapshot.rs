//! The result of one run of `w`, as plain data.

use std::time::Duration;

use crate::{
    clock::Moment, command::Failure, process_metrics::ProcessUse, session::Session,
    visibility::Visibility,
};

/// The result of one run, which is served until the next run.
#[derive(Debug)]
pub struct Snapshot {
    /// When the run ended.
    pub ended: Moment,
    /// How long the last run that has ended took. It is an earlier one if the scraper could not
    /// wait for the end of this one.
    pub took: Option<Duration>,
    /// What it listed.
    pub result: Result<Listing, Failure>,
    /// Runs since start, by outcome, in the order of `Outcome::ALL`.
    pub runs: [u64; 4],
    /// When a run last succeeded.
    pub last_success: Option<Moment>,
    /// What the exporter used when the run ended.
    pub process: Option<ProcessUse>,
}

/// Who is logged in.
#[derive(Debug)]
pub struct Listing {
    /// The sessions, sorted by their labels.
    pub sessions: Vec<Session>,
    /// The users that the first line of `w` counts, if there is such a line.
    pub users_reported: Option<u64>,
    /// Whether `w` counts more logins than it lists.
    pub lists_fewer: bool,
    /// What `w` could see; `None` if the command is not this host's `w`.
    pub visibility: Option<Visibility>,
    /// Whether `w` ran in UTC, judged by the clock in its first line. If not, there are no login
    /// times.
    pub in_utc: bool,
}
