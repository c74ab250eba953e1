//! Certificates and keys in the form of PEM (RFC 7468), which the file holds or names.

use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::files::Files;

pub(super) struct Pem {
    /// The key of the file that it comes from. All errors name it.
    pub(super) key: &'static str,
    text: Vec<u8>,
}

impl Pem {
    /// Takes the value of the first key, or reads the file that the second one names. `None` if
    /// neither is written.
    ///
    /// # Errors
    /// The file can't be read.
    pub(super) fn read(
        (key, inline): (&'static str, Option<&str>),
        (key_of_file, file): (&'static str, Option<&str>),
        folder: &Path,
        files: &mut Files,
    ) -> Result<Option<Pem>> {
        if let Some(path) = file.filter(|path| !path.is_empty()) {
            let text = files.read(&folder.join(path)).context(key_of_file)?;
            return Ok(Some(Pem { key: key_of_file, text }));
        }
        let inline = inline.filter(|text| !text.is_empty());
        Ok(inline.map(|text| Pem { key, text: text.as_bytes().to_vec() }))
    }

    /// # Errors
    /// There is no certificate.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.text).collect();
        let read = read.map_err(|_| anyhow!("{}: it is not PEM", self.key))?;
        ensure!(!read.is_empty(), "{}: expected a certificate in PEM", self.key);
        Ok(read)
    }

    /// # Errors
    /// There is no key of a private kind.
    pub(super) fn private_key(&self) -> Result<PrivateKeyDer<'static>> {
        PrivateKeyDer::from_pem_slice(&self.text)
            .map_err(|_| anyhow!("{}: expected a key in PEM", self.key))
    }
}
