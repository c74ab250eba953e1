//! Tells Prometheus who is logged in: a scrape runs `w`, its table is read, and served as metrics.
//!
//! Data flows one way: request → cache → run `w` → table → sessions → metrics → exposition → answer. In front of it stand
//! the modules that serve: `front` takes connections, `head` reads requests, `door` leads to tiny_http's loop, `site` answers.

pub mod cache;
pub mod clock;
pub mod door;
pub mod exposition;
pub mod flags;
pub mod front;
pub mod head;
pub mod interval;
mod lock;
pub mod log;
pub mod login;
pub mod memory;
pub mod metrics;
mod news;
pub mod page;
pub mod process;
pub mod resolution;
pub mod run;
pub mod scrape;
pub mod serve;
pub mod sessions;
pub mod site;
pub mod table;
