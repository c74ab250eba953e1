//! One client's connection, in a thread of its own: reads requests, has them answered, and writes the answers, each within its time.

use std::{
    process,
    time::{Duration, Instant},
};

use super::{
    access::Access,
    channels::{Answer, Channels, NoAnswer, Question, Times},
    connections::{Connections, State},
    date::http_date,
    limits::{HEAD_TIME, IDLE_TIME, LINGER_TIME, MIN_SCRAPE_TIMEOUT, SCRAPE_TIMEOUT_OFFSET},
    request::{
        self, HTTPS_EXPECTED, Method, REQUEST_TIMEOUT, Refusal, Request, SERVICE_UNAVAILABLE,
        UNAUTHORIZED,
    },
    stream::{Stream, Unread},
};
use crate::{cli::NAME, clock, log};

/// The path that is answered without the loop, so that it shows only whether the process serves.
const HEALTHY: &str = "/-/healthy";

/// A connection, and what was read of it.
pub(crate) struct Connection<'c> {
    stream: Stream<'c>,
    id: u64,
    connections: &'c Connections,
    channels: &'c Channels,
    access: Option<&'c Access>,
    /// Whether the request asks for no body.
    to_head: bool,
    /// What was read and not yet parsed.
    unread: Vec<u8>,
}

/// Why a connection ends without an answer.
enum End {
    /// The client is gone, or has sent nothing.
    Gone,
    /// The client is told.
    Refused(Refusal),
    /// The client was told.
    Told,
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> End {
        End::Refused(refusal)
    }
}

