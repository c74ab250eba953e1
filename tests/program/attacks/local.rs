//! Another local user, and a start with too few resources.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixStream},
    },
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::harness::{Exporter, FakeW, PROGRAM, without_variables};

/// Looks for the exporters' inner sockets as fast as it can, and sends a request that aborts
/// tiny_http.
struct Racer {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Racer {
    fn start() -> Racer {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&answered));
        let race = move || {
            let mut streams = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let sockets = fs::read("/proc/net/unix").unwrap_or_default();
                let sockets = String::from_utf8_lossy(&sockets).into_owned();
                streams.extend(
                    sockets.lines().filter_map(|line| line.split_once("@what-")).filter_map(
                        |(_, rest)| {
                            let name = format!("what-{}", rest.trim_end());
                            let address = SocketAddr::from_abstract_name(name).ok()?;
                            let mut stream = UnixStream::connect_addr(&address).ok()?;
                            let body = "Content-Length: 1000000000000";
                            let request = format!("GET / HTTP/1.1\r\nHost: 0\r\n{body}\r\n\r\n");
                            stream.write_all(request.as_bytes()).ok()?;
                            Some(stream)
                        },
                    ),
                );
            }
            for mut stream in streams {
                let _ = stream.set_read_timeout(Some(Duration::from_millis(10)));
                if stream.read(&mut [0]).is_ok_and(|count| count > 0) {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        Racer { stop, answered, thread: Some(thread::spawn(race)) }
    }

    fn end(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(thread::JoinHandle::join);
        self.answered.load(Ordering::Relaxed)
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_local_user_who_watches_for_the_inner_socket_is_never_accepted() {
    let fake = FakeW::new("cat $TABLE");
    let racer = Racer::start();
    for start in 0..30 {
        let exporter = Exporter::of(&fake.command(), &[]);
        assert!(exporter.metrics().contains("\nwhat_up{"), "start {start}");
        assert!(exporter.metrics().contains("\nwhat_up{"), "start {start}");
    }
    assert_eq!(racer.end(), 0, "a stranger was answered");
}

/// The program, started by a shell that sets a limit first.
fn limited(ulimit: &str, w: &str) -> Command {
    let mut shell = without_variables(Command::new("sh"));
    shell.args(["-c", &format!("ulimit {ulimit} && exec \"$@\""), "sh", PROGRAM]);
    shell.args(["--scrape.interval=0", "--w.command", w]);
    shell
}

#[test]
fn clients_leave_the_descriptors_that_w_needs_however_few_there_are() {
    let fake = FakeW::new("cat $TABLE");
    for limit in [64, 128, 256] {
        let exporter = Exporter::start(&mut limited(&format!("-n {limit}"), &fake.command()));
        let said = exporter.log().concat();
        assert!(said.contains(" WARN there are file descriptors for "), "{limit}: {said}");
        let idle: Vec<TcpStream> = (0..limit + 50).map(|_| exporter.connect()).collect();
        for scrape in 0..5 {
            let metrics = exporter.metrics();
            let is_up = metrics.contains("user=\"alice\"");
            assert!(is_up, "{limit}, scrape {scrape}: {:?}", exporter.log());
        }
        assert_eq!(exporter.log().len(), 2, "{limit}: {:?}", exporter.log());
        drop(idle);
    }
}

#[test]
fn a_low_soft_limit_of_descriptors_is_raised_as_far_as_is_needed() {
    let fake = FakeW::new("cat $TABLE; ulimit -n >$DIR/limit");
    for (limit, raised) in [(64, 512), (1000, 1000)] {
        let exporter = Exporter::start(&mut limited(&format!("-S -n {limit}"), &fake.command()));
        let metrics = exporter.metrics();
        assert!(metrics.contains(&format!("process_max_fds {raised}\n")), "{limit}: {metrics}");
        assert_eq!(fake.read("limit").trim(), raised.to_string());
        assert_eq!(exporter.log().len(), 1, "{limit}: {:?}", exporter.log());
    }
}

#[test]
fn a_start_with_too_few_descriptors_says_so_and_never_panics() {
    let fake = FakeW::new("cat $TABLE");
    let (mut served, mut refused) = (0, 0);
    for limit in (10..70).step_by(5) {
        match Exporter::start_or_end(&mut limited(&format!("-n {limit}"), &fake.command())) {
            Ok(mut exporter) => {
                assert!(exporter.metrics().contains("user=\"alice\""), "{limit}");
                exporter.signal("TERM");
                assert_eq!(exporter.end().0, Some(0), "{limit}: {:?}", exporter.log());
                served += 1;
            }
            Err((status, said)) => {
                assert!(status.code().is_some_and(|code| code < 100), "{limit}: {status}: {said}");
                assert!(said.lines().count() == 1 && !said.contains("panic"), "{limit}: {said}");
                refused += 1;
            }
        }
    }
    assert!(served > 0 && refused > 0, "{served} served, {refused} refused");
}
