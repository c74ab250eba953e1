//! What runs the images of `contrib/container` on a booted Debian 13: Docker with compose, Podman
//! as a service and without root, and what Podman can read of Kubernetes.

use std::{fs, path::Path, time::Instant};

use super::{
    logins,
    machine::{Machine, NAME},
    sessions, unseen,
};
use crate::{
    containers::{DEBIAN, SCRATCH, debian, scratch},
    harness::{contrib, samples, until},
};

const PACKAGES: [&str; 12] = [
    "podman",
    "docker.io",
    "docker-cli",
    "docker-compose",
    "passt",
    "slirp4netns",
    "uidmap",
    "catatonit",
    "dbus-user-session",
    "netavark",
    "aardvark-dns",
    "iptables",
];

/// Prepares Docker and Podman. Neither can stack overlays on that of this machine.
const PREPARE: &str = r#"
mkdir -p /etc/docker /etc/containers/systemd
echo '{"storage-driver": "vfs"}' >/etc/docker/daemon.json
cat >/etc/containers/storage.conf <<END
[storage]
driver = "vfs"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
END
cat >/etc/containers/containers.conf <<END
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
[engine]
cgroup_manager = "cgroupfs"
[network]
firewall_driver = "iptables"
END
systemctl restart docker
"#;

/// Runs a script as a unit of the machine's own, because containers get cgroups beside their
/// parent's, and prints it with its output. Containers outlive the unit.
fn transcribe(machine: &Machine, script: &str) -> String {
    machine.write("/root/script", format!("cd /root && export HOME=/root\n{script}\n"));
    let run = "systemd-run --quiet --pipe --wait --collect --property=Delegate=yes \
        --property=KillMode=process sh -e /root/script 2>&1";
    let output = machine.run_for(300, run);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("# {}\n{said}", script.trim());
    assert!(output.status.success(), "{script}: {said}");
    said
}

/// The sockets that the exporter's container has in its files, but for one that Podman makes for
/// `Notify=true` and reads itself.
fn sockets(machine: &Machine) -> String {
    machine.says(&format!(
        "root=/proc/$(pidof {NAME})/root/
         find $root -path ${{root}}proc -prune -o -type s -print | grep -v /run/notify/notify.sock || true"
    ))
}

/// As the exporter of a host does: all is visible, and alice is logged in at a terminal.
fn sees_alice(machine: &Machine, way: &str) {
    until(way, || machine.try_get("/-/healthy").is_some());
    let metrics = machine.metrics();
    let sessions = sessions(&metrics);
    println!("{way}: {sessions:?}");
    assert_eq!(sessions.len(), 1, "{metrics}");
    assert!(
        ["user=\"alice\"", "tty=\"pts/", logins::FROM]
            .iter()
            .all(|part| sessions[0].contains(part)),
        "{sessions:?}"
    );
    assert_eq!(unseen(&metrics), [""; 0]);
    let uid = machine.says(&format!("ps -o uid= -p $(pidof {NAME})"));
    // Without root, nobody is a number of the user's own.
    let (nobody, idle) =
        if way == "without root" { (100_000 + 65_536 + 65_533, 0) } else { (65_534, 1) };
    assert_eq!(uid.trim(), nobody.to_string(), "{way}");
    // Nor does such a container get the host's terminals.
    assert_eq!(samples(&metrics, "each_session_idle_seconds").len(), idle, "{metrics}");
}

/// Puts an image into the machine, and into the stores of Docker and Podman.
fn load(machine: &Machine, image: &Path) {
    fs::copy(image, machine.path("/home/image.tar")).unwrap();
    transcribe(machine, "docker load --quiet --input /home/image.tar");
    transcribe(machine, "podman load --quiet --input /home/image.tar");
}

/// A user runs it without root, and without a network of its own, which this machine lacks.
fn without_root() -> String {
    format!(
        "loginctl enable-linger bob
         cat >/home/bob/start <<'END'
         export XDG_RUNTIME_DIR=/run/user/$(id -u) && cd
         podman load --quiet --input /home/image.tar
         podman run --detach --name x --network=host --env=EXPORTER_LISTEN_HOST=127.0.0.1 --read-only --cap-drop=all \\
             --security-opt=no-new-privileges {PROCESSES} {SESSIONS} {TERMINALS} {SCRATCH}
END
         until test -d /run/user/$(id -u bob); do sleep 0.1; done
         systemd-run --quiet --pipe --wait --uid=bob --property=KillMode=process sh -e /home/bob/start"
    )
}

