//! Starts the program, talks to it, and ends it.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{
        Arc, Once,
        atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use nix::sys::signal::SigSet;
use signal_hook::{consts::SIGCHLD, flag};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_prometheus-what-active-users-exporter");

/// Longer than anything takes that succeeds.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The time within which something is promised. It is held against the clock where
/// `EXPORTER_BINARY` is set, as CI does for tests that have the machine for themselves. Beside
/// other tests it is enough that it happens, and long before what must not be waited for.
pub fn promised(time: Duration) -> Duration {
    if std::env::var_os("EXPORTER_BINARY").is_some() { time } else { PATIENCE }
}

/// Measures time, less that in which the machine ran nothing of this process, as when its host runs
/// other machines. A thread that sleeps for a moment and wakes late notices it. To be late by less
/// than a tenth of a second, as beside busy processes, counts as the exporter's time.
pub struct Stopwatch {
    began: Instant,
    stalled: Duration,
}

impl Stopwatch {
    pub fn start() -> Stopwatch {
        Stopwatch { began: Instant::now(), stalled: stalled() }
    }

    /// The time since the start. Only if it is not below the bound, it is worth a moment to find out
    /// how much of it to leave out.
    pub fn took(&self, bound: Duration) -> Duration {
        let took = self.began.elapsed();
        if took < bound {
            return took;
        }
        // The other thread may wake later than this one.
        thread::sleep(STALL_NAP * 4);
        took.saturating_sub(stalled() - self.stalled)
    }
}

const STALL_NAP: Duration = Duration::from_millis(5);

/// How long this process has been stalled since the first call.
fn stalled() -> Duration {
    static MICROSECONDS: AtomicU64 = AtomicU64::new(0);
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        thread::spawn(|| {
            loop {
                let began = Instant::now();
                thread::sleep(STALL_NAP);
                let late = began.elapsed().saturating_sub(STALL_NAP);
                if late > Duration::from_millis(100) {
                    MICROSECONDS.fetch_add(late.as_micros() as u64, Ordering::Relaxed);
                }
            }
        });
    });
    Duration::from_micros(MICROSECONDS.load(Ordering::Relaxed))
}

/// A table of three sessions, as Debian 12's `w -i` prints it.
pub const TABLE: &str = "\
 00:17:39 up  1:25,  3 users,  load average: 2.72, 2.33, 1.90
USER     TTY      FROM             LOGIN@   IDLE   JCPU   PCPU WHAT
alice    pts/0    203.0.113.7      00:16    1:13   0.02s   ?    vim notes.txt
alice    pts/5    tmux(1234).%0    Sat19    3days  0.00s   ?    -bash
root     tty1     -                15Oct26  3:26m  0.00s   ?    /usr/bin/mysql -psecret
";

/// The table with the current time, as `w` would print it.
fn table_of_now() -> String {
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    TABLE.replace("00:17:39", &format!("{hour:02}:{minute:02}:{second:02}"))
}

/// The path of a fixture.
pub fn fixture(name: &str) -> String {
    format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A file that users install.
pub fn contrib_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib").join(name)
}

