//! What a build without the feature `tls` has instead: types without values.

use std::{
    io,
    net::{IpAddr, TcpStream},
    path::Path,
};

use anyhow::{Result, bail};

use super::{request::Admission, requests::ToFront};

/// TLS settings and passwords.
#[derive(PartialEq)]
pub enum Access {}

/// TLS on a socket.
pub(super) enum Tls {}

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

    pub(super) fn start(&mut self, _: ToFront) -> Result<()> {
        match *self {}
    }

    pub(super) fn tls(&mut self) -> Result<Option<Tls>> {
        match *self {}
    }

    pub(super) fn admit(&mut self, _: u64, _: IpAddr, _: &str) -> Admission {
        match *self {}
    }

    pub(super) fn check_ended(&mut self) {
        match *self {}
    }

    pub(super) fn check_next(&mut self, _: impl Fn(u64) -> Option<String>) {
        match *self {}
    }

    pub(super) fn add_fields(&self, _: &mut String) {
        match *self {}
    }
}

impl Tls {
    pub(super) fn read(&mut self, _: &mut TcpStream, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(super) fn write(&mut self, _: &mut TcpStream, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(super) fn flush(&mut self, _: &mut TcpStream) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn wants_write(&self) -> bool {
        match *self {}
    }

    pub(super) fn announce_end(&mut self, _: &mut TcpStream) -> io::Result<()> {
        match *self {}
    }
}
