//! Reads the head of an HTTP request (RFC 9112) with httparse, and checks what httparse does not:
//! line ends, framing, `Host`, the target.

use std::time::Duration;

use httparse::{EMPTY_HEADER, Error, Header, Status};

use super::limits::{MAX_FIELD_BYTES, MAX_FIELDS, MAX_LINE_BYTES};
use crate::decimal::decimal;

/// The head of a request that may be answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The method.
    pub method: Method,
    /// The path without its query; starts with `/`, or is the `*` of `OPTIONS *`.
    pub path: String,
    /// The `Accept` fields, joined by commas; empty if there is none.
    pub accept: String,
    /// The first `Authorization` field; empty if there is none, and in a build without the feature
    /// `tls`.
    pub authorization: String,
    /// Whether the connection may be used again.
    pub keep_alive: bool,
    /// How long the scraper waits for the answer, as `X-Prometheus-Scrape-Timeout-Seconds` says.
    pub scrape_timeout: Option<Duration>,
}

/// The methods that are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// The whole answer.
    Get,
    /// The answer without its body.
    Head,
    /// Which methods there are.
    Options,
}

/// Why a request is not answered. The connection is closed after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The status code.
    pub status: u16,
    /// Its standard reason phrase.
    pub reason: &'static str,
    /// The text of the body.
    pub text: &'static str,
}

/// Whether a request may be answered.
#[cfg_attr(not(feature = "tls"), expect(dead_code))]
pub(super) enum Admission {
    Admitted,
    Refused(Refusal),
    /// Its password is being checked.
    Unknown,
}

/// The request is malformed.
pub(crate) const BAD_REQUEST: Refusal = refusal(400, "Bad Request");
/// The request came without TLS.
pub(crate) const HTTPS_EXPECTED: Refusal =
    Refusal { text: "this port speaks HTTPS: ask for https://", ..BAD_REQUEST };
/// The request has no password, or a wrong one.
pub(crate) const UNAUTHORIZED: Refusal = refusal(401, "Unauthorized");
/// The request did not arrive in time.
pub(crate) const REQUEST_TIMEOUT: Refusal = refusal(408, "Request Timeout");
/// Too many requests wait for `w` already.
pub(crate) const SERVICE_UNAVAILABLE: Refusal = refusal(503, "Service Unavailable");
/// HTTP defines the method, but the exporter does not answer it.
pub(crate) const METHOD_NOT_ALLOWED: Refusal = refusal(405, "Method Not Allowed");
const CONTENT_TOO_LARGE: Refusal = refusal(413, "Content Too Large");
const URI_TOO_LONG: Refusal = refusal(414, "URI Too Long");
const FIELDS_TOO_LARGE: Refusal = refusal(431, "Request Header Fields Too Large");
const NOT_IMPLEMENTED: Refusal = refusal(501, "Not Implemented");
const VERSION_NOT_SUPPORTED: Refusal = refusal(505, "HTTP Version Not Supported");

const fn refusal(status: u16, reason: &'static str) -> Refusal {
    Refusal { status, reason, text: reason }
}

/// Checks a request line, so that a wrong one is refused before its fields arrive.
pub(super) fn check_line(line: &[u8]) -> Result<(), Refusal> {
    let version = line.trim_ascii_end().rsplit(|&byte| byte == b' ').next();
    match version.and_then(|version| version.strip_prefix(b"HTTP/")) {
        Some(b"1.0" | b"1.1") => {}
        Some([major, b'.', minor]) if major.is_ascii_digit() && minor.is_ascii_digit() => {
            return Err(VERSION_NOT_SUPPORTED);
        }
        _ => return Err(BAD_REQUEST),
    }
    check_size(Some(line.len()), line.len())?;
    let mut head = httparse::Request::new(&mut []);
    head.parse(line).map_err(|_| BAD_REQUEST)?;
    let method = read_method(head.method.ok_or(BAD_REQUEST)?)?;
    read_path(head.path.ok_or(BAD_REQUEST)?, method).ok_or(BAD_REQUEST)?;
    Ok(())
}

