//! Clients that take connections, time and memory.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use rustix::{
    net::sockopt::set_socket_linger,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use crate::{
    attacks::siege::{Bounds, Target, USUAL, alone, crowd, exporter, over_tls, siege},
    harness::{Answer, Exporter, FakeW, Stopwatch, folder, promised, until},
};

const LONG: Bounds = Bounds { time: Duration::from_secs(10), ..USUAL };

/// Runs `w` for each scrape, so that an attack affects that too.
fn busy() -> Exporter {
    let fake = FakeW::new("cat $TABLE");
    exporter(&format!("cat {}/table", fake.folder.display()), &["--scrape.interval=0"])
}

#[test]
#[ignore = "takes long, and 5,000 descriptors"]
fn thousands_of_idle_connections_keep_nobody_out() {
    let limits = getrlimit(Resource::Nofile);
    let all = Rlimit { current: limits.maximum, ..limits };
    setrlimit(Resource::Nofile, all).unwrap();
    // The client's side of a handshake takes more CPU time than the exporter's, so that 5,000 of them
    // keep this test from being answered. Four times as many as can be connected are enough.
    let count = if over_tls() { 1000 } else { 5000 };
    siege(busy, &USUAL, |target| {
        let idle: Vec<_> =
            (0..count).map_while(|_| target.is_on().then(|| target.connect())).collect();
        target.hold();
        drop(idle);
    });
}

#[test]
#[ignore = "takes long"]
fn hundreds_of_clients_that_send_a_byte_a_second_keep_nobody_out() {
    siege(busy, &LONG, |target| {
        let mut drips: Vec<Option<TcpStream>> = (0..500).map(|_| target.connect()).collect();
        target.full_force();
        for letter in b"GET /metrics HTTP/1.1\r\nHost: xxxxxxxxxxx".iter().cycle() {
            for drip in &mut drips {
                let sent = drip.as_mut().is_some_and(|stream| stream.write_all(&[*letter]).is_ok());
                if !sent {
                    *drip = target.connect();
                }
                if !target.is_on() {
                    return;
                }
            }
            thread::sleep(Duration::from_secs(1));
        }
    });
}

#[test]
#[ignore = "takes long"]
fn an_endless_header_line_keeps_nobody_out() {
    siege(busy, &LONG, |target| {
        endless(target, b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: ", &[b'x'; 65536]);
    });
}

#[test]
#[ignore = "takes long"]
fn endless_headers_keep_nobody_out() {
    siege(busy, &LONG, |target| {
        endless(target, b"GET /metrics HTTP/1.1\r\nHost: x\r\n", &b"X: y\r\n".repeat(10_000));
    });
}

#[test]
#[ignore = "takes long"]
fn an_endless_chunked_body_keeps_nobody_out() {
    siege(busy, &LONG, |target| {
        let head = b"POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        endless(target, head, &b"ffffffffffffffff\r\nzzz\r\n\0".repeat(1000));
    });
}

#[test]
#[ignore = "takes long"]
fn pipelined_requests_whose_answers_are_never_read_keep_nobody_out() {
    siege(busy, &LONG, |target| {
        let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
        endless(target, b"", &request.repeat(1000));
    });
}

/// Four clients that repeat the same request and read nothing. Each connects again when its
/// connection is closed.
fn endless(target: &Target, first: &[u8], again: &[u8]) {
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while target.is_on() {
                    let Some(mut stream) = target.connect() else {
                        continue;
                    };
                    target.full_force();
                    let mut sent = stream.write_all(first);
                    while target.is_on() && sent.is_ok() {
                        sent = stream.write_all(again);
                        // The request cannot be sent now. It waits, and keeps its connection.
                        while target.is_on()
                            && sent
                                .as_ref()
                                .is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
                        {
                            sent = stream.write_all(b"x");
                        }
                    }
                }
            });
        }
    });
}

