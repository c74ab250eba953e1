//! Reads the value of each flag from text. An error says what was expected.

use std::{ffi::OsString, net::Ipv6Addr, path::Path, time::Duration};

use anyhow::{Result, anyhow, bail};

use crate::{command::Command, http::Access, session::CommandShown};

pub(super) fn utf8(source: &str, value: OsString) -> Result<String> {
    value.into_string().map_err(|value| anyhow!("{source} {value:?}: expected UTF-8"))
}

pub(super) fn host(value: &str) -> Result<String> {
    let bracketed = value.strip_prefix('[').and_then(|value| value.strip_suffix(']'));
    // In brackets as in a URL.
    let host = bracketed.unwrap_or(value);
    // What follows a `%` names the interface.
    let address = host.split_once('%').map_or(host, |(address, _)| address);
    let colon = host.contains(':') && address.parse::<Ipv6Addr>().is_err();
    let digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    if colon && host.rsplit_once(':').is_some_and(|(_, port)| digits(port)) {
        bail!("expected an address or a host name without a port, which --listen.port takes");
    }
    let unfit = |char: char| char.is_whitespace() || char.is_control();
    if host.is_empty() || colon || host.contains(unfit) {
        bail!("expected an address or a host name");
    }
    Ok(host.to_owned())
}

pub(super) fn port(value: &str) -> Result<u16> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    let port = value.parse().ok().filter(|_| digits);
    port.ok_or_else(|| anyhow!("expected a TCP port from 0 to 65535"))
}

pub(super) fn endpoint(value: &str) -> Result<String> {
    let unfit = |char: &char| !char.is_ascii_graphic() || matches!(char, '?' | '#');
    if !value.starts_with('/') {
        bail!("expected a path that begins with /");
    }
    if let Some(char) = value.chars().find(unfit) {
        bail!("expected a path without {char:?}");
    }
    if value == "/-/healthy" {
        bail!("expected another path, because this one answers health checks");
    }
    Ok(value.to_owned())
}

pub(super) fn prefix(value: &str) -> Result<String> {
    let fit = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let letter = value.is_empty() || value.starts_with(|char: char| char.is_ascii_alphabetic());
    if !(fit && letter) || value.ends_with('_') {
        bail!(
            "expected letters, digits and _, starting with a letter and not ending in _, or an empty value"
        );
    }
    Ok(value.to_owned())
}

pub(super) fn boolean(value: &str) -> Result<bool> {
    value.parse().map_err(|_| anyhow!("expected true or false"))
}

pub(super) fn command_shown(value: &str) -> Result<CommandShown> {
    match value {
        "none" => Ok(CommandShown::None),
        "name" => Ok(CommandShown::Name),
        "full" => Ok(CommandShown::Full),
        _ => bail!("expected none, name or full"),
    }
}

pub(super) fn command(value: &str) -> Result<Command> {
    let mut words = value.split_ascii_whitespace().map(str::to_owned);
    let Some(program) = words.next().filter(|_| !value.contains('\0')) else {
        bail!("expected a command, such as w -i");
    };
    let arguments: Vec<String> = words.collect();
    // As files of variables leave it behind a value. `w` would take it for the name of a user.
    if [&program].into_iter().chain(&arguments).any(|word| word.starts_with('#')) {
        bail!("expected a command without a comment, which must be on a line of its own");
    }
    if let Some(sign) = of_a_shell(value) {
        bail!(
            "expected a command without {sign}, because no shell runs it; put it into a script that begins with #!/bin/sh, and give the path of the script"
        );
    }
    match (program.as_str(), arguments.as_slice()) {
        ("builtin", []) => Ok(Command::Builtin),
        ("builtin", _) => bail!("expected builtin alone"),
        (word, _) if word.to_ascii_lowercase().replace('-', "") == "builtin" => {
            bail!("did you mean builtin?");
        }
        _ => Ok(Command::Words { program, arguments }),
    }
}

/// What only a shell understands, if there is any. Brackets stay, because a URL has them around an
/// IPv6 address.
fn of_a_shell(command: &str) -> Option<String> {
    if let Some(char) = command.chars().find(|char| "|><;&$'\"`\\*?()".contains(*char)) {
        return Some(char.to_string());
    }
    let home = command.split_ascii_whitespace().find(|word| word.starts_with('~'));
    home.map(|_| "~ at the start of a word".to_owned())
}

pub(super) fn duration(value: &str) -> Result<Duration> {
    // So that no sum of times can overflow.
    let year = Duration::from_secs(365 * 24 * 60 * 60);
    let duration = milliseconds(value).map(Duration::from_millis);
    duration.filter(|&duration| duration <= year).ok_or_else(|| {
        anyhow!("expected milliseconds, or a time such as 500ms, 5s, 1m30s, 1h or 1d, up to a year")
    })
}

/// Reads milliseconds, or figures with units as Prometheus writes them: each unit at most once, the
/// largest first.
fn milliseconds(value: &str) -> Option<u64> {
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        return value.parse().ok();
    }
    let mut units =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)].into_iter();
    let mut sum = 0_u64;
    let mut rest = value;
    while !rest.is_empty() {
        let (figure, behind) = rest.split_at(rest.find(|char: char| !char.is_ascii_digit())?);
        let end = behind.find(|char: char| char.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let (_, factor) = units.find(|(name, _)| *name == unit)?;
        sum = sum.checked_add(figure.parse::<u64>().ok()?.checked_mul(factor)?)?;
        rest = behind;
    }
    Some(sum)
}

pub(super) fn timeout(value: &str) -> Result<Duration> {
    match duration(value)? {
        Duration::ZERO => bail!("expected a time longer than 0"),
        time => Ok(time),
    }
}

pub(super) fn web_config(value: &str) -> Result<Option<Access>> {
    if value.is_empty() {
        bail!("expected the path of a file");
    }
    Access::open(Path::new(value)).map(Some)
}
