//! One connection, which has its own thread. It reads requests, gets the replies and writes them.
//! Each step has a time limit.

use std::{
    io, process,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    access::Access,
    channel::{Channel, NoReply, Question},
    connections::{Connections, State},
    limits::{HEAD_TIME, IDLE_TIME, LINGER_TIME, MIN_SCRAPE_TIMEOUT, SCRAPE_TIMEOUT_OFFSET},
    reply::Reply,
    request::{
        self, HTTPS_EXPECTED, METHOD_NOT_ALLOWED, Method, REQUEST_TIMEOUT, Refusal, Request,
        SERVICE_UNAVAILABLE, UNAUTHORIZED,
    },
    stream::{Stream, Unread},
};
use crate::log;

/// The path that is answered without the loop. It shows only whether the process serves.
const HEALTHY: &str = "/-/healthy";

/// The methods that are answered.
const ALLOW: (&str, &str) = ("Allow", "GET, HEAD, OPTIONS");

/// Asks the client for a password.
const AUTHENTICATE: (&str, &str) = (
    "WWW-Authenticate",
    concat!("Basic realm=\"", env!("CARGO_PKG_NAME"), "\", charset=\"UTF-8\""),
);

/// A connection, and the bytes that were read from it.
pub(crate) struct Connection<'c> {
    stream: Stream<'c>,
    id: u64,
    connections: &'c Connections,
    channel: &'c Channel,
    access: Option<&'c Access>,
    /// Whether the client expects no body, because it has sent HEAD.
    to_head: bool,
    /// Whether it was closed for reading, to make room. Then it does not show whether the client
    /// hangs up.
    is_evicted: bool,
    /// The bytes that were read and not yet parsed.
    unread: Vec<u8>,
}

/// Why a connection ends without an answer.
enum End {
    /// The client has left, or has sent nothing.
    Gone,
    /// The client gets an answer that says why.
    Refused(Refusal),
    /// The client has got a TLS alert that says why.
    Alerted,
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> End {
        End::Refused(refusal)
    }
}

