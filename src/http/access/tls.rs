//! What `tls_server_config` means to rustls.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result, anyhow, ensure};
use rustls::{
    NamedGroup, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::NoServerSessionStorage,
    version::{TLS12, TLS13},
};

use super::{
    clients,
    config::{Curve, Tls, Version},
    files::Files,
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
    let mut pem = |key: &str, inline: &Option<String>, file: &Option<String>| match (
        file.as_deref(),
        inline.as_deref(),
    ) {
        (Some(path), _) if !path.is_empty() => {
            files.read(&folder.join(path)).map(Some).with_context(|| format!("{key}_file"))
        }
        (_, Some(text)) if !text.is_empty() => Ok(Some(text.as_bytes().to_vec())),
        _ => Ok(None),
    };
    let certificate = pem("cert", &tls.cert, &tls.cert_file)?;
    let key = pem("key", &tls.key, &tls.key_file)?;
    let authorities = pem("client_ca", &tls.client_ca, &tls.client_ca_file)?;
    if certificate.is_none()
        && key.is_none()
        && authorities.is_none()
        && tls.client_auth_type.is_none()
    {
        return Ok(None);
    }
    let certificate =
        certificates(&certificate.context("cert_file: missing")?).context("cert_file")?;
    let key = PrivateKeyDer::from_pem_slice(&key.context("key_file: missing")?);
    let key = key.map_err(|_| anyhow!("key_file: expected a key in PEM"))?;
    let authorities =
        authorities.map(|pem| certificates(&pem).context("client_ca_file")).transpose()?;
    let provider = Arc::new(provider(tls)?);
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(tls)?)?;
    let config = config.with_client_cert_verifier(clients::verifier(tls, authorities, &provider)?);
    let mut config = config.with_single_cert(certificate, key).context("cert_file and key_file")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ignore_client_order = tls.prefer_server_cipher_suites.unwrap_or(true);
    // A client that resumes a session does not show its certificate again, but the authority may
    // have changed meanwhile.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Some(Arc::new(config)))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|_| anyhow!("it is not PEM"))?;
    ensure!(!read.is_empty(), "expected a certificate in PEM");
    Ok(read)
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
