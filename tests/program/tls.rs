//! TLS, client certificates and passwords, as a client sees them. Needs openssl.

mod admission;
mod attacks;
mod client;
mod files;
mod reload;
mod settings;
mod tunnel;

use crate::harness::Exporter;

/// Starts an exporter that asks for client certificates, and puts a tunnel before it.
pub fn through_a_tunnel(start: impl FnOnce(&[&str]) -> Exporter) -> Exporter {
    let files = files::Files::new(files::MUTUAL);
    let mut exporter = start(&["--web.config.file", &files.web()]);
    exporter.address = tunnel::to(&exporter.address, client::Client::new(&files, Some("client")));
    exporter
}