impl<'c> Connection<'c> {
    /// Nothing has been read yet.
    pub(crate) fn new(
        stream: Stream<'c>,
        id: u64,
        connections: &'c Connections,
        channel: &'c Channel,
        access: Option<&'c Access>,
    ) -> Connection<'c> {
        Connection {
            stream,
            id,
            connections,
            channel,
            access,
            to_head: false,
            is_evicted: false,
            unread: Vec::new(),
        }
    }

    /// Serves requests until one side ends the connection.
    pub(crate) fn serve(&mut self) {
        let mut deadline = Some(Instant::now() + HEAD_TIME);
        loop {
            let answered = self.read_request(deadline).and_then(|request| {
                let before = self.connections.set(self.id, State::Serving);
                self.is_evicted = before == State::Evicted;
                if let Some(access) = self.access {
                    let client = self.stream.client().map_err(|_| End::Gone)?;
                    access.admit(&request.authorization, client)?;
                }
                self.answer(request)
            });
            match answered {
                Ok(true) => {}
                Ok(false) | Err(End::Alerted) => return self.linger(),
                Err(End::Refused(refusal)) => return self.refuse(refusal),
                Err(End::Gone) => return,
            }
            self.connections.set(self.id, State::Idle(Instant::now()));
            deadline = None;
        }
    }

    /// Reads the next request. Its head must be complete by the deadline. Without a deadline, the
    /// time starts with the first byte.
    fn read_request(&mut self, mut deadline: Option<Instant>) -> Result<Request, End> {
        loop {
            // Empty lines before a request are ignored (RFC 9112, 2.2).
            while self.unread.starts_with(b"\r\n") {
                self.unread.drain(..2);
            }
            // Also for a request that is refused.
            self.to_head = self.unread.starts_with(b"HEAD ");
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
        // A client that has sent a part of a request gets an answer that says it was too slow.
        let too_slow = if self.unread.is_empty() { End::Gone } else { REQUEST_TIMEOUT.into() };
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
            Err(Unread::Broken) => Err(End::Alerted),
            Err(Unread::PlainHttp) => {
                self.stream.leave_tls();
                Err(HTTPS_EXPECTED.into())
            }
        }
    }

    /// Answers a request. Returns whether the connection is kept.
    fn answer(&mut self, request: Request) -> Result<bool, End> {
        let keep_alive = request.keep_alive && !self.is_evicted;
        let reply = match request.method {
            Method::Options => {
                let (headers, body) = (vec![ALLOW], Arc::default());
                Reply { status: 204, reason: "No Content", headers, body }
            }
            _ if request.path == HEALTHY => Reply::text(200, "OK", "healthy\n"),
            _ => self.ask(request)?,
        };
        let keep_alive = keep_alive && !self.connections.are_many();
        self.write(&reply, keep_alive).map_err(|_| End::Gone)?;
        Ok(keep_alive)
    }

    /// Gets a reply from the loop.
    fn ask(&self, request: Request) -> Result<Reply, End> {
        let Request { path, accept, scrape_timeout, .. } = request;
        let read_at = Instant::now();
        let timeout = scrape_timeout.filter(|&timeout| timeout >= MIN_SCRAPE_TIMEOUT);
        let deadline =
            timeout.and_then(|timeout| read_at.checked_add(timeout - SCRAPE_TIMEOUT_OFFSET));
        let hung_up = || !self.is_evicted && self.stream.has_hung_up(!self.unread.is_empty());
        let reply = self.channel.ask(&path, Question { accept, read_at, deadline }, hung_up);
        reply.map_err(|no_reply| match no_reply {
            NoReply::Busy => SERVICE_UNAVAILABLE.into(),
            NoReply::HungUp => End::Gone,
            NoReply::Lost(error) => {
                log::error(&format!(
                    "the serving loop is lost: {error}; the process ends, to be started again"
                ));
                process::exit(1);
            }
        })
    }

    fn refuse(&mut self, refusal: Refusal) {
        let Refusal { status, reason, text } = refusal;
        let mut reply = Reply::text(status, reason, &format!("{text}\n"));
        reply.headers.extend(match refusal {
            UNAUTHORIZED => Some(AUTHENTICATE),
            METHOD_NOT_ALLOWED => Some(ALLOW),
            _ => None,
        });
        if self.write(&reply, false).is_ok() {
            self.linger();
        }
    }

    fn write(&mut self, reply: &Reply, keep_alive: bool) -> io::Result<()> {
        self.connections.set(self.id, State::Writing(Instant::now()));
        let mut head = reply.head();
        if let Some(access) = self.access {
            access.add_fields(&mut head);
        }
        let seconds = IDLE_TIME.as_secs();
        head.push_str(&if keep_alive {
            format!("Connection: keep-alive\r\nKeep-Alive: timeout={seconds}\r\n\r\n")
        } else {
            "Connection: close\r\n\r\n".to_owned()
        });
        // Neither an answer to HEAD nor a refusal of it has a body (RFC 9110, 9.3.2).
        let body: &[u8] = if self.to_head { &[] } else { &reply.body };
        self.stream.write_all(head.as_bytes(), body)
    }

    /// Reads and drops what the client still sends, for a limited time. If a connection is closed
    /// with unread bytes, the system resets it, and the client may lose the answer (RFC 9112, 9.6).
    fn linger(&mut self) {
        let deadline = Instant::now() + LINGER_TIME;
        if self.stream.end().is_err() {
            return;
        }
        self.connections.set(self.id, State::Closing);
        while Instant::now() < deadline && self.stream.drop_some(LINGER_TIME) {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        thread,
    };

    use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};

    use super::*;
    use crate::http::{
        inner,
        limits::{EVICTION_GRACE, HANG_UP_CHECK, WRITE_GRACE, WRITE_TIME},
    };

    /// Both ends of a TCP connection, the client's first.
    fn connect() -> (TcpStream, Arc<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, Arc::new(listener.accept().unwrap().0))
    }

    /// Serves a connection as its thread does, and closes it.
    fn serve(socket: Arc<TcpStream>, id: u64, connections: &Connections, channel: &Channel) {
        Connection::new(Stream::new(&socket, None), id, connections, channel, None).serve();
        connections.leave(id);
    }

    #[test]
    fn a_request_that_arrived_before_its_connection_was_evicted_can_wait_for_w() {
        let (mut client, socket) = connect();
        let (channel, requests) = inner::open().unwrap();
        let connections = Connections::default();
        let id = connections.enter(&socket);
        client.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        thread::sleep(EVICTION_GRACE);
        connections.evict_one();
        thread::scope(|scope| {
            scope.spawn(|| serve(socket, id, &connections, &channel));
            let request = requests.next(None).unwrap().unwrap();
            thread::sleep(2 * HANG_UP_CHECK);
            request.respond(Reply::text(200, "OK", "x"));
            let mut answer = String::new();
            let read = client.read_to_string(&mut answer);
            assert!(answer.ends_with("Connection: close\r\n\r\nx"), "{read:?} {answer:?}");
        });
    }

    #[test]
    fn a_refusal_that_is_not_read_makes_room_as_any_answer_does() {
        let (mut client, socket) = connect();
        let (channel, _requests) = inner::open().unwrap();
        let connections = Connections::default();
        let id = connections.enter(&socket);
        set_socket_send_buffer_size(&*socket, 4096).unwrap();
        set_socket_recv_buffer_size(&client, 4096).unwrap();
        // Until the client's buffer is full too.
        socket.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        while (&*socket).write(&[0; 512]).is_ok() {}
        socket.set_write_timeout(Some(WRITE_TIME)).unwrap();
        client.write_all(b"\0\r\n\r\n").unwrap();
        let began = Instant::now();
        thread::scope(|scope| {
            let serving = scope.spawn(|| serve(socket, id, &connections, &channel));
            while !serving.is_finished() {
                thread::sleep(Duration::from_millis(10));
                connections.evict_one();
            }
        });
        let took = began.elapsed();
        assert!((WRITE_GRACE..WRITE_TIME).contains(&took), "{took:?}");
    }
}
