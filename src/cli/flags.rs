//! The table of flags, and the settings that come out of it.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use argh::FromArgs;

use super::{
    flag::Flag,
    value::{
        boolean, command, command_shown, duration, endpoint, host, port, prefix, timeout,
        web_config,
    },
    variables::Variables,
};
use crate::{
    command::{Command, DEFAULT_COMMAND},
    http::Access,
    metrics::Options,
    session::CommandShown,
};

/// Makes three things from one row per flag: argh's struct, the settings, and the list of flags. A
/// row's first word must be the flag's name with `_` for `.` and `-`, because argh makes the flag
/// from it.
macro_rules! flags {
    ($($field:ident: $name:literal $value:literal, $variable:literal, $default:expr, $read:ident -> $type:ty, $help:literal;)*) => {
        /// Exposes logged-in users as Prometheus metrics.
        #[derive(FromArgs)]
        pub(super) struct Arguments {
            $(#[doc = $help] #[argh(option)] $field: Option<String>,)*
            /// run w once
            #[argh(switch)]
            pub(super) once: bool,
            /// print the version
            #[argh(switch, short = 'V')]
            pub(super) version: bool,
        }

        /// Every setting, checked, under the name of its flag.
        pub struct Config {
            $(#[doc = $help] pub $field: $type,)*
            /// What looks like a mistake, for the log.
            pub warnings: Vec<String>,
            given: Vec<Given>,
        }

        struct Rows {
            $($field: Flag,)*
        }

        static ROWS: Rows = Rows {
            $($field: Flag { name: $name, value: $value, variable: $variable, default: $default, help: $help },)*
        };

        pub(super) static FLAGS: &[&Flag] = &[$(&ROWS.$field,)*];

        pub(super) fn config(arguments: Arguments, variables: &Variables) -> Result<Config> {
            let mut given = Vec::new();
            let mut config = Config {
                $($field: setting(&ROWS.$field, arguments.$field, variables, $read, &mut given)?,)*
                warnings: variables.warnings(FLAGS),
                given,
            };
            config.warnings.extend(config.given.iter().filter_map(Given::warning));
            config.warnings.extend(config.of_one_user());
            Ok(config)
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
        "reuse a result younger than this: milliseconds, or 500ms, 5s, 1m30s, 1h, 1d; 0 runs w for every scrape";
    w_command: "--w.command" "COMMAND", "EXPORTER_W_COMMAND", DEFAULT_COMMAND, command -> Command,
        "command to run, split on whitespace; pipes and quotes do not work; or the word builtin, for the exporter's own w";
    w_timeout: "--w.timeout" "TIME", "EXPORTER_W_TIMEOUT_MILLIS", "8000", timeout -> Duration,
        "kill a run of w that takes longer; units as above, longer than 0";
    web_config_file: "--web.config.file" "FILE", "EXPORTER_WEB_CONFIG_FILE", "", web_config -> Option<Access>,
        "file with TLS settings and passwords, as for other Prometheus exporters; only in a build with the feature tls";
}

pub(super) const WITH_TIMESTAMP: &str = "--metrics.with-timestamp";

/// Flags without a value, and their help.
pub(super) const SWITCHES: [(&[&str], &str); 3] = [
    (&["--once"], "run w once, print what a scrape would get, and exit"),
    (
        &["-V", "--version"],
        "print the version, the target, the compiler and whether it has TLS, and exit",
    ),
    (&["-h", "--help"], "print this help, and exit"),
];

/// A setting that the user has made.
struct Given {
    flag: &'static Flag,
    /// The flag or the variable that it came from.
    source: String,
    text: String,
    /// Whether it differs from the default.
    differs: bool,
}

impl Given {
    /// Says what a time without a unit means, if seconds were probably meant.
    fn warning(&self) -> Option<String> {
        let Given { flag, source, text, .. } = self;
        let is_small = matches!(text.parse(), Ok(1..=99_u64));
        (flag.value == "TIME" && is_small).then(|| {
            format!("{source} {text:?}: {text} means {text} ms; for seconds write {text}s")
        })
    }
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

    /// What is run to get the table.
    pub fn command(&self) -> Command {
        match self.given("--w.command") {
            Some(_) => self.w_command.clone(),
            None => Command::Default,
        }
    }

    /// Says that a `w` of this host lists one user only, because others would be missing without a
    /// sign.
    fn of_one_user(&self) -> Option<String> {
        let command = self.command();
        let user = command.only_user()?;
        Some(format!("{} lists the sessions of {user} only", self.as_given("--w.command")))
    }

    /// Every setting that differs from its default, and where each came from, to be put behind a
    /// sentence; empty if there is none.
    pub fn described(&self) -> String {
        let differing = self.given.iter().filter(|given| given.differs);
        let differing: Vec<String> = differing
            .map(|Given { flag, source, text, .. }| {
                let origin = if source == flag.name { "flag" } else { source };
                format!("{} {text:?} ({origin})", flag.name)
            })
            .collect();
        if differing.is_empty() { String::new() } else { format!(" with {}", differing.join(", ")) }
    }

    /// A setting as the user made it: where it came from, and its text.
    pub fn as_given(&self, flag: &str) -> String {
        let given = self.given(flag);
        given.map_or(flag.to_owned(), |given| format!("{} {:?}", given.source, given.text))
    }

    /// The name of the variable that a flag's value came from; otherwise the flag.
    pub fn source<'s>(&'s self, flag: &'s str) -> &'s str {
        self.given(flag).map_or(flag, |given| &given.source)
    }

    fn given(&self, flag: &str) -> Option<&Given> {
        self.given.iter().find(|given| given.flag.name == flag)
    }
}

/// Reads the value of the flag, or of its environment variables if the flag is absent, or the
/// default if all are. A flag without a default stands for something that is off without it. The
/// error names where the value came from. An empty variable, as compose files often set it, counts
/// as unset, unless the setting can be empty (the prefix).
fn setting<T: Default + PartialEq>(
    flag: &'static Flag,
    argument: Option<String>,
    variables: &Variables,
    read: fn(&str) -> Result<T>,
    given: &mut Vec<Given>,
) -> Result<T> {
    let found = match argument {
        Some(text) => vec![(flag.name.to_owned(), text)],
        None => variables.of(flag, read("").is_ok())?,
    };
    let values = found
        .iter()
        .map(|(source, text)| read(text).with_context(|| format!("{source} {text:?}")))
        .collect::<Result<Vec<T>>>()?;
    if values.iter().any(|value| *value != values[0]) {
        let found: Vec<_> =
            found.iter().map(|(source, text)| format!("{source} {text:?}")).collect();
        bail!("{}: both set {}; expected the same value", found.join(" and "), flag.name);
    }
    let default = match flag.default {
        "" => T::default(),
        text => read(text).with_context(|| format!("the default of {}", flag.name))?,
    };
    let Some((value, (source, text))) = values.into_iter().zip(found).next() else {
        return Ok(default);
    };
    given.push(Given { flag, source, text, differs: value != default });
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Task, parse},
        *,
    };

    #[test]
    fn the_command_is_the_default_only_where_it_is_not_set() {
        let words = |program: &str, arguments: &[&str]| Command::Words {
            program: program.to_owned(),
            arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
        };
        for (set, expected) in [
            (None, Command::Default),
            (Some(""), Command::Default),
            (Some("w -i"), words("w", &["-i"])),
            (Some(" /usr/bin/w\t-s  -f "), words("/usr/bin/w", &["-s", "-f"])),
            (Some(" builtin "), Command::Builtin),
            (Some("/opt/builtin -i"), words("/opt/builtin", &["-i"])),
        ] {
            let variable = set.map(|set| ("EXPORTER_W_COMMAND".into(), set.into()));
            let command = match parse([].into_iter(), variable.into_iter()) {
                Ok(Task::Serve(config)) => Some(config.command()),
                _ => None,
            };
            assert_eq!(command, Some(expected), "{set:?}");
        }
    }
}
