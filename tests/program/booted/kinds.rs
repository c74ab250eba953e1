//! Every kind of login, and what the exporter shows of it on three systems. These are the cells of
//! the table in `docs/sessions.md`.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    booted::logins::{self, TO_ALICE},
    booted::machine::{Machine, NAME},
    harness::{PATIENCE, samples, until},
};

/// The systems that are tested, in the order of the columns.
pub const SYSTEMS: [&str; 3] = ["Debian 11", "Debian 12", "Debian 13"];

/// What is seen, besides the session from which it was started: no, yes, without a terminal, or
/// with no host in FROM.
const NO: &str = "no";
const YES: &str = "yes";
const NO_TTY: &str = "no TTY";
const LOCAL: &str = "local";

pub struct Kind {
    /// The first column of the table in `docs/sessions.md`.
    pub name: &'static str,
    /// What root runs, as a unit of its own; `/tmp/in` says that somebody is in.
    script: &'static str,
    /// Whether it was started from a session over ssh that goes on, and is seen everywhere.
    within_ssh: bool,
    /// What is seen, in the order of `SYSTEMS`.
    pub seen: [&'static str; 3],
}

const fn kind(name: &'static str, script: &'static str, seen: [&'static str; 3]) -> Kind {
    Kind { name, script, within_ssh: false, seen }
}

const fn within_ssh(name: &'static str, script: &'static str, seen: [&'static str; 3]) -> Kind {
    Kind { name, script, within_ssh: true, seen }
}

pub const KINDS: [Kind; 19] = [
    kind(
        "`ssh host`, with a terminal",
        "ssh -tt $TO 'touch /tmp/in; exec sleep 1000'",
        [YES, YES, YES],
    ),
    kind("`ssh host command`", "ssh $TO 'touch /tmp/in; exec sleep 1000'", [NO, NO, NO_TTY]),
    kind("`sftp`", "(echo mkdir /tmp/in; sleep 1000) | sftp -b - $TO", [NO, NO, NO_TTY]),
    kind(
        "`scp`",
        "head -c 1M /dev/zero >/root/big; scp -l 8 ${TO% *} /root/big ${TO##* }:/tmp/in",
        [NO, NO, NO_TTY],
    ),
    kind(
        "`ssh -N`",
        "ssh -N -o PermitLocalCommand=yes -o LocalCommand='touch /tmp/in' $TO",
        [NO, NO, NO_TTY],
    ),
    // agetty and login on a pseudo terminal. Input before login reads it is lost.
    kind(
        "console",
        "(until test -e /tmp/in; do sleep 0.3; echo touch /tmp/in; done; sleep 1000) |
            script -qfc 'exec agetty --autologin alice --noclear - linux' /dev/null",
        [LOCAL, LOCAL, LOCAL],
    ),
    kind(
        "graphical session",
        "lightdm_with 'autologin-user=alice\\nuser-session=in'",
        [LOCAL, LOCAL, LOCAL],
    ),
    // It hangs up where the input ends.
    kind(
        "`ssh` to dropbear",
        "mkdir -p /etc/dropbear; dropbear -R -p 192.0.2.7:2222
         sleep 1000 | ssh -p 2222 -tt $TO 'touch /tmp/in; exec sleep 1000'",
        [YES, YES, NO],
    ),
    kind("a display manager's greeter", "lightdm_with greeter-session=in", [NO, NO, NO]),
    within_ssh(
        "`su`",
        "ssh -tt ${TO% *} root@192.0.2.7 'su - bob -c \"touch /tmp/in; sleep 1000\"'",
        [NO, NO, NO],
    ),
    // If sudoers has use_pty, sudo gives the command a new terminal and records it in utmp.
    within_ssh(
        "`sudo`",
        "ssh -tt $TO 'sudo -u bob sh -c \"touch /tmp/in; sleep 1000\"'",
        [NO, YES, NO],
    ),
    within_ssh(
        "`tmux`, attached",
        "ssh -tt $TO 'tmux new \"touch /tmp/in; sleep 1000\"'",
        [LOCAL, LOCAL, NO],
    ),
    kind(
        "`tmux`, detached",
        "ssh -tt $TO 'tmux new \"touch /tmp/begun; sleep 1000\"' & detach",
        [LOCAL, LOCAL, NO],
    ),
    within_ssh(
        "`screen`, attached",
        "ssh -tt $TO 'screen sh -c \"touch /tmp/in; sleep 1000\"'",
        [LOCAL, LOCAL, NO],
    ),
    kind(
        "`screen`, detached",
        "ssh -tt $TO 'screen sh -c \"touch /tmp/begun; sleep 1000\"' & detach",
        [NO, NO, NO],
    ),
    // As the script mosh does. Input before the connection is established is sent later.
    kind(
        "`mosh`",
        "set -- $(ssh -tt $TO 'mosh-server new -s -p 60001 -l LANG=C.UTF-8' | grep CONNECT | tr -d '\\r')
         export MOSH_KEY=$4
         (sleep 1; echo touch /tmp/in; sleep 1000) |
            script -qfc 'stty rows 24 cols 80; exec mosh-client 192.0.2.7 60001' /dev/null",
        [YES, YES, NO],
    ),
    kind(
        "cron",
        "echo '@reboot alice touch /tmp/in; sleep 1000' >/etc/cron.d/in; rm -f /run/crond.reboot; systemctl restart cron",
        [NO, NO, NO],
    ),
    kind(
        "a container's shell",
        "script -qfc 'unshare --pid --fork --mount-proc sh -c \"touch /tmp/in; sleep 1000\"' /dev/null",
        [NO, NO, NO],
    ),
    kind(
        "a user's services",
        "loginctl enable-linger alice; until systemctl is-active user@1000; do sleep 0.1; done; touch /tmp/in",
        [NO, NO, NO],
    ),
];

/// Ends the connection in which a terminal multiplexer runs, which then runs on.
const DETACH: &str = "detach() {
    until test -e /tmp/begun; do sleep 0.1; done
    sleep 0.5
    kill $!
    wait
    mv /tmp/begun /tmp/in
}";

/// A display manager with an X server that needs no screen. Its session and its greeter are the
/// same short script.
const LIGHTDM: &str = r#"lightdm_with() {
    printf '#!/bin/sh\nexec Xvfb "$1"\n' >/usr/local/bin/x
    printf '#!/bin/sh\ntouch /tmp/in; sleep 1000\n' >/usr/local/bin/in
    chmod 755 /usr/local/bin/x /usr/local/bin/in
    mkdir -p /usr/share/xsessions /usr/share/xgreeters
    printf '[Desktop Entry]\nName=in\nExec=/usr/local/bin/in\n' | tee /usr/share/xsessions/in.desktop >/usr/share/xgreeters/in.desktop
    printf "[LightDM]\nlogind-check-graphical=false\n[Seat:*]\nxserver-command=x\n$1\n" >/etc/lightdm/lightdm.conf
    # A container has no virtual terminals.
    echo 'XDG_VTNR DEFAULT=0 OVERRIDE=0' >/etc/security/pam_env.conf
    exec lightdm
}"#;

const KIND_LOG: &str = "journalctl --no-pager --output cat --unit kind | tail -n 20";

/// Logs in by each kind, and compares what is seen with the cell.
pub fn each_is_seen_as_it_should_be(machine: &Machine, system: &str) {
    let column = SYSTEMS.iter().position(|name| *name == system).unwrap();
    machine.says(&format!(
        "echo EXPORTER_CHECK_INTERVAL_MILLIS=0 >>/etc/default/{NAME} && systemctl restart {NAME}"
    ));
    // Otherwise logind keeps what it has of a user for ten seconds more.
    machine.write("/etc/systemd/logind.conf.d/at-once.conf", "[Login]\nUserStopDelaySec=0\n");
    machine.says("systemctl restart systemd-logind");
    logins::prepare(machine);
    let mut wrong = Vec::new();
    for kind in &KINDS {
        machine.write(
            "/root/kind",
            format!(
                "export TERM=xterm LANG=C.UTF-8 HOME=/root\nTO='{TO_ALICE}'\n{DETACH}\n{LIGHTDM}\n{}\n",
                kind.script
            ),
        );
        machine.says("systemd-run --quiet --unit kind --collect sh /root/kind");
        let began = Instant::now();
        while !machine.path("/tmp/in").exists() {
            if began.elapsed() > PATIENCE {
                panic!("{system}: nobody in by {}\n{}", kind.name, machine.says(KIND_LOG));
            }
            thread::sleep(Duration::from_millis(50));
        }
        // Some record their entry later, and ended sessions take a moment to disappear. So the
        // result must be right in the end, and stable for a while.
        let mut seen = String::new();
        let began = Instant::now();
        let mut since = began;
        while since.elapsed() < Duration::from_secs(1)
            || seen != kind.seen[column] && began.elapsed() < PATIENCE
        {
            let now = see(machine, kind);
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            thread::sleep(Duration::from_millis(50));
        }
        println!("{system}, {}: {seen}", kind.name);
        if seen != kind.seen[column] {
            wrong.push(format!(
                "{}: {seen:?} instead of {:?}\n{}",
                kind.name,
                kind.seen[column],
                machine.metrics()
            ));
        }
        everybody_leaves(machine);
    }
    assert!(wrong.is_empty(), "{system}: {}", wrong.join("\n"));
}

/// What the exporter shows beside the session that it was started from, in the words of the table.
fn see(machine: &Machine, kind: &Kind) -> String {
    let metrics = machine.metrics();
    let sessions = samples(&metrics, "each_session_currently_active");
    let count = |origin: &str| -> usize {
        let line =
            &samples(&metrics, &format!("sessions_currently_active{{origin=\"{origin}\"}}"))[0];
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let (local, remote) = (count("local"), count("remote"));
    let without_tty = sessions.iter().filter(|session| session.contains("tty=\"\"")).count();
    match (local, remote - usize::from(kind.within_ssh), without_tty) {
        (0, 0, 0) => NO.to_owned(),
        (0, 1, 0) => YES.to_owned(),
        (0, 1, 1) => NO_TTY.to_owned(),
        (1, 0, _) => LOCAL.to_owned(),
        _ => format!("{sessions:?}"),
    }
}

fn everybody_leaves(machine: &Machine) {
    machine.run("systemctl stop kind; loginctl disable-linger alice; rm -rf /etc/cron.d/in; pkill -KILL -u alice; pkill -KILL -u bob");
    machine.run("loginctl terminate-user alice");
    until("everybody to leave", || {
        machine.says("pgrep -c -u alice,bob || true") == "0"
            // logind still ends them: a login that comes meanwhile gets no session of its own.
            && machine.says("ls /run/systemd/users").is_empty()
            && samples(&machine.metrics(), "each_session_currently_active").is_empty()
    });
    // So many logins in a row are otherwise refused a session.
    machine.says("systemctl reset-failed && rm -rf /tmp/in /tmp/begun");
}
