//! The files of a release, in the folder that `EXPORTER_RELEASE` names: what `contrib/release
//! FOLDER` made of this commit.

use std::{
    collections::BTreeSet,
    env, fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::harness::{copy_program, folder};

const NAME: &str = env!("CARGO_PKG_NAME");
const VERSION: &str = env!("CARGO_PKG_VERSION");
const TARGETS: [&str; 4] = [
    "x86_64-unknown-linux-musl",
    "aarch64-unknown-linux-musl",
    "armv7-unknown-linux-musleabihf",
    "riscv64gc-unknown-linux-musl",
];

/// What both kinds of package install.
const INSTALLED: [&str; 17] = [
    "/etc/default/prometheus-what-active-users-exporter",
    "/usr/bin/prometheus-what-active-users-exporter",
    "/usr/lib/systemd/system/prometheus-what-active-users-exporter.service",
    "/usr/share/doc/prometheus-what-active-users-exporter/changelog.gz",
    "/usr/share/doc/prometheus-what-active-users-exporter/examples/alertmanager.yml",
    "/usr/share/doc/prometheus-what-active-users-exporter/examples/local-users.nft",
    "/usr/share/doc/prometheus-what-active-users-exporter/examples/prometheus-fleet.yml",
    "/usr/share/doc/prometheus-what-active-users-exporter/examples/prometheus.yml",
    "/usr/share/doc/prometheus-what-active-users-exporter/examples/tls.conf",
    "/usr/share/doc/prometheus-what-active-users-exporter/examples/web.yml",
    "/usr/share/doc/prometheus-what-active-users-exporter/examples/what.conf",
    "/usr/share/doc/prometheus-what-active-users-exporter/migrating-from-node.md",
    "/usr/share/man/man1/prometheus-what-active-users-exporter.1.gz",
    "/usr/share/prometheus-what-active-users-exporter/alerts-remote.yml",
    "/usr/share/prometheus-what-active-users-exporter/alerts.yml",
    "/usr/share/prometheus-what-active-users-exporter/dashboard.json",
    "/usr/share/prometheus-what-active-users-exporter/site.yml",
];

pub fn folder_of_files() -> PathBuf {
    env::var_os("EXPORTER_RELEASE").expect("EXPORTER_RELEASE names the folder").into()
}

/// The file of the release whose name begins and ends so.
pub fn file(begin: &str, end: &str) -> PathBuf {
    folder_of_files().join(format!("{NAME}{begin}{VERSION}{end}"))
}

/// The program for a target that the packages hold.
fn with_tls(target: &str) -> PathBuf {
    file("-", &format!("-{target}-tls"))
}

/// The container's image for an architecture.
pub fn image(arch: &str) -> PathBuf {
    file("-", &format!("-container-{arch}.tar"))
}

fn says(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// The crates that are linked in, as `name version`.
fn crates(target: &str, features: &str) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "tree",
        "--locked",
        "--quiet",
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
    ]);
    cargo.args(["--format", "{p}", "--target", target, "--features", features]);
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let tree = String::from_utf8(output.stdout).unwrap();
    let of_registry = tree.lines().filter(|line| !line.starts_with(NAME));
    of_registry.map(|line| line.trim_end_matches(" (*)").replace(" v", " ")).collect()
}

#[test]
#[ignore = "needs EXPORTER_RELEASE"]
fn it_has_these_files_and_their_sums() {
    let mut expected = BTreeSet::from(["SHA256SUMS".to_owned()]);
    for target in TARGETS {
        expected.insert(format!("{NAME}-{VERSION}-{target}"));
        expected.insert(format!("{NAME}-{VERSION}-{target}-tls"));
    }
    expected.extend(
        ["amd64", "arm64", "armhf", "riscv64"].map(|arch| format!("{NAME}_{VERSION}-1_{arch}.deb")),
    );
    expected.extend(
        ["x86_64", "aarch64", "armv7hl", "riscv64"]
            .map(|arch| format!("{NAME}-{VERSION}-1.{arch}.rpm")),
    );
    expected
        .extend(["amd64", "arm64"].map(|arch| format!("{NAME}-{VERSION}-container-{arch}.tar")));
    expected.extend(
        [".cdx.json", "-tls.cdx.json", "-licences.txt"].map(|end| format!("{NAME}-{VERSION}{end}")),
    );
    let entries = fs::read_dir(folder_of_files()).unwrap();
    let found: BTreeSet<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(found, expected);

    let sums = says(
        Command::new("sha256sum").args(["--check", "SHA256SUMS"]).current_dir(folder_of_files()),
    );
    assert_eq!(sums.matches(": OK").count(), expected.len() - 1, "{sums}");
}

