//! One client's connection, in a thread of its own: reads requests, has them answered, and writes the answers, each within its time.

use std::{
    io::{self, IoSlice, Read, Write},
    net::{Shutdown, TcpStream},
    process,
    time::{Duration, Instant},
};

use rustix::{io::Errno, net::RecvFlags};

use super::{
    connections::{Connections, State},
    date::http_date,
    inner::{Answer, Channels, NoAnswer, Question, is_timeout},
    limits::{
        HEAD_TIME, IDLE_TIME, LINGER_TIME, MIN_SCRAPE_TIMEOUT, SCRAPE_TIMEOUT_OFFSET, WRITE_TIME,
    },
    request::{self, Method, REQUEST_TIMEOUT, Refusal, Request, SERVICE_UNAVAILABLE},
};
use crate::{cli::NAME, clock, log};

/// The path that is answered without the loop, so that it shows only whether the process serves.
const HEALTHY: &str = "/-/healthy";

/// A connection, and what was read of it.
pub(crate) struct Connection<'c> {
    stream: &'c TcpStream,
    id: u64,
    connections: &'c Connections,
    channels: &'c Channels,
    /// What was read and not yet parsed.
    unread: Vec<u8>,
    /// What the socket is set to, so that it is set only when it changes.
    read_timeout: Option<Duration>,
}

/// Why a connection ends without an answer.
enum End {
    /// The client is gone, or has sent nothing.
    Gone,
    /// The client is told.
    Refused(Refusal),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> End {
        End::Refused(refusal)
    }
}

impl<'c> Connection<'c> {
    /// Nothing is read yet.
    pub(crate) fn new(
        stream: &'c TcpStream,
        id: u64,
        connections: &'c Connections,
        channels: &'c Channels,
    ) -> Connection<'c> {
        Connection { stream, id, connections, channels, unread: Vec::new(), read_timeout: None }
    }

    /// Serves requests until one side ends the connection.
    pub(crate) fn serve(&mut self) {
        let mut deadline = Some(Instant::now() + HEAD_TIME);
        loop {
            let answered = self.read_request(deadline).and_then(|mut request| {
                let before = self.connections.set(self.id, State::Serving);
                request.keep_alive &= before != State::Evicted;
                self.answer(&request).map(|()| request.keep_alive)
            });
            match answered {
                Ok(true) => {}
                Ok(false) => return self.linger(),
                Err(End::Refused(refusal)) => return self.refuse(refusal),
                Err(End::Gone) => return,
            }
            self.connections.set(self.id, State::Idle(Instant::now()));
            deadline = None;
        }
    }

    /// Reads the next request. Its head must be whole by the deadline, or in time from its first byte on.
    fn read_request(&mut self, mut deadline: Option<Instant>) -> Result<Request, End> {
        loop {
            // An empty line before a request is let pass (RFC 9112, 2.2).
            while self.unread.starts_with(b"\r\n") {
                self.unread.drain(..2);
            }
            if let Some((request, length)) = request::parse(&self.unread)? {
                self.unread.drain(..length);
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
        if self.read_timeout != Some(timeout) {
            self.stream.set_read_timeout(Some(timeout)).map_err(|_| End::Gone)?;
            self.read_timeout = Some(timeout);
        }
        let mut buffer = [0; 2048];
        let mut stream = self.stream;
        match stream.read(&mut buffer) {
            Ok(0) => Err(End::Gone),
            Ok(count) => {
                self.unread.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) if is_timeout(&error) => Err(too_slow),
            Err(_) => Err(End::Gone),
        }
    }

    fn answer(&self, request: &Request) -> Result<(), End> {
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
        let mut head = head;
        head.extend_from_slice(connection_field(request.keep_alive).as_bytes());
        let body = match (&body, request.method) {
            (_, Method::Head | Method::Options) => &[],
            (Some(body), _) => body.as_slice(),
            (None, _) => HEALTHY_BODY.as_bytes(),
        };
        write_all(self.stream, &head, body).map_err(|_| End::Gone)
    }

    fn ask(&self, request: &Request) -> Result<Answer, End> {
        let read_at = Instant::now();
        let timeout = request.scrape_timeout.filter(|&timeout| timeout >= MIN_SCRAPE_TIMEOUT);
        let question = Question {
            path: request.path.clone(),
            accept: request.accept.clone(),
            read_at,
            deadline: timeout
                .and_then(|timeout| read_at.checked_add(timeout - SCRAPE_TIMEOUT_OFFSET)),
        };
        self.channels.ask(question, &|| self.has_hung_up()).map_err(|no_answer| match no_answer {
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

    /// Whether the client has closed or reset the connection. One that has sent more is still there.
    fn has_hung_up(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match rustix::net::recv(self.stream, &mut [0; 1][..], flags) {
            Ok((count, _)) => count == 0 && self.unread.is_empty(),
            Err(Errno::AGAIN | Errno::INTR) => false,
            Err(_) => true,
        }
    }

    fn refuse(&self, refusal: Refusal) {
        self.connections.set(self.id, State::Serving);
        let Refusal { status, reason } = refusal;
        let allow = if status == 405 { "Allow: GET, HEAD, OPTIONS\r\n" } else { "" };
        let fields = format!("{allow}{}", text_fields(reason.len() + 1));
        let mut head = head(&format!("{status} {reason}"), &fields);
        head.extend_from_slice(connection_field(false).as_bytes());
        // An answer to HEAD has no body, a refusal neither (RFC 9110, 9.3.2).
        let to_head = self.unread.starts_with(b"HEAD ");
        let body = if to_head { String::new() } else { format!("{reason}\n") };
        if write_all(self.stream, &head, body.as_bytes()).is_ok() {
            self.linger();
        }
    }

    /// Reads on for a while what is not wanted. If the connection were closed with something unread, it would be reset, and the
    /// client might not see the answer (RFC 9112, 9.6).
    fn linger(&self) {
        let mut stream = self.stream;
        let deadline = Instant::now() + LINGER_TIME;
        if stream.shutdown(Shutdown::Write).is_err()
            || stream.set_read_timeout(Some(LINGER_TIME)).is_err()
        {
            return;
        }
        self.connections.set(self.id, State::Closing);
        let mut buffer = [0; 4096];
        while Instant::now() < deadline {
            match stream.read(&mut buffer) {
                Ok(0) => return,
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return,
                _ => {}
            }
        }
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

fn connection_field(keep_alive: bool) -> String {
    match keep_alive {
        true => {
            let seconds = IDLE_TIME.as_secs();
            format!("Connection: keep-alive\r\nKeep-Alive: timeout={seconds}\r\n\r\n")
        }
        false => "Connection: close\r\n\r\n".to_owned(),
    }
}

/// Writes both, within the time that a client has to take an answer.
fn write_all(mut stream: &TcpStream, head: &[u8], body: &[u8]) -> io::Result<()> {
    let deadline = Instant::now() + WRITE_TIME;
    let mut parts = [IoSlice::new(head), IoSlice::new(body)];
    let mut left = parts.as_mut_slice();
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match stream.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut left, count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if !left.is_empty() {
            let time =
                deadline.checked_duration_since(Instant::now()).ok_or(io::ErrorKind::TimedOut)?;
            stream.set_write_timeout(Some(time.max(Duration::from_millis(1))))?;
        }
    }
    Ok(())
}