#[test]
#[ignore = "boots a container that runs containers"]
fn each_way_to_run_the_images_shows_logins_and_no_socket_of_the_host() {
    let machine = Machine::boot_for_containers("trixie", &PACKAGES);
    machine.write("/root/compose.yaml", contrib("container/compose.yaml"));
    // Podman knows no address of the pod.
    let pod = "valueFrom: {fieldRef: {fieldPath: status.podIP}}";
    let daemons = contrib("kubernetes/daemonset.yaml").replace(pod, "value: 0.0.0.0");
    machine.write("/root/daemonset.yaml", daemons);
    let service = "what-active-users-exporter";
    machine.write(
        &format!("/etc/containers/systemd/{service}.container"),
        contrib(&format!("container/{service}.container")),
    );
    transcribe(&machine, PREPARE);
    load(&machine, scratch());
    logins::prepare(&machine);
    logins::log_in(&machine);

    let compose = "docker-compose --file compose.yaml";
    let up = format!("{compose} up --detach");
    let down = format!("{compose} down");
    for (way, start, stop) in [
        ("compose", up.as_str(), down.as_str()),
        (
            "Quadlet",
            &format!("systemctl daemon-reload\nsystemctl start {service}"),
            &format!("systemctl stop {service}"),
        ),
        (
            "the DaemonSet's pod",
            "podman kube play --publish 127.0.0.1:9839:9839 daemonset.yaml",
            "podman kube down daemonset.yaml",
        ),
        ("without root", &without_root(), &format!("kill $(pidof {NAME})")),
        (
            "compose, with Debian's w",
            &format!("sed -i 's/image: {SCRATCH}/image: {DEBIAN}/' compose.yaml\n{up}"),
            &down,
        ),
    ] {
        if way.contains("Debian") {
            load(&machine, debian());
        }
        transcribe(&machine, start);
        sees_alice(&machine, way);
        assert_eq!(sockets(&machine), "", "{way}");
        let began = Instant::now();
        transcribe(&machine, stop);
        println!("{way} ends in {:?}", began.elapsed());
        until("its end", || machine.try_get("/-/healthy").is_none());
    }
    what_is_hidden(&machine);

    // The check of sockets finds those that a mount of the whole folder brings.
    let all = "--volume=/run/systemd:/run/systemd:ro";
    transcribe(&machine, &format!("docker run --detach --name all --pid=host {all} {SCRATCH}"));
    until("an answer", || !machine.says(&format!("pidof {NAME} || true")).is_empty());
    assert!(sockets(&machine).contains("/run/systemd/journal/socket"));
    transcribe(&machine, "docker rm --force all");
}

const SESSIONS: &str = "--volume=/run/systemd/sessions:/run/systemd/sessions:ro --volume=/run/systemd/system:/run/systemd/system:ro";
const TERMINALS: &str = "--volume=/dev/pts:/dev/pts:ro";
const PROCESSES: &str = "--pid=host";

/// What is missing without one of the options, as `docs/containers.md` says.
fn what_is_hidden(machine: &Machine) {
    // The image, its options, the terminal if the session is there, idle time, CPU time, what it
    // says.
    for (image, options, terminal, idle, cpu, says) in [
        (SCRATCH, [TERMINALS, PROCESSES], None, 0, 0, "mount /run/systemd/sessions"),
        (SCRATCH, [SESSIONS, PROCESSES], Some("pts/0"), 0, 1, ""),
        (SCRATCH, [SESSIONS, TERMINALS], Some(""), 0, 0, ""),
        (DEBIAN, [SESSIONS, PROCESSES], Some("?"), 0, 0, ""),
        (DEBIAN, [SESSIONS, TERMINALS], None, 0, 0, "--pid=host"),
    ] {
        let options = options.join(" ");
        let publish = "--publish=127.0.0.1:9839:9839";
        transcribe(machine, &format!("podman run --detach --name x {publish} {options} {image}"));
        until(&options, || machine.try_get("/-/healthy").is_some());
        let metrics = machine.metrics();
        let terminals: Vec<String> = sessions(&metrics)
            .iter()
            .map(|line| line.split("tty=\"").nth(1).unwrap().split('"').next().unwrap().to_owned())
            .collect();
        println!("{image} {options}: {terminals:?}");
        assert_eq!(terminals.first().map(String::as_str), terminal, "{metrics}");
        assert_eq!(samples(&metrics, "each_session_idle_seconds").len(), idle, "{metrics}");
        assert_eq!(samples(&metrics, "each_session_cpu_seconds").len(), cpu, "{metrics}");
        let log = machine.says("podman logs x 2>&1");
        assert!(log.contains(says), "{log}");
        transcribe(machine, "podman rm --force --time=0 x");
    }
}
