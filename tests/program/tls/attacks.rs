//! Attacks that there are only with TLS and passwords. `ATTACKS_OVER_TLS` runs the other ones over
//! TLS.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::net::{
    AddressFamily, SocketAddrV4, SocketType, bind, connect, socket, sockopt::set_socket_linger,
};

use super::{
    client::{Client, get},
    files::{Files, MUTUAL, PASSWORD, TLS, users},
};
use crate::harness::{Answer, Exporter, FakeW, promised, sh, until};

/// Connects from another address of this host.
fn connect_from(client: [u8; 4], exporter: &Exporter) -> Option<TcpStream> {
    let server: SocketAddrV4 = exporter.address.parse().unwrap();
    let stream = socket(AddressFamily::INET, SocketType::STREAM, None).ok()?;
    bind(&stream, &SocketAddrV4::new(client.into(), 0)).ok()?;
    connect(&stream, &server).ok()?;
    let stream = TcpStream::from(stream);
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    Some(stream)
}

/// Guesses in 100 connections at a time, from as many addresses of this host, while something else
/// is done.
fn while_passwords_are_guessed<R>(
    exporter: &Exporter,
    addresses: usize,
    meanwhile: impl FnOnce() -> R,
) -> R {
    let (on, guesses) = (AtomicBool::new(true), AtomicUsize::new(0));
    struct Off<'o>(&'o AtomicBool);
    impl Drop for Off<'_> {
        fn drop(&mut self) {
            self.0.store(false, Ordering::Relaxed);
        }
    }
    thread::scope(|scope| {
        for number in 0..100 {
            let (on, guesses) = (&on, &guesses);
            let client = [127, 0, 0, (2 + number % addresses) as u8];
            scope.spawn(move || {
                while on.load(Ordering::Relaxed) {
                    let guess = guesses.fetch_add(1, Ordering::Relaxed).to_string();
                    let user = if guess.ends_with('7') { "nobody" } else { "prometheus" };
                    let Some(mut stream) = connect_from(client, exporter) else { continue };
                    if stream.write_all(get("/metrics", Some((user, &guess))).as_bytes()).is_ok() {
                        let answer = Answer::read_to_end(&mut stream);
                        assert!([401, 503].contains(&answer.status), "{answer:?}");
                    }
                }
            });
        }
        let _off = Off(&on);
        until("a hundred guesses", || guesses.load(Ordering::Relaxed) > 100);
        meanwhile()
    })
}

#[test]
fn a_flood_of_wrong_passwords_keeps_nobody_out() {
    let hash = bcrypt::hash(PASSWORD, 10).unwrap();
    let files = Files::new(&format!("basic_auth_users: {{prometheus: {hash}, alice: {hash}}}\n"));
    let exporter = files.exporter();
    let login = |user: &str| exporter.ask(&get("/metrics", Some((user, PASSWORD)))).status;
    assert_eq!(login("alice"), 200);
    while_passwords_are_guessed(&exporter, 1, || {
        // Nobody has checked this password before.
        assert_eq!(login("prometheus"), 200);
        for _ in 0..20 {
            assert_eq!((login("alice"), login("prometheus")), (200, 200));
        }
        // A password that was right is not checked again, so its client can be anywhere.
        let mut stream = connect_from([127, 0, 0, 2], &exporter).unwrap();
        stream.write_all(get("/metrics", Some(("alice", PASSWORD))).as_bytes()).unwrap();
        assert_eq!(Answer::read_to_end(&mut stream).status, 200);
    });
}

/// A user of this host can send from any address of 127.0.0.0/8. Whoever knows the password needs no
/// place beside him: neither if the exporter has just started, nor if the file has been read again.
#[test]
fn a_local_user_with_thirty_addresses_keeps_nobody_out() {
    let hash = bcrypt::hash(PASSWORD, 10).unwrap();
    let web = format!("basic_auth_users: {{prometheus: {hash}}}\n");
    let files = Files::new(&web);
    let exporter = files.exporter();
    while_passwords_are_guessed(&exporter, 30, || {
        for _ in 0..10 {
            let answer = exporter.ask(&get("/metrics", Some(("prometheus", PASSWORD))));
            assert_eq!(answer.status, 200);
            files.write("web.yml", &web);
        }
    });
    assert!(exporter.log().len() > 10, "{:?}", exporter.log());
}

