//! Clients of one address that take what others need.

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use rustix::net::{
    AddressFamily, SocketType, bind, connect, socket,
    sockopt::{set_socket_linger, set_socket_send_buffer_size},
};

use crate::{
    attacks::siege::{Address, Bounds, Target, USUAL, alone, exporter, siege, under},
    harness::{
        Answer, Exporter, FakeW, PATIENCE, Stopwatch, free_port, promised, short_lived_program,
        signal, until,
    },
};

/// A `w` that waits until the test allows it to go on.
const UNTIL_GO: &str = "touch $DIR/running; until [ -e $DIR/go ]; do sleep 0.02; done; cat $TABLE";
const SCRAPE: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// More than may wait.
const CROWD: usize = 248;

fn slow() -> (FakeW, Exporter) {
    let fake = FakeW::new(UNTIL_GO);
    let exporter = exporter(&fake.command(), &["--w.timeout=60s", "--scrape.interval=1h"]);
    (fake, exporter)
}

fn go(fake: &FakeW) {
    std::fs::write(fake.folder.join("go"), "").unwrap();
}

/// An address of this host. All but 127.0.0.1, from which other clients connect, count as one.
const ANOTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn connect_from(client: Ipv4Addr, exporter: SocketAddr) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddr::from((client, 0))).unwrap();
    connect(&socket, &exporter).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn asking(exporter: &Exporter, request: &[u8]) -> TcpStream {
    let mut stream = exporter.connect();
    stream.write_all(request).unwrap();
    stream
}

/// The status of the answer; `None` if the connection ends without one.
fn status(stream: &mut TcpStream) -> Option<u16> {
    let mut answer = Vec::new();
    let _ = io::Read::read_to_end(stream, &mut answer);
    std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}

#[test]
fn health_is_answered_at_once_while_one_client_fills_all_places_and_asks_for_more() {
    let _alone = alone();
    let (fake, exporter) = slow();
    let waiting: Vec<TcpStream> = (0..CROWD).map(|_| asking(&exporter, SCRAPE)).collect();
    until("w runs", || fake.runs() == 1);
    let attack = |target: &Target| {
        let mut more = VecDeque::new();
        while target.is_on() {
            if let Some(mut stream) = target.connect() {
                let _ = stream.write_all(SCRAPE);
                more.push_back(stream);
            }
            if more.len() > 1000 {
                target.full_force();
                more.pop_front();
            }
        }
    };
    let bound = promised(Duration::from_secs(1));
    under(&exporter, attack, |_| {
        for _ in 0..5 {
            let began = Stopwatch::start();
            assert_eq!(exporter.get("/-/healthy").status, 200);
            assert_eq!(exporter.ask("BREW / HTTP/1.1\r\n").status, 501);
            let took = began.took(bound);
            assert!(took < bound, "{took:?}");
        }
    });
    go(&fake);
    drop(waiting);
}

#[test]
fn a_client_that_has_reset_its_connection_holds_no_place() {
    let _alone = alone();
    let (fake, exporter) = slow();
    let descriptors = exporter.descriptors();
    // A byte more than the request hid the end of the connection.
    let request = [SCRAPE, b"G"].concat();
    let gone: Vec<TcpStream> = (0..CROWD).map(|_| asking(&exporter, &request)).collect();
    until("all are read", || exporter.descriptors() >= descriptors + CROWD);
    until("w runs", || fake.runs() == 1);
    for stream in gone {
        set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    }
    // Three belong to the run of w.
    until("all are gone", || exporter.descriptors() <= descriptors + 3);
    let mut others: Vec<TcpStream> = (0..CROWD).map(|_| asking(&exporter, SCRAPE)).collect();
    until("all are read", || exporter.unread_bytes() == 0);
    go(&fake);
    assert!(others.iter_mut().all(|stream| status(stream) == Some(200)));
}

