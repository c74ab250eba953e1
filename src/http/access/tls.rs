//! What `tls_server_config` means to rustls.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result, ensure};
use rustls::{
    NamedGroup, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    server::NoServerSessionStorage,
    version::{TLS12, TLS13},
};

use super::{
    clients,
    config::{Curve, Tls, Version},
    files::Files,
    pem::Pem,
};

/// A server that speaks TLS as the file says; `None` if the file asks for no TLS.
///
/// # Errors
/// A file can't be read, something is missing or not supported; the error names the key.
pub(super) fn server(
    tls: &Tls,
    folder: &Path,
    files: &mut Files,
) -> Result<Option<Arc<ServerConfig>>> {
    let mut pem = |inline, file| Pem::read(inline, file, folder, files);
    let certificate = pem(("cert", tls.cert.as_deref()), ("cert_file", tls.cert_file.as_deref()))?;
    let key = pem(("key", tls.key.as_deref()), ("key_file", tls.key_file.as_deref()))?;
    let authorities = pem(
        ("client_ca", tls.client_ca.as_deref()),
        ("client_ca_file", tls.client_ca_file.as_deref()),
    )?;
    let is_asked = certificate.is_some() || key.is_some() || authorities.is_some();
    if !is_asked && tls.demands().is_empty() {
        return Ok(None);
    }
    let certificate = certificate.context("cert_file: missing")?;
    let key = key.context("key_file: missing")?;
    let provider = Arc::new(provider(tls)?);
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(tls)?)?;
    let algorithms = provider.signature_verification_algorithms;
    let clients = clients::verifier(tls, authorities.as_ref(), algorithms)?;
    let config = config.with_client_cert_verifier(clients);
    let mut config = config
        .with_single_cert(certificate.certificates()?, key.private_key()?)
        .with_context(|| format!("{} and {}", certificate.key, key.key))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ignore_client_order = tls.prefer_server_cipher_suites.unwrap_or(true);
    // A client that resumes a session does not show its certificate again, but the authority may
    // have changed meanwhile.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Some(Arc::new(config)))
}

fn versions(tls: &Tls) -> Result<Vec<&'static SupportedProtocolVersion>> {
    let (oldest, newest) =
        (tls.min_version.unwrap_or(Version::TLS12), tls.max_version.unwrap_or(Version::TLS13));
    ensure!(oldest <= newest, "min_version: expected one that is not above max_version");
    let all = [(Version::TLS12, &TLS12), (Version::TLS13, &TLS13)];
    let asked = all.into_iter().filter(|(version, _)| (oldest..=newest).contains(version));
    Ok(asked.map(|(_, version)| version).collect())
}

/// The ciphers and curves that are asked for. The cipher suites of TLS 1.3 can't be chosen, as in
/// Go.
fn provider(tls: &Tls) -> Result<CryptoProvider> {
    let mut provider = ring::default_provider();
    if let Some(asked) = tls.cipher_suites.as_deref().filter(|asked| !asked.is_empty()) {
        let known = std::mem::take(&mut provider.cipher_suites);
        for name in asked {
            ensure!(
                known.iter().any(|suite| go_name(suite) == *name),
                "cipher_suites: {name} is not supported"
            );
        }
        let place =
            |suite: &SupportedCipherSuite| asked.iter().position(|name| go_name(suite) == *name);
        provider.cipher_suites = known
            .into_iter()
            .filter(|suite| suite.tls13().is_some() || place(suite).is_some())
            .collect();
        provider.cipher_suites.sort_by_key(|suite| (suite.tls13().is_none(), place(suite)));
    }
    if let Some(asked) = tls.curve_preferences.as_deref().filter(|asked| !asked.is_empty()) {
        let place = |group: NamedGroup| {
            asked.iter().position(|curve| match curve {
            Curve::X25519 => NamedGroup::X25519,
            Curve::CurveP256 => NamedGroup::secp256r1,
            Curve::CurveP384 => NamedGroup::secp384r1,
        } == group)
        };
        provider.kx_groups.retain(|group| place(group.name()).is_some());
        provider.kx_groups.sort_by_key(|group| place(group.name()));
    }
    Ok(provider)
}

fn go_name(suite: &SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")
}
