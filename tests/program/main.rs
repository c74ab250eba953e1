//! Tests that run the program: as users do, as attackers do, and with real programs around it.
//!
//! `cargo test` runs the tests that need no other programs. The others are ignored. `.ci/run`
//! installs what they need and runs them by the names of their modules.
//!
//! A new test goes into the module that has its subject. The lists below say what that is, and the
//! first lines of each module say more. A test that is about one function belongs beside it in
//! `src`. A table of `w` belongs in `fixtures`, see `tests/captures.rs` and `tests/cases.rs`.

// The modules use each other. Nothing is public.
#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

// Shared by the tests, and no tests themselves: starting the program and talking to it, Prometheus
// with its API, and an sshd.
mod harness;
mod prometheus;
mod sshd;

// What the program does for its users.
mod builtin; // the built-in `w`, also beside procps
mod cache; // when `w` runs, and when its last result is reused
mod cost; // system calls of a scrape
mod documents; // what README, CONTRIBUTING and `docs` say and show
mod flags; // flags, variables, and errors for wrong values
mod http; // answers to well-behaved clients, and how it stops
mod manual; // the man page
mod readiness; // what the service manager learns
mod w; // what `w` gets, and what happens if it fails
mod waiting; // clients that wait for `w`

// What attackers do, by what they attack.
mod attacks;

// TLS, certificates and passwords; only in a build with the feature.
#[cfg(feature = "tls")]
mod tls;

// With real programs around it.
mod booted; // Debian in containers: the unit, the packages, every kind of login
mod containers; // the images, with real logins
mod contrib; // the files for servers and containers
mod interop; // other HTTP clients, parsers and proxies
mod operator; // the files for Prometheus, Alertmanager and Grafana
mod page; // the status page in a browser
mod proxy; // nginx in front, with the configuration in `contrib`
mod real; // logins over an sshd, scraped by Prometheus
mod release; // the files of a release
mod static_binaries; // static binaries, with nothing else in their root
