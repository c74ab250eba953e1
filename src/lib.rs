//! Tells Prometheus who is logged in: a scrape runs `w`, its table is read, and served as metrics.
//!
//! Data flows one way: request → cache → run `w` → table → sessions → metrics → exposition → answer. In front of it stand
//! the modules that serve: `front` takes connections, `head` reads requests, `door` leads to tiny_http's loop, `site` answers.

pub mod cache;
pub mod cli;
pub mod clock;
pub mod command;
pub mod door;
pub mod exposition;
pub mod front;
mod http;
pub mod landing_page;
mod lock;
pub mod log;
pub mod memory;
pub mod metrics;
mod news;
pub mod process_metrics;
pub mod scrape;
pub mod serve;
pub mod session;
pub mod site;
pub mod table;