/// bcrypt takes a whole core. Guesses that were checked at the same time would take all cores, and
/// would all be answered at the end.
#[test]
fn guesses_are_checked_one_at_a_time() {
    let hash = bcrypt::hash(PASSWORD, 9).unwrap();
    let files = Files::new(&format!("basic_auth_users: {{prometheus: {hash}}}\n"));
    let exporter = files.exporter();
    let began = Instant::now();
    let guess = |client: u8| {
        let mut stream = connect_from([127, 0, 0, client], &exporter).unwrap();
        stream.write_all(get("/", Some(("prometheus", "wrong"))).as_bytes()).unwrap();
        assert_eq!(Answer::read_to_end(&mut stream).status, 401);
        began.elapsed()
    };
    // Each client may have four.
    let clients = [1, 1, 1, 1, 2, 3, 4, 5];
    let mut answered: Vec<Duration> = thread::scope(|scope| {
        let guesses = clients.map(|client| scope.spawn(move || guess(client)));
        guesses.map(|guess| guess.join().unwrap()).to_vec()
    });
    answered.sort_unstable();
    println!("{answered:?}");
    assert!(answered[0] * 3 < answered[7], "{answered:?}");
}

/// Each of the forty can be the authority of each other one, as far as their names tell.
#[test]
fn certificates_that_could_make_many_chains_take_no_time() {
    let files = Files::new(MUTUAL);
    sh(
        &files.folder,
        "set -e
        printf '[req]\ndistinguished_name=d\n[d]\n' >x.cnf
        signed() { openssl req -x509 -config x.cnf -newkey ed25519 -nodes -subj /CN=x -addext basicConstraints=CA:$1 -keyout $2; }
        signed FALSE many.key >many.crt
        for i in $(seq 40); do signed TRUE x.key >>many.crt; done",
    );
    let exporter = files.exporter();
    let client = Client::new(&files, Some("many"));
    let before = exporter.ticks();
    for _ in 0..10 {
        assert!(client.get(&exporter.address, "/-/healthy", None).is_err());
    }
    let used = exporter.ticks() - before;
    assert!(used < 100, "{used} ticks of 10 ms");
}

#[test]
fn hundreds_of_handshakes_that_stop_keep_nobody_out() {
    let files = Files::new(&format!("{TLS}{}", users()));
    let exporter = files.exporter();
    let client = Client::new(&files, None);
    let mut hello = Vec::new();
    client.session().write_tls(&mut hello).unwrap();
    let mut stopped: Vec<TcpStream> = Vec::new();
    for number in 0..600 {
        let mut stream = exporter.connect();
        let _ = stream.write_all(&hello[..number % hello.len()]);
        stopped.push(stream);
        if number % 20 == 0 {
            let login = Some(("prometheus", PASSWORD));
            assert_eq!(client.get(&exporter.address, "/metrics", login).unwrap().status, 200);
        }
    }
    // The last ones are closed when their time is over.
    let began = Instant::now();
    for mut stream in stopped {
        let _ = stream.read(&mut [0; 100]);
    }
    assert!(began.elapsed() < promised(Duration::from_secs(15)), "{:?}", began.elapsed());
}

/// One that only ends its sending may still wait.
#[test]
fn a_client_that_resets_its_connection_while_w_runs_holds_no_place() {
    let files = Files::new(TLS);
    let fake = FakeW::new("echo begun >>$DIR/begun; sleep 1000");
    let arguments = ["--web.config.file", &files.web(), "--w.timeout=10m"];
    let exporter = Exporter::of(&fake.command(), &arguments);
    let sockets = || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", exporter.pid())).unwrap();
        let targets = open.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    };
    let before = sockets();
    let mut stream = Client::new(&files, None).connect(&exporter.address);
    stream.write_all(get("/metrics", None).as_bytes()).unwrap();
    until("w runs", || !fake.read("begun").is_empty());
    assert_eq!(sockets(), before + 1);
    set_socket_linger(&stream.sock, Some(Duration::ZERO)).unwrap();
    drop(stream);
    // Long before `w` is killed.
    until("its connection is closed", || sockets() == before);
}
