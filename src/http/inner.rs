//! The way from the connections to tiny_http's loop: four private Unix sockets. [`super::channels`] is the connections' end of it,
//! [`super::incoming`] the loop's.
//!
//! A tiny_http server on TCP can be ended by its clients: with too many connections, a reset, a large `Content-Length`. Here its
//! only client is this process, which sends a path and an `Accept` that were checked before. The body of the answer is handed over
//! beside the socket, so that all who get the same one share its bytes.

use std::{
    io,
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    process,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use rustix::{
    io::Errno,
    net::{self, AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType},
};
use tiny_http::{Response, Server};

use super::{
    channels::{Channel, Channels},
    incoming::Requests,
};
use crate::clock;

/// Requests in the loop at a time. tiny_http starts with that many threads; one connection more could be left without.
const CHANNELS: usize = 4;

/// How often a name is taken on which a stranger gets in, before the start is given up.
const TRIES: usize = 1000;

/// For tiny_http to accept a connection and read a request, at the start.
const START_TIME: Duration = Duration::from_secs(5);

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
    let streams = streams.into_iter().enumerate();
    let mut channels: Vec<Channel> =
        streams.map(|(number, stream)| Channel::new(number, stream)).collect();
    try_out(server, &mut channels)?;
    let exchanges = channels.iter().map(|channel| Arc::clone(&channel.exchange)).collect();
    Ok((Channels::new(channels), Requests::new(server, exchanges)))
}

/// With a request and its answer on each it is certain that tiny_http has accepted them all, and reads them.
fn try_out(server: &Server, channels: &mut [Channel]) -> Result<()> {
    for channel in channels.iter_mut() {
        channel.send("/", "").context("the inner socket can't be written")?;
    }
    // When all are accepted, tiny_http's look for the next one fails, and it says so, once.
    let (mut read, mut all_accepted) = (0, false);
    while read < channels.len() || !all_accepted {
        match server.recv_timeout(START_TIME) {
            Ok(Some(request)) => {
                let answered = request.respond(Response::empty(204));
                answered.context("the inner socket can't be written")?;
                read += 1;
            }
            Err(_) if !all_accepted => all_accepted = true,
            Ok(None) => bail!("tiny_http does not read its connections"),
            Err(error) => return Err(error).context("tiny_http does not accept its connections"),
        }
    }
    for channel in channels {
        channel.receive().context("tiny_http does not answer")?;
    }
    Ok(())
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