/// Reads a complete head.
pub(super) fn read(bytes: &[u8]) -> Result<Head, Refusal> {
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(bytes) {
        Ok(Status::Complete(_)) => {}
        Err(Error::TooManyHeaders) => return Err(FIELDS_TOO_LARGE),
        Ok(Status::Partial) | Err(_) => return Err(BAD_REQUEST),
    }
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(BAD_REQUEST);
    };
    let method = read_method(method)?;
    let path = read_path(target, method).ok_or(BAD_REQUEST)?.to_owned();
    let fields = Fields::read(parsed.headers)?;
    // HTTP/1.1 must name its host. Which one it names does not matter here.
    if !fields.has_host && version == 1 {
        return Err(BAD_REQUEST);
    }
    if fields.length == Length::Some {
        return Err(CONTENT_TOO_LARGE);
    }
    let keep_alive = !fields.close && (version == 1 || fields.keep_alive);
    let Fields { accept, authorization, scrape_timeout, .. } = fields;
    Ok(Head { method, path, accept, authorization, keep_alive, scrape_timeout })
}

/// The request line and the header fields each have a limit (RFC 9112, 3).
pub(super) fn check_size(line: Option<usize>, received: usize) -> Result<(), Refusal> {
    match line {
        None if received < MAX_LINE_BYTES + 2 => Ok(()),
        Some(line) if line <= MAX_LINE_BYTES + 2 => {
            if received - line <= MAX_FIELD_BYTES {
                Ok(())
            } else {
                Err(FIELDS_TOO_LARGE)
            }
        }
        _ => Err(URI_TOO_LONG),
    }
}

fn read_method(method: &str) -> Result<Method, Refusal> {
    match method {
        "GET" => Ok(Method::Get),
        "HEAD" => Ok(Method::Head),
        "OPTIONS" => Ok(Method::Options),
        "POST" | "PUT" | "DELETE" | "CONNECT" | "TRACE" | "PATCH" => Err(METHOD_NOT_ALLOWED),
        _ => Err(NOT_IMPLEMENTED),
    }
}

/// `/metrics` of `/metrics?a=b` or `http://host:9839/metrics`; `None` for another scheme or form.
fn read_path(target: &str, method: Method) -> Option<&str> {
    if target == "*" && method == Method::Options {
        return Some(target);
    }
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let without_query = |target: &'_ str| target.find('?').unwrap_or(target.len());
    if target.starts_with('/') {
        return target.get(..without_query(target));
    }
    let (scheme, rest) = target.split_once("://")?;
    let rest = rest.get(..without_query(rest))?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let is_http = scheme.eq_ignore_ascii_case("http") && !host.is_empty();
    is_http.then_some(if path.is_empty() { "/" } else { path })
}

/// The header fields that matter here.
#[derive(Default)]
struct Fields {
    accept: String,
    authorization: String,
    has_host: bool,
    length: Length,
    close: bool,
    keep_alive: bool,
    scrape_timeout: Option<Duration>,
}

/// What `Content-Length` says.
#[derive(Default, PartialEq, Eq)]
enum Length {
    /// There is no such field.
    #[default]
    None,
    /// 0.
    Zero,
    /// A body follows.
    Some,
}

impl Fields {
    fn read(headers: &[Header]) -> Result<Fields, Refusal> {
        let mut fields = Fields::default();
        for Header { name, value } in headers {
            fields.add(&name.to_ascii_lowercase(), value.trim_ascii())?;
        }
        Ok(fields)
    }

