//! What `contrib/fleet` makes here, and how it goes on where a host fails, with stubs for ssh and
//! curl. `booted` tries it with a real host.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::harness::{folder, write_script};

/// Someone's folder, with programs that say what they were asked, and fail for hosts called `down`.
struct Fleet {
    folder: PathBuf,
}

impl Fleet {
    fn new() -> Fleet {
        let fleet = Fleet { folder: folder() };
        fs::create_dir(fleet.folder.join("bin")).unwrap();
        fs::write(fleet.folder.join("package.deb"), "").unwrap();
        fleet.put("ssh", "cat >/dev/null; echo \"ssh $*\" >>asked\ncase $* in *@down*) echo 'ssh: no route to host' >&2; exit 255; esac");
        fleet.put("curl", "echo \"curl $*\" >>asked");
        fleet
    }

    fn put(&self, program: &str, script: &str) {
        write_script(&self.folder.join("bin").join(program), &format!("#!/bin/sh\n{script}\n"));
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let bin = self.folder.join("bin");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/fleet")).args(arguments);
        command.current_dir(&self.folder).env("PATH", path).output().unwrap()
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.folder.join(file)).unwrap()
    }

    fn targets(&self) -> Vec<String> {
        self.read("targets/tls/fleet.yml").lines().map(str::to_owned).collect()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8([output.stdout.as_slice(), &output.stderr].concat()).unwrap()
}

#[test]
fn without_a_package_or_a_host_it_says_how_it_is_called_and_makes_nothing() {
    let fleet = Fleet::new();
    for arguments in [
        &[][..],
        &["package.deb"],
        &["no-such.deb", "web1"],
        &["package.deb", "-v"],
        &["web1", "web2"],
    ] {
        let output = fleet.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {output:?}");
        let said = said(&output);
        assert!(said.contains("fleet PACKAGE.deb HOST...") && said.lines().count() == 1, "{said}");
    }
    let mut left: Vec<_> =
        fs::read_dir(&fleet.folder).unwrap().map(|entry| entry.unwrap()).collect();
    left.sort_by_key(fs::DirEntry::file_name);
    let left: Vec<_> = left.iter().map(fs::DirEntry::file_name).collect();
    assert_eq!(left, ["bin", "package.deb"]);
}

#[test]
#[ignore = "needs openssl"]
fn another_call_adds_hosts_and_keeps_those_that_are_there() {
    let fleet = Fleet::new();
    assert!(fleet.run(&["package.deb", "web1", "192.0.2.7"]).status.success());
    // Somebody gives one a label, and leaves out the last line end.
    let edited =
        "- targets: [\"web1:9839\"]\n  labels: { role: web }\n- targets: [\"192.0.2.7:9839\"]";
    fs::write(fleet.folder.join("targets/tls/fleet.yml"), edited).unwrap();
    let more = ["package.deb", "web2", "web1", "2001:db8::7", "[2001:db8::8]", "web2", "b1"];
    let output = fleet.run(&more);
    assert!(output.status.success(), "{output:?}");
    let expected = [
        "- targets: [\"web1:9839\"]",
        "  labels: { role: web }",
        "- targets: [\"192.0.2.7:9839\"]",
        "- targets: [\"web2:9839\"]",
        "- targets: [\"[2001:db8::7]:9839\"]",
        "- targets: [\"[2001:db8::8]:9839\"]",
        "- targets: [\"b1:9839\"]",
    ];
    assert_eq!(fleet.targets(), expected);
}

#[test]
#[ignore = "needs openssl"]
fn a_host_that_fails_does_not_keep_the_others_from_theirs() {
    let fleet = Fleet::new();
    let output = fleet.run(&["package.deb", "down1", "web1", "down2", "web2"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = said(&output);
    assert!(said.contains("ssh: no route to host\n"), "{said}");
    for host in ["web1", "web2"] {
        assert!(said.contains(&format!("{host}: installed, and answers over TLS\n")), "{said}");
    }
    assert!(said.ends_with("fleet: failed: down1 down2\n"), "{said}");
    // It is to be watched, and Prometheus says that it does not answer.
    assert_eq!(fleet.targets().len(), 4);
}

#[test]
#[ignore = "needs openssl"]
fn an_ipv6_address_has_brackets_where_a_port_follows_and_only_there() {
    let fleet = Fleet::new();
    let output = fleet.run(&["package.deb", "[2001:db8::7]"]);
    assert!(output.status.success(), "{output:?}");
    let asked = fleet.read("asked");
    assert!(asked.contains(" root@2001:db8::7 ") && asked.contains(" https://[2001:db8::7]:9839/"));
    // On 0.0.0.0 it would have no answer for IPv6.
    assert!(asked.contains("EXPORTER_LISTEN_HOST=[::]"), "{asked}");
}

#[test]
#[ignore = "needs openssl"]
fn only_keys_are_private_whatever_the_umask() {
    let fleet = Fleet::new();
    assert!(fleet.run(&["package.deb", "web1"]).status.success());
    for (file, mode) in [
        ("what-ca.key", 0o600),
        ("what-client.key", 0o600),
        ("what-ca.crt", 0o644),
        ("what-client.crt", 0o644),
        ("targets", 0o755),
        ("targets/tls", 0o755),
        ("targets/tls/fleet.yml", 0o644),
    ] {
        let found = fs::metadata(fleet.folder.join(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{file}: {found:o}");
    }
}

/// Also nothing half made is left, which a later call would take for whole.
#[test]
fn what_openssl_says_is_shown() {
    let fleet = Fleet::new();
    fleet.put("openssl", "echo 'openssl: out of entropy' >&2; exit 1");
    let output = fleet.run(&["package.deb", "web1"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said(&output).contains("openssl: out of entropy\n"), "{output:?}");
    assert!(!fleet.folder.join("what-ca.key").exists() && !fleet.folder.join("asked").exists());
}
