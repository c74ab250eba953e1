//! TLS, client certificates and passwords, as a client sees them. Needs openssl.

mod admission;
mod client;
mod files;
mod reload;
mod settings;
