//! The loop's end of the channel from the connections. tiny_http provides the requests; the replies
//! go to the connections directly.

use std::{
    sync::{Arc, mpsc::Receiver},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tiny_http::Server;

use super::{
    channel::{Asked, Question},
    reply::Reply,
};

/// Without a deadline, the loop wakes up once in this time for nothing. With tiny_http's `recv`, a
/// call of the waker could not be told from an error.
const LONGEST_SLEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// The source of requests.
pub(crate) struct Requests {
    server: &'static Server,
    /// The rest of each request, in the same order.
    questions: Receiver<Asked>,
}

/// A request in the loop.
pub(crate) struct Request {
    path: String,
    asked: Asked,
}

impl Requests {
    /// No request has arrived yet.
    pub(super) fn new(server: &'static Server, questions: Receiver<Asked>) -> Requests {
        Requests { server, questions }
    }

    /// Waits for the next request; `None` at the deadline, or when the waker is called.
    ///
    /// # Errors
    /// tiny_http has stopped.
    pub(crate) fn next(&self, deadline: Option<Instant>) -> Result<Option<Request>> {
        let time = deadline
            .map_or(LONGEST_SLEEP, |deadline| deadline.saturating_duration_since(Instant::now()));
        let request = self.server.recv_timeout(time).context("tiny_http has no more requests")?;
        request.map(|request| self.with_question(request)).transpose()
    }

    /// Lets another thread end the waiting in [`Requests::next`].
    pub(crate) fn waker(&self) -> impl Fn() + Send + use<> {
        let server = self.server;
        move || server.unblock()
    }

    fn with_question(&self, request: tiny_http::Request) -> Result<Request> {
        let path = request.url().to_owned();
        // tiny_http must write nothing: nobody reads it. A request dropped with its writer would
        // write, and first wait for earlier ones.
        drop(request.into_writer());
        let asked = self
            .questions
            .try_recv()
            .context("tiny_http gave a request that no connection sent")?;
        Ok(Request { path, asked })
    }
}

impl Request {
    /// The path.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The rest of the request.
    pub(crate) fn question(&self) -> &Question {
        &self.asked.question
    }

    /// Whether the client still waits.
    pub(crate) fn is_awaited(&self) -> bool {
        Arc::strong_count(&self.asked.slot) > 1
    }

    /// Gives the reply to the connection, which writes it.
    pub(crate) fn respond(self, reply: Reply) {
        self.asked.slot.fill(reply);
    }
}
