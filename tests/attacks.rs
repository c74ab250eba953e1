//! Nothing that a client or `w` does takes the exporter down. With `EXPORTER_BINARY` these tests run that binary, and hold its
//! memory against its bounds; without it they run the debug one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "program/harness.rs"]
#[allow(dead_code)]
mod harness;

#[path = "attacks/clock.rs"]
mod clock;
#[path = "attacks/connections.rs"]
mod connections;
#[path = "attacks/local.rs"]
mod local;
#[path = "attacks/requests.rs"]
mod requests;
#[path = "attacks/shortage.rs"]
mod shortage;
#[path = "attacks/siege.rs"]
mod siege;
#[path = "attacks/soak.rs"]
mod soak;
#[path = "attacks/w.rs"]
mod w;
