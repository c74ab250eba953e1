//! The program, driven as a process by what its users do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod cache;
mod cost;
mod flags;
#[allow(dead_code, reason = "the attacks use the rest of it")]
mod harness;
mod http;
mod w;
mod waiting;
