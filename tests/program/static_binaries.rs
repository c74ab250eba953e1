//! Runs the static binaries in root file systems that contain almost nothing else. Those for other
//! processors run under qemu. `EXPORTER_STATIC` names them, separated by blanks. If it is not set,
//! those for this processor are built here. The names of those with TLS end in `-tls`.

use std::{
    env, fs,
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use crate::harness::{Answer, Exporter, copy_program, fixture, folder, promised, samples, signal};

struct Binary {
    path: PathBuf,
    /// The name that qemu has for its processor, if it is not this one.
    emulated: Option<&'static str>,
    has_tls: bool,
    /// Bytes on disk.
    size: u64,
    /// KiB resident after a thousand scrapes.
    resident: u64,
}

fn binaries() -> &'static [Binary] {
    static BINARIES: OnceLock<Vec<Binary>> = OnceLock::new();
    BINARIES.get_or_init(|| {
        let paths = env::var("EXPORTER_STATIC").unwrap_or_else(|_| build());
        paths.split_whitespace().map(|path| Binary::new(path.into())).collect()
    })
}

/// The first one that runs on this processor itself.
pub fn of_this_processor() -> &'static Path {
    let native = binaries().iter().find(|binary| binary.emulated.is_none());
    &native.expect("EXPORTER_STATIC names no binary for this processor").path
}

impl Binary {
    fn new(path: PathBuf) -> Binary {
        let elf = fs::read(&path).unwrap();
        let emulated = match (u16::from_le_bytes([elf[18], elf[19]]), env::consts::ARCH) {
            (62, "x86_64") | (183, "aarch64") => None,
            (62, _) => Some("x86_64"),
            (183, _) => Some("aarch64"),
            (40, _) => Some("arm"),
            (243, _) => Some("riscv64"),
            (machine, _) => panic!("{}: ELF machine {machine}", path.display()),
        };
        let name = path.to_str().unwrap();
        let has_tls = name.ends_with("-tls");
        let (size, resident) = match (has_tls, name.contains("-gnu")) {
            (false, false) => (1_000_000, 1_500),
            _ => (2_000_000, 3_000),
        };
        Binary { path, emulated, has_tls, size, resident }
    }

    /// A root file system with the binary, and on request with a static BusyBox for `sh` and `w`.
    fn root(&self, busybox: bool) -> PathBuf {
        let root = folder();
        copy_program(&self.path, root.join("exporter"));
        if let Some(processor) = self.emulated {
            copy_program(format!("/usr/bin/qemu-{processor}-static"), root.join("qemu"));
        }
        if busybox {
            for folder in ["bin", "proc", "run", "var/run", "dev"] {
                fs::create_dir_all(root.join(folder)).unwrap();
            }
            fs::write(root.join("run/utmp"), "").unwrap();
            // Of this processor: what an emulated program executes runs on the real one.
            copy_program("/bin/busybox", root.join("bin/busybox"));
            for applet in ["sh", "w"] {
                symlink("busybox", root.join("bin").join(applet)).unwrap();
            }
        }
        root
    }

    /// The exporter as PID 1 of that root, with a /proc if there is a folder for it.
    fn first_process(&self, root: &Path) -> Command {
        let mut unshare = Command::new("unshare");
        unshare.args(["--pid", "--fork", "--kill-child", "--root"]).arg(root);
        if root.join("proc").exists() {
            unshare.arg("--mount-proc");
        }
        unshare.env_clear().env("PATH", "/bin:/usr/bin:/sbin:/usr/sbin");
        if self.emulated.is_some() {
            unshare.arg("/qemu");
        }
        unshare.arg("/exporter").stdin(Stdio::null());
        unshare
    }
}

