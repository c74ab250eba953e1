//! The metrics of one scrape's result: their names, help and labels. `exposition` knows the format.

use std::time::Duration;

use crate::{
    about::{RUSTC, TARGET, TLS, VERSION},
    command::Outcome,
    exposition::{Exposition, Family, Format, Kind, Labels},
    process_metrics::ProcessUse,
    session::{CommandShown, Info, Origin, Session},
    snapshot::Snapshot,
    visibility::Visibility,
};

/// What the user chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Put before every name except `process_*`, followed by `_`; may be empty.
    pub prefix: String,
    /// Whether samples that came from a run have its time.
    pub timestamps: bool,
    /// How much of WHAT is shown.
    pub command: CommandShown,
}

/// Bytes for the samples that are always there, and for those of a session with labels of usual
/// length. An answer that grows in steps is copied at each step.
const ROOM: usize = 4096;
const ROOM_PER_SESSION: usize = 512;

/// Renders the answer to a scrape.
pub fn render(format: Format, options: &Options, snapshot: &Snapshot) -> Vec<u8> {
    let rows = snapshot.result.as_ref().map_or(0, |listing| listing.sessions.len());
    let mut writer = Writer {
        exposition: Exposition::new(format, ROOM + rows * ROOM_PER_SESSION),
        prefix: &options.prefix,
        timestamp: options.timestamps.then_some(snapshot.ended.unix),
    };
    if let Ok(listing) = &snapshot.result {
        writer.sessions(&listing.sessions);
        if let Some(users) = listing.users_reported {
            writer.users_reported(users);
        }
        if let Some(visibility) = listing.visibility {
            writer.visibility(visibility);
        }
    }
    writer.exporter(snapshot);
    if let Some(used) = snapshot.process {
        writer.process(used);
    }
    writer.exposition.finish()
}

struct Writer<'o> {
    exposition: Exposition,
    prefix: &'o str,
    timestamp: Option<Duration>,
}

/// Sessions that share ip, user and tty, and these labels.
struct Group<'s> {
    labels: Labels,
    sessions: &'s [Session],
}

