//! TLS, client certificates and passwords, as a client sees them. Needs openssl.
//!
//! The tests that need other programs are ignored by `cargo test`, and `.ci/run` runs them. A new
//! test goes into the file that has its subject:
//!
//! - `settings`: what the file of `--web.config.file` may say, and the errors.
//! - `reload`: files that change while it runs.
//! - `admission`: which clients are let in.
//! - `chains`: which chains of certificates lead to an authority.
//! - `attacks`: attacks that there are only with TLS and passwords.
//! - `ciphers`: versions and ciphers.
//! - `node_exporter`: the same files beside node_exporter.
//! - `scraped`: Prometheus with a client certificate.
//! - `unit`: the systemd unit with its drop-in.
//! - `documents`: the commands in the documents.
//!
//! `client`, `files` and `tunnel` are what they share.

mod admission;
mod attacks;
mod chains;
mod ciphers;
mod client;
mod documents;
mod files;
mod node_exporter;
mod reload;
mod scraped;
mod settings;
mod tunnel;
mod unit;

use crate::harness::Exporter;

/// Starts an exporter that asks for client certificates, and puts a tunnel before it.
pub fn through_a_tunnel(start: impl FnOnce(&[&str]) -> Exporter) -> Exporter {
    let files = files::Files::new(files::MUTUAL);
    let mut exporter = start(&["--web.config.file", &files.web()]);
    exporter.address = tunnel::to(&exporter.address, client::Client::new(&files, Some("client")));
    exporter
}
