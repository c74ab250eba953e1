//! Attacks an exporter while a well-behaved client scrapes it. Afterwards everything must be as
//! before.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::harness::{
    Exporter, PATIENCE, PROGRAM, Stopwatch, copy_program, promised, sh, within, without_variables,
};

/// The time within which everything must be as before.
pub fn recovery() -> Duration {
    promised(Duration::from_secs(5))
}

/// What must hold during an attack.
pub struct Bounds {
    /// The minimum duration at full force.
    pub time: Duration,
    /// The time within which a well-behaved client is answered.
    pub answered: Duration,
    /// The largest resident memory that is allowed.
    pub resident_mb: u64,
}

impl Bounds {
    /// The attackers' handshakes run on the same cores, on both sides.
    fn answered(&self) -> Duration {
        promised(self.answered) * if over_tls() { 4 } else { 1 }
    }
}

pub const USUAL: Bounds =
    Bounds { time: Duration::from_secs(2), answered: Duration::from_secs(1), resident_mb: 16 };

/// The exporter to attack, and until when.
pub struct Target {
    pub address: SocketAddr,
    on: AtomicBool,
    at_full_force: AtomicBool,
}

impl Target {
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// The attack's time begins here.
    pub fn full_force(&self) {
        self.at_full_force.store(true, Ordering::Relaxed);
    }

    /// Waits until the attack is over.
    pub fn hold(&self) {
        self.full_force();
        while self.is_on() {
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn connect(&self) -> Option<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, recovery()).ok()?;
        let limit = Some(Duration::from_millis(500));
        stream.set_write_timeout(limit).unwrap();
        stream.set_read_timeout(limit).unwrap();
        Some(stream)
    }
}

/// Ends the attack, also if an assertion fails during it.
struct EndsIt<'t>(&'t Target);

impl Drop for EndsIt<'_> {
    fn drop(&mut self) {
        self.0.on.store(false, Ordering::Relaxed);
    }
}

/// The binary under test.
pub fn binary_path() -> String {
    std::env::var("EXPORTER_BINARY").unwrap_or_else(|_| PROGRAM.to_owned())
}

/// The binary under test, with the usual limit of open files of a service.
pub fn binary() -> Command {
    let mut command = without_variables(Command::new("sh"));
    command.args(["-c", "ulimit -Sn 1024; exec \"$0\" \"$@\"", &binary_path()]);
    command
}

/// If `ATTACKS_OVER_TLS` is set, what a client sends reaches it over TLS.
pub fn exporter(w: &str, arguments: &[&str]) -> Exporter {
    let start = |more: &[&str]| {
        Exporter::start(binary().args(["--w.command", w]).args(arguments).args(more))
    };
    #[cfg(feature = "tls")]
    if over_tls() {
        return crate::tls::through_a_tunnel(start);
    }
    start(&[])
}

/// Whether clients of an attack speak TLS.
pub fn over_tls() -> bool {
    cfg!(feature = "tls") && std::env::var_os("ATTACKS_OVER_TLS").is_some()
}

/// One at a time, because two attacks would disturb each other's measurements.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Attacks one exporter until the time is over, and another one that is stopped during the attack.
pub fn siege(start: impl Fn() -> Exporter, bounds: &Bounds, attack: impl Fn(&Target) + Sync) {
    let _alone = alone();
    let exporter = start();
    let calm = Calm::of(&exporter);
    let mut worst = Duration::ZERO;
    let mut scrapes = 0;
    under(&exporter, &attack, |target| {
        let mut since = None;
        while since.is_none_or(|since: Instant| since.elapsed() < bounds.time) {
            if since.is_none() && target.at_full_force.load(Ordering::Relaxed) {
                since = Some(Instant::now());
            }
            let took = scrape(target.address, bounds.answered())
                .unwrap_or_else(|error| panic!("scrape {scrapes} during the attack: {error}"));
            worst = worst.max(took);
            scrapes += 1;
            thread::sleep(Duration::from_millis(20));
        }
    });
    let resident = exporter.status("VmHWM");
    println!("{scrapes} scrapes, the slowest in {worst:?}, {resident} KB resident at most");
    assert!(resident_is_bound(resident, bounds.resident_mb), "{resident} KB");
    calm.is_back(&exporter);
    drop(exporter);

    let mut exporter = start();
    let took = under(&exporter.address.clone(), &attack, |target| {
        within(PATIENCE, "full force", || target.at_full_force.load(Ordering::Relaxed));
        stops_at_once(&mut exporter)
    });
    println!("stopped in {took:?}");
}

pub fn resident_is_bound(kilobytes: u64, megabytes: u64) -> bool {
    // A debug binary is larger than a release binary.
    // rustls and the stack of a handshake take 50 KB for each of 256 connections.
    let megabytes = megabytes + if over_tls() { 16 } else { 0 };
    std::env::var_os("EXPORTER_BINARY").is_none() || kilobytes < megabytes * 1024
}

/// Where an exporter listens.
pub trait Address {
    fn address(&self) -> SocketAddr;
}

impl Address for Exporter {
    fn address(&self) -> SocketAddr {
        self.address.address()
    }
}

impl Address for String {
    fn address(&self) -> SocketAddr {
        self.parse().unwrap()
    }
}

