//! The server's end of a TLS connection. Reading and writing have time limits. rustls limits what
//! it keeps: a record, or a handshake message of 64 KB.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use rustls::{ServerConfig, ServerConnection};

use crate::http::{
    limits::{LINGER_TIME, WRITE_TIME},
    stream::{Unread, is_timeout},
};

/// One session. The handshake is part of reading the first bytes.
pub(crate) struct Session {
    tls: Box<ServerConnection>,
    has_begun: bool,
}

impl Session {
    pub(super) fn new(config: &Arc<ServerConfig>) -> Result<Session> {
        let tls = Box::new(ServerConnection::new(Arc::clone(config))?);
        Ok(Session { tls, has_begun: false })
    }

    /// Reads what the client has sent inside, or waits for it for that time.
    pub(crate) fn read(
        &mut self,
        socket: &TcpStream,
        buffer: &mut [u8],
        time: Duration,
    ) -> Result<usize, Unread> {
        let mut socket = Timed::new(socket, time);
        let read = socket.begins_with_letter(&mut self.has_begun).and_then(|begins| {
            if begins {
                // Every method of HTTP begins with a letter, and a TLS handshake with byte 22.
                Err(ErrorKind::Unsupported.into())
            } else {
                rustls::Stream::new(&mut *self.tls, &mut socket).read(buffer)
            }
        });
        match read {
            Ok(0) => Err(Unread::Gone),
            Ok(count) => Ok(count),
            Err(error) if is_timeout(&error) => Err(Unread::TooLate),
            Err(error) if error.kind() == ErrorKind::Unsupported => Err(Unread::PlainHttp),
            Err(error) if error.kind() == ErrorKind::InvalidData => Err(Unread::Broken),
            Err(_) => Err(Unread::Gone),
        }
    }

    /// Writes both, within the time that a client has to take an answer.
    pub(crate) fn write_all(
        &mut self,
        socket: &TcpStream,
        head: &[u8],
        body: &[u8],
    ) -> io::Result<()> {
        let mut socket = Timed::new(socket, WRITE_TIME);
        let mut stream = rustls::Stream::new(&mut *self.tls, &mut socket);
        stream.write_all(head)?;
        stream.write_all(body)?;
        stream.flush()
    }

    /// Announces the end, so that the client knows that the connection was not cut.
    pub(crate) fn announce_end(&mut self, socket: &TcpStream) -> io::Result<()> {
        self.tls.send_close_notify();
        rustls::Stream::new(&mut *self.tls, &mut Timed::new(socket, LINGER_TIME)).flush()
    }
}

/// A socket that is read and written until a deadline.
struct Timed<'s> {
    socket: &'s TcpStream,
    deadline: Instant,
}

impl Timed<'_> {
    fn new(socket: &TcpStream, time: Duration) -> Timed<'_> {
        Timed { socket, deadline: Instant::now() + time }
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }

    /// Whether the first byte that the client sends is a capital letter.
    fn begins_with_letter(&self, has_begun: &mut bool) -> io::Result<bool> {
        if *has_begun {
            return Ok(false);
        }
        let mut first = [0];
        self.socket.set_read_timeout(self.left()?)?;
        *has_begun = self.socket.peek(&mut first)? > 0;
        Ok(first[0].is_ascii_uppercase())
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.left()?)?;
        self.socket.read(buffer)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
