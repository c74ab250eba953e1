//! One scrape from end to end: runs `w`, reads its table, renders the answer, keeps the counts, and logs what changed.
//! Knows neither sockets nor how old a result may be.

use std::sync::Arc;

use crate::{
    clock::{self, Clock, Moment},
    command::child::{Failure, Outcome},
    exposition::Format,
    metrics::{self, Options},
    news::News,
    process_metrics::ProcessUse,
    session::{self, CommandShown, Session},
    table::{self, Table},
};

/// Runs `w` and gives what it printed; tests set their own.
pub type RunW = Box<dyn FnMut() -> Result<Vec<u8>, Failure> + Send>;

/// The result of one run, as it is served until the next.
#[derive(Debug)]
pub struct Snapshot {
    /// The answer in the text format.
    pub text: Arc<Vec<u8>>,
    /// The answer in OpenMetrics.
    pub openmetrics: Arc<Vec<u8>>,
    /// Before the run.
    pub began: Moment,
    /// After it.
    pub ended: Moment,
    /// How it ended.
    pub outcome: Outcome,
    /// What `w` printed, if it could be read.
    printed: Vec<u8>,
    /// What went wrong, if something did.
    pub complaint: Option<String>,
}

impl Snapshot {
    /// The answer in a format.
    pub fn rendered(&self, format: Format) -> Arc<Vec<u8>> {
        match format {
            Format::Text => Arc::clone(&self.text),
            Format::OpenMetrics => Arc::clone(&self.openmetrics),
        }
    }

    /// The sessions, read anew: only the landing page asks. `None` where the run failed.
    pub fn sessions(&self, shown: CommandShown) -> Option<Vec<Session<'_>>> {
        let table =
            (self.outcome == Outcome::Ok).then(|| table::read(&self.printed).ok()).flatten()?;
        Some(session::of_table(&table, clock::span(self.began, self.ended), shown))
    }
}

/// Makes snapshots.
pub struct Scraper {
    run_w: RunW,
    clock: Clock,
    options: Options,
    runs: [u64; 4],
    last_success: Option<Moment>,
    news: News,
}

impl Scraper {
    /// Nothing is run yet.
    pub fn new(run_w: RunW, clock: Clock, options: Options) -> Scraper {
        Scraper { run_w, clock, options, runs: [0; 4], last_success: None, news: News::default() }
    }

    /// Runs `w` and renders its result, whatever that is.
    pub fn scrape(&mut self) -> Snapshot {
        let began = (self.clock)();
        let (printed, failure) = match (self.run_w)() {
            Ok(printed) => (printed, None),
            Err(failure) => (Vec::new(), Some(failure)),
        };
        let ended = (self.clock)();
        let table = match failure {
            Some(failure) => Err(failure),
            None => table::read(&printed).map_err(|error| Failure {
                outcome: Outcome::Unreadable,
                error: error.context("what w printed is no table that can be read"),
            }),
        };
        let outcome = table.as_ref().map_or_else(|failure| failure.outcome, |_| Outcome::Ok);
        self.count(outcome, ended);
        self.news.tell(table.as_ref());
        let [text, openmetrics] = self.render(began, ended, outcome, table.as_ref().ok());
        let complaint = table.err().map(|failure| format!("{:#}", failure.error));
        Snapshot {
            text: Arc::new(text),
            openmetrics: Arc::new(openmetrics),
            began,
            ended,
            outcome,
            printed,
            complaint,
        }
    }

    fn count(&mut self, outcome: Outcome, ended: Moment) {
        for (count, counted) in self.runs.iter_mut().zip(Outcome::ALL) {
            *count += u64::from(counted == outcome);
        }
        if outcome == Outcome::Ok {
            self.last_success = Some(ended);
        }
    }

    fn render(
        &self,
        began: Moment,
        ended: Moment,
        outcome: Outcome,
        table: Option<&Table>,
    ) -> [Vec<u8>; 2] {
        let span = clock::span(began, ended);
        let sessions = table.map(|table| session::of_table(table, span, self.options.command));
        let scrape = metrics::Scrape {
            outcome,
            took: ended.instant.saturating_duration_since(began.instant),
            ended: ended.unix,
            sessions: sessions.as_deref(),
            users_reported: table.and_then(|table| table.users_reported),
            runs: self.runs,
            last_success: self.last_success.map(|moment| moment.unix),
            process: ProcessUse::read(),
        };
        [Format::Text, Format::OpenMetrics]
            .map(|format| metrics::render(format, &self.options, &scrape))
    }
}
