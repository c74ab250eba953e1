//! The HTTP server in front of the loop. It accepts connections, limits what clients can use,
//! parses requests and writes answers. It knows no metrics and only one route, `/-/healthy`, which
//! is answered whatever the loop does.

#[cfg(feature = "tls")]
mod access;
#[cfg(not(feature = "tls"))]
#[path = "http/access/absent.rs"]
mod access;
mod channel;
mod connection;
mod connections;
mod date;
mod incoming;
mod inner;
mod limits;
mod listener;
#[cfg(feature = "tls")]
mod network;
mod reply;
mod request;
mod stream;

pub(crate) use access::Access;
pub(crate) use incoming::{Request, Requests};
pub(crate) use listener::{Accepting, Listener};
pub(crate) use reply::Reply;
