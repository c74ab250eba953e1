//! The file of `--web.config.file`, in the form of exporter-toolkit (its
//! `docs/web-configuration.md`). An unknown key, or a value that is not supported, is an error that
//! names the key.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;

use super::{Rules, files::Files, passwords::Passwords, tls};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    tls_server_config: Option<Tls>,
    http_server_config: Option<Http>,
    basic_auth_users: Option<BTreeMap<String, String>>,
    rate_limit: Option<RateLimit>,
}

/// Empty texts count as absent.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) cert: Option<String>,
    pub(super) cert_file: Option<String>,
    pub(super) key: Option<String>,
    pub(super) key_file: Option<String>,
    pub(super) client_ca: Option<String>,
    pub(super) client_ca_file: Option<String>,
    pub(super) client_auth_type: Option<ClientAuth>,
    pub(super) client_allowed_sans: Option<Vec<String>>,
    pub(super) min_version: Option<Version>,
    pub(super) max_version: Option<Version>,
    pub(super) cipher_suites: Option<Vec<String>>,
    pub(super) prefer_server_cipher_suites: Option<bool>,
    pub(super) curve_preferences: Option<Vec<Curve>>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(super) enum ClientAuth {
    #[serde(alias = "")]
    NoClientCert,
    RequestClientCert,
    #[serde(alias = "RequireClientCert")]
    RequireAnyClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    TLS12,
    TLS13,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) enum Curve {
    X25519,
    CurveP256,
    CurveP384,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Http {
    /// Every client that speaks HTTP/2 speaks HTTP/1.1 too.
    #[serde(rename = "http2")]
    _http2: Option<bool>,
    headers: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RateLimit {
    interval: Option<String>,
    #[serde(rename = "burst")]
    _burst: Option<u64>,
}

/// Reads the file and those that it names.
///
/// # Errors
/// One can't be read or used.
pub(super) fn read(path: &Path, files: &mut Files) -> Result<Rules> {
    let text = String::from_utf8(files.read(path)?).context("it is not UTF-8")?;
    let file: File = yaml_serde::from_str(&text)?;
    let interval = file.rate_limit.unwrap_or_default().interval.unwrap_or_default();
    ensure!(
        matches!(interval.as_str(), "" | "0" | "0s"),
        "rate_limit.interval: not supported; leave it out"
    );
    let tls = file.tls_server_config.unwrap_or_default();
    let folder = path.parent().unwrap_or(Path::new(""));
    Ok(Rules {
        tls: tls::server(&tls, folder, files).context("tls_server_config")?,
        passwords: Passwords::new(file.basic_auth_users.unwrap_or_default())?,
        fields: fields(file.http_server_config.unwrap_or_default().headers.unwrap_or_default())?,
    })
}

/// The header fields that every answer gets.
fn fields(headers: BTreeMap<String, String>) -> Result<Vec<String>> {
    let line = |(name, value): (String, String)| {
        let allowed = match name.as_str() {
            "Content-Security-Policy" | "X-XSS-Protection" | "Strict-Transport-Security" => &[][..],
            "X-Frame-Options" => &["deny", "sameorigin"],
            "X-Content-Type-Options" => &["nosniff"],
            _ => return Err(anyhow!("http_server_config.headers.{name}: not supported")),
        };
        let fits = allowed.is_empty() || allowed.contains(&value.as_str());
        ensure!(
            fits && !value.contains(char::is_control),
            "http_server_config.headers.{name}: {value:?} is not supported"
        );
        Ok(format!("{name}: {value}\r\n"))
    };
    headers.into_iter().map(line).collect()
}
