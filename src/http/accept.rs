//! Accepts connections.

use std::{
    io,
    net::{IpAddr, TcpListener, TcpStream},
};

use rustix::io::Errno;

/// The next connection, which does not block, and from where it comes; `None` if nobody connects.
///
/// # Errors
/// Nobody can be accepted now.
pub(super) fn accept(listener: &TcpListener) -> io::Result<Option<(TcpStream, IpAddr)>> {
    loop {
        match listener.accept() {
            Ok((tcp, from)) => {
                tcp.set_nonblocking(true)?;
                return Ok(Some((tcp, from.ip())));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if is_of_connection(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether only this connection failed. accept(2) passes on the errors of its network.
fn is_of_connection(error: &io::Error) -> bool {
    use Errno as E;
    let errno = Errno::from_io_error(error);
    matches!(
        errno,
        Some(
            E::INTR
                | E::CONNABORTED
                | E::NETDOWN
                | E::PROTO
                | E::NOPROTOOPT
                | E::HOSTDOWN
                | E::NONET
                | E::HOSTUNREACH
                | E::OPNOTSUPP
                | E::NETUNREACH
        )
    )
}

/// Whether descriptors or memory ran out.
pub(super) fn is_of_shortage(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_connection_is_no_shortage() {
        for errno in [Errno::CONNABORTED, Errno::PROTO, Errno::NETDOWN, Errno::HOSTUNREACH] {
            let error = errno.into();
            assert!(is_of_connection(&error) && !is_of_shortage(&error), "{errno}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            let error = errno.into();
            assert!(is_of_shortage(&error) && !is_of_connection(&error), "{errno}");
        }
        let forbidden = Errno::PERM.into();
        assert!(!is_of_shortage(&forbidden) && !is_of_connection(&forbidden));
    }
}
