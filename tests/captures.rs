//! Reads every capture of a real `w` in `fixtures/captures`, one test each. It compares the whole
//! answer with the golden file of the same name, and the sessions with the facts that were recorded
//! with the capture. A new capture needs no code.
//!
//! `GOLDEN=rewrite cargo test --test captures` writes the golden files; `git diff` is the review.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::anyhow;
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;
use what::{
    calendar::Span,
    clock::{self, Moment},
    collector::Collector,
    command::{Failure, FailureKind},
    exposition::Format,
    metrics::{self, Options},
    session::{self, CommandShown, Session},
    table::{self, resolution::Resolution},
};

fn main() {
    let arguments = Arguments::from_args();
    let captures = captures("captures");
    assert!(captures.len() >= 240, "captures are missing: {}", captures.len());
    let golden = captures.iter().cloned().chain(self::captures("documented"));
    let golden = golden.map(|capture| {
        Trial::test(format!("golden::{}", capture.name), move || capture.is_as_golden())
    });
    let mut tests: Vec<Trial> = golden.collect();
    let truth = captures.into_iter();
    tests.extend(
        truth.map(|capture| {
            Trial::test(format!("truth::{}", capture.name), move || capture.is_true())
        }),
    );
    libtest_mimic::run(&arguments, tests).exit();
}

#[derive(Clone)]
struct Capture {
    /// `debian12-procps-4.0.2/mix.i.txt`
    name: String,
    path: PathBuf,
    /// Unix seconds.
    taken: u64,
    status: i32,
}

fn captures(folder: &str) -> Vec<Capture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(folder);
    let index = fs::read_to_string(folder.join("index.tsv")).unwrap();
    let lines = index.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    lines
        .map(|fields| Capture {
            name: fields[0].to_owned(),
            path: folder.join(fields[0]),
            taken: fields[3].parse().unwrap(),
            status: fields[4].parse().unwrap(),
        })
        .collect()
}

impl Capture {
    fn program(&self) -> &str {
        self.name.split('/').next().unwrap()
    }

    fn scenario(&self) -> &str {
        self.name.split(['/', '.']).rev().nth(2).unwrap()
    }

    fn printed(&self) -> Vec<u8> {
        fs::read(&self.path).unwrap()
    }

    /// The program's answer for it, at the time when it was captured, without values that differ
    /// between machines.
    fn answer(&self) -> String {
        let printed = match self.status {
            0 => Ok(self.printed()),
            status => Err(Failure { kind: FailureKind::Failed, error: anyhow!("status {status}") }),
        };
        let now = Moment { unix: Duration::from_secs(self.taken), ..clock::system() };
        let options =
            Options { prefix: "what".to_owned(), timestamps: false, command: CommandShown::Full };
        let snapshot = Collector::new(now, options.clone()).ended(now, printed);
        let text = metrics::render(Format::Text, &options, &snapshot);
        let text = String::from_utf8(text).unwrap();
        let differs =
            |line: &str| line.contains("process_") || line.contains("exporter_build_info");
        text.split_inclusive('\n').filter(|line| !differs(line)).collect()
    }

    fn is_as_golden(&self) -> Result<(), Failed> {
        let golden = self.path.with_extension("prom");
        let answer = self.answer();
        if std::env::var("GOLDEN").is_ok_and(|value| value == "rewrite") {
            fs::write(golden, answer)?;
            return Ok(());
        }
        let expected = fs::read_to_string(&golden)?;
        if expected == answer {
            return Ok(());
        }
        Err(format!("differs from {}; it gave:\n{answer}", golden.display()).into())
    }

    fn is_true(&self) -> Result<(), Failed> {
        if self.status != 0 {
            return Ok(());
        }
        let printed = self.printed();
        let table = match table::read(&printed) {
            Ok(table) => table,
            Err(_) if UNREADABLE.contains(&self.name.as_str()) => return Ok(()),
            Err(error) => return Err(format!("{error:#}").into()),
        };
        let taken = i64::try_from(self.taken).unwrap();
        let run = Span { began: taken, ended: taken };
        let mut read = session::of_table(&table, run, CommandShown::Full);
        let mut faults = Vec::new();
        for truth in self.truth() {
            match read.iter().position(|session| self.is_session(&truth, session)) {
                Some(found) => drop(read.remove(found)),
                None if self.is_left_out(&truth) => {}
                None => faults.push(format!("not read, though it was there: {truth}")),
            }
        }
        faults.extend(
            read.iter().map(|session| format!("read, though it was not there: {session:?}")),
        );
        if faults.is_empty() { Ok(()) } else { Err(faults.join("\n").into()) }
    }

