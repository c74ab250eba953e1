//! The connections' end of the channel to the loop. A connection sends its request and waits for
//! the reply.

use std::{
    io::{self, Write},
    os::unix::net::UnixStream,
    sync::{Arc, Condvar, Mutex, PoisonError, mpsc::Sender},
    time::{Duration, Instant},
};

use super::{
    limits::{HANG_UP_CHECK, MAX_WAITING},
    reply::Reply,
};
use crate::lock::locked;

/// The private connection to tiny_http, shared by all connections.
pub(crate) struct Channel {
    /// One lock for both, so that the questions arrive in the order of the requests.
    sending: Mutex<Sending>,
    permits: Arc<Permits>,
}

struct Sending {
    stream: UnixStream,
    questions: Sender<Asked>,
}

/// A request without its path, which goes through tiny_http.
pub(crate) struct Question {
    /// The `Accept` fields.
    pub accept: String,
    /// When the request was read.
    pub read_at: Instant,
    /// When it must be answered at the latest, if the client has said so.
    pub deadline: Option<Instant>,
}

/// A question, and the slot for its reply.
pub(super) struct Asked {
    pub question: Question,
    pub slot: Arc<Slot>,
    /// Held until the question is answered.
    _permit: Permit,
}

/// Why there is no reply.
pub(crate) enum NoReply {
    /// Too many requests wait already.
    Busy,
    /// The client has hung up.
    HungUp,
    /// The loop is lost.
    Lost(io::Error),
}

impl Channel {
    /// No request has been sent yet.
    pub(super) fn new(stream: UnixStream, questions: Sender<Asked>) -> Channel {
        Channel { sending: Mutex::new(Sending { stream, questions }), permits: Arc::default() }
    }

    /// Sends a request to the loop, and waits for the reply until the client hangs up.
    pub(crate) fn ask(
        &self,
        path: &str,
        question: Question,
        hung_up: impl Fn() -> bool,
    ) -> Result<Reply, NoReply> {
        let permit = self.permits.take().ok_or(NoReply::Busy)?;
        let slot = Arc::new(Slot::default());
        let asked = Asked { question, slot: Arc::clone(&slot), _permit: permit };
        self.send(path, asked).map_err(NoReply::Lost)?;
        loop {
            if let Some(reply) = slot.wait(HANG_UP_CHECK) {
                return Ok(reply);
            }
            if hung_up() {
                return Err(NoReply::HungUp);
            }
        }
    }

    fn send(&self, path: &str, asked: Asked) -> io::Result<()> {
        let request = request(path);
        let mut sending = locked(&self.sending);
        sending.questions.send(asked).map_err(|_| io::ErrorKind::BrokenPipe)?;
        sending.stream.write_all(request.as_bytes())
    }
}

/// The request that tiny_http reads.
pub(super) fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\n\r\n")
}

/// Holds the reply to one request.
#[derive(Default)]
pub(super) struct Slot {
    reply: Mutex<Option<Reply>>,
    filled: Condvar,
}

impl Slot {
    pub(super) fn fill(&self, reply: Reply) {
        *locked(&self.reply) = Some(reply);
        self.filled.notify_one();
    }

    fn wait(&self, time: Duration) -> Option<Reply> {
        let reply = locked(&self.reply);
        let waited = self.filled.wait_timeout_while(reply, time, |reply| reply.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.take()
    }
}

/// Counts the requests that the loop has not answered, including those of clients that have hung
/// up.
#[derive(Default)]
struct Permits {
    taken: Mutex<usize>,
    freed: Condvar,
}

/// Allows one request to wait for the loop.
pub(super) struct Permit(Arc<Permits>);

impl Permits {
    fn take(self: &Arc<Permits>) -> Option<Permit> {
        // Usually the loop answers many requests within this time. If it does not, it waits for
        // `w`.
        let is_full = |taken: &mut usize| *taken >= MAX_WAITING;
        let taken = locked(&self.taken);
        let waited = self.freed.wait_timeout_while(taken, HANG_UP_CHECK, is_full);
        let (mut taken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return None;
        }
        *taken += 1;
        Some(Permit(Arc::clone(self)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = locked(&self.0.taken);
        *taken -= 1;
        if *taken + 1 == MAX_WAITING {
            self.0.freed.notify_all();
        }
    }
}
