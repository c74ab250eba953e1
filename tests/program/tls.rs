//! TLS, client certificates and passwords, as a client of them finds them. Needs openssl.

mod admission;
mod client;
mod files;
mod reload;
mod settings;
