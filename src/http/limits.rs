//! All limits of the HTTP server.

use std::time::Duration;

/// The most open connections, where there are descriptors for them. A new one then closes another.
/// `descriptors` knows how many there are.
pub(crate) const MAX_CONNECTIONS: usize = 256;
/// With fewer it does not start.
pub(crate) const MIN_CONNECTIONS: usize = 16;
/// The connections for requests that need no `w`, so that they do not wait for others that do.
pub(crate) const OWN_CONNECTIONS: usize = 8;
/// The descriptors that a run of `w` and its answer have open at a time, which are 10, and some for
/// a file of certificates that is read again.
pub(crate) const RUN_DESCRIPTORS: usize = 16;
/// The descriptors that tiny_http and the rest of the front open.
pub(crate) const START_DESCRIPTORS: usize = 12;
/// The limit of descriptors that is enough, also with some that are inherited.
pub(crate) const DESCRIPTORS: u64 = 512;
/// The length of the listen queue.
pub(crate) const LISTEN_QUEUE: i32 = 4096;
/// The most bytes of a request line (RFC 9112, 3: at least 8000).
pub(crate) const MAX_LINE_BYTES: usize = 8000;
/// The most bytes of all header fields of a request.
pub(crate) const MAX_FIELD_BYTES: usize = 8192;
/// The most header fields of a request.
pub(crate) const MAX_FIELDS: usize = 100;
/// The time for the head of a request to arrive, from its first byte or from the start of the
/// connection.
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(5);
/// The time in which the request of a new connection usually arrives. Before, other connections are
/// closed to make room.
pub(crate) const ARRIVAL_TIME: Duration = Duration::from_millis(20);
/// The time between two requests. Longer than usual scrape intervals. The `Keep-Alive` field states
/// it.
pub(crate) const IDLE_TIME: Duration = Duration::from_secs(120);
/// The time for a client to read its answer. If no client reads its answer, the next one is still
/// answered within the 10 s that Prometheus waits.
pub(crate) const WRITE_TIME: Duration = Duration::from_secs(8);
/// The time for a client to read its answer, before its connection can be closed to make
/// room.
pub(crate) const WRITE_GRACE: Duration = Duration::from_secs(1);
/// The most bytes of bodies that clients read, apart from one. If there are more, a connection is
/// closed. Clients that get the same body share it.
pub(crate) const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// The send buffer of a connection. The kernel doubles it, and would otherwise use up to 4 MiB for
/// a client that does not read.
pub(crate) const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// The time for a client to read its last answer, before its connection is closed.
pub(crate) const LINGER_TIME: Duration = Duration::from_secs(1);
/// How long a request queues for a place among those that wait for the loop. Usually the loop
/// answers many requests within this time. If it does not, it waits for `w`.
pub(crate) const PLACE_TIME: Duration = Duration::from_millis(250);
/// The most connections of a listening socket that are accepted before the others are served.
pub(crate) const ACCEPTS: usize = 16;
/// How often a client is read before the others are served.
pub(crate) const READS: usize = 4;
/// The time until the next connection is accepted, after an error such as too many open files.
pub(crate) const RETRY_TIME: Duration = Duration::from_millis(20);
/// The least time between two log lines about refused connections.
pub(crate) const LOG_TIME: Duration = Duration::from_secs(60);
/// The most passwords that wait to be checked. At bcrypt's cost 10 each takes about 50 ms, so that
/// the last one is checked before Prometheus gives up. Each step of the cost doubles that.
#[cfg(feature = "tls")]
pub(crate) const MAX_CHECKS: usize = 64;
/// The same for one client. More are refused at once, so that clients that guess do not keep others
/// out.
#[cfg(feature = "tls")]
pub(crate) const MAX_CHECKS_OF_CLIENT: usize = 4;
/// The most certificates that a client sends beside its own. No chain can use more. Of hundreds with
/// one name, each could be the next one of a chain, and to try them all takes a second.
#[cfg(feature = "tls")]
pub(crate) const MAX_INTERMEDIATES: usize = 6;
/// A scraper is answered this much earlier than it stops waiting.
pub(crate) const SCRAPE_TIMEOUT_OFFSET: Duration = Duration::from_millis(500);
/// Shorter scrape timeouts are ignored. They would leave `w` too little time, and each one would be
/// logged as a failure.
pub(crate) const MIN_SCRAPE_TIMEOUT: Duration = Duration::from_secs(1);
