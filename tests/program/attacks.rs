//! Nothing that a client or `w` does takes the exporter down. If `EXPORTER_BINARY` is set, these
//! tests run that binary and check its memory limits. Otherwise they run the debug binary.
//! A new attack goes into the file of what it uses:
//!
//! - `connections`: connections, time and memory that a client takes.
//! - `fairness`: clients of one address that take what others need.
//! - `requests`: requests that no well-behaved client sends.
//! - `siege`: a crowd of such clients, while a well-behaved one scrapes.
//! - `w`: a `w` that fails, hangs or prints too much.
//! - `local`: another user of the host.
//! - `parent`: what the process that starts it hands down: signals, streams, and how it is started.
//! - `shortage`: too few descriptors or threads, or too little memory.
//! - `clock`: a clock that jumps.
//! - `soak`: hours of use.

mod clock;
mod connections;
mod fairness;
mod local;
mod parent;
mod requests;
mod shortage;
pub(crate) mod siege;
mod soak;
mod w;
