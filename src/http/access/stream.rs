//! The server's end of TLS, on a socket that does not block. rustls limits what it keeps: a record,
//! or a handshake message of 64 KB.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    sync::Arc,
};

use anyhow::Result;
use rustls::{ServerConfig, ServerConnection};

/// TLS on a socket. The handshake is part of reading the first bytes.
pub(crate) struct Tls {
    connection: Box<ServerConnection>,
    has_begun: bool,
}

impl Tls {
    pub(super) fn new(config: &Arc<ServerConfig>) -> Result<Tls> {
        let connection = Box::new(ServerConnection::new(Arc::clone(config))?);
        Ok(Tls { connection, has_begun: false })
    }

    fn on<'s>(
        &'s mut self,
        socket: &'s mut TcpStream,
    ) -> rustls::Stream<'s, ServerConnection, TcpStream> {
        rustls::Stream::new(&mut *self.connection, socket)
    }

    /// Reads what the client has sent inside. 0 is the end.
    ///
    /// # Errors
    /// `Unsupported`: HTTP arrived instead of TLS. It can be answered without TLS.
    /// `InvalidData`: the client does not follow TLS, or its certificate is not accepted. It has
    /// got an alert.
    pub(crate) fn read(&mut self, socket: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.has_begun {
            let mut first = [0];
            self.has_begun = socket.peek(&mut first)? > 0;
            // Every method of HTTP begins with a letter, and a TLS handshake with byte 22.
            if first[0].is_ascii_uppercase() {
                return Err(ErrorKind::Unsupported.into());
            }
        }
        self.on(socket).read(buffer)
    }

    /// Writes what it has room for.
    pub(crate) fn write(&mut self, socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        self.on(socket).write(bytes)
    }

    /// Writes what it has kept.
    pub(crate) fn flush(&mut self, socket: &mut TcpStream) -> io::Result<()> {
        self.on(socket).flush()
    }

    /// Whether it waits until the client can take more, although it reads.
    pub(crate) fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// Announces the end, so that the client knows that the connection was not cut.
    pub(crate) fn announce_end(&mut self, socket: &mut TcpStream) -> io::Result<()> {
        self.connection.send_close_notify();
        self.flush(socket)
    }
}
