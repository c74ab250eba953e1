//! The front: one thread that owns all clients. It sleeps in poll(2) until a client or a message
//! comes, or a time is over.

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
    access::Access,
    client::{Asked, Client, State},
    descriptors::{max_connections, max_kept_connections, max_waiting},
    limits::{ACCEPTS, LOG_TIME, MIN_SCRAPE_TIMEOUT, RETRY_TIME, SCRAPE_TIMEOUT_OFFSET},
    network::network,
    places::{self, Connection, Waiting},
    reply::Reply,
    request::{Admission, Head, Method, Refusal, SERVICE_UNAVAILABLE},
    requests::{Bell, Message, Question, ToLoop},
    socket::Socket,
};
use crate::log;

/// The path that is answered without the loop. It shows only whether the process serves.
const HEALTHY: &str = "/-/healthy";

/// All clients, and what they share.
pub(super) struct Front {
    /// Empty when it stops.
    listeners: Vec<TcpListener>,
    clients: Vec<Client>,
    access: Option<Access>,
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
        access: Option<Access>,
        to_loop: ToLoop,
        messages: Receiver<Message>,
        bell: Bell,
        unanswered: Sender<()>,
    ) -> Front {
        Front {
            listeners,
            clients: Vec::new(),
            access,
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
            self.serve();
            if somebody_connects {
                self.accept();
            }
            self.check_next();
            self.give_places();
            self.clients.retain(|client| !matches!(client.state, State::Gone));
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
                Message::Stop => self.listeners.clear(),
            }
        }
    }

    fn serve(&mut self) {
        // Meanwhile no client is added or removed.
        for index in 0..self.clients.len() {
            let (client, ready) = (&mut self.clients[index], self.ready[index]);
            match client.serve(ready) {
                Asked::Nothing => {}
                Asked::Refusal(refusal) => refuse(client, refusal, self.access.as_ref()),
                Asked::Request(head) => self.admit(index, head),
            }
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
        let are_many = self.clients.len() > max_kept_connections();
        let client = &mut self.clients[index];
        // A client that reads `Connection: close` loses no request. One whose idle connection is
        // closed while it sends the next one does.
        if are_many {
            client.end_soon();
        }
        if head.method == Method::Options {
            answer(client, &Reply::options(), self.access.as_ref());
        } else if head.path == HEALTHY {
            answer(client, &Reply::text(200, "OK", "healthy\n"), self.access.as_ref());
        } else {
            client.queue(head);
        }
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

    /// Passes requests to the loop as long as there are places. If there are none, a client of a
    /// network that has more of them gives way.
    fn give_places(&mut self) {
        let mut waiting = self.clients.iter().filter(|client| client.is_waiting()).count();
        for index in 0..self.clients.len() {
            if !matches!(self.clients[index].state, State::Queued(_)) {
                continue;
            }
            if waiting >= max_waiting() {
                let Some(other) = self.first_to_yield(index) else { continue };
                refuse(&mut self.clients[other], SERVICE_UNAVAILABLE, self.access.as_ref());
                waiting -= 1;
            }
            self.pass_on(index);
            waiting += 1;
        }
    }

    fn first_to_yield(&self, new: usize) -> Option<usize> {
        let waits = |client: &Client| Waiting {
            network: client.network,
            has_ended: client.has_ended,
            since: client.since,
        };
        let (indices, waiting): (Vec<usize>, Vec<Waiting>) = (0..)
            .zip(&self.clients)
            .filter(|(_, client)| client.is_waiting())
            .map(|(index, client)| (index, waits(client)))
            .unzip();
        places::first_to_yield(&waiting, &waits(&self.clients[new])).map(|first| indices[first])
    }

    /// Passes a request to the loop.
    fn pass_on(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let Some((head, awaited)) = client.wait() else { return };
        let read_at = client.since;
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
                let accepted = self.listeners[index].accept();
                match accepted
                    .and_then(|(tcp, from)| tcp.set_nonblocking(true).map(|()| (tcp, from)))
                {
                    Ok((tcp, from)) => self.enter(tcp, from.ip()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if is_of_connection(&error) => {}
                    Err(error) => return self.pause(&error),
                }
            }
        }
    }

    /// Descriptors or memory ran out. A connection that ends releases some.
    fn pause(&mut self, error: &io::Error) {
        if self.logged.is_none_or(|time| time.elapsed() > LOG_TIME) {
            log::warn(&format!("refusing connections: {error}"));
            self.logged = Some(Instant::now());
        }
        self.close_one();
        self.accepts_from = Instant::now() + RETRY_TIME;
    }

    fn enter(&mut self, tcp: TcpStream, from: IpAddr) {
        let tls = match self.access.as_mut().map_or(Ok(None), Access::tls) {
            Ok(tls) => tls,
            Err(error) => return log::warn(&format!("TLS can't be started: {error:#}")),
        };
        if self.clients.len() >= max_connections() {
            self.close_one();
        }
        let socket = Socket::new(tcp, tls);
        self.clients.push(Client::new(self.next_id, network(from), socket));
        self.next_id += 1;
    }

    /// Closes a connection to make room.
    fn close_one(&mut self) {
        let now = Instant::now();
        let connections: Vec<Connection> = self
            .clients
            .iter()
            .map(|client| Connection {
                network: client.network,
                rank: client.rank(now),
                since: client.since,
            })
            .collect();
        let Some(first) = places::first_to_close(&connections) else { return };
        let mut client = self.clients.swap_remove(first);
        if client.is_unanswered() {
            refuse(&mut client, SERVICE_UNAVAILABLE, self.access.as_ref());
        }
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

/// Whether it concerns only a connection that has not been accepted.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted)
}
