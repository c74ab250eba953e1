//! Boots Debian in containers, installs the exporter as `docs/install.md` says, and logs in in every
//! way. Needs root, Debian's mmdebstrap and systemd-container, and a static binary. `.ci/run`
//! provides them.
//!
//! A new kind of login is a row in `kinds`. A test of the package goes into `package`, others go
//! here. `machine` boots, and `logins` logs in.

mod containers;
mod fleet;
pub mod kinds;
pub mod logins;
pub mod machine;
mod own_w;
mod package;

use std::{fs, thread, time::Duration};

use crate::harness::{contrib, samples, until};
use machine::{Machine, NAME};

/// Installs the binary, the unit and the sample settings, enables it and starts it.
fn install(machine: &Machine) {
    machine.install_binary();
    machine.write(
        &format!("/etc/systemd/system/{NAME}.service"),
        contrib(&format!("systemd/{NAME}.service")),
    );
    machine.write(&format!("/etc/default/{NAME}"), contrib(&format!("systemd/{NAME}.default")));
    machine.says(&format!("systemctl daemon-reload && systemctl enable --now {NAME}"));
}

/// A property of the unit.
fn unit(machine: &Machine, property: &str) -> String {
    machine.says(&format!("systemctl show --value --property {property} {NAME}"))
}

#[test]
#[ignore = "boots a container"]
fn the_unit_serves_restarts_and_stops_on_debian_11() {
    the_unit_serves_restarts_and_stops("bullseye");
}

#[test]
#[ignore = "boots a container"]
fn the_unit_serves_restarts_and_stops_on_debian_12() {
    the_unit_serves_restarts_and_stops("bookworm");
}

#[test]
#[ignore = "boots a container"]
fn the_unit_serves_restarts_and_stops_on_debian_13() {
    the_unit_serves_restarts_and_stops("trixie");
}

fn the_unit_serves_restarts_and_stops(suite: &str) {
    let machine = Machine::boot(suite);
    install(&machine);
    let metrics = machine.metrics();
    assert!(samples(&metrics, "up")[0].ends_with(" 1"), "{metrics}");
    let sources = samples(&metrics, "session_source_visible");
    assert_eq!(sources.len(), 4, "{metrics}");
    assert!(sources.iter().all(|source| source.ends_with(" 1")), "{sources:?}");
    assert_eq!(machine.says(&format!("systemctl is-enabled {NAME}")), "enabled");
    let security = machine.says(&format!("systemd-analyze --no-pager security {NAME}"));
    let score = security.lines().last().unwrap();
    println!("{suite}: {score}");
    let figure: f64 = score.split(": ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let documented =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/limits-and-security.md"))
            .unwrap();
    assert!(documented.contains(&format!("rates its unit {figure} ")), "{score}");

    machine.says(&format!("echo ARGS='--metrics.endpoint=/in-args' >>/etc/default/{NAME}"));
    machine.says(&format!("systemctl restart {NAME}"));
    assert_eq!(machine.get("/in-args").status, 200);

    let killed = unit(&machine, "MainPID");
    machine.says(&format!("kill -9 {killed}"));
    until("the restart", || {
        unit(&machine, "NRestarts") == "1" && unit(&machine, "SubState") == "running"
    });
    assert_ne!(unit(&machine, "MainPID"), killed);
    until("an answer", || machine.try_get("/-/healthy").is_some_and(|answer| answer.status == 200));

    machine.says(&format!("systemctl stop {NAME}"));
    assert_eq!([unit(&machine, "ActiveState"), unit(&machine, "Result")], ["inactive", "success"]);
    assert!(machine.try_get("/metrics").is_none());

    machine.says(&format!("echo EXPORTER_LISTEN_PORT=http >>/etc/default/{NAME}"));
    assert!(!machine.run(&format!("systemctl start {NAME}")).status.success(), "it started");
    // Longer than RestartSec.
    thread::sleep(Duration::from_secs(6));
    assert_eq!(
        [
            unit(&machine, "ActiveState"),
            unit(&machine, "ExecMainStatus"),
            unit(&machine, "NRestarts")
        ],
        ["failed", "2", "0"]
    );
    let log = machine.says(&format!("journalctl --quiet --no-pager --output cat --unit {NAME}"));
    println!("{log}");
    let complaint = "EXPORTER_LISTEN_PORT \"http\": expected a TCP port";
    assert_eq!(log.matches(complaint).count(), 1, "{log}");
}

/// The sources that `session_source_visible` reports as not visible.
fn unseen(metrics: &str) -> Vec<String> {
    let sources = samples(metrics, "session_source_visible").into_iter();
    sources.filter(|source| source.ends_with(" 0")).collect()
}

