//! The built-in `w` beside the machine's own, with real logins.

use std::collections::BTreeMap;

use super::{
    install,
    kinds::each_is_seen_as_it_should_be,
    logins::{self, TO_ALICE},
    machine::{Machine, NAME},
    unseen,
};
use crate::{
    harness::{copy_program, samples, until},
    static_binaries::of_this_processor,
};

/// The same as Debian 13's own `w`, which reads logind too.
const AS_DEBIAN_13: &str = "Debian 13";

#[test]
#[ignore = "boots a container"]
fn the_built_in_w_sees_each_kind_of_login_on_debian_11() {
    each_kind_is_seen("bullseye");
}

#[test]
#[ignore = "boots a container"]
fn the_built_in_w_sees_each_kind_of_login_on_debian_12() {
    each_kind_is_seen("bookworm");
}

#[test]
#[ignore = "boots a container"]
fn the_built_in_w_sees_each_kind_of_login_on_debian_13() {
    each_kind_is_seen("trixie");
}

#[test]
#[ignore = "boots a container"]
fn the_built_in_w_sees_each_kind_of_login_on_debian_forky() {
    each_kind_is_seen("forky");
}

fn each_kind_is_seen(suite: &str) {
    let machine = Machine::boot(suite);
    install(&machine);
    machine.says(&format!("echo EXPORTER_W_COMMAND=builtin >>/etc/default/{NAME}"));
    each_is_seen_as_it_should_be(&machine, AS_DEBIAN_13);
}

/// The value of each sample of a family, by its labels.
fn values(metrics: &str, family: &str) -> BTreeMap<String, f64> {
    let samples = samples(metrics, family).into_iter().map(|sample| {
        let (labels, value) = sample.rsplit_once(' ').unwrap();
        (labels.to_owned(), value.parse().unwrap())
    });
    samples.collect()
}

/// Fails if two answers differ in more than what a second changes. The built-in `w` is exact where
/// LOGIN@ tells the minute.
fn assert_same(builtin: &str, installed: &str) {
    for (family, within) in [
        ("user_sessions_currently_active", 0.0),
        ("each_session_currently_active", 0.0),
        ("each_session_login_timestamp_seconds", 60.0),
        ("each_session_idle_seconds", 3.0),
        ("each_session_cpu_seconds", 0.05),
        ("sessions_currently_active", 0.0),
        ("users_currently_active", 0.0),
    ] {
        let (ours, theirs) = (values(builtin, family), values(installed, family));
        let labels = |values: &BTreeMap<String, f64>| values.keys().cloned().collect::<Vec<_>>();
        assert_eq!(labels(&ours), labels(&theirs), "{builtin}\n{installed}");
        for (labels, value) in ours {
            assert!((value - theirs[&labels]).abs() <= within, "{labels} {value} {theirs:?}");
        }
    }
}

/// Logs in over ssh with and without a terminal and over sftp, as root too, and leaves a process
/// behind.
fn log_in(machine: &Machine) {
    logins::prepare(machine);
    let to_root = TO_ALICE.replace("alice@", "root@");
    let busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
    for (number, command) in [
        format!("ssh -tt {TO_ALICE} '{busy}; touch /tmp/in1; exec sleep 1000'"),
        format!("ssh {TO_ALICE} 'touch /tmp/in2; exec sleep 1000'"),
        format!("(echo mkdir /tmp/in3; sleep 1000) | sftp -b - {TO_ALICE}"),
        format!("ssh -tt {to_root} 'touch /tmp/in4; exec sleep 1000'"),
        format!("ssh -tt {TO_ALICE} 'setsid sleep 1000 & touch /tmp/in5; sleep 0.3'"),
    ]
    .iter()
    .enumerate()
    {
        machine.write(&format!("/root/login{number}"), command);
        machine.says(&format!("systemd-run --quiet --unit login{number} sh /root/login{number}"));
        let path = format!("/tmp/in{}", number + 1);
        until(&path, || machine.path(&path).exists());
    }
    until("the last to log out", || !machine.run("systemctl is-active login4").status.success());
}