    fn add(&mut self, name: &str, value: &[u8]) -> Result<(), Refusal> {
        // Most of these fields are ASCII. Others may contain bytes above 127 (RFC 9110, 5.5).
        let text = std::str::from_utf8(value).ok().filter(|text| text.is_ascii());
        match (name, text) {
            ("accept", Some(text)) => {
                let comma = if self.accept.is_empty() { "" } else { "," };
                self.accept.push_str(comma);
                self.accept.push_str(text);
            }
            ("authorization", Some(text))
                if cfg!(feature = "tls") && self.authorization.is_empty() =>
            {
                self.authorization = text.to_owned();
            }
            ("host", Some(text)) if is_host(text) && !self.has_host => self.has_host = true,
            ("host", _) => return Err(BAD_REQUEST),
            ("content-length", _) => self.add_length(value)?,
            ("transfer-encoding", _) => return Err(NOT_IMPLEMENTED),
            ("connection", _) => {
                for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            ("x-prometheus-scrape-timeout-seconds", Some(text)) => {
                self.scrape_timeout = decimal(text);
            }
            _ => {}
        }
        Ok(())
    }

    fn add_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(BAD_REQUEST);
        }
        let is_zero = value.iter().all(|&digit| digit == b'0');
        let length = if is_zero { Length::Zero } else { Length::Some };
        // Two lengths in one request are used for request smuggling.
        if self.length != Length::None && self.length != length {
            return Err(BAD_REQUEST);
        }
        self.length = length;
        Ok(())
    }
}

