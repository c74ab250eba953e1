//! The systemd unit with `tls.conf`, on booted machines.

use std::{fs, io::Write};

use super::{
    client::{Client, get},
    files::{Files, PASSWORD, hash},
};
use crate::{
    booted::machine::{Machine, NAME},
    harness::{Answer, PROGRAM, contrib, copy_program},
};

#[test]
#[ignore = "boots a container"]
fn the_unit_reads_its_key_as_a_credential_on_debian_12() {
    the_unit_reads_its_key_as_a_credential("bookworm");
}

#[test]
#[ignore = "boots a container"]
fn the_unit_reads_its_key_as_a_credential_on_debian_13() {
    the_unit_reads_its_key_as_a_credential("trixie");
}

/// Where the operator puts the files.
fn place(machine: &Machine, file: &str, text: &str) {
    let path = format!("/etc/{NAME}/{file}");
    machine.write(&path, text);
    machine.says(&format!("chmod 600 {path}"));
}

fn the_unit_reads_its_key_as_a_credential(suite: &str) {
    let files = Files::new("");
    let read = |file: &str| fs::read_to_string(files.path(file)).unwrap();
    let machine = Machine::boot(suite);
    copy_program(PROGRAM, machine.path(&format!("/usr/local/bin/{NAME}")));
    for (from, to) in [
        (format!("{NAME}.service"), format!("/etc/systemd/system/{NAME}.service")),
        (format!("{NAME}.default"), format!("/etc/default/{NAME}")),
    ] {
        machine.write(&to, contrib(&format!("systemd/{from}")));
    }
    // Everything that the files offer is in use.
    let uncommented =
        |text: String| text.replace("\n#Load", "\nLoad").replace("  #client", "  client");
    let drop_in = format!("/etc/systemd/system/{NAME}.service.d/tls.conf");
    machine.write(&drop_in, uncommented(contrib("systemd/tls.conf")));
    place(&machine, "server.crt", &read("server.crt"));
    place(&machine, "server.key", &read("server.key"));
    place(&machine, "clients.crt", &read("ca.crt"));
    let web = uncommented(contrib("systemd/web.yml"));

    place(&machine, "web.yml", &web);
    machine.says("systemctl daemon-reload");
    assert!(!machine.run(&format!("systemctl start {NAME}")).status.success(), "it started");
    let log = machine.says(&format!("journalctl --quiet --no-pager --output cat --unit {NAME}"));
    assert!(log.contains("basic_auth_users.prometheus: expected a bcrypt hash"), "{log}");

    place(&machine, "web.yml", &web.replace("HASH", &hash()));
    machine.says(&format!("systemctl start {NAME}"));
    let certificate = || {
        let client = Client::new(&files, Some("client"));
        let mut stream = client.over(machine.connect().expect("it listens"));
        let request = get("/metrics", Some(("prometheus", PASSWORD)));
        stream.write_all(request.as_bytes()).unwrap();
        let answer = Answer::read_to_end(&mut stream);
        assert!(answer.status == 200 && answer.body.contains("\nwhat_up{"), "{answer:?}");
        stream.conn.peer_certificates().unwrap()[0].to_vec()
    };
    let before = certificate();
    let refused = |name: Option<&str>, login| {
        let mut stream = Client::new(&files, name).over(machine.connect().unwrap());
        let _ = stream.write_all(get("/metrics", login).as_bytes());
        let mut answer = String::new();
        let _ = std::io::Read::read_to_string(&mut stream, &mut answer);
        assert!(!answer.contains(" 200 OK"), "{answer}");
    };
    refused(None, Some(("prometheus", PASSWORD)));
    refused(Some("client"), None);
    // Nobody else can read the key.
    let own = format!("/run/credentials/{NAME}.service/server.key");
    for path in [own, format!("/etc/{NAME}/server.key")] {
        assert!(!machine.run(&format!("setpriv --reuid nobody cat {path}")).status.success());
    }
    let security = machine.says(&format!("systemd-analyze --no-pager security {NAME}"));
    println!("{suite}: {}", security.lines().last().unwrap());

    place(&machine, "server.crt", &read("renewed.crt"));
    place(&machine, "server.key", &read("renewed.key"));
    // systemd's copies are those of the start.
    assert_eq!(certificate(), before);
    machine.says(&format!("systemctl restart {NAME}"));
    assert_ne!(certificate(), before);
    assert!(machine.run(&format!("systemctl stop {NAME}")).status.success());
}
