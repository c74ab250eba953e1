//! The loop's end of the way from the connections: requests as tiny_http gives them, and the replies to them.

use std::sync::{Arc, mpsc::Receiver};

use anyhow::{Context, Result};
use tiny_http::Server;

use super::{
    channel::{Asked, Question},
    reply::Reply,
};

/// The requests to answer.
pub(crate) struct Requests {
    server: &'static Server,
    /// What is asked besides the paths, in the same order.
    questions: Receiver<Asked>,
}

/// A request in the loop.
pub(crate) struct Request {
    path: String,
    asked: Asked,
}

impl Requests {
    /// None has come yet.
    pub(super) fn new(server: &'static Server, questions: Receiver<Asked>) -> Requests {
        Requests { server, questions }
    }

    /// Waits for the next request.
    ///
    /// # Errors
    /// tiny_http gives no more.
    pub(crate) fn next(&self) -> Result<Request> {
        let request = self.server.recv().context("tiny_http has no more requests")?;
        self.with_question(request)
    }

    /// The next request, if it is there.
    ///
    /// # Errors
    /// tiny_http gives no more.
    pub(crate) fn try_next(&self) -> Result<Option<Request>> {
        let request = self.server.try_recv().context("tiny_http has no more requests")?;
        request.map(|request| self.with_question(request)).transpose()
    }

    fn with_question(&self, request: tiny_http::Request) -> Result<Request> {
        let path = request.url().to_owned();
        // Nothing is written: nobody reads it, and a request that is dropped with its writer waits for those before it.
        drop(request.into_writer());
        let asked = self.questions.try_recv().context("a request came from nowhere")?;
        Ok(Request { path, asked })
    }
}

impl Request {
    /// The path.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// What is asked besides the path.
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