#[test]
#[ignore = "takes long"]
fn request_lines_of_a_megabyte_are_refused_and_keep_nobody_out() {
    let line =
        [b"GET /".as_slice(), &vec![b'x'; 1 << 20], b" HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
    siege(busy, &LONG, |target| {
        let mut refused = 0;
        while target.is_on() {
            let Some(mut stream) = target.connect() else {
                continue;
            };
            let _ = stream.write_all(&line);
            let mut answer = [0; 12];
            if stream.read_exact(&mut answer).is_ok() {
                assert_eq!(&answer, b"HTTP/1.1 414");
                refused += 1;
                target.full_force();
            }
        }
        assert!(refused > 0);
    });
}

#[test]
fn thousands_of_resets_keep_nobody_out() {
    siege(busy, &USUAL, |target| {
        for number in 0.. {
            if number >= 5000 {
                target.full_force();
                if !target.is_on() {
                    return;
                }
            }
            let Some(mut stream) = target.connect() else {
                continue;
            };
            if number % 3 != 0 {
                let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
            }
            set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        }
    });
}

#[test]
#[ignore = "takes long, and is about the release binary"]
fn clients_that_never_read_a_large_answer_keep_nobody_out() {
    let folder = folder();
    let w = format!("cat {}", crowd(&folder, 20_000));
    let bounds =
        Bounds { time: Duration::from_secs(12), answered: Duration::from_secs(3), resident_mb: 64 };
    let large = || {
        let exporter = exporter(&w, &[]);
        assert!(exporter.metrics().len() > 3_000_000);
        exporter
    };
    siege(large, &bounds, |target| {
        let ask = |number: usize| {
            let mut stream = target.connect()?;
            stream.set_nonblocking(true).unwrap();
            let path = ["/metrics", "/"][number % 2];
            let asked =
                stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
            asked.ok().map(|()| stream)
        };
        let mut readers: Vec<_> = (0..256).map(ask).collect();
        target.full_force();
        while target.is_on() {
            // A client that was refused connects again. A client that was answered does not read
            // the answer.
            for (number, reader) in readers.iter_mut().enumerate() {
                let is_in = reader.as_ref().is_some_and(|stream| match stream.peek(&mut [0]) {
                    Ok(count) => count > 0,
                    Err(error) => error.kind() == io::ErrorKind::WouldBlock,
                });
                if !is_in {
                    *reader = ask(number);
                }
            }
            thread::sleep(Duration::from_millis(5));
        }
    });
}

/// Its request comes after the next connection of the same network.
#[test]
fn a_client_that_has_just_connected_is_not_closed_before_those_that_read_nothing() {
    let _alone = alone();
    let exporter = exporter(&format!("cat {}", crowd(&folder(), 20_000)), &[]);
    exporter.metrics();
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    until("it is answered", || {
        let descriptors = exporter.descriptors();
        let mut readers: Vec<TcpStream> = (0..256).map(|_| exporter.connect()).collect();
        readers.iter_mut().for_each(|reader| reader.write_all(request).unwrap());
        until("all read", || readers.iter().all(|reader| reader.peek(&mut [0]).unwrap() > 0));
        // Until they have had time to read.
        thread::sleep(Duration::from_secs(1));
        let mut new = exporter.connect();
        // Until they are accepted.
        thread::sleep(Duration::from_millis(3));
        let _next = exporter.connect();
        thread::sleep(Duration::from_millis(3));
        let _ = new.write_all(request);
        let is_answered = new.read(&mut [0]).is_ok_and(|count| count > 0);
        drop(readers);
        until("all are gone", || exporter.descriptors() <= descriptors + 2);
        is_answered
    });
}

/// Each gets an answer of its own, because `w` runs for each.
#[test]
fn answers_that_nobody_reads_take_bounded_memory() {
    let _alone = alone();
    let w = format!("cat {}", crowd(&folder(), 5_000));
    let exporter = exporter(&w, &["--scrape.interval=0"]);
    let answer = exporter.metrics().len() as u64 / 1024;
    assert!(answer > 500, "{answer} KB");
    let before = exporter.status("VmHWM");
    let readers: Vec<TcpStream> = (0..60)
        .map(|_| {
            let mut stream = exporter.connect();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            // It is being answered, and more than fits into the buffers of both sides is left.
            assert_eq!(stream.peek(&mut [0]).unwrap(), 1);
            stream
        })
        .collect();
    let most = exporter.status("VmHWM");
    assert!(most < before + 16 * 1024 + 4 * answer, "{before} KB, then {most} KB");
    assert_eq!(exporter.get("/-/healthy").status, 200);
    drop(readers);
}

#[test]
fn sixteen_clients_that_keep_their_connections_are_answered_quickly() {
    let _alone = alone();
    let exporter = busy_with_a_cache();
    let bound = promised(Duration::from_millis(250));
    let slowest = thread::scope(|scope| {
        let clients: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    let mut stream = exporter.connect();
                    let mut slowest = Duration::ZERO;
                    for _ in 0..100 {
                        let began = Stopwatch::start();
                        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
                        assert_eq!(Answer::read_one(&mut stream).status, 200);
                        slowest = slowest.max(began.took(bound));
                    }
                    slowest
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).max().unwrap()
    });
    println!("the slowest of 1,600 in {slowest:?}");
    assert!(slowest < bound, "{slowest:?}");
}

fn busy_with_a_cache() -> Exporter {
    let fake = FakeW::new("cat $TABLE");
    exporter(&fake.command(), &["--scrape.interval=50ms"])
}
