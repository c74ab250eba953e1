//! A Debian that is booted in a container and removed when dropped. Needs root.

use std::{
    fs,
    net::TcpStream,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{
    harness::{Answer, PATIENCE, copy_program, folder, until},
    static_binaries::of_this_processor,
};

pub const NAME: &str = "prometheus-what-active-users-exporter";

pub struct Machine {
    /// When it ends, all processes inside end, see `BOOT`.
    process: Child,
    /// PID 1 inside, as it is called outside.
    leader: String,
    folder: PathBuf,
    cgroup: String,
}

/// Runs in a new PID and mount namespace. Everything inside ends with the first process of the PID
/// namespace, and the mounts end with the last process. The overlay keeps the tree unchanged.
/// systemd in a container needs its own cgroups, and from version 258 on those of cgroup 2.
const BOOT: &str = r#"
tree=$1 folder=$2 cgroup=$3
shift 3
mkdir "$folder/upper" "$folder/work" "$folder/root"
mount -t overlay overlay -o "lowerdir=$tree,upperdir=$folder/upper,workdir=$folder/work" "$folder/root" || exit
case $cgroup in
what-forky-*) mount -t cgroup2 cgroup2 /sys/fs/cgroup ;;
esac
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*; do
    if [ -e "$hierarchy/cgroup.procs" ]; then
        mkdir "$hierarchy/$cgroup"
        echo 0 >"$hierarchy/$cgroup/cgroup.procs"
    fi
done 2>/dev/null
exec systemd-nspawn --quiet --private-network --register=no --keep-unit --console=pipe \
    --machine "$cgroup" --directory "$folder/root" "$@"
"#;

impl Machine {
    /// Boots Debian's `bullseye`, `bookworm`, `trixie` or `forky` with systemd, and waits until it is up.
    pub fn boot(suite: &str) -> Machine {
        Machine::boot_with(suite, &[], &[])
    }

    /// The same, with more packages, and with folders of this machine: `outside:inside`, to read
    /// only.
    pub fn boot_with(suite: &str, packages: &[&str], folders: &[String]) -> Machine {
        let binds = folders.iter().map(|folder| format!("--bind-ro={folder}"));
        Machine::boot_as(suite, packages, binds.collect())
    }

    /// Boots a machine that can run containers in turn.
    pub fn boot_for_containers(suite: &str, packages: &[&str]) -> Machine {
        let allowed = ["--capability=all", "--system-call-filter=add_key keyctl bpf"];
        let machine = Machine::boot_as(suite, packages, allowed.map(str::to_owned).into());
        machine.says("for folder in /sys/fs/cgroup/*; do mount -o remount,bind,rw $folder; done");
        machine
    }

    fn boot_as(suite: &str, packages: &[&str], mut arguments: Vec<String>) -> Machine {
        arguments.push("--boot".to_owned());
        let machine = Machine::start(suite, packages, &arguments);
        // Running or degraded, because other failed units do not matter here. Before that, its
        // socket does not exist.
        until("systemd", || {
            let state = machine.run("systemctl is-system-running --wait").stdout;
            ["running", "degraded"].contains(&String::from_utf8(state).unwrap().trim())
        });
        machine.say("systemctl list-units --failed --no-legend");
        machine
    }

    /// Boots Debian with OpenRC and sysvinit's init.
    pub fn boot_openrc() -> Machine {
        let machine = Machine::start("openrc", &[], &["/sbin/init".to_owned()]);
        until("OpenRC", || machine.run("rc-status --runlevel | grep -x default").status.success());
        machine
    }

