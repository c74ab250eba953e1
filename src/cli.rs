//! The settings: from flags, environment variables or defaults. Users write flags with dots. argh
//! cannot have dots in names, so it sees them with dashes.

mod value;

use std::{env, ffi::OsString, fmt::Write, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use argh::FromArgs;
use value::{
    boolean, command, command_shown, duration, endpoint, host, port, prefix, timeout, web_config,
};

use crate::{
    about::{NAME, RUSTC, TARGET, VERSION},
    command::DEFAULT_COMMAND,
    http::Access,
    metrics::Options,
    session::CommandShown,
};

/// A flag that takes a value, for the help and for reading the arguments.
struct Flag {
    /// With dots, as the user writes it.
    name: &'static str,
    /// The name of its value in the help.
    value: &'static str,
    variable: &'static str,
    default: &'static str,
    help: &'static str,
}

/// Makes three things from one row per flag: argh's struct, the settings, and the list of flags. A row's first word must be the flag's name with `_` for `.` and `-`, because argh makes
/// the flag from it.
macro_rules! flags {
    ($($field:ident: $name:literal $value:literal, $variable:literal, $default:expr, $read:ident -> $type:ty, $help:literal;)*) => {
        /// Serves who is logged in as Prometheus metrics.
        #[derive(FromArgs)]
        struct Arguments {
            $(#[doc = $help] #[argh(option)] $field: Option<String>,)*
            /// run w once
            #[argh(switch)]
            once: bool,
            /// print the version
            #[argh(switch, short = 'V')]
            version: bool,
        }

        /// Every setting, checked, under the name of its flag.
        pub struct Config {
            $(#[doc = $help] pub $field: $type,)*
        }

        const FLAGS: &[Flag] = &[
            $(Flag { name: $name, value: $value, variable: $variable, default: $default, help: $help },)*
        ];

        fn config(given: Arguments, variable: &impl Fn(&str) -> Option<OsString>) -> Result<Config> {
            Ok(Config {
                $($field: setting($name, $variable, $default, given.$field, variable, $read)?,)*
            })
        }
    };
}

flags! {
    listen_host: "--listen.host" "HOST", "EXPORTER_LISTEN_HOST", "127.0.0.1", host -> String,
        "address or host name to listen on";
    listen_port: "--listen.port" "PORT", "EXPORTER_LISTEN_PORT", "9839", port -> u16,
        "TCP port to listen on; 0 takes a free one";
    metrics_endpoint: "--metrics.endpoint" "PATH", "EXPORTER_METRICS_ENDPOINT", "/metrics", endpoint -> String,
        "path of the metrics";
    metrics_prefix: "--metrics.prefix" "PREFIX", "EXPORTER_METRICS_PREFIX", "what", prefix -> String,
        "prefix of every metric of this exporter; may be empty";
    metrics_with_timestamp: "--metrics.with-timestamp" "BOOL", "EXPORTER_METRICS_APPEND_TIMESTAMP", "false", boolean -> bool,
        "add the time of the run of w to every sample that came from it: true or false; without a value it is true";
    metrics_command: "--metrics.command" "SHOWN", "EXPORTER_METRICS_COMMAND", "none", command_shown -> CommandShown,
        "what to show of each session's command: none, name (the program only) or full (the command line, which can hold secrets)";
    scrape_interval: "--scrape.interval" "TIME", "EXPORTER_CHECK_INTERVAL_MILLIS", "5000", duration -> Duration,
        "reuse a result younger than this: milliseconds, or 500ms, 5s, 1m, 1h, 1d; 0 runs w for every scrape";
    w_command: "--w.command" "COMMAND", "EXPORTER_W_COMMAND", DEFAULT_COMMAND, command -> String,
        "command to run; it is split at blanks and run without a shell";
    w_timeout: "--w.timeout" "TIME", "EXPORTER_W_TIMEOUT_MILLIS", "8000", timeout -> Duration,
        "kill a run of w that takes longer; units as above, longer than 0";
    web_config_file: "--web.config.file" "FILE", "EXPORTER_WEB_CONFIG_FILE", "", web_config -> Option<Access>,
        "file with TLS settings and passwords, as for other Prometheus exporters; only in a build with the feature tls";
}

const WITH_TIMESTAMP: &str = "--metrics.with-timestamp";

/// Flags without a value, and their help.
const SWITCHES: [(&[&str], &str); 3] = [
    (&["--once"], "run w once, print what a scrape would get, and exit"),
    (&["-V", "--version"], "print the version, the target and the compiler, and exit"),
    (&["-h", "--help"], "print this help, and exit"),
];

/// What the program is asked to do.
pub enum Task {
    /// Serve until stopped.
    Serve(Config),
    /// Run `w` once and print the answer.
    Once(Config),
    /// Print this text, the help or the version.
    Print(String),
}

impl Config {
    /// The settings of the metrics.
    pub fn options(&self) -> Options {
        Options {
            prefix: self.metrics_prefix.clone(),
            timestamps: self.metrics_with_timestamp,
            command: self.metrics_command,
        }
    }
}

/// Reads the arguments, without the program's name, and the environment variables, which `variable`
/// returns.
///
/// # Errors
/// An unknown flag, or a missing or unusable value: one line that names the flag or variable, the
/// value, and what was expected.
pub fn parse(
    arguments: impl Iterator<Item = OsString>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Task> {
    let Some(arguments) = undotted(arguments)? else {
        return Ok(Task::Print(help()));
    };
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // It has nothing left to refuse.
    let parsed = Arguments::from_args(&[NAME], &words)
        .map_err(|early| anyhow!("{}", early.output.trim_end()))?;
    if parsed.version {
        return Ok(Task::Print(format!("{NAME} {VERSION} ({TARGET}, rustc {RUSTC})\n")));
    }
    let once = parsed.once;
    let config = config(parsed, &variable)?;
    Ok(if once { Task::Once(config) } else { Task::Serve(config) })
}

/// Reads the value of the flag, or of the environment variable if the flag is absent, or the
/// default if both are. The error names where the value came from. An empty variable, as compose
/// files often set it, counts as unset, unless the setting can be empty (the prefix).
fn setting<T>(
    flag: &str,
    name: &str,
    default: &str,
    given: Option<String>,
    variable: &impl Fn(&str) -> Option<OsString>,
    read: fn(&str) -> Result<T>,
) -> Result<T> {
    let is_set = |value: &OsString| !value.is_empty() || read("").is_ok();
    let (source, value) = match (given, variable(name).filter(is_set)) {
        (Some(value), _) => (flag, value),
        (None, Some(value)) => (name, utf8(name, value)?),
        (None, None) => (flag, default.to_owned()),
    };
    read(&value).with_context(|| format!("{source} {value:?}"))
}

/// Converts the arguments for argh: splits `--flag=value`, replaces the dots, and gives
/// `--metrics.with-timestamp` its value if it has none. `None` if the help is asked for, whatever
/// follows.
fn undotted(arguments: impl Iterator<Item = OsString>) -> Result<Option<Vec<String>>> {
    let mut undotted = Vec::new();
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let argument = utf8("the argument", argument)?;
        if !argument.starts_with('-') {
            bail!("unexpected argument {argument:?}; see --help");
        }
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        if SWITCHES.iter().any(|(names, _)| names.contains(&name)) {
            if let Some(value) = value {
                bail!("{name} {value:?}: expected no value");
            }
            if name == "-h" || name == "--help" {
                return Ok(None);
            }
            undotted.push(argument);
            continue;
        }
        let Some(flag) = FLAGS.iter().find(|flag| flag.name == name) else {
            bail!("unknown flag {name}; see --help");
        };
        let is_value = |next: &OsString| !next.as_encoded_bytes().starts_with(b"--");
        let value = match value {
            Some(value) => value,
            None => match arguments.next_if(is_value) {
                Some(next) => utf8(name, next)?,
                None if name == WITH_TIMESTAMP => "true".to_owned(),
                None => bail!("{name}: expected a value after it"),
            },
        };
        let dashed = dashed(flag.name);
        if undotted.contains(&dashed) {
            bail!("{name} {value:?}: expected this flag only once");
        }
        undotted.extend([dashed, value]);
    }
    Ok(Some(undotted))
}

fn dashed(name: &str) -> String {
    name.replace('.', "-")
}

fn utf8(source: &str, value: OsString) -> Result<String> {
    value.into_string().map_err(|value| anyhow!("{source} {value:?}: expected UTF-8"))
}

/// The help, made from the same rows as the flags, for a terminal of 80 columns.
fn help() -> String {
    let mut text = format!(
        "Usage: {NAME} [FLAG [VALUE]]...\n\nServes who is logged in as Prometheus metrics. It runs w when it is scraped.\n\nFlags (--flag value or --flag=value) override environment variables:\n"
    );
    for Flag { name, value, variable, default, help } in FLAGS {
        let _ = writeln!(text, "  {name} {value}");
        wrap(&mut text, help);
        let default =
            if default.is_empty() { String::new() } else { format!(", default {default}") };
        let _ = writeln!(text, "      [{variable}{default}]");
    }
    for (names, help) in SWITCHES {
        let _ = writeln!(text, "  {}", names.join(", "));
        wrap(&mut text, help);
    }
    let _ = write!(
        text,
        "\nExamples:\n  {NAME} --once\n  {NAME} \\\n      --listen.host :: --scrape.interval 1m\n\nExit status:\n  0  stopped by a signal, or everything was printed\n  1  the system did not provide what is needed, or w failed with --once\n  2  a flag or an environment variable has a wrong value\n"
    );
    text
}

/// Appends the words in indented lines.
fn wrap(text: &mut String, words: &str) {
    const INDENT: &str = "     ";
    let mut line = INDENT.to_owned();
    for word in words.split(' ') {
        if line.len() + 1 + word.len() > 80 {
            let _ = writeln!(text, "{line}");
            line = INDENT.to_owned();
        }
        let _ = write!(line, " {word}");
    }
    let _ = writeln!(text, "{line}");
}

/// Reads an environment variable of the process.
pub fn environment(name: &str) -> Option<OsString> {
    env::var_os(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_help_takes_the_whole_width() {
        let full = "x".repeat(74 - 4);
        for (words, lines) in [
            (format!("{full} abc"), vec![format!("      {full} abc")]),
            (format!("{full} abcd"), vec![format!("      {full}"), "      abcd".to_owned()]),
        ] {
            let mut text = String::new();
            wrap(&mut text, &words);
            assert_eq!(text.lines().collect::<Vec<_>>(), lines);
        }
    }
}