    fn truth(&self) -> Vec<Value> {
        let path = self
            .path
            .parent()
            .unwrap()
            .with_file_name("truth")
            .join(format!("{}.json", self.scenario()));
        let truth: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        truth["sessions"].as_array().unwrap().clone()
    }

    fn is_left_out(&self, truth: &Value) -> bool {
        let name = truth["name"].as_str().unwrap();
        LEFT_OUT.iter().any(|(program, scenario, source, names, _)| {
            self.program().starts_with(program)
                && self.scenario().starts_with(scenario)
                && truth["source"].as_str().unwrap().starts_with(source)
                && (names.is_empty() || names.contains(&name))
        })
    }

    fn differs(&self, truth: &Value, column: &str) -> bool {
        let name = truth["name"].as_str().unwrap();
        DIFFERS.iter().any(|(program, names, differing, _)| {
            self.program().starts_with(program)
                && (names.is_empty() || names.contains(&name))
                && *differing == column
        })
    }

    fn is_session(&self, truth: &Value, session: &Session) -> bool {
        let text = |field: &str| truth[field].as_str().unwrap();
        self.is_cut(text("user"), &session.user, &[8, 32])
            && (self.is_cut(text("tty"), &session.tty, &[8]) || self.differs(truth, "tty"))
            && (self.is_from(text("host"), text("addr"), &session.ip))
            && (self.is_login(truth, session) || self.differs(truth, "login"))
            && (self.is_idle(truth, session) || self.differs(truth, "idle"))
            && (self.is_command(truth, session) || self.differs(truth, "command"))
    }

    /// As it was, or cut to one of the widths. BusyBox does not cut.
    fn is_cut(&self, truth: &str, read: &str, widths: &[usize]) -> bool {
        let cut =
            |width: &usize| self.program() != "busybox-1.37" && truth.get(..*width) == Some(read);
        truth == read || widths.iter().any(cut)
    }

    /// The host, or its address with a display or an interface after it, up to a blank and cut to
    /// the column.
    fn is_from(&self, host: &str, address: &str, read: &str) -> bool {
        let printable = match host
            .split_once(|char: char| char == ' ' || char.is_control() || !char.is_ascii())
        {
            Some((before, _)) => format!("{before}-"),
            None => host.to_owned(),
        };
        let last = host.rfind([':', '%']).map_or("", |at| &host[at..]);
        let is_address = host.matches(':').count() > 1 && !last.starts_with('%');
        let suffix = if host.starts_with(':') || is_address { "" } else { last };
        let forms = [printable, host.to_owned(), address.to_owned(), format!("{address}{suffix}")];
        let not_shown = read.is_empty() && !table::read(&self.printed()).unwrap().shows_from;
        // With -i, procps prints a mapped IPv6 address as IPv4.
        let mapped = address.strip_prefix("::ffff:").is_some_and(|address| address == read);
        let empty = host.is_empty() && read == "-";
        empty
            || not_shown
            || mapped
            || forms.iter().any(|form| self.is_cut(form, read, &[12, 16, 128, 256]))
    }

    fn is_login(&self, truth: &Value, session: &Session) -> bool {
        let Some(login) = session.login else {
            return self.program() == "uutils-git" || is_contradicted(truth);
        };
        let step = match login.resolution {
            Resolution::Second => 1,
            Resolution::Minute => 60,
            Resolution::Hour => 3600,
            Resolution::Day => 86400,
        };
        (login.unix..login.unix + step).contains(&truth["login_epoch"].as_i64().unwrap())
    }

    /// The time since the terminal was used, plus or minus the seconds between the look at the
    /// terminal and the capture.
    fn is_idle(&self, truth: &Value, session: &Session) -> bool {
        let shows_idle = self.program() != "toybox-0.8.9";
        let used = truth["tty_atime_epoch"].as_f64();
        match (session.idle, used) {
            (None, None) => true,
            (None, Some(used)) => {
                let real = self.taken as f64 - used;
                // BusyBox prints `old` if the clock was set back.
                let old = self.program() == "busybox-1.37" && real > 86_396.0;
                !shows_idle || session.tty.is_empty() || old || real < 0.0
            }
            (Some(_), None) => false,
            (Some(idle), Some(used)) => {
                let step = match idle.resolution {
                    Resolution::Second => 1.0,
                    Resolution::Minute => 60.0,
                    Resolution::Hour => 3600.0,
                    Resolution::Day => 86400.0,
                };
                let (real, read) = (self.taken as f64 - used, idle.duration.as_secs_f64());
                real > read - 4.0 && real < read + step + 4.0
            }
        }
    }