fn sessions(metrics: &str) -> Vec<String> {
    samples(metrics, "each_session_currently_active")
}

#[test]
#[ignore = "boots a container"]
fn what_the_unit_sees_with_hidden_processes_is_as_documented_on_debian_12() {
    what_the_unit_sees_through("bookworm");
}

#[test]
#[ignore = "boots a container"]
fn what_the_unit_sees_with_hidden_processes_is_as_documented_on_debian_13() {
    what_the_unit_sees_through("trixie");
}

/// Checks what the unit's comments and `docs/sessions.md` say about hidepid.
fn what_the_unit_sees_through(suite: &str) {
    let machine = Machine::boot(suite);
    install(&machine);
    logins::prepare(&machine);
    logins::log_in(&machine);
    machine.says("groupadd --gid 4242 proc");
    let own_proc = "ProtectKernelTunables=no\nProtectControlGroups=no";
    for (proc, settings, seen) in [
        ("hidepid=0", "", true),
        ("hidepid=0", "ProtectProc=invisible", false),
        ("hidepid=2", "", true),
        ("hidepid=2", own_proc, false),
        ("hidepid=2,gid=4242", &format!("{own_proc}\nSupplementaryGroups=proc"), true),
        ("hidepid=0", own_proc, true),
    ] {
        machine.says(&format!("mount -o remount,{proc} /proc"));
        let override_file = format!("/etc/systemd/system/{NAME}.service.d/override.conf");
        machine.write(&override_file, format!("[Service]\n{settings}\n"));
        // Otherwise systemd refuses this many starts.
        machine.says(&format!("systemctl daemon-reload && systemctl reset-failed {NAME}"));
        machine.says(&format!("systemctl restart {NAME}"));
        let metrics = machine.metrics();
        let (sessions, unseen) = (sessions(&metrics), unseen(&metrics));
        println!("{suite}, {proc}, {settings:?}: {sessions:?}, {unseen:?}");
        if seen {
            assert_eq!(sessions.len(), 1, "{metrics}");
            assert!(sessions[0].contains("user=\"alice\""), "{sessions:?}");
            assert_eq!(unseen, [""; 0]);
        } else {
            assert_eq!(sessions, [""; 0]);
            // In a container, host_processes is 0 too: more users are counted than listed.
            let hidden = "session_source_visible{source=\"other_users_processes\"} 0";
            assert!(unseen.iter().any(|source| source == hidden), "{unseen:?}");
        }
    }
}

/// As on DietPi, and with the packages of a minimal installation: Debian 13 has no utmp.
#[test]
#[ignore = "boots a container"]
fn logins_over_ssh_that_nothing_records_are_told_on_debian_13() {
    let machine = Machine::boot("trixie");
    install(&machine);
    logins::prepare(&machine);
    machine.says("mkdir /root/pam && mv /usr/lib/*/security/pam_systemd.so /root/pam");
    logins::log_in(&machine);
    let metrics = machine.metrics();
    assert_eq!(sessions(&metrics), [""; 0]);
    assert_eq!(unseen(&metrics), ["session_source_visible{source=\"login_records\"} 0"]);
    let page = machine.get("/").body;
    assert!(page.contains("libpam-systemd") && page.contains("No sessions are visible."), "{page}");
    let log = machine.says(&format!("journalctl --quiet --no-pager --output cat --unit {NAME}"));
    assert!(log.contains("libpam-systemd"), "{log}");

    machine.says("mv /root/pam/* /usr/lib/*/security/");
    logins::log_in(&machine);
    until("the new login is listed", || sessions(&machine.metrics()).len() == 1);
    assert_eq!(unseen(&machine.metrics()), [""; 0]);
}

