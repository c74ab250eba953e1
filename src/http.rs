//! The HTTP server in front of the loop. It accepts connections, limits what clients can use,
//! parses requests and writes answers. It knows no metrics and only one route, `/-/healthy`, which
//! is answered whatever the loop does. The loop names the paths that it answers.

mod accept;
#[cfg(feature = "tls")]
mod access;
#[cfg(not(feature = "tls"))]
#[path = "http/access/absent.rs"]
mod access;
mod client;
mod date;
mod descriptors;
mod front;
mod limits;
mod listener;
mod network;
mod places;
mod received;
mod reply;
mod request;
mod requests;
mod server;
mod socket;

pub(crate) use access::Access;
pub(crate) use listener::{Listener, Shutdown};
pub(crate) use reply::Reply;
pub(crate) use requests::{Request, Requests};