    /// The whole command line, or as much of it as fits.
    fn is_command(&self, truth: &Value, session: &Session) -> bool {
        let Some(real) = truth["cmd_joined"].as_str() else {
            return true;
        };
        session
            .command
            .as_deref()
            .is_none_or(|read| read == real || (read.len() > 100 && real.starts_with(read)))
    }
}

/// Whether the pseudo-terminal was last used before the login, as only a crafted one is.
fn is_contradicted(truth: &Value) -> bool {
    let [login, used] = ["login_epoch", "tty_atime_epoch"].map(|field| truth[field].as_f64());
    truth["tty"].as_str().unwrap().starts_with("pts/") && used < login
}

/// Captures without a readable table: line feeds in a user's and a host's name break two rows.
const UNREADABLE: [&str; 3] = [
    "toybox-0.8.9/garbage.plain.txt",
    "toybox-0.8.9/garbage.i.txt",
    "toybox-0.8.9/garbage.ienv.txt",
];

/// Sessions that a program omits: program, scenario, source, names (all if none), and why.
const LEFT_OUT: &[(&str, &str, &str, &[&str], &str)] = &[
    ("busybox", "", "logind", &[], "reads utmp only"),
    ("toybox", "", "logind", &[], "reads utmp only"),
    ("uutils", "", "logind", &[], "reads utmp only"),
    ("debian12", "", "logind", &[], "reads utmp only"),
    ("procps-3", "", "logind", &[], "reads utmp only"),
    ("procps-4.0.6-nosd", "", "logind", &[], "reads utmp only"),
    ("", "sdmix", "logind", &["deadleader"], "its leader is gone"),
    (
        "",
        "sdmix",
        "logind",
        &["manager"],
        "a service manager is no session: left out by us where the program lists it",
    ),
    ("debian13", "sdmix", "logind", &["background", "greeter"], "lists the sessions of users only"),
    ("busybox", "garbage", "utmp", &[], "found none in this utmp file"),
    ("debian", "garbage", "utmp", &[], "found none in this utmp file"),
    (
        "debian",
        "mix",
        "utmp",
        &["stale", "nopasswd"],
        "its process is gone; no such user in passwd",
    ),
    (
        "procps",
        "mix",
        "utmp",
        &["stale", "nopasswd"],
        "its process is gone; no such user in passwd",
    ),
    (
        "procps",
        "garbage",
        "utmp",
        &[
            "ctrluser",
            "nluser",
            "spaceuser",
            "utf8user",
            "badutf8user",
            "emptyuser",
            "numericuser",
            "dashuser",
            "wheader",
        ],
        "no such user in passwd",
    ),
    ("procps", "garbage", "utmp", &["pid0"], "its process is gone"),
];

/// Columns whose value a program prints differently: program, names (all if none), column, and why.
const DIFFERS: &[(&str, &[&str], &str, &str)] = &[
    (
        "",
        &["user32", "login31536000", "login63158400"],
        "login",
        "a clock time, or no year: it was on this day of another year",
    ),
    ("", &["hugelogin"], "login", "a clock time for any time to come"),
    ("busybox", &["x11", "login1728000000", "login31622400"], "login", "no year is printed"),
    ("uutils", &["futureidle"], "idle", "0 where the clock was set back"),
    ("uutils", &[], "command", "the login process instead of the foreground one"),
    (
        "",
        &["utf8", "ctrl", "zombie", "emptycmd", "emptyboth"],
        "command",
        "what can't be printed is replaced",
    ),
    ("", &["sudo"], "command", "a process of another user is not chosen"),
    (
        "procps",
        &["oddline", "line32", "emptyline", "dotline", "privleader_notty"],
        "command",
        "has no terminal of that name",
    ),
    (
        "procps",
        &["oddline", "line32", "emptyline", "dotline", "greeter"],
        "idle",
        "has no terminal of that name, or one used since",
    ),
    (
        "procps",
        &["oddline", "line32", "emptyline", "dotline", "zombie"],
        "tty",
        "the name is cleaned, or that of a child's terminal is printed",
    ),
    ("debian13", &["zombie", "privleader_notty"], "tty", "as procps 4.0.6"),
    ("debian13", &["privleader_notty"], "idle", "that of its child's terminal"),
    ("", &["x11", "vsftpd", "pts1000"], "command", "has no terminal: the process of its leader"),
    (
        "",
        &["x11", "vsftpd", "pts1000", "console", "zombie"],
        "idle",
        "has no terminal of that name: 0, or that of another",
    ),
    (
        "",
        &["x11", "vsftpd", "pts1000", "console", "ttyx0"],
        "tty",
        "the name is cleaned, or that of its leader's terminal is printed",
    ),
];