#[test]
#[ignore = "needs EXPORTER_RELEASE and Debian's lintian"]
fn the_debs_hold_what_they_should_and_lintian_finds_no_fault() {
    for (arch, target) in ["amd64", "arm64", "armhf", "riscv64"].into_iter().zip(TARGETS) {
        let deb = file("_", &format!("-1_{arch}.deb"));
        let root = folder();
        says(Command::new("dpkg-deb").arg("--raw-extract").args([&deb, &root]));
        let mut expected: BTreeSet<String> = INSTALLED.map(str::to_owned).into();
        expected.extend(
            ["copyright", "changelog.Debian.gz"]
                .map(|file| format!("/usr/share/doc/{NAME}/{file}")),
        );
        expected.insert(format!("/usr/share/lintian/overrides/{NAME}"));
        assert_eq!(files(&root), expected);
        let read = |file: &str| fs::read_to_string(root.join(file)).unwrap();
        // What an upgrade never overwrites.
        assert_eq!(read("DEBIAN/conffiles").trim(), INSTALLED[0]);
        let control = read("DEBIAN/control");
        for line in [format!("Architecture: {arch}"), "Depends: procps".to_owned()] {
            assert!(control.lines().any(|other| other == line), "{line}: {control}");
        }
        let unit = read(INSTALLED[2].trim_start_matches('/'));
        assert!(unit.contains(&format!("\nExecStart={} $ARGS\n", INSTALLED[1])), "{unit}");

        let program = fs::read(root.join(INSTALLED[1].trim_start_matches('/'))).unwrap();
        assert!(program == fs::read(with_tls(target)).unwrap(), "{arch}");

        let mut lintian = Command::new("lintian");
        says(lintian.args(["--allow-root", "--fail-on", "error,warning"]).arg(&deb));
    }
}

/// The files under a root, but not those of the package's control.
fn files(root: &Path) -> BTreeSet<String> {
    let list = says(Command::new("find").args([".", "-type", "f"]).current_dir(root));
    let paths = list.lines().map(|path| path.trim_start_matches('.').to_owned());
    paths.filter(|path| !path.starts_with("/DEBIAN/")).collect()
}

