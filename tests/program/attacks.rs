//! Nothing that a client or `w` does takes the exporter down. If `EXPORTER_BINARY` is set, these
//! tests run that binary and check its memory limits. Otherwise they run the debug binary.

mod clock;
mod connections;
mod local;
mod requests;
mod shortage;
pub(crate) mod siege;
mod soak;
mod w;
