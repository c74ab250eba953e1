//! Client certificates: which clients `client_auth_type`, `client_ca_file` and
//! `client_allowed_sans` let in.

use std::{net::IpAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, UnixTime},
    server::{
        NoClientAuth, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use x509_cert::{
    Certificate,
    der::{
        Decode,
        oid::db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_CLIENT_AUTH},
    },
    ext::pkix::{ExtendedKeyUsage, SubjectAltName, name::GeneralName},
};

use super::config::{ClientAuth, Tls};

#[derive(Debug)]
struct Clients {
    mandatory: bool,
    /// Verifies the chain of certificates; `None` if any certificate is accepted.
    chain: Option<Arc<dyn ClientCertVerifier>>,
    authorities: Vec<CertificateDer<'static>>,
    /// If there are any, a client must have one of them.
    names: Option<Vec<String>>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// What verifies the clients' certificates.
///
/// # Errors
/// An authority is missing, or not used.
pub(super) fn verifier(
    tls: &Tls,
    authorities: Option<Vec<CertificateDer<'static>>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>> {
    let names = tls.client_allowed_sans.clone();
    let (mandatory, verified) = match tls.client_auth_type.unwrap_or(ClientAuth::NoClientCert) {
        ClientAuth::NoClientCert => {
            ensure!(
                authorities.is_none() && names.is_none(),
                "client_auth_type: expected RequireAndVerifyClientCert where there is a client_ca or client_allowed_sans"
            );
            return Ok(Arc::new(NoClientAuth));
        }
        ClientAuth::RequestClientCert => (false, false),
        ClientAuth::RequireAnyClientCert => (true, false),
        ClientAuth::VerifyClientCertIfGiven => (false, true),
        ClientAuth::RequireAndVerifyClientCert => (true, true),
    };
    let authorities = authorities.unwrap_or_default();
    let chain = if verified {
        Some(chain_verifier(&authorities, provider).context("client_ca_file")?)
    } else {
        None
    };
    let algorithms = provider.signature_verification_algorithms;
    // A client without a certificate has none of the names.
    let mandatory = mandatory || names.is_some();
    Ok(Arc::new(Clients { mandatory, chain, authorities, names, algorithms }))
}

fn chain_verifier(
    authorities: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>> {
    if authorities.is_empty() {
        bail!("expected a certificate to verify clients by");
    }
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    let provider = Arc::clone(provider);
    Ok(WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?)
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.as_ref().map_or(&[], |chain| chain.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let read = Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
        if let Some(chain) = &self.chain {
            // One that signed itself, as `openssl req -x509` makes it, is authority and client in
            // one, which webpki does not allow.
            let is_authority = self.authorities.iter().any(|authority| authority == certificate);
            if !(is_authority && may_be_client(&read, now)) {
                chain.verify_client_cert(certificate, intermediates, now)?;
            }
        }
        match &self.names {
            Some(allowed) if !names(&read).iter().any(|name| allowed.contains(name)) => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            _ => Ok(ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether it is valid now, and for clients or for everything.
fn may_be_client(certificate: &Certificate, now: UnixTime) -> bool {
    let now = Duration::from_secs(now.as_secs());
    let validity = certificate.tbs_certificate().validity();
    let (begin, end) =
        (validity.not_before.to_unix_duration(), validity.not_after.to_unix_duration());
    let for_clients = match certificate.tbs_certificate().get_extension::<ExtendedKeyUsage>() {
        Ok(None) => true,
        Ok(Some((_, usage))) => {
            usage.0.iter().any(|usage| [ID_KP_CLIENT_AUTH, ANY_EXTENDED_KEY_USAGE].contains(usage))
        }
        Err(_) => false,
    };
    (begin..=end).contains(&now) && for_clients
}

/// The subject alternative names that exporter-toolkit compares.
fn names(certificate: &Certificate) -> Vec<String> {
    let names = certificate.tbs_certificate().get_extension::<SubjectAltName>();
    let Ok(Some((_, SubjectAltName(names)))) = names else { return Vec::new() };
    let text = |name| match name {
        GeneralName::DnsName(text)
        | GeneralName::Rfc822Name(text)
        | GeneralName::UniformResourceIdentifier(text) => Some(text.to_string()),
        GeneralName::IpAddress(octets) => {
            let octets = octets.as_bytes();
            let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
            let address = v4.or(<[u8; 16]>::try_from(octets).map(IpAddr::from));
            Some(address.ok()?.to_canonical().to_string())
        }
        _ => None,
    };
    names.into_iter().filter_map(text).collect()
}
