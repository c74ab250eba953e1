//! The images of `contrib/container`, run by Podman with real logins on this machine, which needs
//! no systemd. What runs them on a host with systemd is tested in `booted::containers`.
//!
//! Needs root, Debian's podman, runc, mmdebstrap and openssh-server, and a static binary.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    booted::machine::{connect_within, tree},
    harness::{Answer, contrib_path, folder, promised, samples, until, write_script},
    sshd::Sshd,
    static_binaries::of_this_processor,
};

const NAME: &str = env!("CARGO_PKG_NAME");
/// As the files in `contrib` call them.
pub const SCRATCH: &str = concat!("what-active-users-exporter:", env!("CARGO_PKG_VERSION"));
pub const DEBIAN: &str =
    concat!("what-active-users-exporter:", env!("CARGO_PKG_VERSION"), "-debian");

/// The image of the release, as a file that `podman load` and `docker load` take.
pub fn scratch() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let image = folder().join("scratch.tar");
        let mut archive = Command::new(contrib_path("container/archive"));
        archive.arg(of_this_processor()).args(["amd64", env!("CARGO_PKG_VERSION")]);
        archive.env("SOURCE_DATE_EPOCH", "1790000000");
        assert!(archive.stdout(fs::File::create(&image).unwrap()).status().unwrap().success());
        image
    })
}

/// That of `Dockerfile.debian`.
pub fn debian() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let image = folder().join("debian.tar");
        build_debian(&image);
        image
    })
}

/// Builds with Debian in the place of the images that a registry would have: Debian's own Rust, and
/// an `apk` that does nothing, for Alpine's. What a build takes is kept short.
fn build_debian(to: &Path) {
    let podman = Podman::new();
    let added = folder();
    for folder in ["usr/local/bin", "root/.cargo"] {
        fs::create_dir_all(added.join(folder)).unwrap();
    }
    write_script(&added.join("usr/local/bin/apk"), "#!/bin/sh\n");
    let settings = "[net]\noffline = true\n[profile.release]\nlto = \"off\"\ncodegen-units = 16\nopt-level = 1\n";
    fs::write(added.join("root/.cargo/config.toml"), settings).unwrap();
    let rust = tree("trixie", &["cargo"]);
    let added =
        [(rust.as_path(), "."), (&added, "usr/local/bin/apk"), (&added, "root/.cargo/config.toml")];
    podman.import("docker.io/library/rust:1-alpine", &added);
    podman.import("docker.io/library/debian:13-slim", &[(&tree("trixie", &[]), ".")]);
    let home = std::env::var("CARGO_HOME")
        .unwrap_or_else(|_| format!("{}/.cargo", std::env::var("HOME").unwrap()));
    // What Docker writes out of its short names.
    let name = format!("docker.io/library/{DEBIAN}");
    let mut build = podman.command("build");
    build.args(["--pull=never", "--network=host", "--build-arg=FEATURES=tls", "--tag", &name]);
    build.arg(format!("--volume={home}/registry:/root/.cargo/registry:ro"));
    build.arg("--file").arg(contrib_path("container/Dockerfile.debian"));
    says(build.arg(env!("CARGO_MANIFEST_DIR")));
    says(podman.command("save").arg("--output").arg(to).arg(name));
}

fn says(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}\n{complained}");
    said
}

/// Podman with images and containers of its own, which are removed when dropped.
struct Podman {
    folder: PathBuf,
}

impl Podman {
    fn new() -> Podman {
        let podman = Podman { folder: folder() };
        // Podman would raise limits that a machine may not allow it to raise.
        let settings =
            "[containers]\ndefault_ulimits = [\"nofile=20000:20000\", \"nproc=32768:32768\"]\n";
        fs::write(podman.folder.join("containers.conf"), settings).unwrap();
        podman
    }

