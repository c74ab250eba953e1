//! An answer and its head.

use std::{fmt::Write, sync::Arc};

use super::{
    date::http_date,
    request::{METHOD_NOT_ALLOWED, Refusal, UNAUTHORIZED},
};
use crate::{about::NAME, clock};

/// An answer of the loop, or of the front itself.
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

/// Fields of every answer. A cached answer would show users who have logged out, or call a dead
/// exporter healthy. A page of another site in a browser on this host must not read the answer.
const FIELDS: &str = "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
                      Cross-Origin-Resource-Policy: same-origin\r\n";

/// The methods that are answered.
const ALLOW: (&str, &str) = ("Allow", "GET, HEAD, OPTIONS");

/// Asks the client for a password.
const AUTHENTICATE: (&str, &str) = (
    "WWW-Authenticate",
    concat!("Basic realm=\"", env!("CARGO_PKG_NAME"), "\", charset=\"UTF-8\""),
);

impl Reply {
    /// An answer in plain text.
    pub(crate) fn text(status: u16, reason: &'static str, text: &str) -> Reply {
        let headers = vec![("Content-Type", "text/plain; charset=utf-8")];
        Reply { status, reason, headers, body: Arc::new(text.into()) }
    }

    /// An answer that says which methods there are.
    pub(super) fn options() -> Reply {
        Reply { status: 204, reason: "No Content", headers: vec![ALLOW], body: Arc::default() }
    }

    /// An answer that says why there is no other.
    pub(super) fn refusal(refusal: Refusal) -> Reply {
        let Refusal { status, reason, text } = refusal;
        let mut reply = Reply::text(status, reason, &format!("{text}\n"));
        reply.headers.extend(match refusal {
            UNAUTHORIZED => Some(AUTHENTICATE),
            METHOD_NOT_ALLOWED => Some(ALLOW),
            _ => None,
        });
        reply
    }

    /// The status line and the header fields, each with its line end, without the fields about the
    /// connection.
    pub(super) fn head(&self) -> String {
        let Reply { status, reason, headers, body } = self;
        let date = http_date(clock::system().unix_seconds());
        // Long enough for all fields of this exporter.
        let mut head = String::with_capacity(1024);
        let _ = write!(
            head,
            "HTTP/1.1 {status} {reason}\r\nServer: {NAME}\r\nDate: {date}\r\n{FIELDS}"
        );
        for (name, value) in headers {
            head.extend([*name, ": ", *value, "\r\n"]);
        }
        // This status has no content and no length (RFC 9110, 8.6).
        if *status != 204 {
            let _ = write!(head, "Content-Length: {}\r\n", body.len());
        }
        head
    }
}
