//! A tunnel that speaks TLS to an exporter, as stunnel does. Whatever a test sends to it without
//! TLS arrives in the exporter's TLS layer: slowly, too fast, never read or reset.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    net::sockopt::set_socket_linger,
};
use rustls::ClientConnection;

use super::client::Client;

/// Bytes that are held in each direction.
const BUFFER: usize = 32 * 1024;

/// Opens a tunnel to that address and returns its own. It stays open until the tests end.
pub fn to(address: &str, client: Client) -> String {
    let (target, listener) = (address.to_owned(), TcpListener::bind("127.0.0.1:0").unwrap());
    let own = listener.local_addr().unwrap().to_string();
    // As long a queue as the exporter's, so that a client waits for the exporter alone.
    rustix::net::listen(&listener, 4096).unwrap();
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let (tls, target) = (client.session(), target.clone());
            let carry = move || {
                let Ok(far) = TcpStream::connect(target) else { return };
                match Pipe::new(&near, &far, tls).carry() {
                    Ok(()) => drain(&near),
                    // One end was reset, so the other one is too.
                    Err(_) => {
                        for end in [&near, &far] {
                            let _ = set_socket_linger(end, Some(Duration::ZERO));
                        }
                    }
                }
            };
            let _ = thread::Builder::new().stack_size(128 * 1024).spawn(carry);
        }
    });
    own
}

/// Ends it without a reset, which could take the answer back.
fn drain(mut near: &TcpStream) {
    let _ = near.shutdown(Shutdown::Write);
    near.set_nonblocking(false).unwrap();
    near.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    while near.read(&mut [0; BUFFER]).is_ok_and(|count| count > 0) {}
}

struct Pipe<'s> {
    near: &'s TcpStream,
    far: &'s TcpStream,
    tls: ClientConnection,
    to_far: Vec<u8>,
    to_near: Vec<u8>,
    near_has_ended: bool,
    far_has_ended: bool,
}

impl<'s> Pipe<'s> {
    fn new(near: &'s TcpStream, far: &'s TcpStream, mut tls: ClientConnection) -> Pipe<'s> {
        for end in [near, far] {
            end.set_nonblocking(true).unwrap();
            end.set_nodelay(true).unwrap();
        }
        tls.set_buffer_limit(Some(BUFFER));
        let (to_far, to_near) = (Vec::new(), Vec::new());
        Pipe { near, far, tls, to_far, to_near, near_has_ended: false, far_has_ended: false }
    }

    /// Carries until the far end has ended.
    fn carry(mut self) -> io::Result<()> {
        loop {
            self.give_far()?;
            self.give_near()?;
            if self.far_has_ended && self.to_near.is_empty() {
                return Ok(());
            }
            let mut near = PollFlags::empty();
            near.set(PollFlags::IN, !self.near_has_ended && self.to_far.is_empty());
            near.set(PollFlags::OUT, !self.to_near.is_empty());
            let mut far = PollFlags::empty();
            far.set(PollFlags::IN, !self.far_has_ended && self.to_near.is_empty());
            far.set(PollFlags::OUT, self.tls.wants_write());
            let mut ends = [PollFd::new(self.near, near), PollFd::new(self.far, far)];
            poll(&mut ends, None)?;
            let ready = ends.map(|end| end.revents());
            if ready[0].contains(PollFlags::ERR) {
                return Err(ErrorKind::ConnectionReset.into());
            }
            if ready[0].intersects(near & PollFlags::IN) {
                self.take_near()?;
            }
            if ready[1].intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                self.take_far()?;
            }
        }
    }

    fn take_near(&mut self) -> io::Result<()> {
        let mut buffer = [0; BUFFER];
        match self.near.read(&mut buffer)? {
            0 => {
                self.near_has_ended = true;
                self.tls.send_close_notify();
            }
            count => self.to_far.extend_from_slice(&buffer[..count]),
        }
        Ok(())
    }

    fn take_far(&mut self) -> io::Result<()> {
        if self.tls.read_tls(&mut self.far)? == 0 {
            self.far_has_ended = true;
        }
        let is_valid = self.tls.process_new_packets();
        let state = is_valid.map_err(io::Error::other)?;
        let mut plain = vec![0; state.plaintext_bytes_to_read()];
        self.tls.reader().read_exact(&mut plain)?;
        self.to_near.extend_from_slice(&plain);
        Ok(())
    }

    fn give_far(&mut self) -> io::Result<()> {
        loop {
            if !self.tls.is_handshaking() && !self.to_far.is_empty() {
                let taken = self.tls.writer().write(&self.to_far)?;
                self.to_far.drain(..taken);
            }
            if !self.tls.wants_write() || not_now(self.tls.write_tls(&mut self.far))?.is_none() {
                return Ok(());
            }
        }
    }

    fn give_near(&mut self) -> io::Result<()> {
        while !self.to_near.is_empty() {
            match not_now((&*self.near).write(&self.to_near))? {
                Some(count) => _ = self.to_near.drain(..count),
                None => break,
            }
        }
        Ok(())
    }
}

/// Nothing, if it would block.
fn not_now(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
