//! Serves who is logged in as Prometheus metrics. A scrape runs `w`, reads its table, and renders
//! it as metrics.
//!
//! The path of a request:
//!
//! ```text
//! client → http::listener → http::connection → http::request     what a client may do; refusals, OPTIONS and /-/healthy end here
//!                                   ↓ http::channel              a private connection to tiny_http, which http::inner makes
//! main thread: the loop in `exporter` takes one request after the other: route → cache → collector → answers → respond
//!                                   collector: command → table → session → snapshot
//!                                   answers: snapshot → metrics → exposition, or → landing_page
//! ```
//!
//! The loop owns the cache, and the cache owns the collector, so they need no locks. Only the loop
//! runs `w`. The functions that read tables and render metrics use no process, clock or socket.

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
pub mod exporter;
pub mod exposition;
mod http;
pub mod landing_page;
mod lock;
pub mod log;
pub mod metrics;
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
pub mod visibility;
