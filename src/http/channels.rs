//! The connections' end of the way to the loop: asks it, and gives its answer.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Instant,
};

use super::limits::{HANG_UP_CHECK, MAX_WAITING};
use crate::lock::locked;

/// The channels, shared by all connections.
pub(crate) struct Channels {
    state: Mutex<State>,
    /// A channel came back.
    returned: Condvar,
}

struct State {
    free: Vec<Channel>,
    /// Those who have a channel or wait for one.
    asking: usize,
}

/// A private connection to tiny_http. One request at a time goes through it.
pub(crate) struct Channel {
    /// Its number, which the loop reads as the host.
    number: usize,
    stream: BufReader<UnixStream>,
    pub(super) exchange: Arc<Mutex<Exchange>>,
}

/// What goes beside a socket.
#[derive(Default)]
pub(crate) enum Exchange {
    #[default]
    Nothing,
    /// A request is on the socket, with these times.
    Asked(Times),
    /// The head of an answer is on the socket, and this is its body.
    Answered(Arc<Vec<u8>>),
}

/// The times of a request.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    /// When it had arrived.
    pub read_at: Instant,
    /// When it must be answered at the latest.
    pub deadline: Option<Instant>,
}

/// What is asked.
pub(crate) struct Question<'r> {
    /// The path, checked.
    pub path: &'r str,
    /// The `Accept` fields, printable ASCII.
    pub accept: &'r str,
    /// When it came, and by when it must be answered.
    pub times: Times,
}

/// The loop's answer.
pub(crate) struct Answer {
    /// The status line and the header fields, each with its line end.
    pub head: Vec<u8>,
    /// The body, shared.
    pub body: Arc<Vec<u8>>,
}

/// Why there is no answer.
pub(crate) enum NoAnswer {
    /// As many as possible wait already, or the deadline came before there was a channel.
    Busy,
    /// The client has hung up.
    HungUp,
    /// The loop is lost.
    Lost(io::Error),
}

impl Channels {
    /// All are free.
    pub(super) fn new(free: Vec<Channel>) -> Channels {
        Channels { state: Mutex::new(State { free, asking: 0 }), returned: Condvar::new() }
    }

    /// Asks the loop, and waits for its answer. Who waits for a channel waits as long as its client does.
    pub(crate) fn ask(
        &self,
        question: &Question,
        hung_up: impl Fn() -> bool,
    ) -> Result<Answer, NoAnswer> {
        let mut channel = self.take(question.times.deadline, hung_up)?;
        let answer = channel.ask(question);
        let mut state = locked(&self.state);
        state.asking -= 1;
        state.free.push(channel);
        drop(state);
        self.returned.notify_one();
        answer.map_err(NoAnswer::Lost)
    }

    fn take(
        &self,
        deadline: Option<Instant>,
        hung_up: impl Fn() -> bool,
    ) -> Result<Channel, NoAnswer> {
        let mut state = locked(&self.state);
        state.asking += 1;
        let is_one_too_many = state.asking > MAX_WAITING;
        loop {
            if let Some(channel) = state.free.pop() {
                return Ok(channel);
            }
            let waited = self.returned.wait_timeout(state, HANG_UP_CHECK);
            let (waited, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = waited;
            if !timeout.timed_out() || !state.free.is_empty() {
                continue;
            }
            // In a crowd the loop is soon through. If it is not, it waits for `w`.
            let is_late = deadline.is_some_and(|deadline| deadline <= Instant::now());
            let no_answer = match is_one_too_many || is_late {
                true => NoAnswer::Busy,
                false if hung_up() => NoAnswer::HungUp,
                false => continue,
            };
            state.asking -= 1;
            return Err(no_answer);
        }
    }
}

impl Channel {
    /// Nothing is asked yet.
    pub(super) fn new(number: usize, stream: UnixStream) -> Channel {
        Channel { number, stream: BufReader::new(stream), exchange: Arc::default() }
    }

    fn ask(&mut self, question: &Question) -> io::Result<Answer> {
        *locked(&self.exchange) = Exchange::Asked(question.times);
        self.send(question.path, question.accept)?;
        let head = self.receive()?;
        match std::mem::take(&mut *locked(&self.exchange)) {
            Exchange::Answered(body) => Ok(Answer { head, body }),
            Exchange::Nothing | Exchange::Asked(_) => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// HEAD, as the body comes another way.
    pub(super) fn send(&mut self, path: &str, accept: &str) -> io::Result<()> {
        let number = self.number;
        let request = format!("HEAD {path} HTTP/1.1\r\nHost: {number}\r\nAccept: {accept}\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes())
    }

    /// Reads a head up to its empty line, which is left out.
    pub(super) fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut head = Vec::with_capacity(512);
        while !head.ends_with(b"\r\n\r\n") {
            if self.stream.read_until(b'\n', &mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        head.truncate(head.len() - 2);
        Ok(head)
    }
}
