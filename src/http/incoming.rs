//! The loop's end of the channel from the connections. tiny_http provides the requests; the replies
//! go to the connections directly.

use std::sync::{Arc, mpsc::Receiver};

use anyhow::{Context, Result};
use tiny_http::Server;

use super::{
    channel::{Asked, Question},
    reply::Reply,
};

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

    /// Waits for the next request.
    ///
    /// # Errors
    /// tiny_http has stopped.
    pub(crate) fn next(&self) -> Result<Request> {
        let request = self.server.recv().context("tiny_http has no more requests")?;
        self.with_question(request)
    }

    /// The next request, if one has arrived.
    ///
    /// # Errors
    /// tiny_http has stopped.
    pub(crate) fn try_next(&self) -> Result<Option<Request>> {
        let request = self.server.try_recv().context("tiny_http has no more requests")?;
        request.map(|request| self.with_question(request)).transpose()
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
