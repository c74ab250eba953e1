//! What the exporter adds: its answers beside those of a bare tiny_http server that gives a constant of the same size, and a scrape
//! that runs `w` beside `w` alone. Both sides in turns, on one core, from a client on another.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{self, Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Set in the environment of the client, once it is on its own core.
const PINNED: &str = "LOAD_CLIENT_PINNED";
const ROUNDS: usize = 10;
const PER_ROUND: usize = 2_000;
const RUNS_PER_ROUND: usize = 40;

fn main() {
    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() == Some("bare") {
        let length = arguments.next().and_then(|length| length.parse().ok());
        bare(length.expect("a length"));
    }
    if env::var_os(PINNED).is_none() {
        let itself = Command::new(env::current_exe().expect("its own path"));
        let ended = pinned(0, &itself).env(PINNED, "").status();
        process::exit(ended.expect("taskset, of util-linux").code().unwrap_or(1));
    }
    let cached = Server::start(exporter(&["--scrape.interval", "1h"]));
    let mut bare = Command::new(env::current_exe().expect("its own path"));
    bare.args(["bare", &cached.scrape().to_string()]);
    let bare = Server::start(bare);
    println!("{} bytes each\n", cached.scrape());
    println!("{:40} {:>9} {:>9} {:>9}", "", "p50", "p99", "a second");
    for clients in [1, 16] {
        let name = format!("cached, {clients} kept connection(s)");
        compare(
            &name,
            "bare tiny_http",
            [&cached, &bare].map(|server| move || kept(server.address, clients)),
        );
    }
    compare(
        "cached, a connection each",
        "bare tiny_http",
        [&cached, &bare].map(|server| {
            move || {
                repeat(PER_ROUND, || {
                    server.scrape();
                })
            }
        }),
    );
    let uncached = Server::start(exporter(&["--scrape.interval", "0"]));
    let scrape: Box<dyn Fn() -> Vec<Duration>> = Box::new(|| {
        repeat(RUNS_PER_ROUND, || {
            uncached.scrape();
        })
    });
    let alone: Box<dyn Fn() -> Vec<Duration>> = Box::new(|| repeat(RUNS_PER_ROUND, w));
    compare("uncached, a connection each", "w alone", [scrape, alone]);
}

/// A server that does nothing but answer.
fn bare(length: usize) -> ! {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    rustix::net::sockopt::set_tcp_nodelay(&listener, true).expect("TCP_NODELAY");
    eprintln!("listens on {}", listener.local_addr().expect("its address"));
    let server = tiny_http::Server::from_listener(listener, None).expect("a server");
    let body = vec![b'x'; length];
    loop {
        let request = server.recv().expect("a request");
        let response = tiny_http::Response::from_data(body.clone());
        let _ = request.respond(response.with_chunked_threshold(usize::MAX));
    }
}

fn exporter(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prometheus-what-active-users-exporter"));
    command.args(["--listen.port", "0"]).args(arguments);
    command
}

/// Lets a command run on one core only.
fn pinned(core: usize, command: &Command) -> Command {
    let mut taskset = Command::new("taskset");
    taskset.args(["-c", &core.to_string()]);
    taskset.arg(command.get_program()).args(command.get_args());
    taskset
}

struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts it on the other core; its first line ends in its address, maybe with a path.
    fn start(command: Command) -> Server {
        let mut child = pinned(1, &command)
            .stderr(Stdio::piped())
            .spawn()
            .expect("taskset, of util-linux");
        let mut line = String::new();
        let log = child.stderr.as_mut().expect("its log");
        BufReader::new(log).read_line(&mut line).expect("a line");
        let address = line.trim_end().trim_end_matches("/metrics");
        let address = address.rsplit([' ', '/']).next().unwrap_or_default();
        let address = address
            .parse()
            .unwrap_or_else(|_| panic!("no address in {line:?}"));
        Server { child, address }
    }

    /// On a connection of its own; gives the length of the body.
    fn scrape(&self) -> usize {
        get(
            &mut TcpStream::connect(self.address).expect("a connection"),
            &mut Vec::new(),
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks and reads the answer to its end, by its length.
fn get(stream: &mut TcpStream, answer: &mut Vec<u8>) -> usize {
    const LENGTH: &[u8] = b"content-length: ";
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("a request");
    answer.clear();
    let mut buffer = [0; 16 * 1024];
    loop {
        let count = stream.read(&mut buffer).expect("an answer");
        assert!(count > 0, "it ends early");
        answer.extend_from_slice(&buffer[..count]);
        let Some(head) = answer.windows(4).position(|end| end == b"\r\n\r\n") else {
            continue;
        };
        let length = answer[..head]
            .split(|&byte| byte == b'\n')
            .find(|line| {
                line.len() > LENGTH.len() && line[..LENGTH.len()].eq_ignore_ascii_case(LENGTH)
            })
            .and_then(|line| {
                str::from_utf8(&line[LENGTH.len()..])
                    .ok()?
                    .trim()
                    .parse()
                    .ok()
            })
            .expect("a length");
        if answer.len() >= head + 4 + length {
            return length;
        }
    }
}

fn kept(address: SocketAddr, clients: usize) -> Vec<Duration> {
    let client = || {
        let mut stream = TcpStream::connect(address).expect("a connection");
        let mut answer = Vec::new();
        repeat(PER_ROUND, || {
            get(&mut stream, &mut answer);
        })
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("a client"))
            .collect()
    })
}

fn w() {
    let output = Command::new("w")
        .arg("-i")
        .stdin(Stdio::null())
        .output()
        .expect("w");
    assert!(output.status.success(), "{output:?}");
}

fn repeat(count: usize, mut what: impl FnMut()) -> Vec<Duration> {
    let timed = |_| {
        let began = Instant::now();
        what();
        began.elapsed()
    };
    (0..count).map(timed).collect()
}

/// Does both in turns, and prints what each round of each took.
fn compare<F: Fn() -> Vec<Duration>>(name: &str, other: &str, [ours, theirs]: [F; 2]) {
    let [mut our, mut their] = [Side::default(), Side::default()];
    for _ in 0..ROUNDS {
        our.round(&ours);
        their.round(&theirs);
    }
    let [our, their] = [our, their].map(Side::figures);
    for (name, [p50, p99, rate]) in [(name, our), (other, their)] {
        println!("{name:40} {p50:6.0} us {p99:6.0} us {rate:9.0}");
    }
    let ratios: Vec<f64> = our
        .iter()
        .zip(their)
        .map(|(our, their)| our / their)
        .collect();
    println!(
        "{:40} {:9.2} {:9.2} {:9.2}\n",
        "ratio", ratios[0], ratios[1], ratios[2]
    );
}

/// One side of a comparison.
#[derive(Default)]
struct Side {
    answers: Vec<Duration>,
    time: Duration,
}

impl Side {
    fn round(&mut self, scrapes: impl Fn() -> Vec<Duration>) {
        let began = Instant::now();
        self.answers.extend(scrapes());
        self.time += began.elapsed();
    }

    /// The median and the 99th percentile in microseconds, and answers a second.
    fn figures(mut self) -> [f64; 3] {
        self.answers.sort_unstable();
        let count = self.answers.len();
        let at = |part: usize| self.answers[count * part / 100].as_secs_f64() * 1e6;
        [at(50), at(99), count as f64 / self.time.as_secs_f64()]
    }
}
