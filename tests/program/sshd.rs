//! An sshd on loopback with keys and users for the test, and logins with a terminal.

use std::{
    fs::{self, File},
    io::Read,
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::harness::{PATIENCE, folder, free_port, until_ready};

pub struct Sshd {
    process: Child,
    folder: PathBuf,
    /// The users' public key, where every user can read it.
    keys: PathBuf,
    port: u16,
    users: Mutex<Vec<String>>,
}

/// A session; ends when dropped.
pub struct Login(Child);

fn ran(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Sshd {
    pub fn start() -> Sshd {
        let folder = folder();
        for key in ["host", "user"] {
            ran(Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(folder.join(key)));
        }
        // sshd reads a user's keys with the user's privileges.
        let keys = PathBuf::from(format!(
            "/etc/ssh/what-test-{}.pub",
            folder.file_name().unwrap().to_string_lossy()
        ));
        fs::copy(folder.join("user.pub"), &keys).unwrap();
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o644)).unwrap();
        fs::rename(folder.join("user.pub"), folder.join("moved")).unwrap();
        fs::create_dir_all("/run/sshd").unwrap();
        if !PathBuf::from("/run/utmp").exists() {
            File::create("/run/utmp").unwrap();
        }
        let port = free_port();
        let options = [
            format!("Port={port}"),
            "ListenAddress=127.0.0.1".to_owned(),
            format!("HostKey={}", folder.join("host").display()),
            format!("AuthorizedKeysFile={}", keys.display()),
            "UsePAM=no".to_owned(),
            "UseDNS=no".to_owned(),
            "PidFile=none".to_owned(),
            "PasswordAuthentication=no".to_owned(),
            "PrintMotd=no".to_owned(),
            "PrintLastLog=no".to_owned(),
        ];
        let log = folder.join("sshd.log");
        let output = File::create(&log).unwrap();
        let mut command = Command::new("/usr/sbin/sshd");
        command
            .args(["-D", "-e", "-f", "/dev/null"])
            .args(options.iter().flat_map(|option| ["-o", option]));
        let process = command.stdin(Stdio::null()).stderr(output).spawn().unwrap();
        let mut sshd = Sshd { process, folder, keys, port, users: Mutex::default() };
        until_ready("sshd", &mut sshd.process, &log, || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        sshd
    }

    /// Makes a user whose name begins with this. The user is removed with the sshd.
    pub fn user(&self, name: &str) -> String {
        let user = format!("{name}{}", self.port);
        self.users.lock().unwrap().push(user.clone());
        ran(Command::new("useradd").args([
            "--no-create-home",
            "--home-dir",
            "/",
            "--shell",
            "/bin/sh",
            "--password",
            "*",
            &user,
        ]));
        user
    }

    /// Logs in with a terminal, and waits until the command runs there.
    pub fn login(&self, user: &str) -> Login {
        let mut ssh = Command::new("ssh");
        ssh.args([
            "-tt",
            "-F",
            "/dev/null",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
        ]);
        ssh.args(["-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes", "-i"])
            .arg(self.folder.join("user"));
        ssh.args([
            "-p",
            &self.port.to_string(),
            &format!("{user}@127.0.0.1"),
            "echo in; sleep 1000",
        ]);
        let mut login = Login(ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
        let mut said = [0; 2];
        let read = login.0.stdout.as_mut().unwrap().read_exact(&mut said);
        let log = || fs::read_to_string(self.folder.join("sshd.log")).unwrap_or_default();
        assert!(read.is_ok() && &said == b"in", "no login: {}", log());
        login
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_file(&self.keys);
        let users = self.users.get_mut().unwrap_or_else(PoisonError::into_inner);
        for user in users {
            let quietly = |command: &mut Command| command.stderr(Stdio::null()).status();
            // Not in the containers of other tests, whose users can have the same number.
            let own = std::process::id().to_string();
            let here = ["--ns", &own, "--nslist", "pid", "-KILL", "-u", user];
            let _ = quietly(Command::new("pkill").args(here));
            // 8: a process of the user is still ending. 6: there is no such user. A panic here,
            // after a failed test, would end all tests.
            let began = Instant::now();
            while began.elapsed() < PATIENCE
                && quietly(Command::new("userdel").arg(&*user))
                    .is_ok_and(|status| status.code() == Some(8))
            {
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}
