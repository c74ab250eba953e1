//! The only way to tiny_http: its loop answers requests that come through private sockets, from one client only, the front.
//!
//! A server that tiny_http runs on TCP dies of many things that a client can do: of too many connections, of a reset, of a
//! large `Content-Length`. None of them can be done through here. What goes in is a path that was understood; what comes
//! out is the head of the answer. Its body is handed over beside the socket, so that it is shared and never copied.

use std::{
    convert::Infallible,
    io::{self, Read, Write},
    net::Shutdown,
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    process,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use tiny_http::{Header, Request, Response, Server, StatusCode};

use crate::{clock, lock::locked, site::Site};

/// Requests that may be under way at a time. tiny_http keeps a thread for each; with fewer, sixteen clients wait long for each
/// other, and some of them much longer than others.
const WAYS: usize = 8;

/// The front's side.
pub struct Door {
    ways: Vec<Way>,
    next: AtomicUsize,
}

/// The loop's side.
pub struct Loop {
    server: Server,
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
/// The sockets can't be made: no descriptors or threads are left.
pub fn open() -> Result<(Door, Loop)> {
    // An abstract name needs no file. Nobody else has a reason to come in, and would find no more than on the port.
    let name = format!("what-{}-{:x}", process::id(), clock::system().unix.as_nanos());
    let address = SocketAddr::from_abstract_name(name).context("the inner socket has no name")?;
    let listener = UnixListener::bind_addr(&address).context("the inner socket can't be opened")?;
    let shut = UnixStream::from(OwnedFd::from(
        listener.try_clone().context("the inner socket can't be shared")?,
    ));
    let server = Server::from_listener(listener, None)
        .map_err(|error| anyhow!("tiny_http can't be started: {error}"))?;
    let ways: Vec<Way> =
        (0..WAYS).map(|number| Way::enter(number, &address, &server)).collect::<Result<_>>()?;
    shut.shutdown(Shutdown::Both).context("the inner socket can't be shut")?;
    let inside =
        Loop { server, handovers: ways.iter().map(|way| Arc::clone(&way.handover)).collect() };
    let next = AtomicUsize::new(0);
    Ok((Door { ways, next }, inside))
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
    /// With one request and its answer the front is in. One way after the other: tiny_http must have given a thread to the last.
    fn enter(number: usize, address: &SocketAddr, server: &Server) -> Result<Way> {
        let mut stream =
            UnixStream::connect_addr(address).context("the inner socket can't be reached")?;
        // Longer than any answer takes; after that the loop is lost.
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .context("the inner socket has no timeout")?;
        let mut first = || {
            send(&mut stream, number, "/", "")?;
            server.recv()?.respond(Response::empty(204))?;
            receive(&mut stream)
        };
        first().context("tiny_http does not answer")?;
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
        let headers = answer
            .headers
            .iter()
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
