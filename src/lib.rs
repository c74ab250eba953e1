//! Exposes logged-in users as Prometheus metrics. A scrape runs `w`, reads its table, and renders it
//! as metrics.
//!
//! The path of a request:
//!
//! ```text
//! client → http::front (one thread, owns every client) → http::received → http::request
//!                ↓ http::requests: a private connection to tiny_http      ↑ replies
//! main thread, the loop in `exporter`: route → cache → (a run of w) → answers → respond
//!                ↓ starts a run                                           ↑ what it printed
//! the thread that runs w: command → child
//!
//! of a run: table → session → snapshot
//! of an answer: snapshot → metrics → exposition, or → landing_page
//! ```
//!
//! The front answers refusals, unknown paths, `OPTIONS` and `/-/healthy` itself. Each thread owns
//! what it works with, and they send each other messages, so there are no locks. The functions that
//! read tables and render metrics use no process, clock or socket.

#[cfg(not(target_os = "linux"))]
compile_error!(
    "this exporter runs on Linux only; it reads the w of another system over ssh, see docs/supported-w.md"
);

pub mod about;
pub mod answers;
pub mod builtin;
pub mod cache;
pub mod calendar;
pub mod cli;
pub mod clock;
pub mod collector;
pub mod command;
mod decimal;
pub mod exporter;
pub mod exposition;
mod http;
pub mod landing_page;
pub mod log;
pub mod metrics;
mod missing_terminals;
mod plural;
pub mod printable;
pub mod process_metrics;
mod run_log;
pub mod runner;
mod service_manager;
pub mod session;
mod signals;
pub mod snapshot;
pub mod table;
mod threads;
pub mod visibility;
