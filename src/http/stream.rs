//! Reads and writes a socket, or a TLS session on it. Each operation has a time limit.

use std::{
    io::{self, IoSlice, Read, Write},
    net::{IpAddr, Shutdown, TcpStream},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::RecvFlags,
};

use super::{access::Session, limits::WRITE_TIME};

/// The server's end of a connection.
pub(crate) struct Stream<'s> {
    socket: &'s TcpStream,
    tls: Option<Session>,
    /// The timeout that is set on the socket.
    read_timeout: Option<Duration>,
}

/// Why nothing was read.
pub(crate) enum Unread {
    /// Nothing came in time.
    TooLate,
    /// The client has closed or reset the connection.
    Gone,
    /// The client does not follow TLS, or its certificate is not accepted. It has got an alert.
    #[cfg_attr(not(feature = "tls"), expect(dead_code))]
    Broken,
    /// HTTP arrived instead of TLS. It can be answered without TLS.
    #[cfg_attr(not(feature = "tls"), expect(dead_code))]
    PlainHttp,
}

impl<'s> Stream<'s> {
    /// Nothing has been read yet.
    pub(crate) fn new(socket: &'s TcpStream, tls: Option<Session>) -> Stream<'s> {
        Stream { socket, tls, read_timeout: None }
    }

    /// The address of the client.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn client(&self) -> io::Result<IpAddr> {
        Ok(self.socket.peer_addr()?.ip().to_canonical())
    }

    /// Reads what has arrived. If nothing has, waits at most for this time, which must not be 0.
    /// Returns 0 if a signal interrupts.
    pub(crate) fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, Unread> {
        if let Some(tls) = &mut self.tls {
            return tls.read(self.socket, buffer, timeout);
        }
        self.read_socket(buffer, timeout)
    }

    fn read_socket(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, Unread> {
        if self.read_timeout != Some(timeout) {
            self.socket.set_read_timeout(Some(timeout)).map_err(|_| Unread::Gone)?;
            self.read_timeout = Some(timeout);
        }
        match self.socket.read(buffer) {
            Ok(0) => Err(Unread::Gone),
            Ok(count) => Ok(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(error) if is_timeout(&error) => Err(Unread::TooLate),
            Err(_) => Err(Unread::Gone),
        }
    }

    /// Writes both, within [`WRITE_TIME`].
    pub(crate) fn write_all(&mut self, head: &[u8], body: &[u8]) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            return tls.write_all(self.socket, head, body);
        }
        let deadline = Instant::now() + WRITE_TIME;
        let mut parts = [IoSlice::new(head), IoSlice::new(body)];
        let mut left = parts.as_mut_slice();
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match self.socket.write_vectored(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => IoSlice::advance_slices(&mut left, count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if !left.is_empty() {
                let left = deadline.checked_duration_since(Instant::now());
                let left = left.ok_or(io::ErrorKind::TimedOut)?;
                self.socket.set_write_timeout(Some(left.max(Duration::from_millis(1))))?;
            }
        }
        Ok(())
    }

    /// Whether the client has closed or reset the connection. A client that has only ended its own
    /// sending looks the same, and counts as gone. A client that has sent more than its request is
    /// still there.
    pub(crate) fn has_hung_up(&self, sent_more: bool) -> bool {
        if self.tls.is_some() {
            // The bytes that have arrived may announce the end.
            let mut closed = [PollFd::new(self.socket, PollFlags::RDHUP)];
            return !sent_more
                && poll(&mut closed, Some(&Timespec::default())).is_ok_and(|ready| ready > 0);
        }
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match rustix::net::recv(self.socket, &mut [0; 1][..], flags) {
            Ok((count, _)) => count == 0 && !sent_more,
            Err(Errno::AGAIN | Errno::INTR) => false,
            Err(_) => true,
        }
    }

    /// Continues without TLS.
    pub(crate) fn leave_tls(&mut self) {
        self.tls = None;
    }

    /// Ends the answers. What still arrives can be dropped with [`Stream::drop_some`].
    pub(crate) fn end(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.announce_end(self.socket)?;
        }
        self.socket.shutdown(Shutdown::Write)
    }

    /// Reads and drops some bytes. Returns whether more can follow.
    pub(crate) fn drop_some(&mut self, timeout: Duration) -> bool {
        self.read_socket(&mut [0; 4096], timeout).is_ok()
    }
}

/// Whether a socket's timeout has ended.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
