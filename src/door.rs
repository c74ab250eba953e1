//! The only way to tiny_http: its loop answers requests that come through private sockets, from one client only, the front.
//!
//! A server that tiny_http runs on TCP dies of many things that a client can do: of too many connections, of a reset, of a
//! large `Content-Length`. None of them can be done through here. What goes in is a path that was understood; what comes
//! out is the head of the answer. Its body is handed over beside the socket, so that it is shared and never copied.

use std::{
    convert::Infallible,
    io::{self, Read, Write},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    process,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use rustix::{
    io::Errno,
    net::{self, AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType},
};
use tiny_http::{Header, Request, Response, Server, StatusCode};

use crate::{cli::NAME, clock, lock::locked, site::Site};

/// Requests that may be under way at a time. tiny_http starts with that many threads; one connection more could be left without.
const WAYS: usize = 4;

/// For tiny_http to accept a connection and read a request, at the start.
const START_TIME: Duration = Duration::from_secs(5);

/// How often a name is taken on which a stranger gets in, before the start is given up.
const TRIES: usize = 1000;

/// The front's side.
pub struct Door {
    ways: Vec<Way>,
    next: AtomicUsize,
}

/// The loop's side.
pub struct Loop {
    server: &'static Server,
    /// In the order of the ways.
    handovers: Vec<Handover>,
}

/// One request at a time goes this way.
struct Way {
    /// Its name, which the loop is told as the host.
    number: usize,
    stream: Mutex<UnixStream>,
    handover: Handover,
}

/// Where the loop leaves the body of the answer whose head it sends.
type Handover = Arc<Mutex<Option<Arc<Vec<u8>>>>>;

/// The head of an answer, up to its empty line, and its body.
pub struct Reply {
    /// The status line and the headers, each with its line end.
    pub head: Vec<u8>,
    /// The body, shared.
    pub body: Arc<Vec<u8>>,
}

/// Opens the door, lets the front in, and shuts it behind it.
///
/// # Errors
/// The sockets can't be made: no descriptors or threads are left, or strangers are in at every try.
pub fn open() -> Result<(Door, Loop)> {
    there_is_enough_for_tiny_http()?;
    let (listener, streams) = private_connections()?;
    let server = Server::from_listener(listener, None)
        .map_err(|error| anyhow!("tiny_http can't be started: {error}"))?;
    // Leaked: its `Drop` panics at a socket without a file, which would turn every later error into an abort.
    let server: &Server = Box::leak(Box::new(server));
    let ways: Vec<Way> = streams
        .into_iter()
        .enumerate()
        .map(|(number, stream)| Way::enter(number, stream, server))
        .collect::<Result<_>>()?;
    let handovers = ways.iter().map(|way| Arc::clone(&way.handover)).collect();
    let inside = Loop { server, handovers };
    Ok((Door { ways, next: AtomicUsize::new(0) }, inside))
}

/// A listener that is shut already and holds the connections to these streams, and no others.
///
/// While it listens, every local user can find its name in `/proc/net/unix` and connect. So its queue holds as many as there are
/// ways, and they are all taken before it is read: one that finds no place means that somebody else has it.
fn private_connections() -> Result<(UnixListener, Vec<UnixStream>)> {
    for attempt in 0..TRIES {
        let name =
            format!("what-{}-{attempt}-{:x}", process::id(), clock::system().unix.as_nanos());
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes())
            .context("the inner socket has no name")?;
        let listener = stream_socket().context("the inner socket can't be made")?;
        net::bind(&listener, &address).context("the inner socket can't be bound")?;
        // Linux holds one more than is asked for.
        net::listen(&listener, WAYS as i32 - 1).context("the inner socket can't listen")?;
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
    let mut streams = Vec::with_capacity(WAYS);
    for _ in 0..WAYS {
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
    // Its ends of the ways, each twice, and our ends; the listener, and what the rest of the start opens meanwhile.
    let descriptors: io::Result<Vec<OwnedFd>> =
        (0..3 * WAYS + 8).map(|_| one.try_clone()).collect();
    descriptors.context("there are too few file descriptors (ulimit -n)")?;
    let threads: io::Result<Vec<_>> = (0..=WAYS)
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

impl Door {
    /// Asks for a path and gives the answer to GET.
    ///
    /// # Errors
    /// The loop is lost.
    pub fn ask(&self, path: &str, accept: &str) -> io::Result<Reply> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let way = self.ways.get(turn % WAYS);
        way.ok_or(io::ErrorKind::NotConnected)?.ask(path, accept)
    }
}

impl Way {
    /// With one request and its answer it is sure that tiny_http has accepted the connection.
    fn enter(number: usize, mut stream: UnixStream, server: &Server) -> Result<Way> {
        // Longer than any answer takes; after that the loop is lost.
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .context("the inner socket has no timeout")?;
        send(&mut stream, number, "/", "").context("the inner socket can't be written")?;
        let request = match server.recv_timeout(START_TIME) {
            // Once, as there is nothing more to accept.
            Err(_) => server.recv_timeout(START_TIME),
            received => received,
        };
        let request =
            request.ok().flatten().context("tiny_http does not accept its connections")?;
        request.respond(Response::empty(204)).context("the inner socket can't be written")?;
        receive(&mut stream).context("tiny_http does not answer")?;
        Ok(Way { number, stream: Mutex::new(stream), handover: Handover::default() })
    }

    fn ask(&self, path: &str, accept: &str) -> io::Result<Reply> {
        let mut stream = locked(&self.stream);
        send(&mut stream, self.number, path, accept)?;
        let head = receive(&mut stream)?;
        let body = locked(&self.handover).take().unwrap_or_default();
        Ok(Reply { head, body })
    }
}

impl Loop {
    /// Answers until the end.
    ///
    /// # Errors
    /// The loop is lost: nothing will be answered any more.
    pub fn run(&self, site: &Site) -> Result<Infallible> {
        let mut shut = false;
        loop {
            match self.server.recv() {
                Ok(request) => {
                    self.answer(request, site).context("the inner socket can't be written")?
                }
                // Once, as the door was shut behind the front.
                Err(_) if !shut => shut = true,
                Err(error) => return Err(error).context("tiny_http has no more requests"),
            }
        }
    }

    fn answer(&self, request: Request, site: &Site) -> io::Result<()> {
        let header = |name: &'static str| {
            let mut headers = request.headers().iter();
            headers
                .find(|header| header.field.equiv(name))
                .map_or("", |header| header.value.as_str())
        };
        let answer = site.answer(request.url(), header("Accept"));
        // tiny_http names itself where no name is given.
        let headers = [("Server", NAME)]
            .iter()
            .chain(&answer.headers)
            .filter_map(|(name, value)| Header::from_bytes(*name, *value).ok())
            .collect();
        let length = answer.body.len();
        let way = header("Host").parse().ok();
        if let Some(handover) = way.and_then(|way: usize| self.handovers.get(way)) {
            *locked(handover) = Some(answer.body);
        }
        let response =
            Response::new(StatusCode(answer.status), headers, io::empty(), Some(length), None);
        // Else long answers have no length.
        request.respond(response.with_chunked_threshold(usize::MAX))
    }
}

/// HEAD, as the body comes another way.
fn send(stream: &mut UnixStream, way: usize, path: &str, accept: &str) -> io::Result<()> {
    let request = format!("HEAD {path} HTTP/1.1\r\nHost: {way}\r\nAccept: {accept}\r\n\r\n");
    stream.write_all(request.as_bytes())
}

/// Reads up to the empty line, which is left out.
fn receive(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(512);
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => head.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            // With a timeout, any signal to the process ends it, also one that is ignored, such as that of a child's end.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if head.ends_with(b"\r\n\r\n") {
            head.truncate(head.len() - 2);
            return Ok(head);
        }
    }
}
