//! The way from the front to the loop and back. A request goes through tiny_http, which carries its
//! path; the rest of it goes beside, in the same order. The reply goes straight to the front.

use std::{
    io::{self, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::{
        Arc, Weak,
        mpsc::{Receiver, Sender},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::event::{EventfdFlags, eventfd};
use tiny_http::Server;

use super::{reply::Reply, request::Refusal};

/// Without a deadline, the loop wakes up once in this time for nothing. With tiny_http's `recv`, a
/// call of the waker could not be told from an error.
const LONGEST_SLEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// A request without its path.
pub(crate) struct Question {
    /// The `Accept` fields.
    pub accept: String,
    /// When the request was read.
    pub read_at: Instant,
    /// When it must be answered at the latest, if the client has said so.
    pub deadline: Option<Instant>,
}

/// What other threads tell the front.
pub(super) enum Message {
    /// The reply of the loop to the client with this number.
    Reply(u64, Reply),
    /// Whether the password of the client with this number is right.
    #[cfg_attr(not(feature = "tls"), expect(dead_code))]
    Checked(u64, Result<(), Refusal>),
    /// Accept no more connections.
    Stop,
}

/// A question, and to whom the reply goes.
pub(super) struct Addressed {
    question: Question,
    client: u64,
    /// Lives as long as the client waits.
    awaited: Weak<()>,
}

/// The front's end: sends requests to the loop.
pub(super) struct ToLoop {
    stream: UnixStream,
    questions: Sender<Addressed>,
}

impl ToLoop {
    /// No request has been sent yet.
    pub(super) fn new(stream: UnixStream, questions: Sender<Addressed>) -> ToLoop {
        ToLoop { stream, questions }
    }

    /// Sends a request. tiny_http reads it at once, whatever the loop does.
    ///
    /// # Errors
    /// tiny_http or the loop has ended.
    pub(super) fn send(
        &mut self,
        path: &str,
        question: Question,
        client: u64,
        awaited: Weak<()>,
    ) -> io::Result<()> {
        let addressed = Addressed { question, client, awaited };
        self.questions.send(addressed).map_err(|_| io::ErrorKind::BrokenPipe)?;
        self.stream.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes())
    }
}

/// Wakes the front, which sleeps in poll(2).
#[derive(Clone)]
pub(super) struct Bell(Arc<OwnedFd>);

impl Bell {
    /// # Errors
    /// There are too few file descriptors.
    pub(super) fn new() -> io::Result<Bell> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Bell(Arc::new(event)))
    }

    fn ring(&self) {
        // It fails only if it was rung 2^64 times without being heard.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    pub(super) fn quiet(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8][..]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sends messages to the front.
#[derive(Clone)]
pub(super) struct ToFront {
    messages: Sender<Message>,
    bell: Bell,
}

impl ToFront {
    pub(super) fn new(messages: Sender<Message>, bell: Bell) -> ToFront {
        ToFront { messages, bell }
    }

    pub(super) fn send(&self, message: Message) {
        // Without the front, the process ends.
        let _ = self.messages.send(message);
        self.bell.ring();
    }
}

/// The loop's end: where its requests come from.
pub(crate) struct Requests {
    server: &'static Server,
    /// The rest of each request, in the same order.
    questions: Receiver<Addressed>,
    to_front: ToFront,
}

/// A request in the loop.
pub(crate) struct Request {
    path: String,
    addressed: Addressed,
    to_front: ToFront,
}

impl Requests {
    /// No request has arrived yet.
    pub(super) fn new(
        server: &'static Server,
        questions: Receiver<Addressed>,
        to_front: ToFront,
    ) -> Requests {
        Requests { server, questions, to_front }
    }

    /// Waits for the next request; `None` at the deadline, or when the waker is called.
    ///
    /// # Errors
    /// tiny_http has stopped.
    pub(crate) fn next(&self, deadline: Option<Instant>) -> Result<Option<Request>> {
        let time = deadline
            .map_or(LONGEST_SLEEP, |deadline| deadline.saturating_duration_since(Instant::now()));
        let request = self.server.recv_timeout(time).context("tiny_http has no more requests")?;
        request.map(|request| self.with_question(request)).transpose()
    }

    /// Lets another thread end the waiting in [`Requests::next`].
    pub(crate) fn waker(&self) -> impl Fn() + Send + use<> {
        let server = self.server;
        move || server.unblock()
    }

    fn with_question(&self, request: tiny_http::Request) -> Result<Request> {
        let path = request.url().to_owned();
        // tiny_http must write nothing: nobody reads it. A request dropped with its writer would
        // write, and first wait for earlier ones.
        drop(request.into_writer());
        let addressed = self
            .questions
            .try_recv()
            .context("tiny_http gave a request that the front did not send")?;
        Ok(Request { path, addressed, to_front: self.to_front.clone() })
    }
}

impl Request {
    /// The path.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The rest of the request.
    pub(crate) fn question(&self) -> &Question {
        &self.addressed.question
    }

    /// Whether the client still waits.
    pub(crate) fn is_awaited(&self) -> bool {
        self.addressed.awaited.strong_count() > 0
    }

    /// Gives the reply to the front, which writes it.
    pub(crate) fn respond(self, reply: Reply) {
        self.to_front.send(Message::Reply(self.addressed.client, reply));
    }
}
