//! One client: it sends a request, waits for the reply, and reads it. Nothing here blocks.

use std::{
    fmt::Write,
    io::{self, ErrorKind},
    net::IpAddr,
    sync::{Arc, Weak},
    time::Instant,
};

use rustix::event::PollFlags;

use super::{
    limits::{
        ARRIVAL_TIME, HEAD_TIME, IDLE_TIME, LINGER_TIME, PLACE_TIME, READS, WRITE_GRACE, WRITE_TIME,
    },
    received::Received,
    request::{HTTPS_EXPECTED, Head, Method, REQUEST_TIMEOUT, Refusal, SERVICE_UNAVAILABLE},
    socket::Socket,
};

/// A client, and where it stands.
pub(super) struct Client {
    /// Its number, by which replies find it.
    pub id: u64,
    /// From where it comes.
    pub network: IpAddr,
    /// Its connection.
    pub socket: Socket,
    /// Where it stands.
    pub state: State,
    /// When the state began. A first request begins with the connection.
    pub since: Instant,
    /// Whether it has closed its sending side. It may still wait for its answer.
    pub has_ended: bool,
    /// When the request that waits for an answer was read.
    pub read_at: Instant,
    /// Whether it can go on although the system reports nothing new.
    wants_turn: bool,
    received: Received,
    /// Whether it expects no body, because it has sent HEAD.
    to_head: bool,
    /// Whether the connection is used again after the answer.
    keep_alive: bool,
}

/// Where a client stands.
pub(super) enum State {
    /// Has sent nothing yet.
    New,
    /// Was answered, and has sent nothing of its next request.
    Idle,
    /// Has sent a part of a request.
    Sending,
    /// Has sent this request, whose password is being checked.
    Checked(Head),
    /// Has sent this request, for which there is no place yet.
    Queued(Head),
    /// Waits for the reply of the loop. The value lives as long as it does.
    Waiting { _awaited: Arc<()> },
    /// Reads its answer.
    Reading(Answer),
    /// Has got its last answer. What it still sends is read and dropped.
    Leaving,
    /// Has left, or must go.
    Gone,
}

/// An answer on its way.
pub(super) struct Answer {
    head: String,
    body: Arc<Vec<u8>>,
    /// The bytes of both that were sent.
    sent: usize,
}

/// A request, or why the client gets no other answer.
type Asked = Result<Head, Refusal>;

impl Client {
    /// Nothing has been read yet.
    pub(super) fn new(id: u64, network: IpAddr, socket: Socket) -> Client {
        let now = Instant::now();
        Client {
            id,
            network,
            socket,
            state: State::New,
            since: now,
            has_ended: false,
            read_at: now,
            wants_turn: false,
            received: Received::default(),
            to_head: false,
            keep_alive: false,
        }
    }

    /// What to wait for. Errors and resets are reported in any case.
    pub(super) fn events(&self) -> PollFlags {
        match self.state {
            State::Reading(_) => PollFlags::OUT,
            _ if self.is_unanswered() && self.has_ended => PollFlags::empty(),
            _ if self.is_unanswered() => PollFlags::RDHUP,
            _ if self.socket.wants_write() => PollFlags::OUT,
            _ => PollFlags::IN,
        }
    }

