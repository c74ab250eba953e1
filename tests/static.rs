//! The static binaries, in root file systems with next to nothing in them. They are built here, unless `EXPORTER_MUSL` and
//! `EXPORTER_GLIBC` name them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "program/harness.rs"]
#[allow(dead_code)]
mod harness;

use std::{
    env, fs,
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use harness::{Answer, Exporter, folder, samples, until};

/// Each binary with its bounds: bytes on disk, KiB resident.
fn binaries() -> [(PathBuf, u64, u64); 2] {
    static BUILT: OnceLock<[PathBuf; 2]> = OnceLock::new();
    let [musl, glibc] = BUILT
        .get_or_init(|| {
            [
                env::var_os("EXPORTER_MUSL").map_or_else(build_musl, PathBuf::from),
                env::var_os("EXPORTER_GLIBC").map_or_else(build_glibc, PathBuf::from),
            ]
        })
        .clone();
    [(musl, 1_000_000, 1_500), (glibc, 2_000_000, 3_000)]
}

fn build_musl() -> PathBuf {
    let mut script = Command::new("contrib/static/build");
    let output =
        script.env("CARGO_TARGET_DIR", target()).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    let paths = String::from_utf8(output.stdout).unwrap();
    PathBuf::from(paths.lines().next_back().unwrap())
}

fn build_glibc() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--release", "--locked"])
        .args(["--target", "x86_64-unknown-linux-gnu"])
        .env("CARGO_TARGET_DIR", target())
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    assert!(cargo.status().unwrap().success(), "{cargo:?}");
    target().join("x86_64-unknown-linux-gnu/release").join(env!("CARGO_PKG_NAME"))
}

/// Where this test was built.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned()
}

/// A root with the binary in it, and with a static BusyBox for `sh` and `w` if asked for.
fn root(binary: &Path, busybox: bool) -> PathBuf {
    let root = folder();
    fs::copy(binary, root.join("exporter")).unwrap();
    if busybox {
        for folder in ["bin", "proc", "run", "var/run", "dev"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        for applet in ["sh", "w", "mount"] {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
    }
    root
}

/// The exporter as PID 1 of that root.
fn first_process(root: &Path) -> Exporter {
    let mut unshare = Command::new("unshare");
    unshare.args(["--pid", "--fork", "--kill-child", "--root"]).arg(root);
    unshare.env_clear().env("PATH", "/bin:/usr/bin:/sbin:/usr/sbin");
    Exporter::start(unshare.arg("/exporter"))
}

/// The only child of unshare: PID 1 within.
fn inner(exporter: &Exporter) -> String {
    exporter.children().trim().to_owned()
}

#[test]
#[ignore = "builds two static binaries, needs binutils"]
fn nothing_is_linked_at_run_time() {
    for (binary, size, _) in binaries() {
        let headers = Command::new("readelf")
            .args(["--wide", "--program-headers", "--dynamic"])
            .arg(&binary)
            .output()
            .unwrap();
        let headers = String::from_utf8(headers.stdout).unwrap();
        assert!(headers.contains("LOAD"), "{headers}");
        assert!(!headers.contains("INTERP") && !headers.contains("NEEDED"), "{headers}");
        let bytes = fs::metadata(&binary).unwrap().len();
        println!("{}: {bytes} bytes", binary.display());
        assert!(bytes < size, "{bytes}");
    }
}

#[test]
#[ignore = "builds two static binaries, needs root and Debian's busybox-static"]
fn beside_a_busybox_it_serves_as_pid_1_and_stops() {
    for (binary, _, resident) in binaries() {
        let mut exporter = first_process(&root(&binary, true));
        let metrics = exporter.metrics();
        assert_eq!(
            samples(&metrics, "up").pop().unwrap().rsplit(' ').next(),
            Some("1"),
            "{metrics}"
        );
        assert_eq!(exporter.log().len(), 1, "{:?}", exporter.log());

        let mut stream = exporter.connect();
        for _ in 0..1000 {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            assert_eq!(Answer::read_one(&mut stream).status, 200);
        }
        let status = fs::read_to_string(format!("/proc/{}/status", inner(&exporter))).unwrap();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        println!("{}: {} resident", binary.display(), rss.trim());
        assert!(rss.trim().trim_end_matches(" kB").parse::<u64>().unwrap() < resident, "{rss}");

        assert!(harness::signal("TERM", &inner(&exporter)));
        let (status, time) = exporter.end();
        assert_eq!(status, Some(0));
        assert!(time < Duration::from_secs(1), "{time:?}");
    }
}

#[test]
#[ignore = "builds two static binaries, needs root"]
fn alone_in_the_world_it_says_that_there_is_no_w() {
    for (binary, ..) in binaries() {
        // No /dev/null, no /proc, no /tmp, no name resolution.
        let mut exporter = first_process(&root(&binary, false));
        let metrics = exporter.metrics();
        assert_eq!(
            samples(&metrics, "up").pop().unwrap().rsplit(' ').next(),
            Some("0"),
            "{metrics}"
        );
        until("the reason in the log", || exporter.log().len() == 2);
        assert!(
            exporter.log()[1].contains("w not found in PATH (/bin); install it"),
            "{:?}",
            exporter.log()
        );
        assert!(harness::signal("TERM", &inner(&exporter)));
        assert_eq!(exporter.end().0, Some(0));
    }
}