/// A root with a shell for the package's scripts, and a systemctl that writes down what it is
/// asked.
fn root_for_rpm() -> PathBuf {
    let root = folder();
    for folder in ["bin", "run/systemd/system"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    copy_program("/bin/busybox", root.join("bin/busybox"));
    for applet in ["sh", "rmdir"] {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    let systemctl = root.join("bin/systemctl");
    fs::write(&systemctl, "#!/bin/sh\necho \"$*\" >>/asked\n").unwrap();
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    root
}

#[test]
#[ignore = "needs root, EXPORTER_RELEASE, the tools of contrib/release-tools in PATH, Debian's rpm and busybox-static"]
fn the_rpm_is_installed_upgraded_and_removed() {
    let root = root_for_rpm();
    let rpm = |arguments: &[&str]| {
        let mut rpm = Command::new("rpm");
        rpm.arg("--root").arg(&root).args(arguments).output().unwrap()
    };
    // What systemctl was asked since the last time.
    let asked = || {
        let asked = fs::read_to_string(root.join("asked")).unwrap();
        fs::write(root.join("asked"), "").unwrap();
        asked.replace(&format!(" {NAME}.service"), "")
    };
    let package = file("-", "-1.x86_64.rpm");
    let package = package.to_str().unwrap();
    let settings = root.join("etc/default").join(NAME);

    let refused = rpm(&["--install", package]);
    assert!(!refused.status.success());
    let refused = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.contains("procps-ng is needed by"), "{refused}");
    let installed = rpm(&["--install", "--nodeps", package]);
    assert!(installed.status.success(), "{installed:?}");
    assert_eq!(asked(), "daemon-reload\npreset\n");
    let listed = rpm(&["--query", "--list", NAME]).stdout;
    let listed: BTreeSet<String> =
        String::from_utf8(listed).unwrap().lines().map(str::to_owned).collect();
    let mut expected: BTreeSet<String> = INSTALLED.map(str::to_owned).into();
    expected.insert(format!("/usr/share/licenses/{NAME}/LICENSE"));
    assert_eq!(listed, expected);
    assert!(rpm(&["--verify", "--nodeps", NAME]).stdout.is_empty());
    let program = root.join(INSTALLED[1].trim_start_matches('/'));
    assert!(fs::read(program).unwrap() == fs::read(with_tls(TARGETS[0])).unwrap());
    let version = says(Command::new("chroot").arg(&root).args([INSTALLED[1], "--version"]));
    assert!(version.contains(VERSION), "{version}");

    let edited = "EXPORTER_LISTEN_PORT=9840\n";
    fs::write(&settings, edited).unwrap();
    let newer = folder();
    let mut build = Command::new("contrib/packages/build");
    says(build.arg(&newer).env("REVISION", "2"));
    let newer = newer.join(format!("{NAME}-{VERSION}-2.x86_64.rpm"));
    let upgraded = rpm(&["--upgrade", "--nodeps", newer.to_str().unwrap()]);
    assert!(upgraded.status.success(), "{upgraded:?}");
    assert_eq!(asked(), "daemon-reload\ndaemon-reload\ntry-restart\n");
    assert_eq!(fs::read_to_string(&settings).unwrap(), edited);

    let removed = rpm(&["--erase", NAME]);
    assert!(removed.status.success(), "{removed:?}");
    assert_eq!(asked(), "disable --now\ndaemon-reload\n");
    assert_eq!(fs::read_to_string(settings.with_extension("rpmsave")).unwrap(), edited);
    let left =
        says(Command::new("find").args([".", "-name", &format!("{NAME}*")]).current_dir(&root));
    assert_eq!(left.trim(), format!("./etc/default/{NAME}.rpmsave"));
}

#[test]
#[ignore = "needs EXPORTER_RELEASE"]
fn the_bill_of_materials_and_the_licences_name_every_crate() {
    for (end, features) in [(".cdx.json", ""), ("-tls.cdx.json", "tls")] {
        let linked = crates(TARGETS[0], features);
        assert!(linked.len() > 10, "{linked:?}");
        for target in TARGETS {
            assert_eq!(crates(target, features), linked, "{target}");
        }
        let text = fs::read_to_string(file("-", end)).unwrap();
        assert!(!text.contains(env!("CARGO_MANIFEST_DIR")), "{text}");
        let bill: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(bill["bomFormat"], "CycloneDX");
        assert_eq!(bill["metadata"]["component"]["version"], VERSION);
        let components = bill["components"].as_array().unwrap();
        let named: BTreeSet<String> = components
            .iter()
            .map(|one| {
                format!("{} {}", one["name"].as_str().unwrap(), one["version"].as_str().unwrap())
            })
            .collect();
        // It also names what runs in the compiler only: macros.
        assert!(named.is_superset(&linked), "{:?}", linked.difference(&named).collect::<Vec<_>>());
        assert!(components.iter().all(|one| one["licenses"].is_array()), "{text}");
        let licences = fs::read_to_string(file("-", "-licences.txt")).unwrap();
        for name in linked {
            assert!(licences.contains(&format!("\n== {name}\n")), "{name}");
        }
    }
}

/// Elsewhere, at another time, by somebody with another umask and time zone.
#[test]
#[ignore = "needs EXPORTER_RELEASE, what contrib/release needs, and a minute"]
fn the_same_commit_gives_the_same_bits() {
    let clone = folder();
    says(Command::new("git").args(["clone", "--quiet", env!("CARGO_MANIFEST_DIR")]).arg(&clone));
    let again = folder();
    let mut make = Command::new("sh");
    make.args(["-c", "umask 077 && exec contrib/release \"$@\"", "sh"]).arg(&again).arg(TARGETS[0]);
    says(make.current_dir(&clone).env("TZ", "Asia/Tokyo").env("LC_ALL", "C"));
    let mut compared = 0;
    for entry in fs::read_dir(&again).unwrap() {
        let name = entry.unwrap().file_name();
        if name != "SHA256SUMS" {
            let [first, second] =
                [folder_of_files(), again.clone()].map(|folder| fs::read(folder.join(&name)));
            assert!(first.unwrap() == second.unwrap(), "{name:?}");
            compared += 1;
        }
    }
    assert_eq!(compared, 8);
}

#[test]
#[ignore = "needs what contrib/release needs"]
fn what_is_missing_ends_it_with_a_message_and_no_file() {
    for (compiler, target, message) in [
        ("no-such-compiler", TARGETS[0], "there is no no-such-compiler"),
        ("clang", "wasm32-unknown-unknown", "the compiler has no library for wasm32"),
    ] {
        let folder = folder();
        let mut make = Command::new("contrib/release");
        let output = make.arg(&folder).arg(target).env("CC", compiler).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.lines().last().unwrap().contains(message), "{said}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
}

/// What registries, containerd and Podman read of it, and what Docker does.
#[test]
#[ignore = "needs EXPORTER_RELEASE"]
fn the_images_are_oci_archives_of_the_program_with_tls() {
    for (arch, target) in ["amd64", "arm64"].into_iter().zip(TARGETS) {
        let root = folder();
        says(
            Command::new("tar").arg("--extract").arg("--file").arg(image(arch)).current_dir(&root),
        );
        let read = |path: &str| -> Value {
            serde_json::from_slice(&fs::read(root.join(path)).unwrap()).unwrap()
        };
        let blob = |described: &Value| {
            let digest = described["digest"].as_str().unwrap().replace(':', "/");
            let path = format!("blobs/{digest}");
            let sum = says(Command::new("sha256sum").arg(root.join(&path)));
            assert!(sum.starts_with(digest.rsplit('/').next().unwrap()), "{sum}");
            let size = fs::metadata(root.join(&path)).unwrap().len();
            assert_eq!(described["size"], size, "{described}");
            path
        };
        assert_eq!(read("oci-layout")["imageLayoutVersion"], "1.0.0");
        let manifest = read(&blob(&read("index.json")["manifests"][0]));
        let (config, layer) = (blob(&manifest["config"]), blob(&manifest["layers"][0]));
        assert_eq!(read(&config)["architecture"], arch);
        let of_docker = &read("manifest.json")[0];
        let tag = format!("what-active-users-exporter:{VERSION}");
        assert_eq!(*of_docker, json!({"Config": config, "RepoTags": [tag], "Layers": [layer]}));

        says(
            Command::new("tar").args(["--extract", "--gzip", "--file", &layer]).current_dir(&root),
        );
        let program = fs::read(root.join("usr/bin").join(NAME)).unwrap();
        assert!(program == fs::read(with_tls(target)).unwrap(), "{arch}");
    }
}

/// Within a twentieth, so that they are right but need no change with each line of code.
#[test]
#[ignore = "needs EXPORTER_RELEASE"]
fn the_sizes_that_are_documented_are_those_of_the_release() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/static/README.md");
    let text = fs::read_to_string(path).unwrap();
    for target in TARGETS {
        let row = text.lines().find(|line| line.starts_with(&format!("| `{target}` | "))).unwrap();
        let figures = row.split(" | ").skip(1).map(|cell| cell.replace(',', "").parse::<f64>());
        for (figure, end) in figures.take(2).zip(["", "-tls"]) {
            let size = fs::metadata(file("-", &format!("-{target}{end}"))).unwrap().len() as f64;
            let ratio = size / figure.unwrap();
            assert!((0.95..1.05).contains(&ratio), "{target}{end}: {size} bytes: {row}");
        }
    }
}
