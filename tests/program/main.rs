//! The program, driven as a process: by what its users do, by what its attackers do, and by the real programs around it.
//!
//! `cargo test` runs the tests that need nothing else. The others are ignored there; `.ci/run` installs what they need and runs
//! them by the names of their modules.

// Its modules use each other; it has no interface.
#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

// What the tests share.
mod harness;
mod prometheus;
mod sshd;

// What the program does.
mod cache;
mod cost;
mod flags;
mod http;
mod manual;
mod readme;
mod w;
mod waiting;

// What nobody may do to it.
mod attacks;

// What a build with the feature has more.
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
mod static_binaries;
