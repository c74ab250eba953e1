//! Nothing that a client or `w` does takes the exporter down. With `EXPORTER_BINARY` these tests run that binary, and hold its
//! memory against its bounds; without it they run the debug one.

mod clock;
mod connections;
mod local;
mod requests;
mod shortage;
mod siege;
mod soak;
mod w;