    fn command(&self, command: &str) -> Command {
        let mut podman = Command::new("podman");
        podman.env("CONTAINERS_CONF", self.folder.join("containers.conf"));
        podman.arg("--root").arg(self.folder.join("images"));
        podman.arg("--runroot").arg(self.folder.join("state"));
        // Machines without systemd, and with cgroups of the first version beside those of the
        // second, which crun refuses.
        podman.args(["--runtime=runc", "--cgroup-manager=cgroupfs", "--events-backend=none"]);
        podman.arg(command);
        podman
    }

    /// Makes an image of paths in folders.
    fn import(&self, name: &str, paths: &[(&Path, &str)]) {
        let mut tar = Command::new("tar");
        tar.args(["--create", "--one-file-system"]);
        for (folder, path) in paths {
            tar.arg("--directory").arg(folder).arg(path);
        }
        let mut tar = tar.stdout(Stdio::piped()).spawn().unwrap();
        let archive = tar.stdout.take().unwrap();
        let mut import = self.command("import");
        let imported = import.args(["--quiet", "-", name]).stdin(archive).output().unwrap();
        assert!(imported.status.success() && tar.wait().unwrap().success(), "{imported:?}");
    }

    fn load(&self, archive: &Path) {
        says(self.command("load").arg("--input").arg(archive));
    }

    /// Runs it as `compose.yaml` does, with these mounts and the further arguments.
    fn run(&self, image: &str, mounts: &[&str], arguments: &[&str]) -> Container<'_> {
        let mut run = self.command("run");
        run.args(["--detach", "--pull=never", "--network=none", "--read-only", "--cap-drop=all"]);
        run.args(["--security-opt=no-new-privileges", "--memory=256m", "--pids-limit=320"]);
        run.args(mounts.iter().map(|path| format!("--volume={path}:{path}:ro")));
        let id = says(run.args(arguments).arg(image));
        let process = says(self.command("inspect").args(["--format={{.State.Pid}}", &id]));
        let container = Container { podman: self, id, process };
        until("the container", || container.get("/-/healthy").is_some());
        container
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.command("rm").args(["--force", "--all", "--time=0"]).output();
        let _ = self.command("system").args(["reset", "--force"]).output();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

struct Container<'a> {
    podman: &'a Podman,
    id: String,
    /// The exporter, as it is called outside.
    process: String,
}

impl Container<'_> {
    fn get(&self, path: &str) -> Option<Answer> {
        Answer::to_get(connect_within(&self.process)?, path)
    }

    fn metrics(&self) -> String {
        self.get("/metrics").expect("nobody listens").body
    }

    fn log(&self) -> String {
        let output = self.podman.command("logs").arg(&self.id).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    }

    /// The sessions of a user.
    fn sessions(&self, user: &str) -> Vec<String> {
        let sessions = samples(&self.metrics(), "each_session_currently_active");
        sessions.into_iter().filter(|line| line.contains(&format!("user=\"{user}\""))).collect()
    }

    fn stop(self) -> Duration {
        let began = Instant::now();
        says(self.podman.command("stop").arg(&self.id));
        let time = began.elapsed();
        let format = "--format={{.State.ExitCode}}";
        assert_eq!(says(self.podman.command("inspect").args([format, &self.id])), "0");
        says(self.podman.command("rm").arg(&self.id));
        time
    }
}

/// The sockets in the file system of a process.
pub fn sockets(process: &str) -> String {
    let root = format!("/proc/{process}/root/");
    let mut find = Command::new("find");
    find.arg(&root).args(["-path", &format!("{root}proc"), "-prune", "-o", "-type", "s", "-print"]);
    says(&mut find)
}

