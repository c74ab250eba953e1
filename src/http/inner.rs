//! The way from the connections to tiny_http's loop: four private connections, and the loop's side of them.
//!
//! A tiny_http server on TCP can be ended by its clients: with too many connections, a reset, a large `Content-Length`. Here its
//! only client is this module, which sends a path and an `Accept` that were checked before. The body of the answer is handed over
//! beside the socket, so that all who get the same one share its bytes.

use std::{
    io::{self, Read, Write},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    process,
    sync::{Arc, Condvar, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use rustix::{
    io::Errno,
    net::{self, AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType},
};
use tiny_http::{Header, Response, Server, StatusCode};

use super::limits::{HANG_UP_CHECK, MAX_WAITING};
use crate::{cli::NAME, clock, lock::locked};

/// Requests in the loop at a time. tiny_http starts with that many threads; one connection more could be left without.
const CHANNELS: usize = 4;

/// How often a name is taken on which a stranger gets in, before the start is given up.
const TRIES: usize = 1000;

/// For tiny_http to accept a connection and read a request, at the start.
const START_TIME: Duration = Duration::from_secs(5);

/// The connections' side.
pub(crate) struct Channels {
    state: Mutex<State>,
    /// A channel came back.
    returned: Condvar,
    /// Fewer are asking.
    answered: Condvar,
}

struct State {
    free: Vec<Channel>,
    /// Those who have a channel or wait for one.
    asking: usize,
}

/// A private connection to tiny_http. One request at a time goes through it.
struct Channel {
    /// Its number, which the loop reads as the host.
    number: usize,
    stream: UnixStream,
    exchange: Arc<Mutex<Exchange>>,
    /// Who asked last has hung up before the answer came, which is still to be read.
    owes_answer: bool,
}

/// What goes beside the socket.
#[derive(Default)]
struct Exchange {
    question: Option<Question>,
    body: Option<Arc<Vec<u8>>>,
}

/// What is asked, and by when.
pub(crate) struct Question {
    /// The path, checked.
    pub path: String,
    /// The `Accept` fields, printable ASCII.
    pub accept: String,
    /// When the request had arrived.
    pub read_at: Instant,
    /// When it must be answered at the latest.
    pub deadline: Option<Instant>,
}

/// The loop's answer.
pub(crate) struct Answer {
    /// The status line and the header fields, each with its line end.
    pub head: Vec<u8>,
    /// The body, shared.
    pub body: Arc<Vec<u8>>,
}

/// Why there is no answer.
pub(crate) enum NoAnswer {
    /// As many as possible wait already, or the deadline came before there was a channel.
    Busy,
    /// The client has hung up.
    HungUp,
    /// The loop is lost.
    Lost(io::Error),
}

/// The loop's side.
pub(crate) struct Requests {
    server: &'static Server,
    /// By the channels' numbers.
    exchanges: Vec<Arc<Mutex<Exchange>>>,
}

/// A request in the loop.
pub(crate) struct Request {
    inner: tiny_http::Request,
    exchange: Arc<Mutex<Exchange>>,
    /// When the request had arrived.
    pub read_at: Instant,
    /// When it must be answered at the latest.
    pub deadline: Option<Instant>,
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

/// Starts tiny_http with private connections.
///
/// # Errors
/// Too few descriptors or threads are left, or strangers are in at every try.
pub(crate) fn open() -> Result<(Channels, Requests)> {
    there_is_enough_for_tiny_http()?;
    let (listener, streams) = private_connections()?;
    let server = Server::from_listener(listener, None)
        .map_err(|error| anyhow!("tiny_http can't be started: {error}"))?;
    // Leaked: its `Drop` panics at a socket without a file, which would turn every later error into an abort.
    let server: &Server = Box::leak(Box::new(server));
    // When all are accepted, tiny_http's look for the next one fails, and it says so, once.
    let mut all_accepted = false;
    let free: Vec<Channel> = streams
        .into_iter()
        .enumerate()
        .map(|(number, stream)| Channel::open(number, stream, server, &mut all_accepted))
        .collect::<Result<_>>()?;
    if !all_accepted && server.recv_timeout(START_TIME).is_ok() {
        bail!("tiny_http goes on to accept connections");
    }
    let exchanges = free.iter().map(|channel| Arc::clone(&channel.exchange)).collect();
    let state = Mutex::new(State { free, asking: 0 });
    Ok((
        Channels { state, returned: Condvar::new(), answered: Condvar::new() },
        Requests { server, exchanges },
    ))
}

/// A listener that is shut already and holds the connections to these streams, and no others.
///
/// While it listens, every local user can find its name in `/proc/net/unix` and connect. So its queue holds as many as there are
/// channels, and they are all taken before it is read: one that finds no place means that somebody else has it.
fn private_connections() -> Result<(UnixListener, Vec<UnixStream>)> {
    for attempt in 0..TRIES {
        let name =
            format!("what-{}-{attempt}-{:x}", process::id(), clock::system().unix.as_nanos());
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes())
            .context("the inner socket has no name")?;
        let listener = stream_socket().context("the inner socket can't be made")?;
        net::bind(&listener, &address).context("the inner socket can't be bound")?;
        // Linux holds one more than is asked for.
        net::listen(&listener, CHANNELS as i32 - 1).context("the inner socket can't listen")?;
        let streams = connect_all(&address)?;
        net::shutdown(&listener, Shutdown::Both).context("the inner socket can't be shut")?;
        if let Some(streams) = streams {
            return Ok((UnixListener::from(listener), streams));
        }
    }
    bail!(
        "another process has connected to the inner socket at each of {TRIES} tries: look for one that reads /proc/net/unix"
    )
}

/// All the connections that the queue can hold; `None` if one of them finds no place.
fn connect_all(address: &SocketAddrUnix) -> Result<Option<Vec<UnixStream>>> {
    let mut streams = Vec::with_capacity(CHANNELS);
    for _ in 0..CHANNELS {
        let stream = UnixStream::from(stream_socket().context("the inner socket can't be made")?);
        stream.set_nonblocking(true).context("the inner socket can't be set up")?;
        match net::connect(&stream, address) {
            Ok(()) => {}
            Err(Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error).context("the inner socket can't be reached"),
        }
        stream.set_nonblocking(false).context("the inner socket can't be set up")?;
        streams.push(stream);
    }
    Ok(Some(streams))
}

fn stream_socket() -> rustix::io::Result<OwnedFd> {
    net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
}

/// tiny_http panics, in a thread of its own, where it finds no descriptor or thread. So as many are taken and given back first.
fn there_is_enough_for_tiny_http() -> Result<()> {
    let one = stream_socket().context("there are too few file descriptors (ulimit -n)")?;
    // Its ends of the channels, each twice, and our ends; the listener, and what the rest of the start opens meanwhile.
    let descriptors: io::Result<Vec<OwnedFd>> =
        (0..3 * CHANNELS + 8).map(|_| one.try_clone()).collect();
    descriptors.context("there are too few file descriptors (ulimit -n)")?;
    let threads: io::Result<Vec<_>> = (0..=CHANNELS)
        .map(|_| {
            let (end, ended) = mpsc::channel::<()>();
            let thread = thread::Builder::new().spawn(move || {
                let _ = ended.recv();
            })?;
            Ok((end, thread))
        })
        .collect();
    for (end, thread) in threads.context("there are too few threads (ulimit -u)")? {
        drop(end);
        let _ = thread.join();
    }
    Ok(())
}

impl Channels {
    /// Asks the loop, and waits for its answer as long as the client does. At most as many as that wait at a time.
    pub(crate) fn ask(
        &self,
        question: Question,
        hung_up: &impl Fn() -> bool,
    ) -> Result<Answer, NoAnswer> {
        let mut channel = self.take(question.deadline, hung_up)?;
        let answer = channel.ask(question, hung_up);
        let mut state = locked(&self.state);
        state.asking -= 1;
        // One that owes an answer is taken last.
        let place = if channel.owes_answer { 0 } else { state.free.len() };
        state.free.insert(place, channel);
        drop(state);
        self.returned.notify_one();
        self.answered.notify_one();
        answer
    }

    fn take(
        &self,
        deadline: Option<Instant>,
        hung_up: &impl Fn() -> bool,
    ) -> Result<Channel, NoAnswer> {
        // In a crowd the loop is soon through. If it is not, it waits for `w`.
        let full = |state: &mut State| state.asking >= MAX_WAITING;
        let state = locked(&self.state);
        let waited = self.answered.wait_timeout_while(state, HANG_UP_CHECK, full);
        let (mut state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return Err(NoAnswer::Busy);
        }
        state.asking += 1;
        loop {
            if let Some(channel) = state.free.pop() {
                return Ok(channel);
            }
            let waited = self.returned.wait_timeout(state, HANG_UP_CHECK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            let late = deadline.is_some_and(|deadline| deadline <= Instant::now());
            if late || hung_up() {
                state.asking -= 1;
                self.answered.notify_one();
                return Err(if late { NoAnswer::Busy } else { NoAnswer::HungUp });
            }
        }
    }
}

impl Channel {
    /// With one request and its answer it is sure that tiny_http has accepted the connection.
    fn open(
        number: usize,
        stream: UnixStream,
        server: &Server,
        all_accepted: &mut bool,
    ) -> Result<Channel> {
        stream.set_read_timeout(Some(START_TIME)).context("the inner socket has no timeout")?;
        let mut channel = Channel { number, stream, exchange: Arc::default(), owes_answer: false };
        channel.send("/", "").context("the inner socket can't be written")?;
        let request = match server.recv_timeout(START_TIME) {
            Err(_) if !*all_accepted => {
                *all_accepted = true;
                server.recv_timeout(START_TIME)
            }
            received => received,
        };
        let request = request.context("tiny_http does not accept its connections")?;
        let request = request.context("tiny_http does not read its connections")?;
        request.respond(Response::empty(204)).context("the inner socket can't be written")?;
        let answered = channel.receive(&|| true);
        if !matches!(answered, Ok(Some(_))) {
            bail!("tiny_http does not answer");
        }
        let timeout = Some(HANG_UP_CHECK);
        channel.stream.set_read_timeout(timeout).context("the inner socket has no timeout")?;
        Ok(channel)
    }

    fn ask(&mut self, question: Question, hung_up: &impl Fn() -> bool) -> Result<Answer, NoAnswer> {
        if self.owes_answer {
            self.receive(hung_up).map_err(NoAnswer::Lost)?.ok_or(NoAnswer::HungUp)?;
            self.owes_answer = false;
        }
        let (path, accept) = (question.path.clone(), question.accept.clone());
        *locked(&self.exchange) = Exchange { question: Some(question), body: None };
        self.send(&path, &accept).map_err(NoAnswer::Lost)?;
        self.owes_answer = true;
        let head = self.receive(hung_up).map_err(NoAnswer::Lost)?.ok_or(NoAnswer::HungUp)?;
        self.owes_answer = false;
        let body = locked(&self.exchange).body.take();
        let body = body.ok_or_else(|| NoAnswer::Lost(io::ErrorKind::InvalidData.into()))?;
        Ok(Answer { head, body })
    }

    /// HEAD, as the body comes another way.
    fn send(&mut self, path: &str, accept: &str) -> io::Result<()> {
        let Channel { number, stream, .. } = self;
        let request = format!("HEAD {path} HTTP/1.1\r\nHost: {number}\r\nAccept: {accept}\r\n\r\n");
        stream.write_all(request.as_bytes())
    }

    /// Reads a head up to its empty line, which is left out; `None` if the client has hung up before its first byte.
    fn receive(&mut self, hung_up: &impl Fn() -> bool) -> io::Result<Option<Vec<u8>>> {
        let mut head = Vec::with_capacity(512);
        let mut buffer = [0; 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => head.extend_from_slice(&buffer[..count]),
                // With a timeout, any signal to the process ends it, also one that is ignored, such as that of a child's end.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) && head.is_empty() => {
                    if hung_up() {
                        return Ok(None);
                    }
                }
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error),
            }
            if head.ends_with(b"\r\n\r\n") {
                head.truncate(head.len() - 2);
                return Ok(Some(head));
            }
        }
    }
}

/// What a socket with a timeout says at its end.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

impl Requests {
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
        let question = locked(exchange).question.take().context("a request came twice")?;
        let exchange = Arc::clone(exchange);
        Ok(Request { inner, exchange, read_at: question.read_at, deadline: question.deadline })
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
        locked(&self.exchange).body = Some(reply.body);
        let response = Response::new(StatusCode(reply.status), headers, io::empty(), length, None);
        // Otherwise long answers have no length.
        let _ = self.inner.respond(response.with_chunked_threshold(usize::MAX));
    }
}

fn header<'r>(request: &'r tiny_http::Request, name: &'static str) -> &'r str {
    let mut headers = request.headers().iter();
    headers.find(|header| header.field.equiv(name)).map_or("", |header| header.value.as_str())
}
