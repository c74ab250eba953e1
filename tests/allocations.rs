//! Counts the memory that a cached scrape allocates. The count is for the whole process, so this
//! crate has only this test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    alloc::System,
    ffi::OsString,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use what::{
    cli::{self, Task},
    clock,
    collector::Collector,
    exporter::Exporter,
    runner::RunW,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

static RUNS: AtomicUsize = AtomicUsize::new(0);

const SCRAPES: usize = 100;

fn table(rows: usize) -> Vec<u8> {
    let mut table =
        "USER     TTY      FROM             LOGIN@   IDLE   JCPU   PCPU WHAT\n".to_owned();
    for number in 0..rows {
        table.push_str(&format!(
            "alice    pts/{number:<4} 203.0.113.7      00:16    1:13   0.02s   ?    vim\n"
        ));
    }
    table.into_bytes()
}

/// Serves a table for an hour, as the program does. It ends with the test.
fn serve(table: Vec<u8>) -> SocketAddr {
    let (sender, address) = mpsc::channel();
    thread::spawn(move || {
        let run_w: RunW = Box::new(move || {
            RUNS.fetch_add(1, Ordering::Relaxed);
            Ok(table.clone())
        });
        let arguments = ["--listen.port=0", "--scrape.interval=1h"].map(OsString::from);
        let Ok(Task::Serve(config)) = cli::parse(arguments.into_iter(), [].into_iter()) else {
            panic!("the flags are wrong");
        };
        let collector = Collector::new(clock::system(), config.options());
        let (mut exporter, _accepting) = Exporter::start(config, collector, run_w).unwrap();
        sender.send(exporter.address).unwrap();
        exporter.answer_all().map(|_| ()).unwrap();
    });
    address.recv().unwrap()
}

/// Sends a request, and reads the whole answer into memory that is already allocated. Returns its
/// length.
fn scrape(client: &mut TcpStream, buffer: &mut [u8]) -> usize {
    const LENGTH: &[u8] = b"Content-Length: ";
    client.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut read = 0;
    loop {
        let count = client.read(&mut buffer[read..]).unwrap();
        assert!(count > 0, "it ends early");
        read += count;
        let answer = &buffer[..read];
        let find = |text: &[u8]| answer.windows(text.len()).position(|part| part == text);
        let Some(end) = find(b"\r\n\r\n") else {
            continue;
        };
        let digits = &answer[find(LENGTH).unwrap() + LENGTH.len()..];
        let length = digits
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
        if read == end + 4 + length {
            return length;
        }
    }
}

/// The length of an answer, and what this many more requests allocated.
fn cached(rows: usize) -> (usize, Stats) {
    let mut client = TcpStream::connect(serve(table(rows))).unwrap();
    let mut buffer = vec![0; 4 << 20];
    // The first one runs w. After a few more, each connection to the loop has been used once.
    let length = (0..20).map(|_| scrape(&mut client, &mut buffer)).max().unwrap();
    let region = Region::new(ALLOCATOR);
    for _ in 0..SCRAPES {
        assert_eq!(scrape(&mut client, &mut buffer), length);
    }
    (length, region.change())
}

#[test]
fn a_cached_scrape_allocates_a_few_times_and_its_body_never() {
    let (short, few) = cached(1);
    let (long, many) = cached(5_000);
    println!("{short} bytes: {few:?}\n{long} bytes: {many:?}");
    assert!(long > 1_000_000 && short < 10_000, "{short} {long}");
    assert_eq!(RUNS.load(Ordering::Relaxed), 2);
    for taken in [few, many] {
        assert!(taken.allocations <= 30 * SCRAPES, "{taken:?}");
        assert!(taken.bytes_allocated <= 8 * 1024 * SCRAPES, "{taken:?}");
    }
}