    /// When it is its turn at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.wants_turn { Some(self.since) } else { self.limit() }
    }

    /// When its state ends at the latest.
    fn limit(&self) -> Option<Instant> {
        let time = match self.state {
            State::New | State::Sending => HEAD_TIME,
            State::Idle => IDLE_TIME,
            State::Queued(_) => PLACE_TIME,
            State::Reading(_) => WRITE_TIME,
            State::Leaving => LINGER_TIME,
            State::Checked(_) | State::Waiting { .. } | State::Gone => return None,
        };
        Some(self.since + time)
    }

    /// Whether it waits for an answer.
    pub(super) fn is_unanswered(&self) -> bool {
        matches!(self.state, State::Checked(_) | State::Queued(_) | State::Waiting { .. })
    }

    /// Whether it waits for an answer or reads it.
    pub(super) fn is_being_answered(&self) -> bool {
        self.is_unanswered() || matches!(self.state, State::Reading(_))
    }

    /// The body that it reads, unless that is empty.
    pub(super) fn body(&self) -> Option<&Arc<Vec<u8>>> {
        match &self.state {
            State::Reading(answer) => Some(&answer.body).filter(|body| !body.is_empty()),
            _ => None,
        }
    }

    /// How dearly it would be missed, if one connection has to end: least if it has got its last
    /// answer, much if its request is on the way or waits, most if it has just got an answer.
    pub(super) fn rank(&self, now: Instant) -> u8 {
        let age = now.saturating_duration_since(self.since);
        match self.state {
            State::Leaving | State::Gone => 0,
            // Its next request may have arrived with the last one.
            State::Idle if !self.wants_turn => 1,
            State::New | State::Sending if age < ARRIVAL_TIME => 5,
            State::New | State::Idle | State::Sending => 2,
            _ if self.is_unanswered() && self.has_ended => 3,
            State::Reading(_) if age >= WRITE_GRACE => 4,
            State::Queued(_) => 6,
            State::Checked(_) | State::Waiting { .. } => 7,
            State::Reading(_) => 8,
        }
    }

    fn turn(&mut self, state: State) {
        (self.state, self.since) = (state, Instant::now());
    }

    /// Does what it is ready for, and ends what takes too long, although the client may send on.
    pub(super) fn serve(&mut self, ready: PollFlags) -> Option<Asked> {
        let has_turn = std::mem::take(&mut self.wants_turn);
        let asked = if has_turn || !ready.is_empty() { self.go_on(ready) } else { None };
        asked.or_else(|| self.expire())
    }

    fn go_on(&mut self, ready: PollFlags) -> Option<Asked> {
        match self.state {
            State::New | State::Idle | State::Sending => return self.receive(),
            State::Checked(_) | State::Queued(_) | State::Waiting { .. } => {
                if ready.intersects(PollFlags::ERR | PollFlags::HUP) {
                    self.state = State::Gone;
                }
                self.has_ended = true;
            }
            State::Reading(_) => self.write(),
            State::Leaving => match self.socket.drop_some() {
                Ok(0) => self.state = State::Gone,
                dropped => self.end_unless_blocked(dropped),
            },
            State::Gone => {}
        }
        None
    }

    /// Ends what takes too long.
    fn expire(&mut self) -> Option<Asked> {
        if self.limit().is_none_or(|limit| limit > Instant::now()) {
            return None;
        }
        match self.state {
            State::Sending => return Some(Err(self.not_read(REQUEST_TIMEOUT))),
            State::Queued(_) => return Some(Err(SERVICE_UNAVAILABLE)),
            _ => self.state = State::Gone,
        }
        None
    }

    fn receive(&mut self) -> Option<Asked> {
        for _ in 0..READS {
            match self.received.next() {
                Ok(Some(head)) => {
                    self.to_head = head.method == Method::Head;
                    self.keep_alive = head.keep_alive;
                    self.read_at = Instant::now();
                    return Some(Ok(head));
                }
                Ok(None) => self.note_begin(),
                Err(refusal) => return Some(Err(self.not_read(refusal))),
            }
            let mut buffer = [0; 4096];
            match self.socket.read(&mut buffer) {
                Ok(0) => {
                    self.state = State::Gone;
                    return None;
                }
                Ok(count) => self.received.push(&buffer[..count]),
                Err(error) => return self.not_received(&error),
            }
        }
        // Others come first.
        self.wants_turn = true;
        None
    }

    /// The time of a request that is not the first begins with its first bytes.
    fn note_begin(&mut self) {
        match self.state {
            State::New if self.received.has_begun() => self.state = State::Sending,
            State::Idle if self.received.has_begun() => self.turn(State::Sending),
            _ => {}
        }
    }

    /// The refusal of a request that was not read to its end.
    fn not_read(&mut self, refusal: Refusal) -> Refusal {
        self.to_head = self.received.is_to_head();
        refusal
    }

    fn not_received(&mut self, error: &io::Error) -> Option<Asked> {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::Interrupted => {}
            ErrorKind::Unsupported => {
                self.socket.leave_tls();
                return Some(Err(HTTPS_EXPECTED));
            }
            ErrorKind::InvalidData => self.leave(),
            _ => self.state = State::Gone,
        }
        None
    }

    /// Queues for a place among those that wait for the loop.
    pub(super) fn queue(&mut self, head: Head) {
        self.turn(State::Queued(head));
    }

    /// Takes the request whose password was checked, if it is this client's turn.
    pub(super) fn take_checked(&mut self) -> Option<Head> {
        match std::mem::replace(&mut self.state, State::Gone) {
            State::Checked(head) => Some(head),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// Takes the request that queues, which waits for the loop from now on, and what tells the loop
    /// whether it still does.
    pub(super) fn wait(&mut self) -> Option<(Head, Weak<()>)> {
        let waits = Arc::new(());
        let still = Arc::downgrade(&waits);
        match std::mem::replace(&mut self.state, State::Waiting { _awaited: waits }) {
            State::Queued(head) => Some((head, still)),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// Whether it waits for the loop.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    /// Ends the connection with the next answer.
    pub(super) fn end_soon(&mut self) {
        self.keep_alive = false;
    }

    /// Begins to write an answer; `head` lacks only what it says about the connection.
    pub(super) fn answer(&mut self, mut head: String, body: &Arc<Vec<u8>>) {
        if self.keep_alive {
            let seconds = IDLE_TIME.as_secs();
            let _ = write!(head, "Connection: keep-alive\r\nKeep-Alive: timeout={seconds}\r\n\r\n");
        } else {
            head.push_str("Connection: close\r\n\r\n");
        }
        // Neither an answer to HEAD nor a refusal of it has a body (RFC 9110, 9.3.2).
        let body = if self.to_head { Arc::default() } else { Arc::clone(body) };
        self.turn(State::Reading(Answer { head, body, sent: 0 }));
        self.write();
    }

    fn write(&mut self) {
        let State::Reading(Answer { head, body, sent }) = &mut self.state else { return };
        while *sent < head.len() + body.len() {
            let head_left = &head.as_bytes()[head.len().min(*sent)..];
            let body_left = &body[sent.saturating_sub(head.len())..];
            match self.socket.write(head_left, body_left) {
                Ok(count) => *sent += count,
                written => return self.end_unless_blocked(written),
            }
        }
        match self.socket.flush() {
            Ok(()) if self.keep_alive => {
                self.turn(State::Idle);
                self.wants_turn = self.received.has_begun() || self.socket.may_hold_more();
            }
            Ok(()) => self.leave(),
            flushed => self.end_unless_blocked(flushed),
        }
    }

    /// If a connection is closed with unread bytes, the system resets it, and the client may lose
    /// the answer (RFC 9112, 9.6).
    fn leave(&mut self) {
        let ended = self.socket.end();
        self.turn(if ended.is_ok() { State::Leaving } else { State::Gone });
    }

    fn end_unless_blocked<T>(&mut self, done: io::Result<T>) {
        use ErrorKind::{Interrupted, WouldBlock};
        if done.is_err_and(|error| !matches!(error.kind(), WouldBlock | Interrupted)) {
            self.state = State::Gone;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        net::{Ipv4Addr, TcpListener, TcpStream},
        time::Duration,
    };

    use super::*;

    /// A client whose bytes are read, and their other end.
    fn client_that_sends(bytes: &[u8]) -> io::Result<(Client, TcpStream)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let mut sender = TcpStream::connect(listener.local_addr()?)?;
        sender.write_all(bytes)?;
        let (tcp, from) = listener.accept()?;
        if !bytes.is_empty() {
            tcp.peek(&mut [0])?;
        }
        tcp.set_nonblocking(true)?;
        Ok((Client::new(0, from.ip(), Socket::new(tcp, None)), sender))
    }

    #[test]
    fn a_client_whose_next_request_was_read_is_missed_more_than_an_idle_one() -> io::Result<()> {
        let request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        for (sent, rank) in [(request, 1), (&request.repeat(2), 2), (&format!("{request}GET"), 2)] {
            let (mut client, _sender) = client_that_sends(sent.as_bytes())?;
            assert!(matches!(client.serve(PollFlags::IN), Some(Ok(_))), "{sent}");
            client.answer(String::new(), &Arc::default());
            assert!(matches!(client.state, State::Idle));
            assert_eq!(client.rank(Instant::now()), rank, "{sent}");
        }
        Ok(())
    }

    #[test]
    fn a_client_whose_request_is_on_the_way_is_missed_more_than_one_that_reads_slowly()
    -> io::Result<()> {
        let rank_after = |client: &Client, time| client.rank(client.since + time);
        let (mut slow, _sender) = client_that_sends(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
        assert!(matches!(slow.serve(PollFlags::IN), Some(Ok(_))));
        slow.answer(String::new(), &Arc::new(vec![0; 64 << 20]));
        assert!(matches!(slow.state, State::Reading(_)));
        let slow = rank_after(&slow, WRITE_GRACE);
        for sent in ["", "GET / HT"] {
            let (mut client, _sender) = client_that_sends(sent.as_bytes())?;
            assert!(sent.is_empty() || client.serve(PollFlags::IN).is_none());
            assert!(rank_after(&client, Duration::ZERO) > slow, "{sent}");
            assert!(rank_after(&client, ARRIVAL_TIME) < slow, "{sent}");
        }
        Ok(())
    }

    #[test]
    fn what_takes_too_long_ends_although_the_client_sends_on() -> io::Result<()> {
        let (mut client, mut sender) = client_that_sends(b"GET / HT")?;
        assert!(client.serve(PollFlags::IN).is_none());
        client.since -= HEAD_TIME;
        sender.write_all(b"TP/1")?;
        assert_eq!(client.serve(PollFlags::IN), Some(Err(REQUEST_TIMEOUT)));
        // A request that is complete is read first.
        let (mut client, _sender) = client_that_sends(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
        client.since -= HEAD_TIME;
        assert!(matches!(client.serve(PollFlags::IN), Some(Ok(_))));
        Ok(())
    }
}
