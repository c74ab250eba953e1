//! Stands between the network and the loop: accepts, bounds what a client can take, and hands on what was understood.
//! Knows nothing of metrics.

use std::{
    collections::VecDeque,
    io::{self, IoSlice, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::io::ioctl_fionread;

use crate::{
    clock,
    door::{Door, Reply},
    http::{
        limits::{HEAD_TIME, IDLE_TIME, WRITE_TIME},
        request::{self, Method, Refusal, Request},
    },
    lock::locked,
    log, memory,
    site::Site,
    table::login::utc,
};

/// Connections at a time. When there are as many, the one that has waited longest for its request goes.
pub const MAX_CONNECTIONS: usize = 64;
/// For a refused client to read why, before its connection is reset.
const FAREWELL_TIME: Duration = Duration::from_secs(1);
/// For what a client has sent to be looked at, before it may be let go for another.
const GRACE: Duration = Duration::from_secs(1);
/// For a client to send something after it has connected, while there is hope of room without it.
const PATIENCE: Duration = Duration::from_millis(100);
/// For a thread to wait for another connection: to start one costs as much as half an answer.
const LINGER: Duration = Duration::from_secs(1);
/// After an error of the system, such as too many open files.
const PAUSE: Duration = Duration::from_millis(20);

/// A connection's thread needs little; a scrape is made in it too.
const STACK: usize = 256 * 1024;

/// Everything that a connection needs.
pub struct Front {
    site: Arc<Site>,
    door: Door,
    guests: Mutex<Vec<Arc<Guest>>>,
    someone_left: Condvar,
    hall: Mutex<Hall>,
    someone_came: Condvar,
}

/// Where threads that have served a connection wait for another, and connections for such a thread: never more of them than
/// threads.
#[derive(Default)]
struct Hall {
    threads: usize,
    guests: VecDeque<Arc<Guest>>,
}

/// One connection.
struct Guest {
    stream: TcpStream,
    /// Since when it owes its request; `None` while it is answered, or already sent away.
    waiting: Mutex<Option<Instant>>,
    /// It was told why it is not answered; what it still sends is not wanted.
    refused: AtomicBool,
}

impl Guest {
    /// Not one that has sent something just now: that may be a whole request, whose thread was not run yet.
    fn may_go(&self, since: Instant) -> bool {
        let has_sent = ioctl_fionread(&self.stream).is_ok_and(|bytes| bytes > 0);
        !has_sent || self.refused.load(Ordering::Relaxed) || since.elapsed() > GRACE
    }
}

impl Front {
    /// Nobody is in yet.
    pub fn new(site: Arc<Site>, door: Door) -> Arc<Front> {
        Arc::new(Front {
            site,
            door,
            guests: Mutex::default(),
            someone_left: Condvar::new(),
            hall: Mutex::default(),
            someone_came: Condvar::new(),
        })
    }

    /// Accepts until the listener is shut down, whatever else happens.
    pub fn accept(self: &Arc<Front>, listener: &TcpListener) {
        loop {
            match listener.accept() {
                Ok((stream, _)) => self.admit(stream),
                // The listener was shut down.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                    ) => {}
                Err(_) => {
                    // Descriptors or memory ran out: whoever waits longest may hold what is needed.
                    self.send_one_away();
                    thread::sleep(PAUSE);
                }
            }
        }
    }

    /// How many are being answered.
    pub fn busy(&self) -> usize {
        let guests = locked(&self.guests);
        guests.iter().filter(|guest| locked(&guest.waiting).is_none()).count()
    }

    fn admit(self: &Arc<Front>, stream: TcpStream) {
        // In a flood of connections that are reset again, nobody waits behind those that were.
        if !matches!(stream.take_error(), Ok(None)) {
            return;
        }
        self.make_room();
        let guest = Arc::new(Guest {
            stream,
            waiting: Mutex::new(Some(Instant::now())),
            refused: AtomicBool::new(false),
        });
        locked(&self.guests).push(Arc::clone(&guest));
        // A thread without memory for its first steps would end the process.
        let served = memory::is_left(0) && (self.is_taken(&guest) || self.is_given_thread(&guest));
        if !served {
            // This client must come again, when there is a thread or memory for it.
            self.leave(&guest);
            self.send_one_away();
            thread::sleep(PAUSE);
        }
    }

    /// Hands the connection to a thread that waits for one, if any does.
    fn is_taken(&self, guest: &Arc<Guest>) -> bool {
        let mut hall = locked(&self.hall);
        let free = hall.threads > hall.guests.len();
        if free {
            hall.guests.push_back(Arc::clone(guest));
            self.someone_came.notify_one();
        }
        free
    }

    /// Starts a thread for the connection, if the system gives one.
    fn is_given_thread(self: &Arc<Front>, guest: &Arc<Guest>) -> bool {
        let (front, mut guest) = (Arc::clone(self), Arc::clone(guest));
        let serve = move || {
            loop {
                Visit::new(&front, &guest).serve();
                front.leave(&guest);
                match front.next_guest() {
                    Some(next) => guest = next,
                    None => return,
                }
            }
        };
        let thread = thread::Builder::new().stack_size(STACK).spawn(serve);
        thread.is_ok()
    }

    /// Waits a while for another connection.
    fn next_guest(&self) -> Option<Arc<Guest>> {
        let mut hall = locked(&self.hall);
        hall.threads += 1;
        let nobody = |hall: &mut Hall| hall.guests.is_empty();
        let came = self.someone_came.wait_timeout_while(hall, LINGER, nobody);
        let mut hall = came.unwrap_or_else(PoisonError::into_inner).0;
        hall.threads -= 1;
        hall.guests.pop_front()
    }

    fn make_room(&self) {
        let mut guests = locked(&self.guests);
        while guests.len() >= MAX_CONNECTIONS {
            drop(guests);
            self.send_one_away();
            guests = locked(&self.guests);
            if guests.len() >= MAX_CONNECTIONS {
                let waited = self.someone_left.wait_timeout(guests, Duration::from_millis(100));
                guests = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// Lets go whoever has waited longest for its request, if anybody may be. While others are about to leave of themselves, one
    /// that has just come is given time to say what it wants.
    fn send_one_away(&self) {
        let guests = locked(&self.guests);
        let idle: Vec<_> = guests
            .iter()
            .filter_map(|guest| locked(&guest.waiting).map(|since| (since, guest)))
            .filter(|(since, guest)| guest.may_go(*since))
            .collect();
        let others_leave = idle.len() < guests.len();
        let least = if others_leave { PATIENCE } else { Duration::ZERO };
        let longest = idle
            .into_iter()
            .filter(|(since, _)| since.elapsed() >= least)
            .min_by_key(|(since, _)| *since);
        if let Some((_, guest)) = longest {
            *locked(&guest.waiting) = None;
            // Its thread finds the end of the stream, and leaves.
            let _ = guest.stream.shutdown(Shutdown::Both);
        }
    }

    fn leave(&self, guest: &Arc<Guest>) {
        let _ = guest.stream.shutdown(Shutdown::Both);
        locked(&self.guests).retain(|other| !Arc::ptr_eq(other, guest));
        self.someone_left.notify_all();
    }
}

/// A connection being served, in its own thread.
struct Visit<'f> {
    front: &'f Front,
    guest: &'f Guest,
    /// What was read and not yet understood.
    unread: Vec<u8>,
    /// What the socket is set to, so that it is set only when it changes.
    read_timeout: Option<Duration>,
}

/// Why a connection ends without an answer.
enum End {
    /// The client is gone, or was too slow to be told.
    Gone,
    /// It is told why.
    Refused(Refusal),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> End {
        End::Refused(refusal)
    }
}

impl<'f> Visit<'f> {
    fn new(front: &'f Front, guest: &'f Guest) -> Visit<'f> {
        Visit { front, guest, unread: Vec::new(), read_timeout: None }
    }

    fn serve(&mut self) {
        let mut first = true;
        loop {
            let kept = match self.request(first) {
                Ok(request) => self.answer(&request),
                Err(End::Gone) => return,
                Err(End::Refused(refusal)) => return self.refuse(refusal),
            };
            if !kept {
                return;
            }
            first = false;
            *locked(&self.guest.waiting) = Some(Instant::now());
        }
    }

    /// Reads the head of the next request.
    fn request(&mut self, first: bool) -> Result<Request, End> {
        let mut deadline = first.then(|| Instant::now() + HEAD_TIME);
        loop {
            // An empty line before a request is let pass (RFC 9112, 2.2).
            while self.unread.starts_with(b"\r\n") {
                self.unread.drain(..2);
            }
            if let Some((request, length)) = request::parse(&self.unread)? {
                self.unread.drain(..length);
                let mut waiting = locked(&self.guest.waiting);
                // Nothing waits any more: this one was just sent away.
                return waiting.take().map(|_| request).ok_or(End::Gone);
            }
            if !self.unread.is_empty() && deadline.is_none() {
                deadline = Some(Instant::now() + HEAD_TIME);
            }
            self.read_more(deadline)?;
        }
    }

    fn read_more(&mut self, deadline: Option<Instant>) -> Result<(), End> {
        let timeout = match deadline {
            // In steps, so that a deadline of the same length is not set anew for each request.
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None => IDLE_TIME,
        };
        if timeout.is_zero() {
            return Err(self.too_slow());
        }
        if self.read_timeout != Some(timeout) {
            self.guest.stream.set_read_timeout(Some(timeout)).map_err(|_| End::Gone)?;
            self.read_timeout = Some(timeout);
        }
        let mut buffer = [0; 2048];
        match (&self.guest.stream).read(&mut buffer) {
            Ok(0) => Err(End::Gone),
            Ok(count) => {
                self.unread.extend_from_slice(buffer.get(..count).unwrap_or_default());
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) if is_timeout(&error) => Err(self.too_slow()),
            Err(_) => Err(End::Gone),
        }
    }

    /// A client that has begun is told; one that has said nothing is just let go.
    fn too_slow(&self) -> End {
        if self.unread.is_empty() { End::Gone } else { request::REQUEST_TIMEOUT.into() }
    }

    /// Answers, and says whether the connection may be used again.
    fn answer(&self, request: &Request) -> bool {
        if request.method == Method::Options {
            return self.answer_options(request.keep_alive);
        }
        self.front.site.prepare(&request.path);
        let Reply { mut head, body } =
            self.front.door.ask(&request.path, &request.accept).unwrap_or_else(|error| {
                log::line(&format!(
                    "the serving loop is lost: {error}; the process ends, to be started again"
                ));
                process::exit(1);
            });
        head.extend_from_slice(if request.keep_alive {
            b"Connection: keep-alive\r\nKeep-Alive: timeout=120\r\n\r\n"
        } else {
            b"Connection: close\r\n\r\n"
        });
        let body = if request.method == Method::Head { &[] } else { body.as_slice() };
        write_all(&self.guest.stream, &head, body).is_ok() && request.keep_alive
    }

    /// Load balancers ask this to see whether a server lives.
    fn answer_options(&self, keep_alive: bool) -> bool {
        let connection = if keep_alive { "keep-alive" } else { "close" };
        let answer = format!(
            "HTTP/1.1 204 No Content\r\nAllow: GET, HEAD, OPTIONS\r\nDate: {}\r\nConnection: {connection}\r\n\r\n",
            http_date(clock::system().unix),
        );
        write_all(&self.guest.stream, answer.as_bytes(), &[]).is_ok() && keep_alive
    }

    fn refuse(&self, refusal: Refusal) {
        *locked(&self.guest.waiting) = None;
        let Refusal { status, reason } = refusal;
        let allow = if status == 405 { "Allow: GET, HEAD, OPTIONS\r\n" } else { "" };
        let answer = format!(
            "HTTP/1.1 {status} {reason}\r\n{allow}Date: {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            http_date(clock::system().unix),
            reason.len() + 1
        );
        // An answer to HEAD has no body, a refusal neither (RFC 9110, 9.3.2).
        let body =
            if self.unread.starts_with(b"HEAD ") { String::new() } else { format!("{reason}\n") };
        if write_all(&self.guest.stream, answer.as_bytes(), body.as_bytes()).is_ok() {
            self.farewell();
        }
    }

    /// Reads on for a while what is not wanted: closed with something unread, the connection would be reset, and the client
    /// might not see the answer.
    fn farewell(&self) {
        let mut stream = &self.guest.stream;
        let deadline = Instant::now() + FAREWELL_TIME;
        if stream.shutdown(Shutdown::Write).is_err()
            || stream.set_read_timeout(Some(FAREWELL_TIME)).is_err()
        {
            return;
        }
        // Whoever waits for room comes first.
        self.guest.refused.store(true, Ordering::Relaxed);
        *locked(&self.guest.waiting) = Some(Instant::now());
        let mut buffer = [0; 4096];
        while Instant::now() < deadline {
            match stream.read(&mut buffer) {
                Ok(0) => return,
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return,
                _ => {}
            }
        }
    }
}

/// A time as in the `Date` field, such as `Tue, 24 Nov 2026 00:15:56 GMT` (RFC 9110, 5.6.7).
fn http_date(unix: Duration) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = i64::try_from(unix.as_secs()).unwrap_or(i64::MAX);
    let (year, month, day, hour, minute, second) = utc(seconds);
    let named = |names: &[&'static str], index: i64| {
        usize::try_from(index).ok().and_then(|index| names.get(index).copied()).unwrap_or_default()
    };
    let weekday = named(&WEEKDAYS, seconds.div_euclid(86_400).rem_euclid(7));
    let month = named(&MONTHS, month - 1);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// Writes both, within the time that an answer has in all.
fn write_all(mut stream: &TcpStream, head: &[u8], body: &[u8]) -> io::Result<()> {
    let deadline = Instant::now() + WRITE_TIME;
    let mut parts = [IoSlice::new(head), IoSlice::new(body)];
    let mut left = parts.as_mut_slice();
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match stream.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut left, count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if !left.is_empty() {
            let time =
                deadline.checked_duration_since(Instant::now()).ok_or(io::ErrorKind::TimedOut)?;
            stream.set_write_timeout(Some(time.max(Duration::from_millis(1))))?;
        }
    }
    Ok(())
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_http_writes_it() {
        for (unix, date) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (1_795_479_356, "Tue, 24 Nov 2026 00:15:56 GMT"),
        ] {
            assert_eq!(http_date(Duration::from_secs(unix)), date);
        }
    }
}
