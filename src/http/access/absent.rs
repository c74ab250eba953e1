//! What a build without the feature `tls` has in place of TLS and passwords: nothing of these types exists.

use std::{io, net::TcpStream, path::Path, time::Duration};

use anyhow::{Result, bail};

use super::{request::Refusal, stream::Unread};

pub(crate) enum Access {}

pub(crate) enum Session {}

/// Says which build can use the file.
///
/// # Errors
/// Always.
pub(crate) fn check(_: &Path) -> Result<()> {
    bail!(
        "expected a build with TLS and passwords, which this one is not: take the binary whose name ends in -tls, or build with --features tls"
    )
}

impl Access {
    pub(crate) fn open(path: &Path) -> Result<Access> {
        check(path)?;
        bail!("there is no TLS")
    }

    pub(crate) fn uses_tls(&self) -> bool {
        match *self {}
    }

    pub(crate) fn session(&self) -> Result<Option<Session>> {
        match *self {}
    }

    pub(crate) fn admit(&self, _: &str) -> Result<(), Refusal> {
        match *self {}
    }

    pub(crate) fn add_fields(&self, _: &mut String) {
        match *self {}
    }
}

impl Session {
    pub(crate) fn read(
        &mut self,
        _: &TcpStream,
        _: &mut [u8],
        _: Duration,
    ) -> Result<usize, Unread> {
        match *self {}
    }

    pub(crate) fn write_all(&mut self, _: &TcpStream, _: &[u8], _: &[u8]) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn announce_end(&mut self, _: &TcpStream) -> io::Result<()> {
        match *self {}
    }
}
