//! The server's end of a TLS connection: what the client sends and gets, in records on a socket. All of it is bounded in time, and
//! rustls bounds what it holds: a record, or a handshake message of 64 KB.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use rustls::{ServerConfig, ServerConnection};

use crate::http::{
    limits::{HEAD_TIME, LINGER_TIME, WRITE_TIME},
    stream::{Unread, is_timeout},
};

/// How much is encrypted at a time: a record.
const RECORD_BYTES: usize = 16 * 1024;

/// One session. It starts with the handshake, which is part of reading the first bytes.
pub(crate) struct Session {
    tls: Box<ServerConnection>,
    begun: bool,
}

impl Session {
    pub(super) fn new(config: &Arc<ServerConfig>) -> Result<Session> {
        let tls = Box::new(ServerConnection::new(Arc::clone(config))?);
        Ok(Session { tls, begun: false })
    }

    /// Reads what the client has sent inside, or waits for it for that time.
    pub(crate) fn read(
        &mut self,
        socket: &TcpStream,
        buffer: &mut [u8],
        timeout: Duration,
    ) -> Result<usize, Unread> {
        let mut deadline = Instant::now() + timeout;
        loop {
            match self.tls.reader().read(buffer) {
                Ok(0) => return Err(Unread::Gone),
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // The end of the stream came without being announced.
                Err(_) => return Err(Unread::Gone),
            }
            self.flush(socket, deadline).map_err(|_| Unread::Gone)?;
            match self.receive(socket, deadline) {
                Ok(0) => return Err(Unread::Gone),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::InvalidInput => {
                    return Err(Unread::PlainHttp);
                }
                Err(error) if is_timeout(&error) => return Err(Unread::TooLate),
                Err(_) => return Err(Unread::Gone),
            }
            if self.tls.process_new_packets().is_err() {
                // An alert says why.
                let _ = self.flush(socket, Instant::now() + HEAD_TIME);
                return Err(Unread::Broken);
            }
            // What has begun must be whole as soon as a request's head.
            deadline = deadline.min(Instant::now() + HEAD_TIME);
        }
    }

    fn receive(&mut self, mut socket: &TcpStream, deadline: Instant) -> io::Result<usize> {
        socket.set_read_timeout(Some(left(deadline)?))?;
        if !self.begun {
            let mut first = [0];
            socket.peek(&mut first)?;
            // TLS begins with 22, and every method of HTTP with a letter.
            if first[0].is_ascii_uppercase() {
                return Err(ErrorKind::InvalidInput.into());
            }
            self.begun = true;
        }
        self.tls.read_tls(&mut socket)
    }

    /// Writes both, within the time that a client has to take an answer.
    pub(crate) fn write_all(
        &mut self,
        socket: &TcpStream,
        head: &[u8],
        body: &[u8],
    ) -> io::Result<()> {
        let deadline = Instant::now() + WRITE_TIME;
        self.tls.writer().write_all(head)?;
        for part in body.chunks(RECORD_BYTES) {
            self.tls.writer().write_all(part)?;
            self.flush(socket, deadline)?;
        }
        self.flush(socket, deadline)
    }

    fn flush(&mut self, mut socket: &TcpStream, deadline: Instant) -> io::Result<()> {
        while self.tls.wants_write() {
            socket.set_write_timeout(Some(left(deadline)?))?;
            match self.tls.write_tls(&mut socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Announces the end, by which a client can tell it from a cut.
    pub(crate) fn announce_end(&mut self, socket: &TcpStream) -> io::Result<()> {
        self.tls.send_close_notify();
        self.flush(socket, Instant::now() + LINGER_TIME)
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
    left.ok_or_else(|| ErrorKind::TimedOut.into())
}
