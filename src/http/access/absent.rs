//! What a build without the feature `tls` has instead: types without values.

use std::{
    io,
    net::{IpAddr, TcpStream},
    path::Path,
    time::Duration,
};

use anyhow::{Result, bail};

use super::{request::Refusal, stream::Unread};

/// TLS settings and passwords.
#[derive(PartialEq)]
pub enum Access {}

pub(crate) enum Session {}

impl Access {
    /// # Errors
    /// Always; the error names the build that can use the file.
    pub(crate) fn open(_: &Path) -> Result<Access> {
        bail!(
            "expected a build with TLS and passwords, which this one is not: take the binary whose name ends in -tls, or build with --features tls"
        )
    }

    pub(crate) fn scheme(&self) -> &'static str {
        match *self {}
    }

    pub(crate) fn session(&self) -> Result<Option<Session>> {
        match *self {}
    }

    pub(crate) fn admit(&self, _: &str, _: IpAddr) -> Result<(), Refusal> {
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
