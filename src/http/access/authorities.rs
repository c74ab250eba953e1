//! Whether a client's certificate is one of the authorities of `client_ca_file`, or leads to one,
//! as Go decides it for other exporters. webpki finds the chains and verifies them. But of an
//! authority it knows only the name, the key and the name constraints, it ignores what a key may be
//! used for, and it does not know `anyExtendedKeyUsage`. Here is what it lacks.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls::{
    CertificateError, DistinguishedName, OtherError, RootCertStore,
    pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime},
};
use webpki::{
    EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeIdIter, RequiredEkuNotFoundContext,
    VerifiedPath,
};
use x509_cert::{
    Certificate, TbsCertificate, Version,
    der::{
        Decode,
        oid::db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_CLIENT_AUTH},
    },
    ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage},
};

use crate::http::limits::MAX_INTERMEDIATES;

#[derive(Debug)]
pub(super) struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    /// What webpki knows of each.
    roots: RootCertStore,
    names: Vec<DistinguishedName>,
    algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
}

impl Authorities {
    /// # Errors
    /// There is none, or one can't be read.
    pub(super) fn new(
        certificates: Vec<CertificateDer<'static>>,
        algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
    ) -> Result<Authorities> {
        ensure!(!certificates.is_empty(), "expected a certificate to verify clients by");
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            Certificate::from_der(certificate).context("a certificate can't be read")?;
            roots.add(certificate.clone())?;
        }
        let names = roots.subjects();
        Ok(Authorities { certificates, roots, names, algorithms })
    }

    /// The names that are sent to clients, so that they choose a certificate.
    pub(super) fn names(&self) -> &[DistinguishedName] {
        &self.names
    }

    /// Verifies a certificate, with what its client has sent to lead to an authority.
    ///
    /// # Errors
    /// It is not accepted.
    pub(super) fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), CertificateError> {
        // `openssl req -x509` makes a certificate that is authority and client in one.
        let is_authority = self.certificates.iter().any(|authority| authority == certificate);
        let verified = if is_authority {
            read(certificate).and_then(|own| check(&own, now))
        } else {
            self.verify_chain(certificate, intermediates, now)
        };
        verified.map_err(reason)
    }

    fn verify_chain(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if intermediates.len() > MAX_INTERMEDIATES {
            return Err(Error::MaximumPathDepthExceeded);
        }
        let client = EndEntityCert::try_from(certificate)?;
        let check = |path: &VerifiedPath<'_>| self.check_path(path, now);
        client.verify_for_usage(
            self.algorithms,
            &self.roots.roots,
            intermediates,
            now,
            Later,
            None,
            Some(&check),
        )?;
        Ok(())
    }

    /// Checks what webpki has not checked of a chain. If this fails, webpki tries the next one.
    fn check_path(&self, path: &VerifiedPath<'_>, now: UnixTime) -> Result<(), Error> {
        check(&read(&path.end_entity().der())?, now)?;
        for intermediate in path.intermediate_certificates() {
            let intermediate = read(&intermediate.der())?;
            check(&intermediate, now)?;
            check_signer(&intermediate)?;
        }
        let length = path.intermediate_certificates().count();
        // A renewed authority can have the name and the key of the old one.
        let same = self.roots.roots.iter().zip(&self.certificates);
        let same = same.filter(|(root, _)| *root == path.anchor());
        let checked = same.map(|(_, authority)| check_authority(&read(authority)?, length, now));
        checked.reduce(Result::or).unwrap_or(Err(Error::UnknownIssuer))
    }
}

/// A purpose of keys is checked once a chain is found, by [`check`].
struct Later;

impl ExtendedKeyUsageValidator for Later {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        Ok(())
    }
}

fn read(certificate: &CertificateDer<'_>) -> Result<TbsCertificate, Error> {
    let read = Certificate::from_der(certificate).map_err(|_| Error::BadDer)?;
    Ok(read.tbs_certificate().clone())
}

/// Checks that it is valid now, and for clients or for everything.
fn check(certificate: &TbsCertificate, time: UnixTime) -> Result<(), Error> {
    let validity = certificate.validity();
    let not_before = UnixTime::since_unix_epoch(validity.not_before.to_unix_duration());
    let not_after = UnixTime::since_unix_epoch(validity.not_after.to_unix_duration());
    if time < not_before {
        return Err(Error::CertNotValidYet { time, not_before });
    }
    if time > not_after {
        return Err(Error::CertExpired { time, not_after });
    }
    let usage = certificate.get_extension::<ExtendedKeyUsage>().map_err(|_| Error::BadDer)?;
    let for_clients = usage.is_none_or(|(_, ExtendedKeyUsage(purposes))| {
        purposes.contains(&ID_KP_CLIENT_AUTH) || purposes.contains(&ANY_EXTENDED_KEY_USAGE)
    });
    if for_clients {
        return Ok(());
    }
    let required = webpki::KeyUsage::client_auth();
    Err(Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext {
        required,
        present: Vec::new(),
    }))
}

/// Checks that it may sign certificates.
fn check_signer(certificate: &TbsCertificate) -> Result<(), Error> {
    let constraints = certificate.get_extension::<BasicConstraints>().map_err(|_| Error::BadDer)?;
    let is_authority = match constraints {
        Some((_, constraints)) => constraints.ca,
        // Those of version 1 can't say it.
        None => certificate.version() == Version::V1,
    };
    let usage = certificate.get_extension::<KeyUsage>().map_err(|_| Error::BadDer)?;
    let signs = usage.is_none_or(|(_, usage)| usage.key_cert_sign());
    if is_authority && signs { Ok(()) } else { Err(Error::EndEntityUsedAsCa) }
}

/// Checks an authority with that many certificates between it and the client's.
fn check_authority(authority: &TbsCertificate, length: usize, now: UnixTime) -> Result<(), Error> {
    check(authority, now)?;
    check_signer(authority)?;
    let constraints = authority.get_extension::<BasicConstraints>().map_err(|_| Error::BadDer)?;
    let most = constraints.and_then(|(_, constraints)| constraints.path_len_constraint);
    if most.is_some_and(|most| length > most.into()) {
        return Err(Error::PathLenConstraintViolated);
    }
    Ok(())
}

/// Decides which alert the client gets.
fn reason(error: Error) -> CertificateError {
    match error {
        Error::BadDer => CertificateError::BadEncoding,
        Error::CertExpired { .. } => CertificateError::Expired,
        Error::CertNotValidYet { .. } => CertificateError::NotValidYet,
        Error::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        Error::UnknownIssuer => CertificateError::UnknownIssuer,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    }
}
