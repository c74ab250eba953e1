//! TLS, client certificates and passwords, as a client sees them. Needs openssl.
//!
//! The tests that need other programs are ignored by `cargo test`, and `.ci/run` runs them.

mod admission;
mod attacks;
mod ciphers;
mod client;
mod files;
mod node_exporter;
mod readme;
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
