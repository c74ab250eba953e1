//! Client certificates: which clients `client_auth_type`, `client_ca_file` and
//! `client_allowed_sans` let in.

use std::{net::IpAddr, sync::Arc};

use anyhow::{Context, Result, bail};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::{
        NoClientAuth,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use x509_cert::{
    Certificate,
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use super::{
    authorities::Authorities,
    config::{ClientAuth, Tls},
    pem::Pem,
};

#[derive(Debug)]
struct Clients {
    mandatory: bool,
    /// `None` if any certificate is accepted.
    authorities: Option<Authorities>,
    /// If there are any, a client must have one of them.
    names: Option<Vec<String>>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// What verifies the clients' certificates.
///
/// # Errors
/// An authority is missing, or not used; the error names the key.
pub(super) fn verifier(
    tls: &Tls,
    authorities: Option<&Pem>,
    algorithms: WebPkiSupportedAlgorithms,
) -> Result<Arc<dyn ClientCertVerifier>> {
    let kind = tls.client_auth_type.unwrap_or_default();
    let names = tls.client_allowed_sans.clone();
    let certificates = authorities.map(Pem::certificates).transpose()?;
    if let ClientAuth::NoClientCert = kind {
        let unused = authorities.map(|authorities| authorities.key);
        if let Some(key) = unused.or(names.map(|_| "client_allowed_sans")) {
            bail!("client_auth_type: expected RequireAndVerifyClientCert, because there is {key}");
        }
        return Ok(Arc::new(NoClientAuth));
    }
    // A client without a certificate has none of the names.
    let mandatory = kind.requires() || names.is_some();
    let authorities = if kind.verifies() {
        let key = authorities.map_or("client_ca_file", |authorities| authorities.key);
        Some(Authorities::new(certificates.unwrap_or_default(), algorithms.all).context(key)?)
    } else {
        None
    };
    Ok(Arc::new(Clients { mandatory, authorities, names, algorithms }))
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authorities.as_ref().map_or(&[], Authorities::names)
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let read = Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
        if let Some(authorities) = &self.authorities {
            authorities.verify(certificate, intermediates, now)?;
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