/// Builds against musl and glibc, for this processor, where this test was built.
fn build() -> String {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut script = Command::new("contrib/static/build");
    let output = script.env("CARGO_TARGET_DIR", target).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--release", "--locked", "--target", "x86_64-unknown-linux-gnu"])
        .env("CARGO_TARGET_DIR", target)
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    assert!(cargo.status().unwrap().success(), "{cargo:?}");
    let glibc = target.join("x86_64-unknown-linux-gnu/release").join(env!("CARGO_PKG_NAME"));
    String::from_utf8(output.stdout).unwrap() + glibc.to_str().unwrap()
}

/// The only child of unshare: PID 1 within.
fn inner(exporter: &Exporter) -> String {
    exporter.children().trim().to_owned()
}

fn up(metrics: &str) -> String {
    samples(metrics, "up").pop().unwrap().rsplit(' ').next().unwrap().to_owned()
}

#[test]
#[ignore = "builds two static binaries, needs binutils"]
fn nothing_is_linked_at_run_time() {
    for binary in binaries() {
        let headers = Command::new("readelf")
            .args(["--wide", "--program-headers", "--dynamic"])
            .arg(&binary.path)
            .output()
            .unwrap();
        let headers = String::from_utf8(headers.stdout).unwrap();
        assert!(headers.contains("LOAD"), "{headers}");
        assert!(!headers.contains("INTERP") && !headers.contains("NEEDED"), "{headers}");
        let bytes = fs::metadata(&binary.path).unwrap().len();
        println!("{}: {bytes} bytes", binary.path.display());
        assert!(bytes < binary.size, "{bytes}");
    }
}

#[test]
#[ignore = "builds two static binaries, needs root and Debian's busybox-static; qemu-user-static for others"]
fn beside_a_busybox_it_serves_as_pid_1_and_stops() {
    for binary in binaries() {
        let root = binary.root(true);
        let output = binary.first_process(&root).arg("--once").output().unwrap();
        assert!(output.status.success(), "{}: {output:?}", binary.path.display());
        assert_eq!(up(&String::from_utf8(output.stdout).unwrap()), "1");

        let mut exporter = Exporter::start(&mut binary.first_process(&root));
        let metrics = exporter.metrics();
        assert_eq!(up(&metrics), "1", "{metrics}");
        // Everything can be seen, so no problem is reported.
        let sources = samples(&metrics, "session_source_visible");
        assert!(
            sources.len() == 4 && sources.iter().all(|line| line.ends_with(" 1")),
            "{sources:?}"
        );
        assert!(!metrics.ends_with("# EOF\n"), "{metrics}");
        let openmetrics = exporter.ask(
            "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text\r\nConnection: close\r\n\r\n",
        );
        assert_eq!(up(&openmetrics.body), "1", "{openmetrics:?}");
        assert!(openmetrics.body.ends_with("# EOF\n"), "{openmetrics:?}");
        assert_eq!(exporter.log().len(), 1, "{:?}", exporter.log());

        let mut stream = exporter.connect();
        for _ in 0..1000 {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            assert_eq!(Answer::read_one(&mut stream).status, 200);
        }
        let status = fs::read_to_string(format!("/proc/{}/status", inner(&exporter))).unwrap();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().trim();
        // Memory under qemu says nothing.
        if binary.emulated.is_none() {
            println!("{}: {rss} resident", binary.path.display());
            assert!(rss.trim_end_matches(" kB").parse::<u64>().unwrap() < binary.resident, "{rss}");
        }

        assert!(signal("TERM", &inner(&exporter)));
        let (status, time) = exporter.end();
        assert_eq!(status, Some(0), "{}", binary.path.display());
        assert!(time < promised(Duration::from_secs(1)), "{time:?}");
    }
}

