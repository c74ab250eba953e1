//! Tests that run the program: as users do, as attackers do, and with real programs around it.
//!
//! `cargo test` runs the tests that need no other programs. The others are ignored. `.ci/run`
//! installs what they need and runs them by the names of their modules.

// The modules use each other. Nothing is public.
#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

// Shared by the tests.
mod harness;
mod prometheus;
mod sshd;

// What the program does.
mod cache;
mod cost;
mod flags;
mod http;
mod manual;
mod readiness;
mod readme;
mod w;
mod waiting;

// What attackers do.
mod attacks;

// Only in a build with the feature.
#[cfg(feature = "tls")]
mod tls;

// With real programs.
mod booted;
mod contrib;
mod interop;
mod operator;
mod page;
mod proxy;
mod real;
mod release;
mod static_binaries;
