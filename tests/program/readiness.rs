//! The service manager that started the exporter learns when it is ready.

use std::{
    net::TcpStream,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    process::Stdio,
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Exporter, PATIENCE, folder, free_address, program, short_lived_program};

/// Starts the exporter with the name of this socket, and returns what it has sent there when it is
/// ready.
fn notified(socket: &UnixDatagram, name: &str) -> String {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let exporter = Exporter::start(program().env("NOTIFY_SOCKET", name));
    let mut message = [0; 64];
    let length = socket.recv(&mut message).unwrap();
    // From now on it answers, and a signal ends it in order.
    assert_eq!(exporter.get("/-/healthy").status, 200);
    String::from_utf8(message[..length].to_vec()).unwrap()
}

#[test]
fn a_service_manager_is_notified_when_the_exporter_listens() {
    let path = folder().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    assert_eq!(notified(&socket, path.to_str().unwrap()), "READY=1");
}

#[test]
fn the_socket_of_the_service_manager_can_be_abstract() {
    let name = format!("notify-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    assert_eq!(notified(&socket, &format!("@{name}")), "READY=1");
}

#[test]
fn a_service_manager_that_is_gone_does_not_stop_it_and_is_logged() {
    let path = folder().join("notify");
    let exporter = Exporter::start(program().env("NOTIFY_SOCKET", &path));
    assert_eq!(exporter.get("/-/healthy").status, 200);
    let log = exporter.log();
    let warning = format!("the service manager was not notified over {}: No such", path.display());
    assert_eq!(log.iter().filter(|line| line.contains(&warning)).count(), 1, "{log:?}");
}

#[test]
fn a_run_that_only_prints_notifies_nobody() {
    let path = folder().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let output =
        program().args(["--once", "--w.command", "true"]).env("NOTIFY_SOCKET", &path).output();
    assert!(!output.unwrap().stdout.is_empty());
    assert!(socket.recv(&mut [0; 64]).is_err());
}

/// Somebody may run the tests in a service, whose manager must not be notified by them.
#[test]
fn tests_do_not_pass_on_the_socket_of_the_service_manager_that_runs_them() {
    for command in [program(), short_lived_program()] {
        let removed =
            command.get_envs().any(|variable| variable == ("NOTIFY_SOCKET".as_ref(), None));
        assert!(removed, "{command:?}");
    }
}

#[test]
fn a_full_queue_of_the_service_manager_is_logged_and_it_serves() {
    let path = folder().join("notify");
    let _manager = UnixDatagram::bind(&path).unwrap();
    // Each sender can fill a part of it only.
    let fills_some = || {
        let other = UnixDatagram::unbound().unwrap();
        other.set_nonblocking(true).unwrap();
        (0..).take_while(|_| other.send_to(b"READY=1", &path).is_ok()).count() > 0
    };
    while fills_some() {}
    let exporter = Exporter::start(program().env("NOTIFY_SOCKET", &path));
    assert_eq!(exporter.get("/nothing").status, 404);
    let log = exporter.log();
    let warning = format!("the service manager was not notified over {}: ", path.display());
    assert_eq!(log.iter().filter(|line| line.contains(&warning)).count(), 1, "{log:?}");
}

/// From the moment the port opens.
#[test]
fn a_signal_stops_it_as_soon_as_a_client_can_connect() {
    for _ in 0..30 {
        let address = free_address();
        let (_, port) = address.rsplit_once(':').unwrap();
        let mut child = program()
            .args(["--listen.port", port, "--w.command=true"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while TcpStream::connect(&address).is_err() {
            assert!(began.elapsed() < PATIENCE, "it does not listen");
        }
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}