    fn start(tree: &str, packages: &[&str], nspawn: &[String]) -> Machine {
        let tree_path = self::tree(tree, packages);
        let folder = folder();
        let cgroup = format!("what-{tree}-{}", folder.file_name().unwrap().to_string_lossy());
        let mut command = Command::new("setpriv");
        command
            .args([
                "--pdeathsig",
                "KILL",
                "unshare",
                "--mount",
                "--pid",
                "--mount-proc",
                "--fork",
                "--kill-child",
            ])
            .args(["sh", "-c", BOOT, "sh"])
            .arg(tree_path)
            .arg(&folder)
            .arg(&cgroup)
            .args(nspawn);
        let log = fs::File::create(folder.join("console")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let process = command.spawn().unwrap();
        // Owned from here on, so that it ends even if something below fails.
        let mut machine = Machine { process, leader: String::new(), folder, cgroup };
        until("PID 1 of the container", || {
            machine.leader = machine.find_leader().unwrap_or_default();
            !machine.leader.is_empty()
        });
        machine
    }

    /// The process that is the first of a PID namespace within that of nspawn.
    fn find_leader(&self) -> Option<String> {
        let child = |pid: &str| {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
            children.split_whitespace().last().map(str::to_owned)
        };
        let nspawn = child(&self.process.id().to_string())?;
        let leader = child(&nspawn)?;
        let status = fs::read_to_string(format!("/proc/{leader}/status")).ok()?;
        let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
        (pids.split_whitespace().count() == 3 && pids.ends_with("\t1")).then_some(leader)
    }

    /// Runs a script inside, from outside: its processes are in no unit of systemd there.
    pub fn run(&self, script: &str) -> Output {
        self.run_for(60, script)
    }

    /// The same, for so many seconds at most.
    pub fn run_for(&self, seconds: u32, script: &str) -> Output {
        let mut nsenter = Command::new("timeout");
        nsenter.arg(seconds.to_string()).args([
            "nsenter",
            "--target",
            &self.leader,
            "--all",
            "--",
            "env",
            "-i",
            "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ]);
        nsenter.args(["sh", "-c", script]).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a script, which must succeed, and returns its output without the last line end.
    pub fn says(&self, script: &str) -> String {
        let output = self.run(script);
        assert!(output.status.success(), "{script}: {output:?}\n{}", self.console());
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Prints the output of a script.
    pub fn say(&self, script: &str) {
        println!("{}", self.says(script));
    }

    fn console(&self) -> String {
        fs::read_to_string(self.folder.join("console")).unwrap_or_default()
    }

    /// Puts a file into it.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Puts the static binary where `docs/install.md` has it.
    pub fn install_binary(&self) {
        copy_program(of_this_processor(), self.path(&format!("/usr/local/bin/{NAME}")));
    }

    /// A path inside, as it is called outside.
    pub fn path(&self, path: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.leader)).join(path.trim_start_matches('/'))
    }

    /// Asks the exporter inside, from inside its network.
    pub fn get(&self, path: &str) -> Answer {
        self.try_get(path).expect("nobody listens")
    }

    /// `None` if nobody listens, or if the exporter is killed before it answers.
    pub fn try_get(&self, path: &str) -> Option<Answer> {
        Answer::to_get(self.connect()?, path)
    }

    /// Connects to the exporter inside, from inside its network.
    pub fn connect(&self) -> Option<TcpStream> {
        connect_within(&self.leader)
    }

    pub fn metrics(&self) -> String {
        let answer = self.get("/metrics");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }
}

/// The root file system of a Debian, as `.ci/tree` makes it.
pub fn tree(name: &str, packages: &[&str]) -> PathBuf {
    let mut make = Command::new(format!("{}/.ci/tree", env!("CARGO_MANIFEST_DIR")));
    let made = make.arg(name).args(packages).stderr(Stdio::inherit()).output().unwrap();
    assert!(made.status.success(), ".ci/tree {name}: {}", made.status);
    String::from_utf8(made.stdout).unwrap().trim().into()
}

/// Connects to the exporter in the network of a process.
pub fn connect_within(process: &str) -> Option<TcpStream> {
    let network = fs::File::open(format!("/proc/{process}/ns/net")).unwrap();
    // A namespace belongs to a thread, and a socket to the namespace that it was made in.
    let connecting = thread::spawn(move || {
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        TcpStream::connect("127.0.0.1:9839").ok()
    });
    let stream = connecting.join().unwrap()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Some(stream)
}

impl Drop for Machine {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("{}", self.console());
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        // The processes inside are dying; a cgroup can be removed when they are dead.
        for _ in 0..100 {
            let removed = Command::new("find")
                .args([
                    "/sys/fs/cgroup",
                    "-depth",
                    "-type",
                    "d",
                    "-path",
                    &format!("*/{}*", self.cgroup),
                    "-exec",
                    "rmdir",
                    "{}",
                    "+",
                ])
                .stderr(Stdio::null())
                .status();
            if removed.is_ok_and(|status| status.success()) {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
