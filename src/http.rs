//! HTTP in front of tiny_http: what a client may send and take is bounded here. Knows no metric.

pub(crate) mod limits;
pub(crate) mod request;
