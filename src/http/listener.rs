//! The sockets that clients connect to. Each connection gets its own thread. Errors never stop the
//! accepting.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::{
    io::Errno,
    net::{
        self,
        sockopt::{Timeout, set_socket_send_buffer_size, set_socket_timeout, set_tcp_nodelay},
    },
};

use super::{
    access::Access,
    channel::Channel,
    connection::Connection,
    connections::Connections,
    incoming::Requests,
    inner,
    limits::{LISTEN_QUEUE, LOG_PAUSE, PAUSE, SEND_BUFFER_BYTES, STACK_BYTES, WRITE_TIME},
    stream::Stream,
};
use crate::log;

/// What to do where only root may have a port.
const PRIVILEGED: &str = "choose a port from 1024, or give the exporter CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities= and CapabilityBoundingSet=)";

/// The listening sockets, one for each address of the host name.
pub(crate) struct Listener {
    sockets: Vec<TcpListener>,
    /// The first address, with its port.
    pub address: SocketAddr,
}

/// The state that all connections share.
struct Shared {
    connections: Connections,
    channel: Channel,
    access: Option<Access>,
}

/// Stops the accepting.
pub struct Accepting {
    sockets: Vec<TcpListener>,
    shared: Arc<Shared>,
}

impl Listener {
    /// Listens on every address of the host. For port 0, the system chooses a port, which is the
    /// same for all addresses. `named` is where host and port came from, for the error.
    ///
    /// # Errors
    /// The name has no address, or an address can't be bound.
    pub(crate) fn bind(host: &str, port: u16, named: &str) -> Result<Listener> {
        let tried = || format!("can't listen on {host} port {port} ({named})");
        let mut addresses: Vec<SocketAddr> =
            (host, port).to_socket_addrs().with_context(tried)?.collect();
        addresses.sort();
        addresses.dedup();
        let mut sockets: Vec<TcpListener> = Vec::new();
        let mut chosen = port;
        let mut unavailable = None;
        for mut address in addresses {
            address.set_port(chosen);
            match TcpListener::bind(address) {
                Ok(socket) => {
                    chosen = socket.local_addr().with_context(tried)?.port();
                    sockets.push(socket);
                }
                Err(error) if is_of_missing_ipv6(&error) => unavailable = Some(error),
                Err(error) if port < 1024 && error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(error).with_context(|| format!("{}; {PRIVILEGED}", tried()));
                }
                Err(error) => return Err(error).with_context(tried),
            }
        }
        let Some(first) = sockets.first() else {
            return match unavailable {
                Some(error) => Err(error).with_context(tried),
                None => bail!("{}: the name has no address", tried()),
            };
        };
        let address = first.local_addr().with_context(tried)?;
        sockets.iter().try_for_each(set_up)?;
        Ok(Listener { sockets, address })
    }

    /// Starts to accept connections, and returns the requests for the loop. `access` restricts the
    /// clients, if it is set.
    ///
    /// # Errors
    /// Too few file descriptors or threads are available.
    pub(crate) fn start(self, access: Option<Access>) -> Result<(Accepting, Requests)> {
        let (channel, requests) = inner::open()?;
        let shared = Arc::new(Shared { connections: Connections::default(), channel, access });
        let copies: io::Result<Vec<_>> = self.sockets.iter().map(TcpListener::try_clone).collect();
        let sockets = copies.context("the listening socket can't be shared")?;
        for socket in self.sockets {
            let shared = Arc::clone(&shared);
            let accepting = thread::Builder::new().spawn(move || shared.accept(&socket));
            accepting.context("no thread can be started")?;
        }
        Ok((Accepting { sockets, shared }, requests))
    }
}

/// Sets the options of a socket. Its connections inherit them.
fn set_up(socket: &TcpListener) -> Result<()> {
    // The default queue holds 128 connections. Other clients would try again after a second.
    net::listen(socket, LISTEN_QUEUE).context("the listen queue can't be made longer")?;
    // Otherwise an answer on a kept connection can wait 40 ms for the client's acknowledgement.
    set_tcp_nodelay(socket, true).context("TCP_NODELAY can't be set")?;
    set_socket_send_buffer_size(socket, SEND_BUFFER_BYTES).context("SO_SNDBUF can't be set")?;
    // Limits each write. The connection limits the time of the whole answer.
    set_socket_timeout(socket, Timeout::Send, Some(WRITE_TIME)).context("SO_SNDTIMEO can't be set")
}

impl Shared {
    /// Accepts connections until the socket is shut down.
    fn accept(self: &Arc<Shared>, socket: &TcpListener) {
        let mut logged: Option<Instant> = None;
        loop {
            let served = match socket.accept() {
                Ok((stream, _)) => self.serve(stream),
                // The socket was shut down.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
                Err(error) if is_of_connection(&error) => continue,
                Err(error) => Err(error),
            };
            if let Err(error) = served {
                if logged.is_none_or(|time| time.elapsed() > LOG_PAUSE) {
                    log::warn(&format!("refusing connections: {error}"));
                    logged = Some(Instant::now());
                }
                // Descriptors, threads or memory ran out. A connection that ends releases some.
                self.connections.evict_one();
                thread::sleep(PAUSE);
            }
        }
    }

    /// Serves a connection in its own thread.
    fn serve(self: &Arc<Shared>, stream: TcpStream) -> io::Result<()> {
        // A connection that was reset already needs no thread.
        if !matches!(stream.take_error(), Ok(None)) {
            return Ok(());
        }
        let stream = Arc::new(stream);
        let id = self.connections.enter(&stream);
        let shared = Arc::clone(self);
        let serve = move || {
            shared.serve_stream(&stream, id);
            shared.connections.leave(id);
        };
        let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn(serve);
        thread.map(drop).inspect_err(|_| self.connections.leave(id))
    }

    fn serve_stream(&self, socket: &TcpStream, id: u64) {
        let Shared { connections, channel, access } = self;
        let access = access.as_ref();
        match access.map_or(Ok(None), Access::session) {
            Ok(tls) => {
                Connection::new(Stream::new(socket, tls), id, connections, channel, access).serve()
            }
            Err(error) => log::warn(&format!("TLS can't be started: {error:#}")),
        }
    }
}

/// A name such as localhost can have an IPv6 address where IPv6 is switched off, by sysctl or in
/// the kernel.
fn is_of_missing_ipv6(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT))
}

fn is_of_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted)
}

impl Accepting {
    /// Accepts no more connections.
    pub(crate) fn stop(&mut self) {
        for socket in self.sockets.drain(..) {
            let _ = net::shutdown(&socket, net::Shutdown::Both);
        }
    }

    /// Waits until all requests are answered, at most for this time.
    pub(crate) fn wait_until_answered(&self, time: Duration) {
        self.shared.connections.wait_until_answered(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_left_out_only_where_ipv6_is_missing() {
        for (errno, is_left_out) in [
            (Errno::ADDRNOTAVAIL, true),
            (Errno::AFNOSUPPORT, true),
            (Errno::ADDRINUSE, false),
            (Errno::ACCESS, false),
        ] {
            assert_eq!(is_of_missing_ipv6(&errno.into()), is_left_out, "{errno}");
        }
    }
}