/// An empty file system but for the program.
#[test]
#[ignore = "needs root, Debian's podman, runc and mmdebstrap, and a static binary"]
fn the_dockerfile_makes_the_image_that_the_archive_holds() {
    let podman = Podman::new();
    podman.load(scratch());
    let config = |image: &str| -> Value {
        let format = "--format={{json .Config}}";
        let json = says(podman.command("image").args(["inspect", format, image]));
        serde_json::from_str(&json).unwrap()
    };
    let mut loaded = config(SCRATCH);
    let labels = loaded["Labels"].as_object_mut().unwrap();
    let [version, created] = ["version", "created"]
        .map(|name| labels.remove(&format!("org.opencontainers.image.{name}")));
    assert_eq!(version.unwrap(), env!("CARGO_PKG_VERSION"));
    assert_eq!(created.unwrap(), "2026-09-21T14:13:20Z");

    let program = of_this_processor();
    let mut build = podman.command("build");
    build.args(["--tag=built", "--build-arg"]);
    build.arg(format!("PROGRAM={}", program.file_name().unwrap().to_str().unwrap()));
    build.arg("--file").arg(contrib_path("container/Dockerfile")).arg(program.parent().unwrap());
    says(&mut build);
    let mut built = config("built");
    built["Labels"].as_object_mut().unwrap().remove("io.buildah.version");
    assert_eq!(built, loaded);

    for image in [SCRATCH, "built"] {
        let id = says(podman.command("create").arg(image));
        let exported = folder().join("exported.tar");
        says(podman.command("export").arg("--output").arg(&exported).arg(id));
        let files = says(Command::new("tar").arg("--list").arg("--file").arg(exported));
        let files: BTreeSet<&str> = files.lines().filter(|path| !path.ends_with('/')).collect();
        // What Podman itself makes for a container.
        let own = [
            "dev/console",
            "etc/hostname",
            "etc/hosts",
            "etc/resolv.conf",
            "run/.containerenv",
            "etc/mtab",
        ];
        let own: BTreeSet<&str> = own.into();
        assert_eq!(&files - &own, BTreeSet::from([format!("usr/bin/{NAME}").as_str()]));
    }
    let size = says(podman.command("image").args(["inspect", "--format={{.Size}}", SCRATCH]));
    let packed = fs::metadata(scratch()).unwrap().len();
    println!("the image has {size} bytes, its file {packed}");
}

#[test]
#[ignore = "needs root, Debian's podman, runc, mmdebstrap and openssh-server, and a static binary"]
fn each_image_shows_the_logins_of_a_host_without_systemd() {
    let sshd = Sshd::start();
    let user = sshd.user("incontainer");
    let login = sshd.login(&user);
    let podman = Podman::new();
    for (image, archive, mounts) in [
        (SCRATCH, scratch(), &["/run/utmp", "/dev/pts"][..]),
        (DEBIAN, debian(), &["/run/utmp", "/dev/pts", "/etc/passwd"]),
    ] {
        podman.load(archive);
        let container = podman.run(image, mounts, &["--pid=host"]);
        let (metrics, sessions) = (container.metrics(), container.sessions(&user));
        println!("{image}: {sessions:?}\n{}", container.log());
        assert_eq!(sessions.len(), 1, "{metrics}");
        assert!(sessions[0].contains("ip=\"127.0.0.1\"") && sessions[0].contains("tty=\"pts/"));
        let idle = samples(&metrics, "each_session_idle_seconds");
        assert!(idle.iter().any(|line| line.contains(&user)), "{metrics}");
        let sources = samples(&metrics, "session_source_visible");
        assert_eq!(sources.len(), 4, "{image}: {metrics}");
        assert!(sources.iter().all(|source| source.ends_with(" 1")), "{image}: {sources:?}");
        let status = fs::read_to_string(format!("/proc/{}/status", container.process)).unwrap();
        for line in
            ["Uid:\t65534\t65534\t65534\t65534", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"]
        {
            assert!(status.lines().any(|found| found == line), "{line}: {status}");
        }
        assert_eq!(sockets(&container.process), "");
        let time = container.stop();
        // Podman takes some of this itself, and kills after 10 s.
        assert!(time < promised(Duration::from_secs(8)), "{time:?}");
    }
    drop(login);
}
