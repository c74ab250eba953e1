//! The file of `--web.config.file`, in the form of exporter-toolkit (its
//! `docs/web-configuration.md`). An unknown key, or a value that is not supported, is an error that
//! names the key.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use yaml_serde::Value;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    pub(super) tls_server_config: Option<Tls>,
    http_server_config: Option<Http>,
    /// User names and bcrypt hashes.
    pub(super) basic_auth_users: Option<BTreeMap<String, String>>,
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

#[derive(Clone, Copy, Default, Deserialize)]
pub(super) enum ClientAuth {
    #[default]
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

impl File {
    /// # Errors
    /// It is not YAML, has an unknown key, or asks for what is not supported.
    pub(super) fn parse(text: Vec<u8>) -> Result<File> {
        let text = String::from_utf8(text).context("it is not UTF-8")?;
        let file: File = yaml_serde::from_str(&text)?;
        // Refuses a user who is there twice, of whom the above takes the last one.
        yaml_serde::from_str::<Value>(&text)?;
        let limit = file.rate_limit.as_ref();
        let interval = limit.and_then(|limit| limit.interval.as_deref()).unwrap_or_default();
        ensure!(
            matches!(interval, "" | "0" | "0s"),
            "rate_limit.interval: not supported; leave it out"
        );
        Ok(file)
    }

    /// The header fields that every answer gets, each with its line end.
    ///
    /// # Errors
    /// A field or its value is not supported.
    pub(super) fn fields(&self) -> Result<Vec<String>> {
        let headers = self.http_server_config.as_ref().and_then(|http| http.headers.as_ref());
        headers.into_iter().flatten().map(|(name, value)| field(name, value)).collect()
    }
}

impl Tls {
    /// What it demands of each connection.
    pub(super) fn demands(&self) -> Vec<&'static str> {
        let kind = self.client_auth_type.unwrap_or_default();
        let demands = [
            (kind.requires(), "client_auth_type (a certificate is required)"),
            (kind.verifies(), "client_auth_type (a certificate is verified)"),
            (self.client_allowed_sans.is_some(), "client_allowed_sans"),
            (self.min_version == Some(Version::TLS13), "min_version: TLS13"),
            (is_some(&self.cipher_suites), "cipher_suites"),
            (is_some(&self.curve_preferences), "curve_preferences"),
        ];
        demands.into_iter().filter_map(|(is_there, name)| is_there.then_some(name)).collect()
    }
}

fn is_some<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_some_and(|list| !list.is_empty())
}

impl ClientAuth {
    /// Whether a client must show a certificate.
    pub(super) fn requires(self) -> bool {
        matches!(self, ClientAuth::RequireAnyClientCert | ClientAuth::RequireAndVerifyClientCert)
    }

    /// Whether a certificate that a client shows must be of the authorities.
    pub(super) fn verifies(self) -> bool {
        matches!(self, ClientAuth::VerifyClientCertIfGiven | ClientAuth::RequireAndVerifyClientCert)
    }
}

fn field(name: &str, value: &str) -> Result<String> {
    let allowed = match name {
        "Content-Security-Policy" | "X-XSS-Protection" | "Strict-Transport-Security" => &[][..],
        "X-Frame-Options" => &["deny", "sameorigin"],
        "X-Content-Type-Options" => &["nosniff"],
        _ => bail!("http_server_config.headers.{name}: not supported"),
    };
    let fits = allowed.is_empty() || allowed.contains(&value);
    ensure!(
        fits && !value.contains(char::is_control),
        "http_server_config.headers.{name}: {value:?} is not supported"
    );
    Ok(format!("{name}: {value}\r\n"))
}