#[test]
#[ignore = "builds two static binaries, needs root and Debian's busybox-static"]
fn without_proc_and_utmp_it_serves_and_says_that_sessions_may_be_missing() {
    // Not under qemu, which makes up a /proc/1 for PID 1.
    for binary in binaries().iter().filter(|binary| binary.emulated.is_none()) {
        let root = binary.root(true);
        fs::remove_dir(root.join("proc")).unwrap();
        fs::remove_file(root.join("run/utmp")).unwrap();
        let mut exporter = Exporter::start(&mut binary.first_process(&root));
        let metrics = exporter.metrics();
        assert_eq!(up(&metrics), "1", "{metrics}");
        for source in ["session_files", "other_users_processes"] {
            let sources = samples(&metrics, "session_source_visible");
            let line = sources.iter().find(|line| line.contains(source)).unwrap();
            assert!(line.ends_with(" 0"), "{line}");
        }
        for (line, reason) in [(1, "neither /run/utmp nor"), (2, "/proc hides")] {
            let line = &exporter.log()[line];
            assert!(
                line.contains("WARN sessions may be missing") && line.contains(reason),
                "{line}"
            );
        }
        assert!(signal("TERM", &inner(&exporter)));
        assert_eq!(exporter.end().0, Some(0));
    }
}

#[test]
#[ignore = "builds two static binaries, needs root; qemu-user-static for others"]
fn in_an_empty_root_it_says_that_its_own_w_needs_proc() {
    for binary in binaries() {
        // No /dev/null, no /proc, no /tmp, no name resolution.
        let mut exporter = Exporter::start(&mut binary.first_process(&binary.root(false)));
        let metrics = exporter.metrics();
        assert_eq!(up(&metrics), "0", "{metrics}");
        let log = exporter.log();
        assert!(log[1].contains("there is no w in PATH, so the built-in one runs"), "{log:?}");
        // qemu makes up a /proc/self/exe.
        let reason = if binary.emulated.is_none() { "mount /proc" } else { "" };
        assert!(log[2].contains("w failed: the built-in w ") && log[2].contains(reason), "{log:?}");
        assert!(signal("TERM", &inner(&exporter)));
        assert_eq!(exporter.end().0, Some(0));
    }
}

/// A session file as systemd 257 writes it, of a login over ssh by the first process here. Its
/// control group is another, so it counts as hidden.
const SESSION: &str = "UID=1000\nUSER=alice\nSTATE=active\nREMOTE=1\nTYPE=tty\nCLASS=user\n\
    SCOPE=session-1.scope\nREMOTE_HOST=203.0.113.7\nSERVICE=sshd\nLEADER=1\nREALTIME=1795478400123456\n";

/// A record of utmp: alice on a terminal, by process 1.
fn utmp(size: usize) -> Vec<u8> {
    let mut record = vec![0; size];
    let mut put = |at: usize, bytes: &[u8]| record[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &7i16.to_ne_bytes());
    put(4, &1i32.to_ne_bytes());
    put(8, b"pts/0");
    put(44, b"alice");
    match size {
        384 => put(340, &1_795_478_400i32.to_ne_bytes()),
        _ => put(344, &1_795_478_400i64.to_ne_bytes()),
    }
    put(if size == 384 { 348 } else { 360 }, &[203, 0, 113, 7]);
    record
}

#[test]
#[ignore = "builds two static binaries, needs root; qemu-user-static for others"]
fn with_nothing_but_session_files_and_proc_its_own_w_lists_who_is_logged_in() {
    for binary in binaries() {
        let root = binary.root(false);
        fs::create_dir(root.join("proc")).unwrap();
        let printed = || {
            let output = binary.first_process(&root).arg("w").output().unwrap();
            assert!(output.status.success(), "{}: {output:?}", binary.path.display());
            String::from_utf8(output.stdout).unwrap().lines().skip(1).collect::<String>()
        };
        let sessions = root.join("run/systemd/sessions");
        fs::create_dir_all(&sessions).unwrap();
        assert_eq!(printed(), "");
        fs::write(sessions.join("1"), SESSION).unwrap();
        assert_eq!(printed(), "alice\t\t203.0.113.7\t1795478400\t\t\t1\tuser\ttty\tsshd\t\t");
        // What qemu runs cannot start itself.
        if binary.emulated.is_none() {
            let output = binary.first_process(&root).arg("--once").output().unwrap();
            let metrics = String::from_utf8(output.stdout).unwrap();
            assert_eq!(up(&metrics), "1", "{metrics}");
            let session =
                "each_session_info{ip=\"203.0.113.7\",user=\"alice\",tty=\"\",service=\"sshd\"";
            assert_eq!(samples(&metrics, session).len(), 1, "{metrics}");
            let log = String::from_utf8(output.stderr).unwrap();
            assert_eq!(log.lines().count(), 1, "{log}");
        }
        fs::remove_dir_all(root.join("run/systemd")).unwrap();
        fs::create_dir(root.join("run/utmps")).unwrap();
        for size in [384, 400] {
            for path in ["run/utmps/utmp", "run/utmp"] {
                fs::write(root.join(path), utmp(size)).unwrap();
                let row = printed();
                assert!(row.starts_with("alice\tpts/0\t203.0.113.7\t1795478400\t\t"), "{row}");
            }
            fs::remove_file(root.join("run/utmp")).unwrap();
        }
    }
}

