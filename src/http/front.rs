//! The front: one thread that owns all clients. It sleeps in poll(2) until a client or a message
//! comes, or a time is over.

mod room;

use std::{
    io,
    net::{IpAddr, TcpListener, TcpStream},
    process,
    sync::mpsc::{Receiver, Sender},
    thread,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    accept::{accept, is_of_shortage},
    access::Access,
    client::{Client, State},
    descriptors::Connections,
    limits::{ACCEPTS, LOG_TIME, MIN_SCRAPE_TIMEOUT, RETRY_TIME, SCRAPE_TIMEOUT_OFFSET},
    network::network,
    reply::Reply,
    request::{Admission, Head, Method, Refusal},
    requests::{Bell, Message, Question, ToLoop},
    socket::Socket,
};
use crate::log;

/// The path that is answered without the loop. It shows only whether the process serves.
const HEALTHY: &str = "/-/healthy";

/// What is decided before it starts.
pub(super) struct Settings {
    /// Restricts the clients, if it is set.
    pub access: Option<Access>,
    /// What the loop serves.
    pub paths: [String; 2],
    pub connections: Connections,
}

/// All clients, and what they share.
pub(super) struct Front {
    /// Empty when it stops.
    listeners: Vec<TcpListener>,
    clients: Vec<Client>,
    access: Option<Access>,
    paths: [String; 2],
    connections: Connections,
    to_loop: ToLoop,
    messages: Receiver<Message>,
    bell: Bell,
    /// Dropped when it has stopped and answered everybody.
    unanswered: Option<Sender<()>>,
    next_id: u64,
    /// After an error, nobody is accepted until then.
    accepts_from: Instant,
    /// When an error was logged last.
    logged: Option<Instant>,
    /// What each client was ready for when the front woke up, in their order.
    ready: Vec<PollFlags>,
}

/// Why the front has woken up, apart from its clients.
struct Woken {
    has_messages: bool,
    somebody_connects: bool,
}

impl Front {
    /// Nobody has been accepted yet.
    pub(super) fn new(
        listeners: Vec<TcpListener>,
        Settings { access, paths, connections }: Settings,
        to_loop: ToLoop,
        messages: Receiver<Message>,
        bell: Bell,
        unanswered: Sender<()>,
    ) -> Front {
        Front {
            listeners,
            clients: Vec::new(),
            access,
            paths,
            connections,
            to_loop,
            messages,
            bell,
            unanswered: Some(unanswered),
            next_id: 0,
            accepts_from: Instant::now(),
            logged: None,
            ready: Vec::new(),
        }
    }

    /// Serves until the process ends.
    pub(super) fn run(mut self) {
        loop {
            let Woken { has_messages, somebody_connects } = self.sleep();
            if has_messages {
                self.take_messages();
            }
            // Meanwhile no client is added or removed.
            for index in 0..self.clients.len() {
                self.serve(index, self.ready[index]);
            }
            // Nobody is closed to make room while there are clients that have left.
            self.forget_gone();
            if somebody_connects {
                self.accept();
            }
            self.check_next();
            self.give_places();
            self.forget_gone();
            if self.listeners.is_empty() && !self.clients.iter().any(Client::is_being_answered) {
                self.unanswered = None;
            }
        }
    }

