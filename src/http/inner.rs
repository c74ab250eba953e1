//! The way from the connections to tiny_http's loop: a private Unix socket. [`super::channel`] is the connections' end of it,
//! [`super::incoming`] the loop's.
//!
//! A tiny_http server on TCP can be ended by its clients: with too many connections, a reset, a large `Content-Length`. Here its
//! only client is this process, which sends paths that were checked before. The replies go beside the socket, so that all who get
//! the same body share its bytes, and nobody waits for a slow client.

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

/// The threads that tiny_http starts with: one that accepts, and four that read.
const THREADS: usize = 5;

/// How often a name is taken on which a stranger gets in, before the start is given up.
const TRIES: usize = 1000;

/// For tiny_http to accept the connection and read a request, at the start.
const START_TIME: Duration = Duration::from_secs(5);

/// Starts tiny_http with a private connection.
///
/// # Errors
/// Too few descriptors or threads are left, or strangers are in at every try.
pub(crate) fn open() -> Result<(Channel, Requests)> {
    there_is_enough_for_tiny_http()?;
    let (listener, stream) = private_connection()?;
    let server = Server::from_listener(listener, None)
        .map_err(|error| anyhow!("tiny_http can't be started: {error}"))?;
    // Leaked: its `Drop` panics at a socket without a file, which would turn every later error into an abort.
    let server: &Server = Box::leak(Box::new(server));
    try_out(server, &stream)?;
    let (questions, asked) = mpsc::channel();
    Ok((Channel::new(stream, questions), Requests::new(server, asked)))
}

/// With a request that has come through it is certain that tiny_http has accepted the connection, and reads it.
fn try_out(server: &Server, mut stream: &UnixStream) -> Result<()> {
    let request = channel::request("/");
    stream.write_all(request.as_bytes()).context("the inner socket can't be written")?;
    // After the connection, tiny_http's look for another one fails, and it says so, once.
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

/// A listener that is shut already and holds the connection to this stream, and no other.
///
/// While it listens, every local user can find its name in `/proc/net/unix` and connect. So its queue holds one connection, and that
/// is made before it is read: if it finds no place, somebody else has it.
fn private_connection() -> Result<(UnixListener, UnixStream)> {
    for attempt in 0..TRIES {
        let name =
            format!("what-{}-{attempt}-{:x}", process::id(), clock::system().unix.as_nanos());
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes())
            .context("the inner socket has no name")?;
        let listener = stream_socket().context("the inner socket can't be made")?;
        net::bind(&listener, &address).context("the inner socket can't be bound")?;
        // Linux holds one more than is asked for.
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

/// tiny_http panics, in a thread of its own, where it finds no descriptor or thread. So as many are taken and given back first.
fn there_is_enough_for_tiny_http() -> Result<()> {
    let one = stream_socket().context("there are too few file descriptors (ulimit -n)")?;
    // Its end of the connection, twice, and ours; the listener, and what the rest of the start opens meanwhile.
    let descriptors: io::Result<Vec<OwnedFd>> = (0..11).map(|_| one.try_clone()).collect();
    descriptors.context("there are too few file descriptors (ulimit -n)")?;
    let threads: io::Result<Vec<_>> = (0..THREADS)
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
