//! Users of a machine, and their logins.

use crate::{booted::machine::Machine, harness::until};

/// Where they come from, over ssh.
pub const FROM: &str = "192.0.2.7";

/// An ssh client's options and where to. It is the same machine, so that both ends have this
/// address.
pub const TO_ALICE: &str = "-q -F none -i /root/key -o BatchMode=yes -o StrictHostKeyChecking=no \
    -o UserKnownHostsFile=/dev/null alice@192.0.2.7";

/// Makes alice and bob, allows root to log in over ssh as alice and as root, and allows alice to
/// use sudo.
pub fn prepare(machine: &Machine) {
    machine.says(
        "useradd --create-home --shell /bin/bash alice
         useradd --create-home --shell /bin/bash bob
         ip link set lo up && ip address add 192.0.2.7/32 dev lo
         ssh-keygen -q -t ed25519 -N '' -f /root/key
         install -d -m 700 /root/.ssh && cp /root/key.pub /root/.ssh/authorized_keys
         install -d -o alice -g alice -m 700 /home/alice/.ssh
         install -o alice -g alice -m 600 /root/key.pub /home/alice/.ssh/authorized_keys
         echo 'alice ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/alice",
    );
    until("sshd", || machine.run(&format!("ssh {TO_ALICE} true")).status.success());
}

/// Logs alice in over ssh with a terminal. The session stays open.
pub fn log_in(machine: &Machine) {
    machine.says(&format!(
        "ssh -tt {TO_ALICE} 'touch /tmp/in; exec sleep 1000' </dev/null >/dev/null 2>&1 &"
    ));
    until("alice", || machine.path("/tmp/in").exists());
    machine.says("rm /tmp/in");
}
