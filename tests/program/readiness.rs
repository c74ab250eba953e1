//! The service manager that started the exporter learns when it is ready.

use std::os::{
    linux::net::SocketAddrExt,
    unix::net::{SocketAddr, UnixDatagram},
};

use crate::harness::{Exporter, PATIENCE, folder, program, short_lived_program};

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