#[test]
fn a_client_that_may_have_left_gives_its_place_to_one_that_asks() {
    let _alone = alone();
    let (fake, exporter) = slow();
    let request = [SCRAPE, b"G"].concat();
    for _ in 0..CROWD {
        drop(asking(&exporter, &request));
    }
    until("w runs", || fake.runs() == 1);
    let mut others: Vec<TcpStream> = (0..200).map(|_| asking(&exporter, SCRAPE)).collect();
    until("all are read", || exporter.unread_bytes() <= CROWD as u64);
    go(&fake);
    assert!(others.iter_mut().all(|stream| status(stream) == Some(200)));
}

#[test]
fn a_client_that_ends_its_sending_and_waits_is_answered() {
    let (fake, exporter) = slow();
    let mut stream = asking(&exporter, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    until("w runs", || fake.runs() == 1);
    go(&fake);
    assert!(Answer::read_to_end(&mut stream).body.contains("user=\"alice\""));
}

#[test]
fn requests_that_were_sent_before_the_client_ended_its_sending_are_all_answered() {
    let (fake, exporter) = slow();
    go(&fake);
    let request =
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut stream = asking(&exporter, request);
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(Answer::read_one(&mut stream).status, 200);
    assert_eq!(Answer::read_to_end(&mut stream).body, "healthy\n");
}

#[test]
fn an_empty_line_before_a_request_may_arrive_in_two_pieces() {
    let (fake, exporter) = slow();
    go(&fake);
    let mut stream = asking(&exporter, b"\r");
    until("it is read", || exporter.unread_bytes() == 0);
    stream.write_all(&[b"\n", SCRAPE].concat()).unwrap();
    assert_eq!(status(&mut stream), Some(200));
}

#[test]
fn one_address_that_takes_all_places_leaves_those_of_others_to_them() {
    let _alone = alone();
    let (fake, exporter) = slow();
    let attack = |target: &Target| {
        let mut attackers: VecDeque<TcpStream> = VecDeque::new();
        while target.is_on() {
            if let Some(mut stream) = target.connect() {
                let _ = stream.write_all(SCRAPE);
                attackers.push_back(stream);
            }
            if attackers.len() > 300 {
                target.full_force();
                attackers.pop_front();
            }
        }
    };
    let mut others: Vec<TcpStream> = under(&exporter, attack, |_| {
        let crowded = || exporter.descriptors() > CROWD;
        until("the attackers have all places", crowded);
        let mut others: Vec<TcpStream> =
            (0..20).map(|_| connect_from(ANOTHER, exporter.address.address())).collect();
        others.iter_mut().for_each(|stream| stream.write_all(SCRAPE).unwrap());
        // As long as it takes to see that none of them is refused.
        thread::sleep(Duration::from_secs(1));
        go(&fake);
        others
    });
    let statuses: Vec<_> = others.iter_mut().map(status).collect();
    assert!(statuses.iter().all(|status| *status == Some(200)), "{statuses:?}");
}

/// A user of this host can send from each address of 127.0.0.0/8.
#[test]
fn a_user_with_all_loopback_addresses_leaves_places_and_connections_to_others() {
    let _alone = alone();
    let (fake, exporter) = slow();
    let address = exporter.address.address();
    let from = |number: usize| {
        let [high, low] = (number as u16).to_be_bytes();
        connect_from(Ipv4Addr::new(127, 9, high, low), address)
    };
    let mut waiting: Vec<TcpStream> = (0..CROWD).map(from).collect();
    waiting.iter_mut().for_each(|stream| stream.write_all(SCRAPE).unwrap());
    until("w runs", || fake.runs() == 1);
    until("all are read", || exporter.unread_bytes() == 0);
    let mut first = asking(&exporter, SCRAPE);
    until("it is read", || exporter.unread_bytes() == 0);
    let silent: Vec<TcpStream> = (CROWD..2 * CROWD).map(from).collect();
    let mut second = exporter.connect();
    // One from each address is then as old as this one, or younger.
    let more: Vec<TcpStream> = (2 * CROWD..4 * CROWD).map(from).collect();
    second.write_all(SCRAPE).unwrap();
    // As long as it takes to see that none of them is refused.
    thread::sleep(Duration::from_millis(500));
    go(&fake);
    assert_eq!([&mut first, &mut second].map(status), [Some(200); 2]);
    drop((silent, more));
}

/// The connections that ended while the exporter did not run are no reason to close others.
#[test]
fn connections_that_have_ended_count_no_more() {
    let _alone = alone();
    let (fake, exporter) = slow();
    let address = exporter.address.address();
    let descriptors = exporter.descriptors();
    let mut waiting: Vec<TcpStream> = (0..200).map(|_| connect_from(ANOTHER, address)).collect();
    waiting.iter_mut().for_each(|stream| stream.write_all(SCRAPE).unwrap());
    let others: Vec<TcpStream> = (0..56).map(|_| exporter.connect()).collect();
    until("all connections are taken", || exporter.descriptors() >= descriptors + 256);
    until("w runs", || fake.runs() == 1);
    until("all are read", || exporter.unread_bytes() == 0);
    exporter.signal("STOP");
    drop(others);
    let more: Vec<TcpStream> = (0..10).map(|_| exporter.connect()).collect();
    exporter.signal("CONT");
    assert_eq!(exporter.get("/-/healthy").status, 200);
    go(&fake);
    assert!(waiting.iter_mut().all(|stream| status(stream) == Some(200)));
    drop(more);
}

#[test]
fn who_waits_is_not_pushed_out_by_those_of_its_address_who_come_later() {
    let _alone = alone();
    let (fake, exporter) = slow();
    let descriptors = exporter.descriptors();
    let mut first = asking(&exporter, SCRAPE);
    until("w runs", || fake.runs() == 1);
    let mut later: Vec<TcpStream> = (1..CROWD).map(|_| asking(&exporter, SCRAPE)).collect();
    until("all are read", || exporter.unread_bytes() == 0);
    // These come all at once.
    exporter.signal("STOP");
    later.extend((0..40).map(|_| asking(&exporter, SCRAPE)));
    exporter.signal("CONT");
    until("all are read", || exporter.unread_bytes() == 0);
    // Three belong to the run of w.
    let are_refused = || exporter.descriptors() <= descriptors + CROWD + 3;
    until("those without a place are refused", are_refused);
    go(&fake);
    assert_eq!(status(&mut first), Some(200));
    let answered = later.iter_mut().map(status).filter(|status| *status == Some(200));
    assert_eq!(answered.count(), CROWD - 1);
}

/// As a client far away looks like over TLS, or one whose packets are lost.
#[test]
fn a_flood_of_silent_connections_keeps_out_no_slow_client_of_another_address() {
    let _alone = alone();
    let (fake, exporter) = slow();
    go(&fake);
    let attack = |target: &Target| {
        let mut silent = VecDeque::new();
        while target.is_on() {
            silent.extend(target.connect());
            if silent.len() > 1000 {
                target.full_force();
                silent.pop_front();
            }
        }
    };
    under(&exporter, attack, |_| {
        until("the flood takes all connections", || exporter.descriptors() > CROWD);
        for delay in [100, 150, 200] {
            let mut others: Vec<TcpStream> =
                (0..20).map(|_| connect_from(ANOTHER, exporter.address.address())).collect();
            thread::sleep(Duration::from_millis(delay));
            for stream in &mut others {
                let _ = stream.write_all(SCRAPE);
            }
            let statuses: Vec<_> = others.iter_mut().map(status).collect();
            assert!(statuses.iter().all(|status| *status == Some(200)), "{delay}: {statuses:?}");
        }
    });
}

#[test]
fn of_three_hundred_clients_of_one_address_that_ask_a_moment_after_they_connect_none_is_lost() {
    let (fake, exporter) = slow();
    go(&fake);
    exporter.metrics();
    thread::scope(|scope| {
        for _ in 0..150 {
            scope.spawn(|| {
                for _ in 0..2 {
                    let mut stream = exporter.connect();
                    thread::sleep(Duration::from_millis(50));
                    stream.write_all(SCRAPE).unwrap();
                    assert_eq!(status(&mut stream), Some(200));
                }
            });
        }
    });
}

#[test]
fn a_client_that_sends_nothing_but_empty_lines_is_not_read_for_ever() {
    let bounds = Bounds { time: Duration::from_secs(6), ..USUAL };
    siege(
        || slow_and_gone().1,
        &bounds,
        |target| {
            while target.is_on() {
                let Some(mut stream) = target.connect() else { continue };
                target.full_force();
                while target.is_on() && stream.write_all(&b"\r\n".repeat(10_000)).is_ok() {}
            }
        },
    );
}

/// Sends without a pause on more connections than the exporter can empty meanwhile. It must end
/// them all the same.
fn ends_with(first: &[u8], again: &[u8], limit: Duration) {
    let _alone = alone();
    let exporter = slow_and_gone().1;
    let mut floods: Vec<(TcpStream, usize)> =
        (0..16).map(|_| (asking(&exporter, first), 0)).collect();
    for (stream, _) in &floods {
        set_socket_send_buffer_size(stream, 4 << 20).unwrap();
        stream.set_nonblocking(true).unwrap();
    }
    let bytes = again.repeat((1 << 20) / again.len());
    let began = Instant::now();
    while !floods.is_empty() {
        assert!(began.elapsed() < promised(limit), "{} are still open", floods.len());
        floods.retain_mut(|(stream, sent)| match stream.write(&bytes[*sent % again.len()..]) {
            Ok(count) => {
                *sent += count;
                true
            }
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        });
    }
}

#[test]
fn a_client_that_sends_empty_lines_for_ever_has_the_time_of_a_request() {
    ends_with(b"", b"\r\n", Duration::from_secs(7));
}

#[test]
fn a_client_that_sends_on_after_its_last_answer_is_left() {
    ends_with(b"BREW / HTTP/1.1\r\n", b"x", Duration::from_secs(3));
}

fn slow_and_gone() -> (FakeW, Exporter) {
    let (fake, exporter) = slow();
    go(&fake);
    (fake, exporter)
}

/// A page in a browser can ask for the metrics of an exporter on its host, but not read them.
#[test]
fn a_page_of_another_site_reads_no_answer() {
    let (fake, exporter) = slow();
    go(&fake);
    for path in ["/metrics", "/", "/-/healthy", "/nothing"] {
        let answer = exporter.get(path);
        assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("Cross-Origin-Resource-Policy"), Some("same-origin"), "{path}");
    }
}