    /// Sleeps until something is to be done.
    fn sleep(&mut self) -> Woken {
        let now = Instant::now();
        let is_pausing = self.accepts_from > now;
        let listeners = if is_pausing { &[] } else { self.listeners.as_slice() };
        let pause = is_pausing.then_some(self.accepts_from);
        let until = self.clients.iter().filter_map(Client::deadline).chain(pause).min();
        let time = until.map(|until| {
            let time = until.saturating_duration_since(now);
            Timespec::try_from(time).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 })
        });
        let mut polled = Vec::with_capacity(1 + listeners.len() + self.clients.len());
        polled.push(PollFd::new(&self.bell, PollFlags::IN));
        polled.extend(listeners.iter().map(|listener| PollFd::new(listener, PollFlags::IN)));
        polled
            .extend(self.clients.iter().map(|client| PollFd::new(&client.socket, client.events())));
        if let Err(error) = poll(&mut polled, time.as_ref()) {
            // A signal, or the kernel has no memory for it at this moment.
            if error != rustix::io::Errno::INTR {
                thread::sleep(Duration::from_millis(1));
            }
        }
        let (ours, clients) = polled.split_at(1 + listeners.len());
        self.ready.clear();
        self.ready.extend(clients.iter().map(PollFd::revents));
        let is_ready = |polled: &PollFd| !polled.revents().is_empty();
        let somebody_connects = ours[1..].iter().any(is_ready);
        Woken { has_messages: is_ready(&ours[0]), somebody_connects }
    }

    /// Takes what comes from other threads.
    fn take_messages(&mut self) {
        self.bell.quiet();
        while let Ok(message) = self.messages.try_recv() {
            match message {
                Message::Reply(id, reply) => {
                    // It may have given way meanwhile.
                    let waits = |client: &&mut Client| client.id == id && client.is_waiting();
                    if let Some(client) = self.clients.iter_mut().find(waits) {
                        answer(client, &reply, self.access.as_ref());
                    }
                }
                Message::Checked(id, result) => self.take_checked(id, result),
                // What waits to be accepted is closed by the system.
                Message::Stop => {
                    self.listeners.clear();
                    self.clients.iter_mut().for_each(Client::end_soon);
                }
            }
        }
        self.end_slow_readers();
    }

    fn forget_gone(&mut self) {
        self.clients.retain(|client| !matches!(client.state, State::Gone));
    }

    fn serve(&mut self, index: usize, ready: PollFlags) {
        let client = &mut self.clients[index];
        match client.serve(ready) {
            None => {}
            Some(Err(refusal)) => refuse(client, refusal, self.access.as_ref()),
            Some(Ok(head)) => self.admit(index, head),
        }
    }

    /// Refuses a request, has its password checked, or goes on with it.
    fn admit(&mut self, index: usize, head: Head) {
        let client = &mut self.clients[index];
        let admission = match &mut self.access {
            None => Admission::Admitted,
            Some(access) => access.admit(client.id, client.network, &head.authorization),
        };
        match admission {
            Admission::Admitted => self.go_on(index, head),
            Admission::Refused(refusal) => refuse(client, refusal, self.access.as_ref()),
            Admission::Unknown => client.state = State::Checked(head),
        }
    }

    /// Answers a request that needs no loop; others queue for a place.
    fn go_on(&mut self, index: usize, head: Head) {
        let ends = self.clients.len() > self.connections.kept() || self.listeners.is_empty();
        let client = &mut self.clients[index];
        // A client that reads `Connection: close` loses no request. One whose idle connection is
        // closed while it sends the next one does.
        if ends {
            client.end_soon();
        }
        let reply = if head.method == Method::Options {
            Reply::options()
        } else if head.path == HEALTHY {
            Reply::text(200, "OK", "healthy\n")
        } else if self.paths.contains(&head.path) {
            return client.queue(head);
        } else {
            Reply::text(404, "Not Found", "not found\n")
        };
        answer(client, &reply, self.access.as_ref());
    }

    /// Goes on with a request whose password was checked.
    fn take_checked(&mut self, id: u64, result: Result<(), Refusal>) {
        if let Some(access) = &mut self.access {
            access.check_ended();
        }
        let Some(index) = self.clients.iter().position(|client| client.id == id) else { return };
        let client = &mut self.clients[index];
        match (result, client.take_checked()) {
            (Ok(()), Some(head)) => self.go_on(index, head),
            (Err(refusal), Some(_)) => refuse(client, refusal, self.access.as_ref()),
            (_, None) => {}
        }
    }

    /// Has the next password checked.
    fn check_next(&mut self) {
        let Front { access: Some(access), clients, .. } = self else { return };
        access.check_next(|id| {
            let client = clients.iter().find(|client| client.id == id)?;
            match &client.state {
                State::Checked(head) => Some(head.authorization.clone()),
                _ => None,
            }
        });
    }

    /// Passes a request to the loop.
    fn pass_on(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let Some((head, awaited)) = client.wait() else { return };
        let read_at = client.read_at;
        let timeout = head.scrape_timeout.filter(|&timeout| timeout >= MIN_SCRAPE_TIMEOUT);
        let deadline = timeout.and_then(|time| read_at.checked_add(time - SCRAPE_TIMEOUT_OFFSET));
        let question = Question { accept: head.accept, read_at, deadline };
        if let Err(error) = self.to_loop.send(&head.path, question, client.id, awaited) {
            log::error(&format!(
                "the serving loop has ended: {error}; exiting so that the service manager restarts the exporter"
            ));
            process::exit(1);
        }
    }

    fn accept(&mut self) {
        for index in 0..self.listeners.len() {
            for _ in 0..ACCEPTS {
                match accept(&self.listeners[index]) {
                    Ok(Some((tcp, from))) => self.enter(tcp, from),
                    Ok(None) => break,
                    Err(error) => return self.pause(&error),
                }
            }
        }
    }

    /// Usually descriptors or memory ran out. A connection that ends releases some.
    fn pause(&mut self, error: &io::Error) {
        if self.logged.is_none_or(|time| time.elapsed() > LOG_TIME) {
            log::warn(&format!("refusing connections: {error}"));
            self.logged = Some(Instant::now());
        }
        if is_of_shortage(error) {
            self.close_one();
        }
        self.accepts_from = Instant::now() + RETRY_TIME;
    }

    fn enter(&mut self, tcp: TcpStream, from: IpAddr) {
        let tls = match self.access.as_mut().map_or(Ok(None), Access::tls) {
            Ok(tls) => tls,
            Err(error) => return log::warn(&format!("TLS can't be started: {error:#}")),
        };
        if self.clients.len() >= self.connections.most() {
            self.close_one();
        }
        let socket = Socket::new(tcp, tls);
        self.clients.push(Client::new(self.next_id, network(from), socket));
        self.next_id += 1;
        // Its request may have arrived with the connection.
        self.serve(self.clients.len() - 1, PollFlags::IN);
    }
}

/// Begins to write an answer.
fn answer(client: &mut Client, reply: &Reply, access: Option<&Access>) {
    let mut head = reply.head();
    if let Some(access) = access {
        access.add_fields(&mut head);
    }
    client.answer(head, &reply.body);
}

/// Says why a client gets no other answer, and ends the connection.
fn refuse(client: &mut Client, refusal: Refusal, access: Option<&Access>) {
    client.end_soon();
    answer(client, &Reply::refusal(refusal), access);
}
