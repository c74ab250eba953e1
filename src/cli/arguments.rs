//! The arguments as the user writes them: flags with dots, which argh cannot have in names.

use std::ffi::OsString;

use anyhow::{Result, bail};

use super::{
    flags::{FLAGS, SWITCHES, WITH_TIMESTAMP},
    suggestion::instead_of,
    value::utf8,
};
use crate::builtin::{self, Extras};

/// Converts the arguments for argh: splits `--flag=value`, replaces the dots, and gives
/// `--metrics.with-timestamp` its value if it has none. `None` if the help is asked for, whatever
/// follows.
pub(super) fn undotted(arguments: impl Iterator<Item = OsString>) -> Result<Option<Vec<String>>> {
    let mut undotted = Vec::new();
    let mut given = Vec::new();
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
            bail!("unknown flag {name}; {}", instead_of(name, names()));
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
        if given.contains(&flag.name) {
            bail!("{name} was given twice");
        }
        given.push(flag.name);
        undotted.extend([flag.name.replace('.', "-"), value]);
    }
    Ok(Some(undotted))
}

/// Reads what stands behind the sub-command `w`. The exporter asks for extras; a person asks for
/// nothing.
pub(super) fn extras(arguments: impl Iterator<Item = OsString>) -> Result<Extras> {
    let mut extras = Extras::default();
    for argument in arguments {
        match argument.to_str() {
            Some(builtin::WHAT) => extras.what = true,
            Some(builtin::UNLISTED) => extras.unlisted = true,
            _ => bail!("w {argument:?}: expected nothing after w"),
        }
    }
    Ok(extras)
}

/// Of all flags.
fn names() -> impl Iterator<Item = &'static str> {
    let switches = SWITCHES.iter().flat_map(|(names, _)| names.iter().copied());
    FLAGS.iter().map(|flag| flag.name).chain(switches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_one_that_a_person_may_have_meant() {
        for (written, meant) in [
            ("--listen.prot", "--listen.port"),
            ("-listen.port", "--listen.port"),
            ("--listen-host", "--listen.host"),
            ("--listne.host", "--listen.host"),
            ("--port", "--listen.port"),
            ("--host", "--listen.host"),
            ("--metric.endpoint", "--metrics.endpoint"),
            ("--metrics.with-timestamps", "--metrics.with-timestamp"),
            ("--scrape.intervall", "--scrape.interval"),
            ("--timeout", "--w.timeout"),
            ("--command", "--w.command"),
            ("--web.config", "--web.config.file"),
            ("-web.config.file", "--web.config.file"),
            ("--onec", "--once"),
            ("-version", "--version"),
        ] {
            assert_eq!(instead_of(written, names()), format!("did you mean {meant}?"), "{written}");
        }
    }

    #[test]
    fn a_name_that_is_near_to_none_gets_no_suggestion() {
        for written in
            ["--foo", "-p", "-h2", "--", "-", "", "--verbose", "--quiet", "--cert", "--user", "--é"]
        {
            assert_eq!(instead_of(written, names()), "see --help", "{written}");
        }
    }
}