/// Does something during an attack.
pub fn under<R>(
    address: &impl Address,
    attack: impl Fn(&Target) + Sync,
    meanwhile: impl FnOnce(&Target) -> R,
) -> R {
    let target = Target {
        address: address.address(),
        on: AtomicBool::new(true),
        at_full_force: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        scope.spawn(|| attack(&target));
        let _ends = EndsIt(&target);
        meanwhile(&target)
    })
}

/// Stops it. It must exit with status 0 within a second.
pub fn stops_at_once(exporter: &mut Exporter) -> Duration {
    let bound = promised(Duration::from_secs(1));
    let began = Stopwatch::start();
    exporter.signal("TERM");
    let (status, _) = exporter.end();
    let took = began.took(bound);
    assert_eq!(status, Some(0), "{:?}", exporter.log());
    assert!(took < bound, "{took:?}");
    took
}

/// Scrapes as Prometheus does, on a new connection.
pub fn scrape(address: SocketAddr, limit: Duration) -> Result<Duration, String> {
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let began = Stopwatch::start();
    // Longer, because the machine may stall.
    let answer = ask(address, request, limit * 2)?;
    let took = began.took(limit);
    if took > limit {
        return Err(format!("answered after {took:?}"));
    }
    let text = String::from_utf8(answer).unwrap();
    let (head, body) =
        text.split_once("\r\n\r\n").ok_or_else(|| format!("no answer after {took:?}: {text:?}"))?;
    let whole = head.contains(&format!("Content-Length: {}\r\n", body.len()));
    if head.starts_with("HTTP/1.1 200 OK\r\n") && whole && body.contains("\nwhat_up{") {
        Ok(took)
    } else {
        Err(head.to_owned())
    }
}

/// Sends these bytes and reads to the end.
pub fn ask(address: SocketAddr, request: &[u8], limit: Duration) -> Result<Vec<u8>, String> {
    let failed_to = |what: &str, error: std::io::Error| format!("{what}: {error}");
    let mut stream =
        TcpStream::connect_timeout(&address, limit).map_err(|error| failed_to("connect", error))?;
    stream.set_read_timeout(Some(limit)).unwrap();
    stream.write_all(request).map_err(|error| failed_to("send", error))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(|error| failed_to("receive", error))?;
    Ok(answer)
}

/// A folder in which every user can start the exporter.
pub struct Home(pub PathBuf);

impl Home {
    /// A name for each test.
    pub fn new(name: &str) -> Home {
        let home = format!("what-attacks-{}-{name}", std::process::id());
        let home = Home(std::env::temp_dir().join(home));
        fs::create_dir_all(&home.0).unwrap();
        copy_program(binary_path(), home.0.join("exporter"));
        home
    }

    /// The exporter as this user, started by these programs. All that is here can be read.
    pub fn command(&self, user: u32, starters: &[&str]) -> Command {
        sh(&self.0, "chmod -R a+rX .");
        let mut command = without_variables(Command::new("setpriv"));
        command.arg(format!("--reuid={user}")).arg(format!("--regid={user}"));
        command.arg("--clear-groups").args(starters).arg(self.0.join("exporter"));
        command.arg("--scrape.interval=0");
        command
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What an exporter uses without clients.
pub struct Calm {
    threads: u64,
    descriptors: usize,
    log: usize,
}

impl Calm {
    pub fn of(exporter: &Exporter) -> Calm {
        scrape(exporter.address(), PATIENCE).unwrap();
        let mut before = (0, 0);
        // tiny_http starts some of its threads a moment later.
        within(PATIENCE, "calm", || {
            thread::sleep(Duration::from_millis(100));
            let now = (exporter.status("Threads"), exporter.descriptors());
            std::mem::replace(&mut before, now) == now
        });
        Calm { threads: before.0, descriptors: before.1, log: exporter.log().len() }
    }

    pub fn is_back(&self, exporter: &Exporter) {
        let began = Instant::now();
        within(recovery(), "a scrape", || {
            scrape(exporter.address(), promised(Duration::from_secs(1))).is_ok()
        });
        let left = recovery().saturating_sub(began.elapsed());
        self.uses_no_more(exporter, left);
        println!("as before after {:?}", began.elapsed());
        let log = exporter.log();
        assert!(log.len() <= self.log + 5, "{log:#?}");
        assert!(!log.iter().any(|line| line.contains("panic")), "{log:#?}");
    }

    /// Threads and descriptors are as before, and there are no children, not even zombies.
    pub fn uses_no_more(&self, exporter: &Exporter, time: Duration) {
        within(time, "threads and descriptors as before", || {
            exporter.status("Threads") <= self.threads && exporter.descriptors() <= self.descriptors
        });
        assert_eq!(exporter.children(), "");
    }
}

/// A table as `w` would print it with this many users.
pub fn crowd(folder: &std::path::Path, sessions: usize) -> String {
    let mut table = format!(
        " 00:17:39 up  1:25, {sessions} users,  load average: 2.72, 2.33, 1.90\n\
         USER     TTY      FROM             LOGIN@   IDLE   JCPU   PCPU WHAT\n"
    );
    for number in 0..sessions {
        let from = format!("203.0.{}.{}", number / 250, number % 250);
        let (user, tty) = (number % 200, number % 10_000);
        table.push_str(&format!(
            "user{user:03}  pts/{tty:04} {from:<16} 00:16   ?xdm?   0.02s   ?    -bash\n"
        ));
    }
    let file = folder.join("crowd");
    fs::write(&file, table).unwrap();
    file.display().to_string()
}
