//! Measures what the exporter adds. Its answers are compared with a bare tiny_http server that
//! returns constant data of the same size, and a scrape that runs `w` with `w` alone. If
//! `EXPORTER_BEFORE` names the binary of another version, that is measured too. All sides run
//! alternately on one core, with the client on another. It also measures the time from the start to
//! the first answer.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::thread::{CpuSet, sched_setaffinity};
use what::command::ENVIRONMENT;

const CLIENT_CORE: usize = 0;
const SERVER_CORE: usize = 1;
const ROUNDS: usize = 40;
const PER_ROUND: usize = 500;
const RUNS_PER_ROUND: usize = 15;
const STARTS: usize = 100;

fn main() {
    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() == Some("bare") {
        let length = arguments.next().and_then(|length| length.parse().ok());
        bare(length.expect("a length"));
    }
    run_on(CLIENT_CORE);
    let binary = env!("CARGO_BIN_EXE_prometheus-what-active-users-exporter").to_owned();
    let mut binaries = vec![("exporter", binary.clone())];
    binaries.extend(env::var("EXPORTER_BEFORE").ok().map(|before| ("before", before)));
    let start = |interval: &str| -> Vec<(&str, Server)> {
        let started = |(name, path): &(&'static str, String)| {
            (*name, Server::start(exporter(path, interval)))
        };
        binaries.iter().map(started).collect()
    };
    cached(start("3600000"));
    uncached(start("0"));
    let mut started = Side::default();
    started.round(|| (0..STARTS).map(|_| first_answer(&binary)).collect());
    let [p50, p99, _] = started.figures();
    println!("from its start to its first answer {p50:6.0} us {p99:6.0} us");
}

fn cached(mut servers: Vec<(&str, Server)>) {
    let length = servers[0].1.scrape();
    let mut bare = Command::new(env::current_exe().expect("its own path"));
    bare.args(["bare", &length.to_string()]);
    servers.push(("bare tiny_http", Server::start(bare)));
    println!("{length} bytes each");
    for clients in [1, 16] {
        let kept = |server: &Server| kept(server.address, clients, PER_ROUND);
        compare(&format!("cached, {clients} kept connection(s)"), &servers, kept);
    }
    let each = |server: &Server| {
        repeat(PER_ROUND, || {
            server.scrape();
        })
    };
    compare("cached, a connection each", &servers, each);
}

fn uncached(servers: Vec<(&str, Server)>) {
    let program = path_of_w();
    let mut sides: Vec<(&str, Option<Server>)> =
        servers.into_iter().map(|(name, server)| (name, Some(server))).collect();
    sides.push(("w alone", None));
    compare("uncached, 1 kept connection", &sides, |server| match server {
        Some(server) => kept(server.address, 1, RUNS_PER_ROUND),
        None => {
            run_on(SERVER_CORE);
            let times = repeat(RUNS_PER_ROUND, || w(&program));
            run_on(CLIENT_CORE);
            times
        }
    });
}

/// Pins this thread, and everything that it starts from now on, to one core.
fn run_on(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).expect("a second core");
}

/// Starts the exporter, and sends a request as soon as it logs its address.
fn first_answer(binary: &str) -> Duration {
    let began = Instant::now();
    let server = Server::start(exporter(binary, "0"));
    let mut stream = TcpStream::connect(server.address).expect("a connection");
    get(&mut stream, "/-/healthy", &mut Vec::new());
    began.elapsed()
}

/// A server that only answers.
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

fn exporter(binary: &str, interval: &str) -> Command {
    let mut command = Command::new(binary);
    command.args(["--listen.port", "0", "--scrape.interval", interval]);
    command
}

struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts the server on the other core. Its first line ends with its address, and perhaps a
    /// path.
    fn start(mut command: Command) -> Server {
        run_on(SERVER_CORE);
        let child = command.stderr(Stdio::piped()).spawn();
        run_on(CLIENT_CORE);
        let mut child = child.expect("a server");
        let mut line = String::new();
        let log = child.stderr.as_mut().expect("its log");
        BufReader::new(log).read_line(&mut line).expect("a line");
        let address = line.trim_end().trim_end_matches("/metrics");
        let address = address.rsplit([' ', '/']).next().unwrap_or_default();
        let address = address.parse().unwrap_or_else(|_| panic!("no address in {line:?}"));
        Server { child, address }
    }

    /// Sends a request on a new connection and returns the length of the body.
    fn scrape(&self) -> usize {
        get(
            &mut TcpStream::connect(self.address).expect("a connection"),
            "/metrics",
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

/// Sends a request and reads the answer, whose length is in its header.
fn get(stream: &mut TcpStream, path: &str, answer: &mut Vec<u8>) -> usize {
    const LENGTH: &[u8] = b"content-length: ";
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
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
            .and_then(|line| std::str::from_utf8(&line[LENGTH.len()..]).ok()?.trim().parse().ok())
            .expect("a length");
        if answer.len() >= head + 4 + length {
            return length;
        }
    }
}

fn kept(address: SocketAddr, clients: usize, scrapes: usize) -> Vec<Duration> {
    let client = || {
        let mut stream = TcpStream::connect(address).expect("a connection");
        let mut answer = Vec::new();
        repeat(scrapes, || {
            get(&mut stream, "/metrics", &mut answer);
        })
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a client")).collect()
    })
}

/// Runs `w` as the exporter does. With the full path and a new environment, std starts a program by
/// `posix_spawn`.
fn w(program: &str) {
    let output = Command::new(program)
        .arg("-i")
        .env_clear()
        .envs(ENVIRONMENT)
        .stdin(Stdio::null())
        .output()
        .expect("w");
    assert!(output.status.success(), "{output:?}");
}

fn path_of_w() -> String {
    let found = Command::new("which").arg("w").output().expect("which");
    let path = String::from_utf8(found.stdout).expect("a path");
    path.trim_end().to_owned()
}

fn repeat(count: usize, mut what: impl FnMut()) -> Vec<Duration> {
    let timed = |_| {
        let began = Instant::now();
        what();
        began.elapsed()
    };
    (0..count).map(timed).collect()
}

/// Runs all sides alternately. Prints the times of each, and the ratios of the first side to it.
fn compare<S>(what: &str, sides: &[(&str, S)], round: impl Fn(&S) -> Vec<Duration>) {
    let mut measured: Vec<Side> = sides.iter().map(|_| Side::default()).collect();
    for _ in 0..ROUNDS {
        for ((_, side), measured) in sides.iter().zip(&mut measured) {
            measured.round(|| round(side));
        }
    }
    let figures: Vec<[f64; 3]> = measured.into_iter().map(Side::figures).collect();
    println!("\n{what:28} {:>9} {:>9} {:>9} {:>24}", "p50", "p99", "a second", "ratios to it");
    for ((name, _), [p50, p99, rate]) in sides.iter().zip(&figures) {
        let ours = figures[0];
        print!("{name:28} {p50:6.0} us {p99:6.0} us {rate:9.0}");
        println!(" {:8.2} {:8.2} {:8.2}", ours[0] / p50, ours[1] / p99, ours[2] / rate);
    }
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

    /// The median and the 99th percentile in microseconds, and the number per second.
    fn figures(mut self) -> [f64; 3] {
        self.answers.sort_unstable();
        let count = self.answers.len();
        let at = |part: usize| self.answers[count * part / 100].as_secs_f64() * 1e6;
        [at(50), at(99), count as f64 / self.time.as_secs_f64()]
    }
}
