//! Starts tiny_http on a private Unix socket, on which the front sends it the requests for the loop.
//!
//! tiny_http reads these requests, queues them, and gives them to the loop. Clients do not reach it
//! directly, because they could end or block it. Measured with version 0.12 on TCP:
//!
//! | what a client does | what happens |
//! |---|---|
//! | opens connections up to the limit of open files | it accepts nobody any more |
//! | sends a request and resets the connection | a thread panics, which ends this process |
//! | sends `Content-Length: 1000000000000` | the allocation aborts the process |
//! | sends `Content-Length: 18446744073709551615` | the loop panics |
//! | announces a body and does not send it | the loop waits for it |
//! | asks for a large answer and does not read it | the loop waits for it |
//! | sends endless header fields | memory grows by 100 MB a second and more |
//! | keeps one of 16 connections busy | requests of the others are never read |
//! | sends lines that end in a line feed alone, or HTTP/2 | it is never answered |
//!
//! Here this process is its only client, and sends only paths that were checked. Replies do not go
//! through the socket, so clients that get the same body share its bytes, and the loop never waits
//! for a slow client.

use std::{
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    process,
    sync::mpsc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use rustix::{
    io::Errno,
    net::{self, AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType},
};
use tiny_http::Server;

use super::requests::{Requests, ToFront, ToLoop};
use crate::{clock, threads};

/// The threads that the start still needs. tiny_http starts six: one accepts connections, four read
/// requests, and if the connection is accepted before one of these four is ready, one more reads
/// from it. Then come the front, the one that runs `w`, and with TLS the one that checks passwords.
/// tiny_http starts first, so it finds enough even if the kernel still counts one or two of the
/// check that have ended.
const THREADS: usize = if cfg!(feature = "tls") { 9 } else { 8 };

/// The most names that are tried, if other processes connect to the socket first.
const TRIES: usize = 1000;

/// The most time for tiny_http to accept the connection.
const START_TIME: Duration = Duration::from_secs(5);

/// Starts tiny_http with a private connection.
///
/// # Errors
/// Too few file descriptors or threads are available, or other processes connected first at every
/// try.
pub(super) fn start(to_front: ToFront) -> Result<(ToLoop, Requests)> {
    there_are_enough_threads()?;
    let (listener, stream) = private_connection()?;
    let server = Server::from_listener(listener, None)
        .map_err(|error| anyhow!("tiny_http can't be started: {error}"))?;
    // Leaked, because its `Drop` panics if the socket has no file. Then each later error would
    // abort the process.
    let server: &Server = Box::leak(Box::new(server));
    // It accepts this process' connection, and reports that it cannot accept another one.
    match server.recv_timeout(START_TIME) {
        Err(_) => {}
        Ok(_) => bail!("tiny_http does not accept its connection"),
    }
    let (questions, asked) = mpsc::channel();
    Ok((ToLoop::new(stream, questions), Requests::new(server, asked, to_front)))
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

/// Checks that the system provides the threads, all at the same time. Without its own, as without
/// its descriptors, tiny_http panics in one of its threads.
fn there_are_enough_threads() -> Result<()> {
    let threads: Result<Vec<_>> = (0..THREADS)
        .map(|_| {
            let (end, ended) = mpsc::channel::<()>();
            let thread = threads::start(move || {
                let _ = ended.recv();
            })?;
            Ok((end, thread))
        })
        .collect();
    for (end, thread) in threads? {
        drop(end);
        let _ = thread.join();
    }
    Ok(())
}