impl Writer<'_> {
    fn name(&self, name: &str) -> String {
        match self.prefix {
            "" => name.to_owned(),
            prefix => format!("{prefix}_{name}"),
        }
    }

    /// Writes a family whose samples came from the run.
    fn of_run(&mut self, name: &str, help: &str, samples: impl FnOnce(&mut Family)) {
        let name = self.name(name);
        samples(&mut self.exposition.family(&name, Kind::Gauge, help, self.timestamp));
    }

    /// Writes a family about the exporter itself.
    fn own(&mut self, name: &str, kind: Kind, help: &str, samples: impl FnOnce(&mut Family)) {
        let name = self.name(name);
        samples(&mut self.exposition.family(&name, kind, help, None));
    }

    fn sessions(&mut self, sessions: &[Session]) {
        let mut users: Vec<&str> = sessions.iter().map(|session| session.user.as_ref()).collect();
        users.sort_unstable();
        let help = "Number of sessions of this user.";
        self.of_run("user_sessions_currently_active", help, |family| {
            for same in users.chunk_by(|a, b| a == b) {
                family.sample(&Labels::new(&[("user", same[0])]), same.len() as f64);
            }
        });
        self.each_session(&sessions.chunk_by(same_labels).map(group).collect::<Vec<_>>());
        self.infos(sessions);
        self.commands(sessions);
        users.dedup();
        self.totals(sessions, users.len());
    }

    fn each_session(&mut self, groups: &[Group]) {
        self.each(
            groups,
            "each_session_currently_active",
            "Number of sessions with these labels, usually 1.",
            |same| Some(same.len() as f64),
        );
        let help = "Login time, as precisely as w shows it: the minute, later the hour, then the day; the built-in w shows the second. The latest if several sessions share all labels.";
        self.each(groups, "each_session_login_timestamp_seconds", help, |same| {
            same.iter()
                .filter_map(|session| session.login)
                .map(|login| login.unix as f64)
                .reduce(f64::max)
        });
        let help = "Time since the terminal was last used, as precisely as w shows it. The smallest if several sessions share all labels.";
        self.each(groups, "each_session_idle_seconds", help, |same| {
            let idle =
                same.iter().filter_map(|session| session.idle).map(|idle| idle.duration).min();
            idle.map(seconds)
        });
        let help = "CPU time of all processes on the terminal (JCPU). The sum if several sessions share all labels.";
        self.each(groups, "each_session_cpu_seconds", help, |same| {
            let cpu = same.iter().filter_map(|session| session.cpu).map(|cpu| cpu.duration);
            cpu.reduce(Duration::saturating_add).map(seconds)
        });
    }

    fn totals(&mut self, sessions: &[Session], users: usize) {
        let origins =
            |origin| sessions.iter().filter(|session| session.origin == origin).count() as f64;
        self.of_run(
            "sessions_currently_active",
            "Number of sessions by origin: remote if FROM names another host or an address, otherwise local.",
            |family| {
                family.sample(&Labels::new(&[("origin", "local")]), origins(Origin::Local));
                family.sample(&Labels::new(&[("origin", "remote")]), origins(Origin::Remote));
            },
        );
        self.of_run(
            "users_currently_active",
            "Number of users with at least one session.",
            |family| {
                family.sample(&Labels::new(&[]), users as f64);
            },
        );
    }

    /// Writes a family with one sample for all sessions that share ip, user and tty, if they have a
    /// value.
    fn each(
        &mut self,
        groups: &[Group],
        name: &str,
        help: &str,
        value: impl Fn(&[Session]) -> Option<f64>,
    ) {
        self.of_run(name, help, |family| {
            for group in groups {
                if let Some(value) = value(group.sessions) {
                    family.sample(&group.labels, value);
                }
            }
        });
    }

    /// An info is always 1. Sessions that share ip, user and tty can still differ in the rest.
    fn infos(&mut self, sessions: &[Session]) {
        let help = "What logind knows of the session: the service that logged in, the session's type and class, and its seat.";
        let name = self.name("each_session_info");
        let mut family = self.exposition.family(&name, Kind::Info, help, self.timestamp);
        for same in sessions.chunk_by(same_labels) {
            let mut infos: Vec<&Info> = Vec::new();
            for info in same.iter().filter_map(|session| session.info.as_ref()) {
                if let Err(place) = infos.binary_search(&info) {
                    infos.insert(place, info);
                }
            }
            for Info { service, kind, class, seat } in infos {
                let [ip, user, tty] = labels(&same[0]);
                let (service, kind) = (("service", &**service), ("type", &**kind));
                let (class, seat) = (("class", &**class), ("seat", &**seat));
                family.sample(&Labels::new(&[ip, user, tty, service, kind, class, seat]), 1.0);
            }
        }
    }

    fn commands(&mut self, sessions: &[Session]) {
        let help = "Number of sessions with this command and these labels, usually 1.";
        self.of_run("each_session_command_info", help, |family| {
            for same in sessions.chunk_by(|a, b| same_labels(a, b) && a.command == b.command) {
                let Some(session) = same.first() else {
                    continue;
                };
                if let Some(command) = &session.command {
                    let [ip, user, tty] = labels(session);
                    let labels = Labels::new(&[ip, user, tty, ("command", command)]);
                    family.sample(&labels, same.len() as f64);
                }
            }
        });
    }

    fn visibility(&mut self, visibility: Visibility) {
        let help = "1 if w can see this source. 0 if it cannot: sessions may be missing.";
        self.of_run("session_source_visible", help, |family| {
            for (source, seen) in visibility.sources() {
                family.sample(&Labels::new(&[("source", source)]), f64::from(u8::from(seen)));
            }
        });
    }

    fn users_reported(&mut self, users: u64) {
        let help = "Number of users in the first line of w. If w lists fewer, it cannot see some (then session_source_visible says why), or some have ended and left an entry.";
        self.of_run("users_reported", help, |family| {
            family.sample(&Labels::new(&[]), users as f64)
        });
    }

    fn exporter(&mut self, snapshot: &Snapshot) {
        let help = "1 if the last run of w gave a table that could be read, otherwise 0. All values from w are cached for the scrape interval.";
        // Never without a prefix: `up` is Prometheus' own.
        let name = if self.prefix.is_empty() { "what_up".to_owned() } else { self.name("up") };
        let up = f64::from(u8::from(snapshot.result.is_ok()));
        let mut family = self.exposition.family(&name, Kind::Gauge, help, self.timestamp);
        family.sample(&Labels::new(&[("version", VERSION)]), up);
        self.own(
            "w_runs_total",
            Kind::Counter,
            "Number of runs of w since the exporter started, by outcome.",
            |family| {
                for (outcome, runs) in Outcome::ALL.iter().zip(snapshot.runs) {
                    family.sample(&Labels::new(&[("outcome", outcome.name())]), runs as f64);
                }
            },
        );
        if let Some(took) = snapshot.took {
            self.of_run("w_duration_seconds", "Duration of the last run of w.", |family| {
                family.sample(&Labels::new(&[]), seconds(took));
            });
        }
        if let Some(success) = snapshot.last_success {
            self.own(
                "w_last_success_timestamp_seconds",
                Kind::Gauge,
                "Time of the last successful run of w.",
                |family| {
                    family.sample(&Labels::new(&[]), success.unix.as_millis() as f64 / 1000.0);
                },
            );
        }
        self.own(
            "exporter_build_info",
            Kind::Info,
            "Version, target and compiler of this exporter, and whether it has TLS.",
            |family| {
                let tls = if TLS { "true" } else { "false" };
                let built =
                    [("version", VERSION), ("target", TARGET), ("rustc", RUSTC), ("tls", tls)];
                family.sample(&Labels::new(&built), 1.0);
            },
        );
    }

    /// The standard set, with the help texts of the official client libraries. It is as old as the
    /// rest of the answer, so a cached answer costs nothing.
    fn process(&mut self, used: ProcessUse) {
        let families = [
            (
                "process_cpu_seconds_total",
                Kind::Counter,
                "Total user and system CPU time spent in seconds.",
                used.cpu_seconds,
            ),
            (
                "process_max_fds",
                Kind::Gauge,
                "Maximum number of open file descriptors.",
                used.max_fds,
            ),
            ("process_open_fds", Kind::Gauge, "Number of open file descriptors.", used.open_fds),
            (
                "process_resident_memory_bytes",
                Kind::Gauge,
                "Resident memory size in bytes.",
                used.resident_bytes,
            ),
            (
                "process_start_time_seconds",
                Kind::Gauge,
                "Start time of the process since unix epoch in seconds.",
                used.start_time,
            ),
            ("process_threads", Kind::Gauge, "Number of OS threads in the process.", used.threads),
            (
                "process_virtual_memory_bytes",
                Kind::Gauge,
                "Virtual memory size in bytes.",
                used.virtual_bytes,
            ),
        ];
        for (name, kind, help, value) in families {
            self.exposition.family(name, kind, help, None).sample(&Labels::new(&[]), value);
        }
    }
}

/// The number nearest to the duration, in whole microseconds: 2.28 s is written as 2.28. Seconds
/// and a fraction, each rounded, may add up to its neighbour.
fn seconds(duration: Duration) -> f64 {
    match duration.subsec_micros() {
        0 => duration.as_secs() as f64,
        _ => duration.as_micros() as f64 / 1e6,
    }
}

/// The terminal first: it nearly always differs.
fn same_labels(a: &Session, b: &Session) -> bool {
    a.tty == b.tty && a.user == b.user && a.ip == b.ip
}

fn group(sessions: &[Session]) -> Group<'_> {
    let labels = Labels::new(&sessions.first().map_or_else(Default::default, labels));
    Group { labels, sessions }
}

fn labels(session: &Session) -> [(&'static str, &str); 3] {
    [("ip", &session.ip), ("user", &session.user), ("tty", &session.tty)]
}