/// What a file of `contrib` says.
pub fn contrib(name: &str) -> String {
    let path = contrib_path(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A new folder for this test. It stays, so that a failure can be examined, until tests are run a
/// day later.
pub fn folder() -> PathBuf {
    reset_signals();
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    static REMOVED: Once = Once::new();
    let all = Path::new(env!("CARGO_TARGET_TMPDIR"));
    REMOVED.call_once(|| remove_old_folders(all));
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = all.join(format!("{}-{number}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Removes what `folder` made more than a day ago.
fn remove_old_folders(all: &Path) {
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let is_numbered = |name: &str| {
            name.split_once('-').is_some_and(|(process, number)| {
                process.parse::<u32>().is_ok() && number.parse::<u32>().is_ok()
            })
        };
        let age = entry.metadata().and_then(|metadata| metadata.modified()).map(|at| at.elapsed());
        let is_old = age.is_ok_and(|age| age.is_ok_and(|age| age > Duration::from_secs(86_400)));
        if is_old && entry.file_name().to_str().is_some_and(is_numbered) {
            // Another test process may be removing it too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Writes an executable script. Another process writes it, because a process that is forked at this
/// moment would inherit the open file, and a file that is open for writing cannot be executed.
pub fn write_script(path: &Path, script: &str) {
    let mut install = Command::new("sh");
    install.args(["-c", "printf %s \"$0\" >\"$1\" && chmod 755 \"$1\"", script]).arg(path);
    assert!(install.status().unwrap().success());
}

/// Copies a program. Another process does it, for the same reason.
pub fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let mut copy = Command::new("cp");
    copy.arg("-p").arg(from.as_ref()).arg(to.as_ref());
    assert!(copy.status().unwrap().success(), "{}", to.as_ref().display());
}

/// Runs a script of the shell in a folder. It must succeed.
pub fn sh(folder: &Path, script: &str) {
    let output = Command::new("sh").args(["-c", script]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A fake `w`: a shell script in which `$DIR` is its folder and `$TABLE` a file with the table.
/// Each run appends a line to the file `runs` in the folder.
pub struct FakeW {
    pub folder: PathBuf,
}

impl FakeW {
    pub fn new(script: &str) -> FakeW {
        let folder = folder();
        fs::write(folder.join("table"), table_of_now()).unwrap();
        let fake = FakeW { folder };
        fake.becomes(script);
        fake
    }

    /// Replaces the script.
    pub fn becomes(&self, script: &str) {
        let folder = self.folder.display();
        let text = format!("DIR={folder}\nTABLE={folder}/table\necho run >>$DIR/runs\n{script}\n");
        fs::write(self.folder.join("new"), text).unwrap();
        fs::rename(self.folder.join("new"), self.folder.join("w")).unwrap();
    }

    pub fn command(&self) -> String {
        format!("sh {}/w", self.folder.display())
    }

    pub fn runs(&self) -> usize {
        self.read("runs").lines().count()
    }

    /// A file that the script wrote; empty if it did not.
    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.folder.join(file)).unwrap_or_default()
    }
}

/// The program, without the environment variables of the person who runs the test.
pub fn program() -> Command {
    without_variables(Command::new(PROGRAM))
}

/// The same, killed with status 124 if it runs for more than 20 s.
pub fn short_lived_program() -> Command {
    let mut command = Command::new("timeout");
    command.args(["20", PROGRAM]);
    without_variables(command)
}

/// What a service manager sets for whatever runs the tests.
const OF_A_SERVICE_MANAGER: [&str; 2] = ["NOTIFY_SOCKET", "JOURNAL_STREAM"];

/// Undoes what whoever runs the tests may have set. The programs that this thread starts inherit the
/// signals that it blocks: `timeout` could not be stopped. With SIGCHLD ignored, no status of a
/// program could be had.
fn reset_signals() {
    static CAUGHT: Once = Once::new();
    SigSet::empty().thread_set_mask().unwrap();
    // Any handler does. Programs do not inherit it.
    CAUGHT.call_once(|| {
        flag::register(SIGCHLD, Arc::new(AtomicBool::new(false))).unwrap();
    });
}

/// The command, without the exporter's variables, without those of a service manager, and without
/// input.
pub fn without_variables(mut command: Command) -> Command {
    reset_signals();
    for name in OF_A_SERVICE_MANAGER {
        command.env_remove(name);
    }
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("EXPORTER_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs the program until it exits, or for 20 s.
pub fn run(arguments: &[&str]) -> Output {
    short_lived_program().args(arguments).output().unwrap()
}

/// The output of `--once`.
pub fn once(arguments: &[&str]) -> String {
    let output = short_lived_program().arg("--once").args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The program, serving.
pub struct Exporter {
    pub child: Child,
    pub address: String,
    /// Its standard error is a file and not a pipe, so lines that were logged before an answer can
    /// be read after the answer.
    log: PathBuf,
}

impl Exporter {
    /// Serves the output of a `w` on a free port.
    pub fn of(w: &str, arguments: &[&str]) -> Exporter {
        Exporter::start(program().args(["--w.command", w]).args(arguments))
    }

    pub fn start(command: &mut Command) -> Exporter {
        Exporter::start_or_end(command).unwrap_or_else(|(status, log)| panic!("{status}: {log}"))
    }

    /// Starts it. Returns its status and its log if it exits before it listens.
    pub fn start_or_end(command: &mut Command) -> Result<Exporter, (ExitStatus, String)> {
        let log = folder().join("log");
        command.args(["--listen.port", "0"]).stderr(File::create(&log).unwrap());
        let mut exporter =
            Exporter { child: command.spawn().unwrap(), address: String::new(), log };
        let mut ended = None;
        until("it listens or ends", || {
            // In this order, so that all lines that it logged are in the file.
            ended = exporter.child.try_wait().unwrap();
            exporter.address =
                exporter.log().iter().find_map(|line| address(line)).unwrap_or_default();
            ended.is_some() || !exporter.address.is_empty()
        });
        match ended {
            Some(status) => Err((status, fs::read_to_string(&exporter.log).unwrap())),
            None => Ok(exporter),
        }
    }

    /// Starts it with the standard error that the command has. So what it logs cannot be read here,
    /// and it listens on a port that is free now.
    pub fn start_unlogged(command: &mut Command) -> Exporter {
        let address = free_address();
        let (_, port) = address.rsplit_once(':').unwrap();
        let child = command.args(["--listen.port", port]).spawn().unwrap();
        let exporter = Exporter { child, address, log: PathBuf::new() };
        until("it listens", || TcpStream::connect(&exporter.address).is_ok());
        exporter
    }

    /// The lines that it has logged.
    pub fn log(&self) -> Vec<String> {
        let log = fs::read_to_string(&self.log).unwrap();
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        whole.lines().map(str::to_owned).collect()
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    }

    /// Sends these bytes, and reads to the end of the connection.
    pub fn ask(&self, request: &str) -> Answer {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        Answer::read_to_end(&mut stream)
    }

    pub fn metrics(&self) -> String {
        let answer = self.get("/metrics");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// Bytes of requests that it has received and not read yet (`/proc/net/tcp`).
    pub fn unread_bytes(&self) -> u64 {
        let (_, port) = self.address.rsplit_once(':').unwrap();
        let local = format!(":{:04X}", port.parse::<u16>().unwrap());
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        // 01 is an established connection.
        let own = lines.filter(|fields| fields[1].ends_with(&local) && fields[3] == "01");
        let unread = own.map(|fields| fields[4].split_once(':').unwrap().1.to_owned());
        unread.map(|bytes| u64::from_str_radix(&bytes, 16).unwrap()).sum()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processor's time that it has used, in ticks of 10 ms, user and system.
    #[cfg(feature = "tls")]
    pub fn ticks(&self) -> u32 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u32>().unwrap()).sum()
    }

    /// A figure of `/proc/PID/status`.
    pub fn status(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line =
            status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Its children, including zombies.
    pub fn children(&self) -> String {
        children(&self.pid().to_string())
    }

    pub fn signal(&self, name: &str) {
        assert!(signal(name, &self.pid().to_string()), "it is gone");
    }

    /// Waits for its exit. Returns its status and the time that it took.
    pub fn end(&mut self) -> (Option<i32>, Duration) {
        let began = Stopwatch::start();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), began.took(Duration::ZERO));
            }
            assert!(began.took(PATIENCE) < PATIENCE, "it does not end");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// A port on which nobody listens. The system gives it to no one who asks for any port, and no other
/// test of this process gets it, so it is still free a moment later.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        // Other processes may run tests at the same time.
        let first = 16_000 + (std::process::id() % 100) as u16 * 160;
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 160;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// An address on which nobody listens.
pub fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}

/// The address in the line that says where it listens.
fn address(line: &str) -> Option<String> {
    let (_, url) = line.split_once(" listens on http")?;
    let (_, address) = url.split_once("://")?;
    Some(address.split('/').next()?.to_owned())
}

impl Drop for Exporter {
    /// SIGTERM first, so that the exporter kills a `w` that still runs. If a test starts it with
    /// unshare, which ignores the signal, the exporter is a child.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            signal("TERM", &format!("{} {}", self.pid(), self.children()));
        }
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(2) && matches!(self.child.try_wait(), Ok(None))
        {
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The children of a process, including zombies.
pub fn children(process: &str) -> String {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let of_task =
        |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).unwrap_or_default();
    tasks.flatten().map(of_task).collect()
}

/// Sends a signal to processes, separated by blanks, or to a group if the number has a minus.
/// Returns whether all exist.
pub fn signal(name: &str, target: &str) -> bool {
    let mut kill = Command::new("sh");
    kill.args(["-c", "kill -s \"$0\" -- $1", name, target]).stderr(Stdio::null());
    kill.status().unwrap().success()
}

/// Waits until a program of the test is ready. It must not end before, as it does if its port has
/// been taken meanwhile.
pub fn until_ready(
    what: &str,
    process: &mut Child,
    log: &Path,
    mut is_ready: impl FnMut() -> bool,
) {
    until(what, || {
        let ended = process.try_wait().unwrap();
        assert!(ended.is_none(), "{what}: {}", fs::read_to_string(log).unwrap_or_default());
        is_ready()
    });
}

/// Waits until a condition is true.
pub fn until(what: &str, is_so: impl FnMut() -> bool) {
    within(PATIENCE, what, is_so);
}

/// Waits until a condition is true, for at most this time.
pub fn within(time: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < time, "not in time: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The samples of an answer whose names begin with this, without `what_`.
pub fn samples(metrics: &str, name: &str) -> Vec<String> {
    let lines = metrics.lines().filter_map(|line| line.strip_prefix("what_"));
    lines.filter(|line| line.starts_with(name)).map(str::to_owned).collect()
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// Asks for a path. `None` if the other end goes away before it answers.
    pub fn to_get(mut stream: TcpStream, path: &str) -> Option<Answer> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        stream.peek(&mut [0]).ok().filter(|&bytes| bytes > 0)?;
        Some(Answer::read_to_end(&mut stream))
    }

    /// Reads until the connection is closed.
    pub fn read_to_end(stream: &mut impl Read) -> Answer {
        let mut bytes = Vec::new();
        // A reset after the answer also ends it.
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) =
            text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    /// Reads one answer on a persistent connection.
    pub fn read_one(stream: &mut impl Read) -> Answer {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let mut answer = Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.trim_end().to_owned(),
            body: String::new(),
        };
        let mut body = vec![0; answer.header("Content-Length").unwrap().parse().unwrap()];
        stream.read_exact(&mut body).unwrap();
        answer.body = String::from_utf8(body).unwrap();
        answer
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.split("\r\n").filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}
