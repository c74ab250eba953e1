//! The files that run the exporter on servers and in containers, and what a container hides from `w`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "program/harness.rs"]
#[allow(dead_code)]
mod harness;
#[path = "real/sshd.rs"]
#[allow(dead_code)]
mod sshd;

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use harness::{Exporter, PROGRAM, folder, run, samples, until};
use sshd::Sshd;

fn contrib(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("contrib").join(file)
}

const FILES: [&str; 6] = [
    "systemd/prometheus-what-active-users-exporter.service",
    "openrc/prometheus-what-active-users-exporter",
    "openrc/prometheus-what-active-users-exporter.confd",
    "container/Dockerfile",
    "container/compose.yaml",
    "kubernetes/daemonset.yaml",
];

#[test]
fn every_flag_and_variable_in_them_exists() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    let words = |text: &str| -> BTreeSet<String> {
        let separator = |char: char| !(char.is_ascii_alphanumeric() || "_-.".contains(char));
        let named = |word: &&str| {
            word.starts_with("EXPORTER_") || (word.starts_with("--") && word.contains('.'))
        };
        text.split(separator).filter(named).map(str::to_owned).collect()
    };
    let known = words(&help);
    let mut found = 0;
    for file in FILES {
        for word in words(&fs::read_to_string(contrib(file)).unwrap()) {
            assert!(known.contains(&word), "{file}: {word}");
            found += 1;
        }
    }
    assert!(found >= 3, "{found}");
}

#[test]
#[ignore = "needs Debian's systemd, shellcheck and python3-yaml"]
fn they_are_accepted_by_what_reads_them() {
    let folder = folder();
    let unit = folder.join("prometheus-what-active-users-exporter.service");
    let text = fs::read_to_string(contrib(FILES[0])).unwrap();
    // The program is not installed where the unit has it.
    fs::write(&unit, text.replace("/usr/local/bin/prometheus-what-active-users-exporter", PROGRAM))
        .unwrap();
    let says = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(says(Command::new("systemd-analyze").arg("verify").arg(&unit)), "");
    let threshold = ["security", "--offline=true", "--threshold=20", "--no-pager"];
    let score = says(Command::new("systemd-analyze").args(threshold).arg(&unit));
    println!("{}", score.lines().last().unwrap());

    says(Command::new("shellcheck").args(["-s", "sh"]).arg(contrib(FILES[1])));
    let scripts = [
        contrib("release"),
        contrib("static/build"),
        contrib("static/toolchain"),
        contrib("../.ci/run"),
    ];
    says(Command::new("shellcheck").args(scripts));
    for file in [FILES[4], FILES[5]] {
        says(
            Command::new("python3")
                .args(["-c", "import sys, yaml; yaml.safe_load(open(sys.argv[1]))"])
                .arg(contrib(file)),
        );
    }
}

/// The exporter behind a script that hides something, in a mount namespace of its own.
fn hidden_behind(script: &str, namespaces: &[&str]) -> Exporter {
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--kill-child", "--fork"]).args(namespaces);
    Exporter::start(unshare.args(["sh", "-c", &format!("{script}\nexec \"$@\""), "sh", PROGRAM]))
}

#[test]
#[ignore = "needs root, Debian's openssh-server and procps"]
fn what_a_container_hides_each_gives_a_sign() {
    let sshd = Sshd::start();
    let login = sshd.login(&sshd.user("hidden"));
    let reported = |metrics: &str| -> u32 {
        let line = samples(metrics, "users_reported").pop().unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let sessions = |metrics: &str| samples(metrics, "each_session_currently_active").len();

    // No files of the host's: an empty host, but for one who knows better.
    let exporter = hidden_behind("mount -t tmpfs none /run", &[]);
    let metrics = exporter.metrics();
    println!("no files: users_reported {}, sessions {}", reported(&metrics), sessions(&metrics));
    assert_eq!((reported(&metrics), sessions(&metrics)), (0, 0));

    // No processes of the host's; none of another user.
    let nobody = "mount -t proc -o hidepid=2 none /proc; set -- setpriv --pdeathsig KILL --reuid=65534 --regid=65534 --clear-groups \"$@\"";
    for (name, script, namespaces) in
        [("other PIDs", "", &["--pid", "--mount-proc"][..]), ("hidepid", nobody, &[][..])]
    {
        let exporter = hidden_behind(script, namespaces);
        let metrics = exporter.metrics();
        println!("{name}: users_reported {}, sessions {}", reported(&metrics), sessions(&metrics));
        assert!(reported(&metrics) >= 1 && sessions(&metrics) == 0, "{name}: {metrics}");
        until("the remedy in the log", || exporter.log().len() == 2);
        assert!(
            exporter.log()[1].contains("give it the host's PID namespace"),
            "{:?}",
            exporter.log()
        );
    }
    drop(login);
}
