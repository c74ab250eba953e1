//! Starts tiny_http on a private Unix socket, the channel from the connections to the loop.
//! [`super::channel`] is the connections' end of the channel, and [`super::incoming`] the loop's.
//!
//! Clients can crash or block a tiny_http server on TCP: with too many connections, a reset, or a
//! large `Content-Length`. Here, this process is its only client and sends only paths that were
//! checked before. Replies do not go through the socket. So all clients that get the same body
//! share its bytes, and the loop never waits for a slow client.

use std::{
    io::{self, Write},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    process,
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use rustix::{
    io::Errno,
    net::{self, AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType},
};
use tiny_http::Server;

use super::{
    channel::{self, Channel},
    incoming::Requests,
};
use crate::clock;

/// The threads that tiny_http starts: one accepts connections, and four read requests.
const THREADS: usize = 5;

/// The most names that are tried, if other processes connect to the socket first.
const TRIES: usize = 1000;

/// The most time for tiny_http to accept the connection and read a request.
const START_TIME: Duration = Duration::from_secs(5);

/// Starts tiny_http with a private connection.
///
/// # Errors
/// Too few file descriptors or threads are available, or other processes connected first at every
/// try.
pub(crate) fn open() -> Result<(Channel, Requests)> {
    there_is_enough_for_tiny_http()?;
    let (listener, stream) = private_connection()?;
    let server = Server::from_listener(listener, None)
        .map_err(|error| anyhow!("tiny_http can't be started: {error}"))?;
    // Leaked, because its `Drop` panics if the socket has no file. Then each later error would
    // abort the process.
    let server: &Server = Box::leak(Box::new(server));
    try_out(server, &stream)?;
    let (questions, asked) = mpsc::channel();
    Ok((Channel::new(stream, questions), Requests::new(server, asked)))
}

/// Sends one request through tiny_http, to make sure that it has accepted the connection and reads
/// it.
fn try_out(server: &Server, mut stream: &UnixStream) -> Result<()> {
    let request = channel::request("/");
    stream.write_all(request.as_bytes()).context("the inner socket can't be written")?;
    // After this connection, tiny_http fails to accept another one, and reports that once.
    let (mut is_read, mut is_accepted) = (false, false);
    while !is_read || !is_accepted {
        match server.recv_timeout(START_TIME) {
            Ok(Some(request)) => {
                drop(request.into_writer());
                is_read = true;
            }
            Err(_) if !is_accepted => is_accepted = true,
            Ok(None) => bail!("tiny_http does not read its connection"),
            Err(error) => return Err(error).context("tiny_http does not accept its connection"),
        }
    }
    Ok(())
}

/// Makes a listener that is already shut down, and a stream that is its only connection.
///
/// While it listens, every local user can find its name in `/proc/net/unix` and connect. So its
/// queue has room for one connection, and this process connects before tiny_http accepts. If the
/// queue is full, another process was first.
fn private_connection() -> Result<(UnixListener, UnixStream)> {
    for attempt in 0..TRIES {
        let name =
            format!("what-{}-{attempt}-{:x}", process::id(), clock::system().unix.as_nanos());
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes())
            .context("the inner socket has no name")?;
        let listener = stream_socket().context("the inner socket can't be made")?;
        net::bind(&listener, &address).context("the inner socket can't be bound")?;
        // The queue holds one connection more than this number.
        net::listen(&listener, 0).context("the inner socket can't listen")?;
        let stream = UnixStream::from(stream_socket().context("the inner socket can't be made")?);
        stream.set_nonblocking(true).context("the inner socket can't be set up")?;
        let connected = net::connect(&stream, &address);
        net::shutdown(&listener, Shutdown::Both).context("the inner socket can't be shut")?;
        match connected {
            Ok(()) => {
                stream.set_nonblocking(false).context("the inner socket can't be set up")?;
                return Ok((UnixListener::from(listener), stream));
            }
            Err(Errno::AGAIN) => {}
            Err(error) => return Err(error).context("the inner socket can't be reached"),
        }
    }
    bail!(
        "another process has connected to the inner socket at each of {TRIES} tries: look for one that reads /proc/net/unix"
    )
}

fn stream_socket() -> rustix::io::Result<OwnedFd> {
    net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
}

const TOO_FEW_DESCRIPTORS: &str = "there are too few file descriptors; raise the limit (ulimit -n, or LimitNOFILE of the systemd unit)";
const TOO_FEW_THREADS: &str =
    "there are too few threads; raise the limit (ulimit -u, or TasksMax of the systemd unit)";

/// Checks that the system provides the descriptors and threads that tiny_http needs. Without them,
/// tiny_http panics in one of its threads.
fn there_is_enough_for_tiny_http() -> Result<()> {
    let one = stream_socket().context(TOO_FEW_DESCRIPTORS)?;
    // Three for the connection, one for the listener, and some that the rest of the start opens.
    let descriptors: io::Result<Vec<OwnedFd>> = (0..11).map(|_| one.try_clone()).collect();
    descriptors.context(TOO_FEW_DESCRIPTORS)?;
    let threads: io::Result<Vec<_>> = (0..THREADS)
        .map(|_| {
            let (end, ended) = mpsc::channel::<()>();
            let thread = thread::Builder::new().spawn(move || {
                let _ = ended.recv();
            })?;
            Ok((end, thread))
        })
        .collect();
    for (end, thread) in threads.context(TOO_FEW_THREADS)? {
        drop(end);
        let _ = thread.join();
    }
    Ok(())
}
