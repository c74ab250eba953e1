//! The sockets that clients connect to.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs},
    os::fd::OwnedFd,
    sync::mpsc::{self, Receiver},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::{
    io::Errno,
    net::{
        self, AddressFamily, SocketFlags, SocketType,
        sockopt::{set_ipv6_v6only, set_socket_send_buffer_size, set_tcp_nodelay},
    },
};

use super::{
    accept::is_of_shortage,
    access::Access,
    descriptors,
    front::{Front, Settings},
    limits::{LISTEN_QUEUE, SEND_BUFFER_BYTES},
    requests::{Bell, Message, Requests, ToFront},
    server,
};
use crate::{log, threads};

/// What to do where only root may have a port.
const PRIVILEGED: &str = "choose a port of 1024 or above, or give the exporter CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities= and CapabilityBoundingSet=)";

/// The listening sockets, one for each address of the host name.
pub(crate) struct Listener {
    sockets: Vec<TcpListener>,
    /// The first address, with its port.
    pub address: SocketAddr,
    /// Bound so that nobody else can have the port there, and not listening.
    reserved: Vec<OwnedFd>,
}

/// Shuts the front down.
pub struct Shutdown {
    to_front: ToFront,
    answered: Receiver<()>,
    _reserved: Vec<OwnedFd>,
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
        let reserved = reserve_ipv6(&sockets).into_iter().collect();
        Ok(Listener { sockets, address, reserved })
    }

    /// Starts the front, and returns the requests for the loop, which are for one of the paths.
    /// `access` restricts the clients, if it is set.
    ///
    /// # Errors
    /// Too few file descriptors or threads are available.
    pub(crate) fn start(
        self,
        mut access: Option<Access>,
        paths: [String; 2],
    ) -> Result<(Shutdown, Requests)> {
        let connections = descriptors::provide()?;
        let bell = Bell::new().context("no event descriptor can be made")?;
        let (sender, messages) = mpsc::channel();
        let to_front = ToFront::new(sender, bell.clone());
        let (to_loop, requests) = server::start(to_front.clone())?;
        if let Some(access) = &mut access {
            access.start(to_front.clone())?;
        }
        let (unanswered, answered) = mpsc::channel();
        let settings = Settings { access, paths, connections };
        let front = Front::new(self.sockets, settings, to_loop, messages, bell, unanswered);
        threads::start(move || front.run())?;
        Ok((Shutdown { to_front, answered, _reserved: self.reserved }, requests))
    }
}

/// Sets the options of a socket. Its connections inherit all but the last one.
fn set_up(socket: &TcpListener) -> Result<()> {
    // The default queue holds 128 connections. Other clients would try again after a second.
    net::listen(socket, LISTEN_QUEUE).context("the listen queue can't be made longer")?;
    // Otherwise an answer on a kept connection can wait 40 ms for the client's acknowledgement.
    set_tcp_nodelay(socket, true).context("TCP_NODELAY can't be set")?;
    set_socket_send_buffer_size(socket, SEND_BUFFER_BYTES).context("SO_SNDBUF can't be set")?;
    socket.set_nonblocking(true).context("O_NONBLOCK can't be set")
}

/// If the host is all of IPv4 or its loopback address, another user could listen on the same port
/// of IPv6 and answer clients that try IPv6 first. So the port is taken there too.
fn reserve_ipv6(sockets: &[TcpListener]) -> Option<OwnedFd> {
    let [socket] = sockets else { return None };
    let address = socket.local_addr().ok()?;
    let same = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv6Addr::UNSPECIFIED,
        IpAddr::V4(Ipv4Addr::LOCALHOST) => Ipv6Addr::LOCALHOST,
        _ => return None,
    };
    let same = SocketAddr::from((same, address.port()));
    match bind_only(&same) {
        Ok(socket) => Some(socket),
        // With too few descriptors the start ends a moment later, and says so.
        Err(error) if is_of_missing_ipv6(&error) || is_of_shortage(&error) => None,
        Err(error) => {
            log::warn(&format!(
                "{same} can't be reserved: {error}; another program can answer clients that try IPv6 first"
            ));
            None
        }
    }
}

/// Binds an address of IPv6 alone. Nobody can connect to it, and nobody else can bind it.
fn bind_only(address: &SocketAddr) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = net::socket_with(AddressFamily::INET6, SocketType::STREAM, flags, None)?;
    set_ipv6_v6only(&socket, true)?;
    net::bind(&socket, address)?;
    Ok(socket)
}

/// A name such as localhost can have an IPv6 address where IPv6 is switched off, by sysctl or in
/// the kernel.
fn is_of_missing_ipv6(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT))
}

impl Shutdown {
    /// Accepts no more connections.
    pub(crate) fn begin(&self) {
        self.to_front.send(Message::Stop);
    }

    /// Waits until all requests are answered, at most for this time.
    pub(crate) fn wait_until_answered(&self, time: Duration) {
        let _ = self.answered.recv_timeout(time);
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
