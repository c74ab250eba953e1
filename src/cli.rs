//! What the user chose, by flag, environment variable or default. Knows the dotted names; argh, which can't hold dots, sees
//! them with dashes.

use std::{env, ffi::OsString, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use argh::FromArgs;

use crate::{
    command::child::DEFAULT_COMMAND,
    metrics::{self, Options},
    session::CommandShown,
};

/// The name of the program, in its help and at the start of its log.
pub const NAME: &str = env!("CARGO_PKG_NAME");

/// Tells Prometheus who is logged in: runs w when it is scraped, and serves its table as metrics.
#[derive(FromArgs)]
#[argh(help_triggers("--help", "-h"))]
struct Arguments {
    /// address or host name to listen on [EXPORTER_LISTEN_HOST, default 127.0.0.1]
    #[argh(option, arg_name = "host")]
    listen_host: Option<String>,
    /// TCP port to listen on, 0 for a free one [EXPORTER_LISTEN_PORT, default 9839]
    #[argh(option, arg_name = "port")]
    listen_port: Option<String>,
    /// path of the metrics [EXPORTER_METRICS_ENDPOINT, default /metrics]
    #[argh(option, arg_name = "path")]
    metrics_endpoint: Option<String>,
    /// put before every metric of this exporter, may be empty [EXPORTER_METRICS_PREFIX, default what]
    #[argh(option, arg_name = "prefix")]
    metrics_prefix: Option<String>,
    /// put the time of the run behind every sample from it; true or false, alone it means true [EXPORTER_METRICS_APPEND_TIMESTAMP,
    /// default false]
    #[argh(option, arg_name = "bool")]
    metrics_with_timestamp: Option<String>,
    /// what to show of each session's command: none, name (of the program) or full (can hold secrets)
    /// [EXPORTER_METRICS_COMMAND, default none]
    #[argh(option, arg_name = "shown")]
    metrics_command: Option<String>,
    /// serve a younger result again; milliseconds, or 500ms, 5s, 1m, 0 to run w for every scrape
    /// [EXPORTER_CHECK_INTERVAL_MILLIS, default 5000]
    #[argh(option, arg_name = "time")]
    scrape_interval: Option<String>,
    /// command to run, split at blanks, without a shell [EXPORTER_W_COMMAND, default w -i]
    #[argh(option, arg_name = "command")]
    w_command: Option<String>,
    /// kill a run that takes longer; milliseconds, or 500ms, 5s, 1m [EXPORTER_W_TIMEOUT_MILLIS, default 8000]
    #[argh(option, arg_name = "time")]
    w_timeout: Option<String>,
    /// run w once, print what a scrape would get, and exit
    #[argh(switch)]
    once: bool,
    /// print the version, the target and the compiler, and exit
    #[argh(switch)]
    version: bool,
}

/// Each flag with its name for argh and its environment variable.
const FLAGS: [(&str, &str, &str); 9] = [
    ("--listen.host", "--listen-host", "EXPORTER_LISTEN_HOST"),
    ("--listen.port", "--listen-port", "EXPORTER_LISTEN_PORT"),
    ("--metrics.endpoint", "--metrics-endpoint", "EXPORTER_METRICS_ENDPOINT"),
    ("--metrics.prefix", "--metrics-prefix", "EXPORTER_METRICS_PREFIX"),
    (WITH_TIMESTAMP, "--metrics-with-timestamp", "EXPORTER_METRICS_APPEND_TIMESTAMP"),
    ("--metrics.command", "--metrics-command", "EXPORTER_METRICS_COMMAND"),
    ("--scrape.interval", "--scrape-interval", "EXPORTER_CHECK_INTERVAL_MILLIS"),
    ("--w.command", "--w-command", "EXPORTER_W_COMMAND"),
    ("--w.timeout", "--w-timeout", "EXPORTER_W_TIMEOUT_MILLIS"),
];
const WITH_TIMESTAMP: &str = "--metrics.with-timestamp";
const SWITCHES: [&str; 4] = ["--once", "--version", "--help", "-h"];

/// What the program is asked to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Task {
    /// Serve until stopped.
    Serve(Config),
    /// Run `w` once and print the answer.
    Once(Config),
    /// Print this text, the help or the version.
    Print(String),
}

