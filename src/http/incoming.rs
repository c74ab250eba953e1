//! The loop's end of the way from the connections: requests as tiny_http gives them, and the answers to them.

use std::{
    io,
    sync::{Arc, Mutex},
};

use anyhow::{Context, Result, bail};
use tiny_http::{Header, Response, Server, StatusCode};

use super::channels::{Exchange, Times};
use crate::{cli::NAME, lock::locked};

/// The requests to answer.
pub(crate) struct Requests {
    server: &'static Server,
    /// By the channels' numbers.
    exchanges: Vec<Arc<Mutex<Exchange>>>,
}

/// A request in the loop.
pub(crate) struct Request {
    inner: tiny_http::Request,
    exchange: Arc<Mutex<Exchange>>,
    /// When it came, and by when it must be answered.
    pub times: Times,
}

/// What the loop answers.
pub(crate) struct Reply {
    /// The status code.
    pub status: u16,
    /// The header fields except length, date and server.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The body, shared.
    pub body: Arc<Vec<u8>>,
}

impl Requests {
    /// None has come yet.
    pub(super) fn new(server: &'static Server, exchanges: Vec<Arc<Mutex<Exchange>>>) -> Requests {
        Requests { server, exchanges }
    }

    /// Waits for the next request.
    ///
    /// # Errors
    /// tiny_http gives no more.
    pub(crate) fn next(&self) -> Result<Request> {
        let request = self.server.recv().context("tiny_http has no more requests")?;
        self.with_exchange(request)
    }

    /// The next request, if it is there.
    ///
    /// # Errors
    /// tiny_http gives no more.
    pub(crate) fn try_next(&self) -> Result<Option<Request>> {
        let request = self.server.try_recv().context("tiny_http has no more requests")?;
        request.map(|request| self.with_exchange(request)).transpose()
    }

    fn with_exchange(&self, inner: tiny_http::Request) -> Result<Request> {
        let number: Option<usize> = header(&inner, "Host").parse().ok();
        let exchange = number.and_then(|number| self.exchanges.get(number));
        let exchange = exchange.context("a request came from nowhere")?;
        let Exchange::Asked(times) = std::mem::take(&mut *locked(exchange)) else {
            bail!("a request came twice");
        };
        Ok(Request { inner, exchange: Arc::clone(exchange), times })
    }
}

impl Request {
    /// The path.
    pub(crate) fn path(&self) -> &str {
        self.inner.url()
    }

    /// The `Accept` fields.
    pub(crate) fn accept(&self) -> &str {
        header(&self.inner, "Accept")
    }

    /// Sends the answer. An error is left to the one who asked, who finds the channel broken.
    pub(crate) fn respond(self, reply: Reply) {
        // tiny_http names itself where no name is given.
        let headers = [("Server", NAME)]
            .iter()
            .chain(&reply.headers)
            .filter_map(|(name, value)| Header::from_bytes(*name, *value).ok())
            .collect();
        let length = Some(reply.body.len());
        *locked(&self.exchange) = Exchange::Answered(reply.body);
        let response = Response::new(StatusCode(reply.status), headers, io::empty(), length, None);
        // Otherwise long answers have no length.
        let _ = self.inner.respond(response.with_chunked_threshold(usize::MAX));
    }
}

fn header<'r>(request: &'r tiny_http::Request, name: &'static str) -> &'r str {
    let mut headers = request.headers().iter();
    headers.find(|header| header.field.equiv(name)).map_or("", |header| header.value.as_str())
}
