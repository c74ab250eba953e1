//! Client certificates, held against the authorities and names that the file allows.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use crate::table::civil::utc;

/// What `client_auth_type`, `client_ca_file` and `client_allowed_sans` ask of a client.
#[derive(Debug)]
pub(super) struct Clients {
    mandatory: bool,
    /// Verifies the chain of certificates; `None` if any certificate will do.
    chain: Option<Arc<dyn ClientCertVerifier>>,
    /// The certificates of the authorities themselves.
    authorities: Vec<CertificateDer<'static>>,
    names: Option<Vec<String>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Clients {
    /// What a `client_auth_type` means; `None` if clients are asked for no certificate.
    ///
    /// # Errors
    /// There is no such type, or what it needs is missing.
    pub(super) fn new(
        kind: &str,
        authorities: Option<Vec<CertificateDer<'static>>>,
        names: Option<Vec<String>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<Clients>> {
        let (mandatory, verified) = match kind {
            "" | "NoClientCert" if authorities.is_some() || names.is_some() => {
                bail!(
                    "client_auth_type: expected RequireAndVerifyClientCert where there is a client_ca or client_allowed_sans"
                )
            }
            "" | "NoClientCert" => return Ok(None),
            "RequestClientCert" => (false, false),
            "RequireAnyClientCert" | "RequireClientCert" => (true, false),
            "VerifyClientCertIfGiven" => (false, true),
            "RequireAndVerifyClientCert" => (true, true),
            _ => bail!(
                "client_auth_type {kind:?}: expected NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert"
            ),
        };
        let authorities = authorities.unwrap_or_default();
        let chain = match verified {
            false => None,
            true if authorities.is_empty() => {
                bail!("client_ca_file: expected a certificate to verify clients by")
            }
            true => {
                let mut roots = RootCertStore::empty();
                for authority in &authorities {
                    roots.add(authority.clone()).context("client_ca_file")?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(
                    Arc::new(roots),
                    Arc::clone(provider),
                );
                let verifier = verifier.build().context("client_ca_file")?;
                Some(verifier as Arc<dyn ClientCertVerifier>)
            }
        };
        let algorithms = provider.signature_verification_algorithms;
        // A client without a certificate has none of the names.
        let mandatory = mandatory || names.is_some();
        Ok(Some(Clients { mandatory, chain, authorities, names, algorithms }))
    }
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
        if let Some(chain) = &self.chain {
            // One that signed itself and is an authority too, as `openssl req -x509` makes it, which webpki takes for no client.
            let is_authority = self.authorities.iter().any(|authority| authority == certificate);
            match is_authority && may_be_client(certificate, now).unwrap_or(false) {
                true => {}
                false => _ = chain.verify_client_cert(certificate, intermediates, now)?,
            }
        }
        let is_allowed = |allowed: &Vec<String>| {
            names(certificate).unwrap_or_default().iter().any(|name| allowed.contains(name))
        };
        match self.names.as_ref().is_none_or(is_allowed) {
            true => Ok(ClientCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
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

/// DER, element after element.
#[derive(Clone, Copy)]
struct Der<'d>(&'d [u8]);

impl<'d> Iterator for Der<'d> {
    /// The tag and the content.
    type Item = (u8, &'d [u8]);

    fn next(&mut self) -> Option<(u8, &'d [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
                (bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }
}

const SEQUENCE: u8 = 0x30;

/// The parts of a certificate that its issuer has signed.
fn signed_parts<'c>(certificate: &'c CertificateDer) -> Option<Der<'c>> {
    let (_, certificate) = Der(certificate).next()?;
    let (_, signed) = Der(certificate).next()?;
    Some(Der(signed))
}

/// The content of an extension, by the last byte of its identifier under 2.5.29.
fn extension<'c>(certificate: &'c CertificateDer, number: u8) -> Option<&'c [u8]> {
    let (_, extensions) = signed_parts(certificate)?.find(|(tag, _)| *tag == 0xa3)?;
    let (_, extensions) = Der(extensions).next()?;
    let (_, extension) = Der(extensions)
        .find(|(_, extension)| Der(extension).next() == Some((6, &[0x55, 0x1d, number])))?;
    let (_, octets) = Der(extension).find(|(tag, _)| *tag == 4)?;
    Der(octets).next().map(|(_, content)| content)
}

/// The subject alternative names that exporter-toolkit compares: of hosts and mailboxes, addresses and URIs.
fn names(certificate: &CertificateDer) -> Option<Vec<String>> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let name = |(tag, content): (u8, &[u8])| match tag {
        0x81 | 0x82 | 0x86 => text(content),
        0x87 => match content.len() {
            4 => {
                <[u8; 4]>::try_from(content).ok().map(|address| Ipv4Addr::from(address).to_string())
            }
            _ => <[u8; 16]>::try_from(content)
                .ok()
                .map(|address| Ipv6Addr::from(address).to_canonical().to_string()),
        },
        _ => None,
    };
    Some(Der(extension(certificate, 17)?).filter_map(name).collect())
}

/// Whether it is valid now, and for clients or for everything.
fn may_be_client(certificate: &CertificateDer, now: UnixTime) -> Option<bool> {
    const CLIENT: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
    const ANY: &[u8] = &[0x55, 0x1d, 0x25, 0];
    // Of the first level there are four sequences, and the third is the validity.
    let (_, validity) = signed_parts(certificate)?.filter(|(tag, _)| *tag == SEQUENCE).nth(2)?;
    let time = |(tag, content): (u8, &[u8])| {
        let text = std::str::from_utf8(content).ok()?;
        // UTCTime has the years from 1950 to 2049 in two digits.
        let century = match (tag, text < "5") {
            (0x17, true) => "20",
            (0x17, false) => "19",
            _ => "",
        };
        Some(format!("{century}{text}"))
    };
    let (year, month, day, hour, minute, second) = utc(i64::try_from(now.as_secs()).ok()?);
    let now = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
    let mut bounds = Der(validity).map(time);
    let valid = bounds.next()?? <= now && now <= bounds.next()??;
    let usage = extension(certificate, 37)
        .map(|usages| Der(usages).any(|(_, usage)| usage == CLIENT || usage == ANY));
    Some(valid && usage.unwrap_or(true))
}