#[test]
#[ignore = "needs root, Debian's curl, openssl and qemu-user-static, and EXPORTER_STATIC with binaries with TLS"]
fn those_with_tls_serve_tls_and_the_others_say_which_do() {
    for binary in binaries() {
        let root = binary.root(true);
        let certificate = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
            -subj /CN=x -addext subjectAltName=IP:127.0.0.1 -keyout web.key -out web.crt";
        let output = Command::new("sh").args(["-c", certificate]).current_dir(&root).output();
        assert!(output.as_ref().unwrap().status.success(), "{output:?}");
        let config = "tls_server_config:\n  cert_file: web.crt\n  key_file: web.key\n";
        fs::write(root.join("web.yml"), config).unwrap();
        let mut command = binary.first_process(&root);
        command.args(["--web.config.file", "/web.yml"]);
        if !binary.has_tls {
            let output = command.output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{output:?}");
            assert!(String::from_utf8(output.stderr).unwrap().contains("tls"));
            continue;
        }
        let mut exporter = Exporter::start(&mut command);
        let curl = |scheme: &str| {
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--show-error", "--cacert"]).arg(root.join("web.crt"));
            curl.arg(format!("{scheme}://{}/metrics", exporter.address)).output().unwrap()
        };
        let output = curl("https");
        assert!(output.status.success(), "{}: {output:?}", binary.path.display());
        assert_eq!(up(&String::from_utf8(output.stdout).unwrap()), "1");
        assert!(!String::from_utf8(curl("http").stdout).unwrap().contains("what_up"));
        assert!(signal("TERM", &inner(&exporter)));
        assert_eq!(exporter.end().0, Some(0));
    }
}

/// Seconds since 1970 no longer fit into 32 bits then.
#[test]
#[ignore = "needs Debian's qemu-user and faketime, and EXPORTER_STATIC with a binary for armv7"]
fn on_32_bits_it_works_in_2040() {
    let Some(binary) = binaries().iter().find(|binary| binary.emulated == Some("arm")) else {
        return println!("no binary of 32 bits");
    };
    // faketime works on qemu, which asks for the time on behalf of the program. Not by its command,
    // which would stay in between.
    let w = format!("cat {}", fixture("captures/debian12-procps-4.0.2/mix.i.txt"));
    let mut qemu = Command::new("qemu-arm");
    qemu.arg(&binary.path).args(["--w.command", &w]);
    qemu.env("LD_PRELOAD", "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1");
    qemu.env("FAKETIME", "@2040-01-01 00:00:00").env("TZ", "UTC0").stdin(Stdio::null());
    let mut exporter = Exporter::start(&mut qemu);
    let metrics = exporter.metrics();
    assert_eq!(up(&metrics), "1", "{metrics}");
    let line = samples(&metrics, "w_last_success_timestamp_seconds").pop().unwrap();
    let time: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert!((2_208_988_800.0..2_208_988_900.0).contains(&time), "{line}");
    exporter.signal("TERM");
    assert_eq!(exporter.end().0, Some(0));
}