/// Whether it is a name or an address, with or without a port (RFC 9110, 7.2; RFC 3986, 3.2.2).
fn is_host(value: &str) -> bool {
    let (host, port) = match value.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (address, port),
        None => value.split_at(value.find(':').unwrap_or(value.len())),
    };
    let in_brackets = value.starts_with('[');
    let allowed = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || b"-._~%!$&'()*+,;=".contains(&byte)
            || (in_brackets && byte == b':')
    };
    let digits = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    !host.is_empty() && host.bytes().all(allowed) && digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::received::Received;

    /// What is read of these bytes; 0 if more is expected.
    fn parse(bytes: &[u8]) -> Result<Head, u16> {
        let mut received = Received::default();
        received.push(bytes);
        match received.next() {
            Ok(Some(head)) if !received.has_begun() => Ok(head),
            Ok(_) => Err(0),
            Err(refusal) => Err(refusal.status),
        }
    }

    fn status(head: &str) -> Result<Head, u16> {
        parse(head.as_bytes())
    }

    fn get(line: &str, fields: &str) -> Result<Head, u16> {
        status(&format!("{line}\r\n{fields}\r\n"))
    }

    #[test]
    fn a_scrape_is_understood() {
        let head = "GET /metrics?a=b HTTP/1.1\r\nHost: x\r\nAccept: a/b\r\nAuthorization: Basic YTpi\r\naccept:c/d;q=0.5\r\nauthorization: x\r\n\r\n";
        let request = Head {
            path: "/metrics".to_owned(),
            accept: "a/b,c/d;q=0.5".to_owned(),
            authorization: if cfg!(feature = "tls") { "Basic YTpi" } else { "" }.to_owned(),
            method: Method::Get,
            keep_alive: true,
            scrape_timeout: None,
        };
        assert_eq!(status(head), Ok(request));
    }

    #[test]
    fn the_connection_is_kept_as_its_version_says() {
        let kept = |version: &str, fields: &str| {
            get(&format!("GET / HTTP/{version}"), fields).map(|request| request.keep_alive)
        };
        assert_eq!(kept("1.1", "Host: x\r\n"), Ok(true));
        assert_eq!(kept("1.1", "Host: x\r\nConnection: upgrade, Close\r\n"), Ok(false));
        assert_eq!(kept("1.1", "Host: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"), Ok(true));
        assert_eq!(kept("1.1", "Host: x\r\nConnection: close, \u{fc}\r\n"), Ok(false));
        assert_eq!(kept("1.0", ""), Ok(false));
        assert_eq!(kept("1.0", "Connection: Keep-Alive\r\n"), Ok(true));
    }

    #[test]
    fn the_target_may_name_its_origin_and_is_not_decoded() {
        let path =
            |target: &str| get(&format!("GET {target} HTTP/1.0"), "").map(|request| request.path);
        assert_eq!(path("http://host:9839/metrics?x"), Ok("/metrics".to_owned()));
        assert_eq!(path("HTTP://host"), Ok("/".to_owned()));
        assert_eq!(path("//metrics"), Ok("//metrics".to_owned()));
        assert_eq!(path("/%2e/metrics"), Ok("/%2e/metrics".to_owned()));
        for bad in ["metrics", "*", "https://host/", "http:///x", "http://", "", "/ü"] {
            assert_eq!(path(bad), Err(400), "{bad}");
        }
    }

    #[test]
    fn what_has_a_body_or_another_method_is_refused() {
        let host =
            |fields: &str| get("GET / HTTP/1.1", &format!("Host: x\r\n{fields}\r\n")).map(|_| ());
        assert_eq!(host("Content-Length: 0"), Ok(()));
        assert_eq!(host("Expect: 100-continue"), Ok(()));
        for (fields, refused) in [
            ("Content-Length: 2000", 413),
            ("Content-Length: 1000000000000", 413),
            ("Content-Length: 18446744073709551615", 413),
            ("Content-Length: 2000\r\nExpect: 100-continue", 413),
            ("Content-Length: -1", 400),
            ("Content-Length: abc", 400),
            ("Content-Length:", 400),
            ("Content-Length: 0\r\nContent-Length: 5", 400),
            ("Transfer-Encoding: chunked", 501),
            ("Transfer-Encoding: identity", 501),
            ("Transfer-Encoding: gzip, chunked", 501),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5", 501),
        ] {
            assert_eq!(host(fields), Err(refused), "{fields}");
        }
        for method in ["POST", "PUT", "DELETE", "TRACE"] {
            assert_eq!(get(&format!("{method} / HTTP/1.1"), "Host: x\r\n"), Err(405), "{method}");
        }
        let head = get("HEAD / HTTP/1.1", "Host: x\r\n");
        assert_eq!(head.map(|request| request.method), Ok(Method::Head));
        for target in ["*", "/metrics", "http://x/"] {
            let request = get(&format!("OPTIONS {target} HTTP/1.1"), "Host: x\r\n");
            assert_eq!(request.map(|request| request.method), Ok(Method::Options), "{target}");
        }
        for method in ["get", "BREW"] {
            assert_eq!(get(&format!("{method} / HTTP/1.1"), "Host: x\r\n"), Err(501), "{method}");
        }
    }

    #[test]
    fn what_rfc_9112_lets_pass_is_answered() {
        for (line, fields) in [
            ("GET / HTTP/1.1", "Host: x\r\nUser-Agent: \u{fc}\r\n"),
            ("GET / HTTP/1.1", "Host: [::1]:9839\r\n"),
            ("GET / HTTP/1.1", "Host: a.b-c:9839\r\n"),
        ] {
            assert!(get(line, fields).is_ok(), "{line} {fields}");
        }
        let latin = b"GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: \xfc\r\n\r\n";
        assert!(parse(latin).is_ok());
        let accept = get("GET / HTTP/1.1", "Host: x\r\nAccept: \u{fc}\r\n");
        assert_eq!(accept.map(|request| request.accept), Ok(String::new()));
        let path = get("GET http://h?q=/metrics HTTP/1.1", "Host: x\r\n");
        assert_eq!(path.map(|request| request.path), Ok("/".to_owned()));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for (line, fields, refused) in [
            ("GET / HTTP/1.1", "", 400),
            ("GET / HTTP/1.1", "Host: x\r\nHost: x\r\n", 400),
            ("GET / HTTP/1.1", "Host: x\r\n folded\r\n", 400),
            ("GET / HTTP/1.1", "Host : x\r\n", 400),
            ("GET / HTTP/1.1", "Host: x\0\r\n", 400),
            ("GET / HTTP/1.1", "Host: a b\r\n", 400),
            ("GET / HTTP/1.1", "Host: a/b@c\r\n", 400),
            ("GET / HTTP/1.1", "Host: a:99999x\r\n", 400),
            ("GET / HTTP/1.1", "Host: [::1\r\n", 400),
            ("GET / HTTP/1.1", "Host: [a/b]\r\n", 400),
            ("GET / HTTP/1.1", "Host:\r\n", 400),
            ("GET / HTTP/1.1", "Host: \u{fc}\r\n", 400),
            ("GET / HTTP/1.1", "Host\r\n", 400),
            ("GET  / HTTP/1.1", "Host: x\r\n", 400),
            ("GET /", "", 400),
            ("G\0T / HTTP/1.1", "Host: x\r\n", 400),
            ("GET / HTTP/1.2", "Host: x\r\n", 505),
            ("GET / HTTP/2.0", "Host: x\r\n", 505),
            ("GET / HTTP/0.9", "", 505),
            ("GET / HTTP/1.x", "Host: x\r\n", 400),
            ("GET / HTTP/2.x", "Host: x\r\n", 400),
            ("GET / HTTP/x.0", "Host: x\r\n", 400),
            ("GET / http/1.1", "Host: x\r\n", 400),
        ] {
            assert_eq!(get(line, fields), Err(refused), "{line} {fields}");
        }
    }

    #[test]
    fn the_line_and_the_fields_have_a_limit_each() {
        let line = |bytes: usize| format!("GET /{} HTTP/1.1", "x".repeat(bytes - 14));
        let field = |bytes: usize| format!("Host: x\r\nA: {}\r\n", "x".repeat(bytes - 16));
        assert!(get(&line(8000), &field(500)).is_ok());
        assert!(get(&line(8000), &field(8192)).is_ok());
        assert_eq!(get(&line(8001), "Host: x\r\n"), Err(414));
        assert_eq!(get(&line(100), &field(8193)), Err(431));
        assert_eq!(get(&line(8000), &field(8193)), Err(431));
        assert_eq!(status(&"x".repeat(8001)), Err(0), "its end may follow");
        assert_eq!(status(&"x".repeat(8002)), Err(414), "without an end");
        assert_eq!(get("GET / HTTP/1.1", &"a:b\r\n".repeat(101)), Err(431));
    }

    #[test]
    fn the_time_that_a_scraper_waits_is_read() {
        let waits = |value: &str| {
            let field = format!("Host: x\r\nX-Prometheus-Scrape-Timeout-Seconds: {value}\r\n");
            get("GET / HTTP/1.1", &field).map(|request| request.scrape_timeout)
        };
        assert_eq!(waits("2.5"), Ok(Some(Duration::from_millis(2500))));
        for odd in ["", "x", "-1", "NaN", "inf", "1e300"] {
            assert_eq!(waits(odd), Ok(None), "{odd}");
        }
    }

    #[test]
    fn the_refusal_of_a_request_without_tls_says_what_to_do() {
        let Refusal { status, reason, text } = HTTPS_EXPECTED;
        assert_eq!((status, reason), (400, "Bad Request"));
        assert!(text.contains("https://"), "{text}");
    }

    #[test]
    fn there_is_no_waiting_for_what_is_wrong_already() {
        for (start, refused) in [
            ("GET / HTTP/1.1\r\nHost: x\r\n", 0),
            ("GET / HT", 0),
            ("GET /metrics\r\n", 400),
            ("GET / HTTP/1.1\nHost: x\n\n", 400),
            ("GET / HTTP/1.1\r\nHost: x\n", 400),
            ("POST / HTTP/1.1\r\n", 405),
            ("PRI * HTTP/2.0\r\n", 505),
        ] {
            assert_eq!(status(start), Err(refused), "{start}");
        }
    }
}
