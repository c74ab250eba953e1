//! An answer and its head.

use std::sync::Arc;

use super::date::http_date;
use crate::{about::NAME, clock};

/// An answer of the loop, or of the connection itself.
pub(crate) struct Reply {
    /// The status code.
    pub status: u16,
    /// Its standard reason phrase.
    pub reason: &'static str,
    /// The header fields, without those that every answer has.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The body. Clients that get the same body share it.
    pub body: Arc<Vec<u8>>,
}

impl Reply {
    /// An answer in plain text.
    pub(crate) fn text(status: u16, reason: &'static str, text: &str) -> Reply {
        let headers = vec![("Content-Type", "text/plain; charset=utf-8")];
        Reply { status, reason, headers, body: Arc::new(text.into()) }
    }

    /// The status line and the header fields, each with its line end, without the fields about the
    /// connection.
    pub(crate) fn head(&self) -> String {
        let Reply { status, reason, headers, body } = self;
        let date = http_date(clock::system().unix_seconds());
        // A cached answer would show users who have logged out, or call a dead exporter healthy.
        let mut head = format!(
            "HTTP/1.1 {status} {reason}\r\nServer: {NAME}\r\nDate: {date}\r\nCache-Control: no-store\r\n"
        );
        for (name, value) in headers {
            head.extend([*name, ": ", *value, "\r\n"]);
        }
        // This status has no content and no length (RFC 9110, 8.6).
        if *status != 204 {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head
    }
}
