//! A client's socket, which never blocks, or TLS on it.

use std::{
    io::{self, IoSlice, Read, Write},
    net::{Shutdown, TcpStream},
    os::fd::{AsFd, BorrowedFd},
};

use super::access::Tls;

/// The server's end of a connection.
pub(super) struct Socket {
    tcp: TcpStream,
    tls: Option<Tls>,
}

impl Socket {
    /// The connection must not block.
    pub(super) fn new(tcp: TcpStream, tls: Option<Tls>) -> Socket {
        Socket { tcp, tls }
    }

    /// Reads what has arrived. 0 is the end.
    ///
    /// # Errors
    /// `WouldBlock`: nothing has arrived. `Unsupported`: HTTP arrived instead of TLS.
    /// `InvalidData`: the client does not follow TLS, or its certificate is not accepted; it has
    /// got an alert.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => tls.read(&mut self.tcp, buffer),
            None => self.tcp.read(buffer),
        }
    }

    /// Writes as much of both as the client can take.
    pub(super) fn write(&mut self, head: &[u8], body: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => tls.write(&mut self.tcp, if head.is_empty() { body } else { head }),
            None => self.tcp.write_vectored(&[IoSlice::new(head), IoSlice::new(body)]),
        }
    }

    /// Writes what TLS has kept.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.tls.as_mut().map_or(Ok(()), |tls| tls.flush(&mut self.tcp))
    }

    /// Whether what was read can hide more that has arrived, which poll(2) does not see.
    pub(super) fn may_hold_more(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether TLS waits until the client can take more, although it reads.
    pub(super) fn wants_write(&self) -> bool {
        self.tls.as_ref().is_some_and(Tls::wants_write)
    }

    /// Continues without TLS.
    pub(super) fn leave_tls(&mut self) {
        self.tls = None;
    }

    /// Ends the answers. What still arrives can be dropped with [`Socket::drop_some`].
    pub(super) fn end(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.announce_end(&mut self.tcp)?;
        }
        self.tcp.shutdown(Shutdown::Write)
    }

    /// Reads and drops some bytes. 0 is the end.
    pub(super) fn drop_some(&mut self) -> io::Result<usize> {
        self.tcp.read(&mut [0; 4096])
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }
}