/// Every setting, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Address or host name.
    pub host: String,
    /// TCP port; 0 for a free one.
    pub port: u16,
    /// Path of the metrics; begins with `/`.
    pub endpoint: String,
    /// What the metrics are to look like.
    pub metrics: Options,
    /// A younger result is served again.
    pub interval: Duration,
    /// The command, with at least one word.
    pub w_command: String,
    /// A longer run is killed; more than 0.
    pub w_timeout: Duration,
}

/// Reads the arguments, without the program's name, and the environment variables through `variable`.
///
/// # Errors
/// An unknown flag, or a missing or unusable value: one line that names the flag or variable, the value, and what was expected.
pub fn parse(
    arguments: impl Iterator<Item = OsString>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Task> {
    let arguments = undotted(arguments)?;
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let parsed = match Arguments::from_args(&[NAME], &words) {
        Ok(parsed) => parsed,
        Err(early) if early.status.is_ok() => return Ok(Task::Print(dotted(&early.output))),
        Err(early) => bail!("{}", one_line(&dotted(&early.output))),
    };
    if parsed.version {
        return Ok(Task::Print(format!(
            "{NAME} {} ({}, rustc {})\n",
            metrics::VERSION,
            metrics::TARGET,
            metrics::RUSTC
        )));
    }
    let once = parsed.once;
    let config = config(parsed, &variable)?;
    Ok(if once { Task::Once(config) } else { Task::Serve(config) })
}

fn config(given: Arguments, variable: &impl Fn(&str) -> Option<OsString>) -> Result<Config> {
    Ok(Config {
        host: setting("--listen.host", given.listen_host, variable, "127.0.0.1", host)?,
        port: setting("--listen.port", given.listen_port, variable, "9839", port)?,
        endpoint: setting(
            "--metrics.endpoint",
            given.metrics_endpoint,
            variable,
            "/metrics",
            endpoint,
        )?,
        metrics: Options {
            prefix: setting("--metrics.prefix", given.metrics_prefix, variable, "what", prefix)?,
            timestamps: setting(
                WITH_TIMESTAMP,
                given.metrics_with_timestamp,
                variable,
                "false",
                boolean,
            )?,
            command: setting(
                "--metrics.command",
                given.metrics_command,
                variable,
                "none",
                command_shown,
            )?,
        },
        interval: setting("--scrape.interval", given.scrape_interval, variable, "5000", duration)?,
        w_command: setting("--w.command", given.w_command, variable, DEFAULT_COMMAND, command)?,
        w_timeout: setting("--w.timeout", given.w_timeout, variable, "8000", timeout)?,
    })
}

/// The flag's value, else the variable's, else the default, read; the error names where it came from.
fn setting<T>(
    flag: &str,
    given: Option<String>,
    variable: &impl Fn(&str) -> Option<OsString>,
    default: &str,
    read: fn(&str) -> Result<T>,
) -> Result<T> {
    let name = FLAGS.iter().find(|(dotted, _, _)| *dotted == flag).map_or("", |(_, _, name)| name);
    let (source, value) = match (given, variable(name)) {
        (Some(value), _) => (flag, value),
        (None, Some(value)) => (name, utf8(name, value)?),
        (None, None) => (flag, default.to_owned()),
    };
    read(&value).with_context(|| format!("{source} {value:?}"))
}

fn host(value: &str) -> Result<String> {
    match value.is_empty() || value.contains(|char: char| char.is_whitespace() || char.is_control())
    {
        true => bail!("expected an address or a host name"),
        // As in a URL.
        false => Ok(value.trim_start_matches('[').trim_end_matches(']').to_owned()),
    }
}

fn port(value: &str) -> Result<u16> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    let port = value.parse().ok().filter(|_| digits);
    port.ok_or_else(|| anyhow!("expected a TCP port from 0 to 65535"))
}