#[test]
#[ignore = "boots a container"]
fn the_built_in_w_tells_the_same_as_debian_13s_from_a_chroot_and_from_the_unit() {
    let machine = Machine::boot("trixie");
    install(&machine);
    log_in(&machine);
    let installed = machine.says(&format!("/usr/local/bin/{NAME} --once"));
    assert_eq!(values(&installed, "each_session_currently_active").len(), 3, "{installed}");
    assert_eq!(values(&installed, "each_session_idle_seconds").len(), 2, "{installed}");

    // procps without Debian's patch does not find the terminals.
    machine.write("/root/bin/w", "#!/bin/sh\n/usr/bin/w -i | sed 's#pts/[0-9]#     #'\n");
    machine.says("chmod 755 /root/bin/w");
    let hinted = |w: &str| {
        let run = machine.run(&format!("/usr/local/bin/{NAME} --once --w.command '{w}'"));
        assert!(run.status.success(), "{run:?}");
        String::from_utf8(run.stderr).unwrap().matches("--w.command builtin shows them").count()
    };
    assert_eq!([hinted("/root/bin/w"), hinted("w -i"), hinted("builtin")], [1, 0, 0]);

    // Nothing but the static binary and what it reads, as nobody.
    std::fs::create_dir(machine.path("/root/jail")).unwrap();
    copy_program(of_this_processor(), machine.path("/root/jail/w"));
    machine.says(
        "cd /root/jail && mkdir -p proc run/systemd/sessions dev/pts
         for path in proc run/systemd/sessions dev/pts; do mount --bind /$path $path; done",
    );
    let jail = "chroot --userspec=65534:65534 /root/jail /w";
    let jailed = machine.says(&format!("{jail} --once"));
    assert_same(&jailed, &installed);
    assert_eq!(values(&jailed, "each_session_info").len(), 3, "{jailed}");

    // Under all restrictions of the unit.
    machine.says(&format!(
        "echo EXPORTER_W_COMMAND=builtin >>/etc/default/{NAME} && systemctl restart {NAME}"
    ));
    let in_unit = machine.metrics();
    assert_same(&in_unit, &machine.says(&format!("/usr/local/bin/{NAME} --once")));
    assert_eq!(unseen(&in_unit), [""; 0]);

    let without_processes = |metrics: &str| {
        // Nothing tells the sessions of alice apart then.
        let users = values(metrics, "user_sessions_currently_active");
        let expected = values(&in_unit, "user_sessions_currently_active");
        assert_eq!(users, expected, "{metrics}");
        assert!(values(metrics, "each_session_idle_seconds").is_empty(), "{metrics}");
        assert!(values(metrics, "each_session_cpu_seconds").is_empty(), "{metrics}");
        assert_eq!(unseen(metrics), [""; 0]);
    };
    let builtin = format!("/usr/local/bin/{NAME} --once --w.command builtin");
    without_processes(&machine.says(&format!("unshare --pid --fork --mount-proc {builtin}")));
    without_processes(&machine.says(&format!(
        "unshare --mount sh -c 'mount -t proc -o hidepid=2 proc /proc && \
         exec setpriv --reuid 65534 --regid 65534 --clear-groups {builtin}'"
    )));

    // A container counts its terminals from 0 as well.
    machine.write(
        "/root/container",
        "mount -t devpts -o newinstance,ptmxmode=666 devpts /dev/pts
         mount --bind /dev/pts/ptmx /dev/ptmx
         exec script -qfc 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; touch /tmp/burnt; sleep 1000' /dev/null",
    );
    machine.says("systemd-run --quiet --unit container unshare --mount sh /root/container");
    until("the container to have used time", || machine.path("/tmp/burnt").exists());
    let sum = |metrics: &str| values(metrics, "each_session_cpu_seconds").values().sum::<f64>();
    let (ours, theirs) =
        (machine.says(&builtin), machine.says(&format!("/usr/local/bin/{NAME} --once")));
    println!("{} beside {}, {} before", sum(&ours), sum(&theirs), sum(&in_unit));
    assert!((sum(&ours) - sum(&in_unit)).abs() < 0.05 && sum(&theirs) > sum(&ours) + 0.05);
}

#[test]
#[ignore = "boots a container"]
fn a_login_that_only_utmp_has_is_noticed_on_debian_12() {
    let machine = Machine::boot("bookworm");
    install(&machine);
    logins::prepare(&machine);
    machine.says("sed -i /pam_systemd/d /etc/pam.d/common-session");
    logins::log_in(&machine);
    let builtin = format!("/usr/local/bin/{NAME} --once --w.command builtin");
    let metrics = machine.says(&builtin);
    assert_eq!(samples(&metrics, "each_session_currently_active"), [""; 0]);
    assert_eq!(unseen(&metrics), ["session_source_visible{source=\"login_records\"} 0"]);
    // The installed one reads utmp.
    let metrics = machine.says(&format!("/usr/local/bin/{NAME} --once"));
    assert_eq!(samples(&metrics, "each_session_currently_active").len(), 1);
    assert_eq!(unseen(&metrics), [""; 0]);
}
