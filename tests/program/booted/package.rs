//! The release's `.deb` on booted machines, from its installation to its purge. Needs
//! `EXPORTER_RELEASE`, see `release`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    logins,
    machine::{Machine, NAME},
};
use crate::{
    harness::{folder, samples, until},
    release,
};

pub const SETTINGS: &str = "/etc/default/prometheus-what-active-users-exporter";

#[test]
#[ignore = "boots a container, needs EXPORTER_RELEASE"]
fn the_deb_is_installed_upgraded_removed_and_purged_on_debian_12() {
    the_deb_is_installed_upgraded_removed_and_purged("bookworm");
}

#[test]
#[ignore = "boots a container, needs EXPORTER_RELEASE"]
fn the_deb_is_installed_upgraded_removed_and_purged_on_debian_13() {
    the_deb_is_installed_upgraded_removed_and_purged("trixie");
}

/// Puts the release's package and one of a newer revision into a machine.
fn put_packages(machine: &Machine) {
    fs::copy(release::file("_", "-1_amd64.deb"), machine.path("/root/first.deb")).unwrap();
    fs::copy(newer_package(|_| {}), machine.path("/root/newer.deb")).unwrap();
}

/// The release's package as a newer revision, with a change in the folder of its files.
pub fn newer_package(change: impl FnOnce(&Path)) -> PathBuf {
    let package = release::file("_", "-1_amd64.deb");
    let root = folder();
    let dpkg = |arguments: &[&str]| {
        let output = Command::new("dpkg-deb").args(arguments).current_dir(&root).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    dpkg(&["--raw-extract", package.to_str().unwrap(), "package"]);
    let control = root.join("package/DEBIAN/control");
    let text = fs::read_to_string(&control).unwrap();
    fs::write(&control, text.replace("-1\n", "-2\n")).unwrap();
    change(&root.join("package"));
    dpkg(&["--root-owner-group", "--build", "package", "newer.deb"]);
    root.join("newer.deb")
}

/// Runs a command and prints it with its output, as on a terminal.
pub fn transcribe(machine: &Machine, command: &str) -> String {
    let said = machine.says(&format!("export DEBIAN_FRONTEND=noninteractive; {command} 2>&1"));
    println!("# {command}\n{said}");
    said
}

fn state(machine: &Machine) -> String {
    machine.says(&format!(
        "echo $(systemctl is-enabled {NAME} 2>&1) $(systemctl is-active {NAME} 2>&1)"
    ))
}

fn the_deb_is_installed_upgraded_removed_and_purged(suite: &str) {
    let machine = Machine::boot(suite);
    logins::prepare(&machine);
    put_packages(&machine);

    transcribe(&machine, "apt-get install -y -q /root/first.deb");
    assert_eq!(state(&machine), "enabled active");
    let sessions = || samples(&machine.metrics(), "each_session_currently_active");
    assert_eq!(sessions(), [""; 0]);
    logins::log_in(&machine);
    println!("(alice logs in over ssh from {})", logins::FROM);
    let mut seen = Vec::new();
    until("alice", || {
        seen = sessions();
        !seen.is_empty()
    });
    println!("(a scrape) {seen:?}");
    assert!(seen[0].contains("user=\"alice\"") && seen[0].contains(logins::FROM), "{seen:?}");
    assert_eq!(seen.len(), 1, "{seen:?}");

    // An edited setting moves the metrics.
    transcribe(&machine, &format!("echo EXPORTER_METRICS_ENDPOINT=/edited >>{SETTINGS}"));
    transcribe(&machine, &format!("systemctl restart {NAME}"));
    assert_eq!(machine.get("/edited").status, 200);
    let edited = machine.says(&format!("cat {SETTINGS}"));
    let main_pid = || machine.says(&format!("systemctl show --value --property MainPID {NAME}"));
    let process = main_pid();

    transcribe(&machine, "apt-get install -y -q /root/newer.deb");
    assert_eq!(state(&machine), "enabled active");
    assert_ne!(main_pid(), process, "it was not restarted");
    assert_eq!(machine.get("/edited").status, 200);
    assert_eq!(machine.says(&format!("cat {SETTINGS}")), edited);
    assert!(machine.says(&format!("dpkg-query --show {NAME}")).ends_with("-2"));

    transcribe(&machine, &format!("apt-get remove -y -q {NAME}"));
    assert!(machine.try_get("/edited").is_none(), "it still serves");
    assert!(!machine.path(&format!("/usr/bin/{NAME}")).exists());
    assert_eq!(machine.says(&format!("cat {SETTINGS}")), edited);

    transcribe(&machine, "apt-get install -y -q /root/newer.deb");
    assert_eq!(state(&machine), "enabled active");
    assert_eq!(machine.get("/edited").status, 200);

    transcribe(&machine, &format!("apt-get purge -y -q {NAME}"));
    assert!(machine.try_get("/edited").is_none(), "it still serves");
    assert_eq!(machine.says(&format!("find / -xdev -name '*{NAME}*'")), "");
    assert_eq!(machine.says("systemctl list-units --failed --no-legend"), "");
    assert_eq!(state(&machine).split(' ').next_back(), Some("inactive"));
}