fn endpoint(value: &str) -> Result<String> {
    let plain = value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'?' && byte != b'#');
    match value.starts_with('/') && plain && value != "/-/healthy" {
        true => Ok(value.to_owned()),
        false => bail!("expected a path that begins with / and is not /-/healthy"),
    }
}

fn prefix(value: &str) -> Result<String> {
    let letters =
        value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':');
    match letters && !value.starts_with(|char: char| char.is_ascii_digit()) {
        true => Ok(value.to_owned()),
        false => bail!("expected letters, digits and underscores, no digit first, or nothing"),
    }
}

fn boolean(value: &str) -> Result<bool> {
    value.parse().map_err(|_| anyhow!("expected true or false"))
}

fn command_shown(value: &str) -> Result<CommandShown> {
    match value {
        "none" => Ok(CommandShown::None),
        "name" => Ok(CommandShown::Name),
        "full" => Ok(CommandShown::Full),
        _ => bail!("expected none, name or full"),
    }
}

fn command(value: &str) -> Result<String> {
    match value.trim().is_empty() || value.contains('\0') {
        true => bail!("expected a command, such as w -i"),
        false => Ok(value.to_owned()),
    }
}

fn duration(value: &str) -> Result<Duration> {
    let digits = value.trim_end_matches(|char: char| !char.is_ascii_digit());
    let unit = match value.strip_prefix(digits) {
        Some("" | "ms") => Some(1),
        Some("s") => Some(1_000),
        Some("m") => Some(60_000),
        Some("h") => Some(3_600_000),
        _ => None,
    };
    let milliseconds = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse::<u64>().ok())
        .flatten();
    let milliseconds = milliseconds.zip(unit).and_then(|(figure, unit)| figure.checked_mul(unit));
    // So that no sum of times can overflow.
    let year = Duration::from_secs(365 * 24 * 60 * 60);
    let duration = milliseconds.map(Duration::from_millis).filter(|&duration| duration <= year);
    duration.ok_or_else(|| {
        anyhow!("expected milliseconds, or a time such as 500ms, 5s or 1m, up to a year")
    })
}

fn timeout(value: &str) -> Result<Duration> {
    match duration(value)? {
        Duration::ZERO => bail!("expected a time of more than 0"),
        time => Ok(time),
    }
}

/// The arguments as argh takes them: `--flag=value` in two, flags without dots, a bare `--metrics.with-timestamp` with its value.
fn undotted(arguments: impl Iterator<Item = OsString>) -> Result<Vec<String>> {
    let mut undotted = Vec::new();
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let argument = utf8("the argument", argument)?;
        let (flag, value) = match argument.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        let Some((dotted, dashed, _)) = FLAGS.iter().find(|(dotted, _, _)| *dotted == flag) else {
            if SWITCHES.contains(&argument.as_str()) {
                undotted.push(argument);
                continue;
            }
            bail!("{argument:?} is no flag: expected one that --help lists");
        };
        undotted.push((*dashed).to_owned());
        let value = match value {
            Some(value) => value,
            None if *dotted == WITH_TIMESTAMP => {
                let given = arguments.next_if(|next| next == "true" || next == "false");
                utf8(dotted, given.unwrap_or_else(|| OsString::from("true")))?
            }
            None => {
                let next = arguments
                    .next()
                    .with_context(|| format!("{dotted} has no value: expected one behind it"))?;
                utf8(dotted, next)?
            }
        };
        undotted.push(value);
    }
    Ok(undotted)
}

fn utf8(source: &str, value: OsString) -> Result<String> {
    value.into_string().map_err(|value| anyhow!("{source} {value:?}: expected UTF-8"))
}

/// argh's words with the dotted names.
fn dotted(text: &str) -> String {
    FLAGS.iter().fold(text.to_owned(), |text, (dotted, dashed, _)| text.replace(dashed, dotted))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reads an environment variable of the process.
pub fn environment(name: &str) -> Option<OsString> {
    env::var_os(name)
}
