//! What one client may take. Every bound of the HTTP side stands here.

use std::time::Duration;

/// The bytes of a request line (RFC 9112, 3: at least 8000).
pub(crate) const MAX_LINE_BYTES: usize = 8000;
/// The bytes of all header fields of a request.
pub(crate) const MAX_FIELD_BYTES: usize = 8192;
/// The header fields of a request.
pub(crate) const MAX_FIELDS: usize = 100;
/// For a request head to arrive, from its first byte, or from the start of the connection.
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(5);
/// Between two requests. Longer than usual scrape intervals. Announced to the client.
pub(crate) const IDLE_TIME: Duration = Duration::from_secs(120);
/// For a client to take its answer. A client that waits behind 64 that take nothing is still answered within the 10 s that
/// Prometheus waits.
pub(crate) const WRITE_TIME: Duration = Duration::from_secs(8);
