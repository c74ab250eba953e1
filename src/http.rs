//! HTTP in front of tiny_http: reads requests, bounds what a client may take, and answers what needs no metrics. Knows one route,
//! `/-/healthy`, so that it is answered whatever the loop does.

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
mod reply;
mod request;
mod stream;

pub(crate) use access::Access;
pub(crate) use incoming::{Request, Requests};
pub(crate) use listener::{Accepting, Listener};
pub(crate) use reply::Reply;