impl<'c> Connection<'c> {
    /// Nothing is read yet.
    pub(crate) fn new(
        stream: Stream<'c>,
        id: u64,
        connections: &'c Connections,
        channels: &'c Channels,
        access: Option<&'c Access>,
    ) -> Connection<'c> {
        Connection { stream, id, connections, channels, access, to_head: false, unread: Vec::new() }
    }

    /// Serves requests until one side ends the connection.
    pub(crate) fn serve(&mut self) {
        let mut deadline = Some(Instant::now() + HEAD_TIME);
        loop {
            let answered = self.read_request(deadline).and_then(|mut request| {
                let before = self.connections.set(self.id, State::Serving);
                request.keep_alive &= before != State::Evicted;
                if let Some(access) = self.access {
                    access.admit(&request.authorization)?;
                }
                self.answer(&request)
            });
            match answered {
                Ok(true) => {}
                Ok(false) | Err(End::Told) => return self.linger(),
                Err(End::Refused(refusal)) => return self.refuse(refusal),
                Err(End::Gone) => return,
            }
            self.connections.set(self.id, State::Idle(Instant::now()));
            deadline = None;
        }
    }

    /// Reads the next request. Its head must be whole by the deadline, or in time from its first byte on.
    fn read_request(&mut self, mut deadline: Option<Instant>) -> Result<Request, End> {
        self.to_head = false;
        loop {
            // An empty line before a request is let pass (RFC 9112, 2.2).
            while self.unread.starts_with(b"\r\n") {
                self.unread.drain(..2);
            }
            if let Some((request, length)) = request::parse(&self.unread)? {
                self.unread.drain(..length);
                self.to_head = request.method == Method::Head;
                return Ok(request);
            }
            if !self.unread.is_empty() && deadline.is_none() {
                deadline = Some(Instant::now() + HEAD_TIME);
            }
            let timeout = match deadline {
                Some(deadline) => deadline.saturating_duration_since(Instant::now()),
                None => IDLE_TIME,
            };
            self.read_more(timeout)?;
        }
    }

    fn read_more(&mut self, timeout: Duration) -> Result<(), End> {
        // A client that has begun is told that it was too slow.
        let too_slow = match self.unread.is_empty() {
            true => End::Gone,
            false => REQUEST_TIMEOUT.into(),
        };
        if timeout.is_zero() {
            return Err(too_slow);
        }
        let mut buffer = [0; 2048];
        match self.stream.read(&mut buffer, timeout) {
            Ok(count) => {
                self.unread.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(Unread::TooLate) => Err(too_slow),
            Err(Unread::Gone) => Err(End::Gone),
            Err(Unread::Broken) => Err(End::Told),
            Err(Unread::PlainHttp) => {
                self.stream.leave_tls();
                Err(HTTPS_EXPECTED.into())
            }
        }
    }

    /// Says whether the connection is kept.
    fn answer(&mut self, request: &Request) -> Result<bool, End> {
        let (head, body) = match request.method {
            Method::Options => (head("204 No Content", "Allow: GET, HEAD, OPTIONS\r\n"), None),
            _ if request.path == HEALTHY => {
                let fields = text_fields(HEALTHY_BODY.len());
                (head("200 OK", &fields), None)
            }
            _ => {
                let Answer { head, body } = self.ask(request)?;
                (head, Some(body))
            }
        };
        let keep_alive = request.keep_alive && !self.connections.are_many();
        let head = self.whole_head(head, keep_alive);
        let body = match (&body, request.method) {
            (_, Method::Head | Method::Options) => &[],
            (Some(body), _) => body.as_slice(),
            (None, _) => HEALTHY_BODY.as_bytes(),
        };
        self.stream.write_all(&head, body).map_err(|_| End::Gone)?;
        Ok(keep_alive)
    }

    fn ask(&self, request: &Request) -> Result<Answer, End> {
        let read_at = Instant::now();
        let timeout = request.scrape_timeout.filter(|&timeout| timeout >= MIN_SCRAPE_TIMEOUT);
        let deadline =
            timeout.and_then(|timeout| read_at.checked_add(timeout - SCRAPE_TIMEOUT_OFFSET));
        let question = Question {
            path: &request.path,
            accept: &request.accept,
            times: Times { read_at, deadline },
        };
        let hung_up = || self.stream.has_hung_up(!self.unread.is_empty());
        self.channels.ask(&question, hung_up).map_err(|no_answer| match no_answer {
            NoAnswer::Busy => SERVICE_UNAVAILABLE.into(),
            NoAnswer::HungUp => End::Gone,
            NoAnswer::Lost(error) => {
                log::error(&format!(
                    "the serving loop is lost: {error}; the process ends, to be started again"
                ));
                process::exit(1);
            }
        })
    }

    /// A head with the fields that every answer ends with.
    fn whole_head(&self, mut head: Vec<u8>, keep_alive: bool) -> Vec<u8> {
        if let Some(access) = self.access {
            access.add_fields(&mut head);
        }
        head.extend_from_slice(last_fields(keep_alive).as_bytes());
        head
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.connections.set(self.id, State::Serving);
        let Refusal { status, reason, text } = refusal;
        let field = match status {
            _ if refusal == UNAUTHORIZED => concat!(
                "WWW-Authenticate: Basic realm=\"",
                env!("CARGO_PKG_NAME"),
                "\", charset=\"UTF-8\"\r\n"
            ),
            405 => "Allow: GET, HEAD, OPTIONS\r\n",
            _ => "",
        };
        let fields = format!("{field}{}", text_fields(text.len() + 1));
        let head = self.whole_head(head(&format!("{status} {reason}"), &fields), false);
        // An answer to HEAD has no body, a refusal neither (RFC 9110, 9.3.2).
        let to_head = self.to_head || self.unread.starts_with(b"HEAD ");
        let body = if to_head { String::new() } else { format!("{text}\n") };
        if self.stream.write_all(&head, body.as_bytes()).is_ok() {
            self.linger();
        }
    }

    /// Reads on for a while what is not wanted. If the connection were closed with something unread, it would be reset, and the
    /// client might not see the answer (RFC 9112, 9.6).
    fn linger(&mut self) {
        let deadline = Instant::now() + LINGER_TIME;
        if self.stream.end().is_err() {
            return;
        }
        self.connections.set(self.id, State::Closing);
        while Instant::now() < deadline && self.stream.drop_some(LINGER_TIME) {}
    }
}

const HEALTHY_BODY: &str = "healthy\n";

fn text_fields(length: usize) -> String {
    format!("Content-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n")
}

/// A status line and the fields that every answer has, and these.
fn head(status: &str, fields: &str) -> Vec<u8> {
    let date = http_date(clock::system().unix.as_secs());
    format!("HTTP/1.1 {status}\r\nServer: {NAME}\r\nDate: {date}\r\n{fields}").into_bytes()
}

/// The fields that every answer ends with. A proxy that kept one would serve users who are gone, or call a dead exporter healthy.
fn last_fields(keep_alive: bool) -> String {
    let seconds = IDLE_TIME.as_secs();
    let connection = match keep_alive {
        true => format!("keep-alive\r\nKeep-Alive: timeout={seconds}"),
        false => "close".to_owned(),
    };
    format!("Cache-Control: no-store\r\nConnection: {connection}\r\n\r\n")
}