#[test]
fn nobody_else_gets_the_ipv6_half_of_the_port() {
    let (v6, fake) = (TcpListener::bind("[::1]:0"), FakeW::new("cat $TABLE"));
    if v6.is_err() {
        return println!("there is no IPv6 here");
    }
    for (host, all) in [("0.0.0.0", "[::]"), ("127.0.0.1", "[::1]")] {
        let exporter = Exporter::of(&fake.command(), &["--listen.host", host]);
        let (_, port) = exporter.address.rsplit_once(':').unwrap();
        let taken = TcpListener::bind(format!("{all}:{port}")).map(|_| ());
        assert_eq!(taken.map_err(|error| error.kind()), Err(io::ErrorKind::AddrInUse), "{host}");
        let refused = TcpStream::connect(format!("[::1]:{port}")).map(|_| ());
        let expected = Err(io::ErrorKind::ConnectionRefused);
        assert_eq!(refused.map_err(|error| error.kind()), expected, "{host}");
        assert_eq!(exporter.log().len(), 1, "{:?}", exporter.log());
    }
}

#[test]
fn an_ipv6_half_that_somebody_else_has_is_a_warning() {
    let port = free_port();
    let Ok(_taken) = TcpListener::bind((Ipv6Addr::LOCALHOST, port)) else {
        return println!("there is no IPv6 here");
    };
    let port = port.to_string();
    let mut command = short_lived_program();
    command.args(["--w.command=true", "--listen.port", &port]).stderr(Stdio::piped());
    let mut exporter = command.spawn().unwrap();
    let mut said = BufReader::new(exporter.stderr.take().unwrap()).lines().map_while(Result::ok);
    let log: Vec<String> = said.by_ref().take(2).collect();
    assert!(signal("TERM", &exporter.id().to_string()));
    assert!(exporter.wait().unwrap().success(), "{log:?}");
    let warning = format!("[::1]:{port} can't be reserved: ");
    assert!(log[0].contains(&warning) && log[1].contains(" listens on "), "{log:?}");
}