#[test]
#[ignore = "boots a container"]
fn the_init_script_starts_restarts_and_stops_it_under_openrc() {
    let machine = Machine::boot_openrc();
    machine.install_binary();
    let script = format!("/etc/init.d/{NAME}");
    machine.write(&script, contrib(&format!("openrc/{NAME}")));
    machine.write(&format!("/etc/conf.d/{NAME}"), contrib(&format!("openrc/{NAME}.confd")));
    machine.says(&format!("chmod 755 {script} && rc-update add {NAME} default"));
    machine.says(&format!("rc-service {NAME} start"));
    until("an answer", || machine.try_get("/-/healthy").is_some());
    let user = machine.says(&format!("ps -o user:20=,group:20= -p $(pidof {NAME})"));
    assert_eq!(user.split_whitespace().collect::<Vec<_>>(), ["nobody", "nogroup"]);

    logins::prepare(&machine);
    logins::log_in(&machine);
    let mut seen = Vec::new();
    until("alice", || {
        seen = sessions(&machine.metrics());
        !seen.is_empty()
    });
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0].contains(logins::FROM) && seen[0].contains("alice"), "{seen:?}");

    let killed = machine.says(&format!("pidof {NAME}"));
    machine.says(&format!("kill -9 {killed}"));
    until("the restart", || machine.try_get("/-/healthy").is_some());
    assert_ne!(machine.says(&format!("pidof {NAME}")), killed);
    machine.says(&format!("rc-service {NAME} status && rc-service {NAME} stop"));
    assert!(machine.try_get("/metrics").is_none());
    assert!(!machine.run(&format!("pidof {NAME}")).status.success());

    // The sample's line for a variable of the exporter. Without `export` it is the script's alone.
    let variable = "EXPORTER_CHECK_INTERVAL_MILLIS";
    machine.says(&format!("sed -i 's/^#\\(export {variable}\\)/\\1/' /etc/conf.d/{NAME}"));
    for (exported, change) in [(true, "s/^export EXPORTER_/EXPORTER_/"), (false, "/^EXPORTER_/d")] {
        machine.says(&format!("grep -q {variable} /etc/conf.d/{NAME} && rc-service {NAME} start"));
        until("an answer", || machine.try_get("/-/healthy").is_some());
        machine.says(&format!("rc-service {NAME} stop && sed -i '{change}' /etc/conf.d/{NAME}"));
        let log = machine.says(&format!("cat /var/log/{NAME}.log"));
        let started = log.lines().rfind(|line| line.contains(" listens on ")).unwrap();
        assert_eq!(started.contains(&format!("({variable})")), exported, "{log}");
    }

    // Writes down who runs it, which root could too.
    machine.write("/usr/local/bin/noting", "#!/bin/sh\nid -un >>/tmp/ran\nexec w -i\n");
    machine.says("chmod 755 /usr/local/bin/noting && touch /tmp/ran && chmod 666 /tmp/ran");
    machine.says(&format!("echo 'WHAT_ARGS=--w.command=noting' >>/etc/conf.d/{NAME}"));
    machine.says(&format!("rc-service {NAME} start"));
    until("an answer", || machine.try_get("/metrics").is_some());
    machine.says(&format!("rc-service {NAME} stop"));
    let ran = machine.says("cat /tmp/ran");
    assert!(!ran.is_empty() && ran.lines().all(|user| user == "nobody"), "{ran}");

    machine.says(&format!("echo 'WHAT_ARGS=--listen.port=http' >>/etc/conf.d/{NAME}"));
    let refused = machine.run(&format!("rc-service {NAME} start"));
    println!("{}", String::from_utf8_lossy(&refused.stderr));
    assert!(!refused.status.success(), "{refused:?}");
    assert!(machine.try_get("/metrics").is_none());
    println!("{}", machine.says(&format!("cat /var/log/{NAME}.log")));
}

#[test]
#[ignore = "boots a container"]
fn each_kind_of_login_is_seen_as_documented_on_debian_11() {
    who_is_seen("bullseye", "Debian 11");
}

#[test]
#[ignore = "boots a container"]
fn each_kind_of_login_is_seen_as_documented_on_debian_12() {
    who_is_seen("bookworm", "Debian 12");
}

#[test]
#[ignore = "boots a container"]
fn each_kind_of_login_is_seen_as_documented_on_debian_13() {
    who_is_seen("trixie", "Debian 13");
}

fn who_is_seen(suite: &str, system: &str) {
    let machine = Machine::boot(suite);
    install(&machine);
    kinds::each_is_seen_as_it_should_be(&machine, system);
}

/// As `docs/install.md` says of a new Debian 13. It has no network, but the crates that this machine has.
#[test]
#[ignore = "boots a container"]
fn debian_13s_own_rust_builds_it_and_it_passes_its_tests() {
    let source = env!("CARGO_MANIFEST_DIR");
    let cargo_home = std::env::var("CARGO_HOME")
        .unwrap_or_else(|_| format!("{}/.cargo", std::env::var("HOME").unwrap()));
    let folders =
        [format!("{source}:/source"), format!("{cargo_home}/registry:/root/.cargo/registry")];
    let machine = Machine::boot_with("trixie", &["cargo"], &folders);
    // As Debian's installer writes it.
    machine.write("/etc/hosts", "127.0.0.1 localhost\n");
    let version = machine.says("rustc --version");
    let required = concat!("rustc ", env!("CARGO_PKG_RUST_VERSION"), ".");
    assert!(version.starts_with(required), "{version} instead of {required}");
    let test =
        "cd /source && HOME=/root CARGO_TARGET_DIR=/root/target cargo test --offline --locked 2>&1";
    let output = machine.run_for(1800, test);
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{version}\n{said}");
    assert!(output.status.success(), "{}", output.status);
}
