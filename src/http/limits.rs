//! What clients may take. Every bound of the HTTP side stands here.

use std::time::Duration;

/// Connections at a time. More wait in the listen queue.
pub(crate) const MAX_CONNECTIONS: usize = 256;
/// Connections that are kept for a next request. Where there are more, each ends with its next answer.
pub(crate) const MAX_KEPT_CONNECTIONS: usize = MAX_CONNECTIONS * 3 / 4;
/// Connections that can wait for the loop at a time. The others are left for what needs no `w`.
pub(crate) const MAX_WAITING: usize = MAX_CONNECTIONS - 8;
/// Connections that wait in the listen queue, less one.
pub(crate) const LISTEN_QUEUE: i32 = 4096;
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
/// For a client to take its answer. A client that waits for others that take nothing is still answered within the 10 s that
/// Prometheus waits.
pub(crate) const WRITE_TIME: Duration = Duration::from_secs(8);
/// The bytes of an answer that the kernel takes for a client that does not read; it may double them. Otherwise they are 4 MiB, for
/// each connection.
pub(crate) const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// For a client to read the last answer, before its connection is closed.
pub(crate) const LINGER_TIME: Duration = Duration::from_secs(1);
/// For a connection to send its first request, or its next one, before it may be closed for another. A client that opens 200
/// connections at once is that slow.
pub(crate) const PATIENCE: Duration = Duration::from_millis(250);
/// How often a connection that waits for room looks for one to close, if none ends by itself.
pub(crate) const EVICTION_CHECK: Duration = Duration::from_millis(25);
/// New connections that are closed for others, one after the other, before the next ones are closed without patience: so many that
/// send nothing are an attack.
pub(crate) const MAX_PATIENT_EVICTIONS: u32 = MAX_CONNECTIONS as u32;
/// Without such a closing for this time the attack is over.
pub(crate) const CALM_TIME: Duration = Duration::from_secs(1);
/// How often it is noticed that a client that waits for its answer has hung up.
pub(crate) const HANG_UP_CHECK: Duration = Duration::from_millis(250);
/// After an error of the system, such as too many open files, before the next connection is accepted.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);
/// How often it is logged that connections are refused.
pub(crate) const LOG_PAUSE: Duration = Duration::from_secs(60);
/// The stack of a connection's thread. It only reads a head and writes an answer; with TLS it calculates too.
pub(crate) const STACK_BYTES: usize = if cfg!(feature = "tls") { 256 } else { 64 } * 1024;
/// Passwords that are checked or wait for that. Each takes 50 ms or more, so that the last one is checked before Prometheus gives up.
#[cfg(feature = "tls")]
pub(crate) const MAX_CHECKS: usize = 64;
/// The same, of one client. More are refused at once, so that those who guess do not keep others out.
#[cfg(feature = "tls")]
pub(crate) const MAX_CHECKS_OF_CLIENT: usize = 4;
/// How much earlier than a scraper stops waiting it is answered.
pub(crate) const SCRAPE_TIMEOUT_OFFSET: Duration = Duration::from_millis(500);
/// A scraper that says that it waits less than this is not believed.
pub(crate) const MIN_SCRAPE_TIMEOUT: Duration = Duration::from_secs(1);
