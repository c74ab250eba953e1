//! Reads the head of an HTTP request, strictly (RFC 9112): what is not understood whole is refused. Knows no socket and no path.

/// A request that may be answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// Without its query; begins with `/`.
    pub path: String,
    /// The `Accept` headers, joined; empty without one.
    pub accept: String,
    /// HEAD: no body is wanted.
    pub head_only: bool,
    /// Whether the connection may be used again.
    pub keep_alive: bool,
}

/// A request that is not answered: the connection ends with this status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status code.
    pub status: u16,
    /// Its standard words.
    pub reason: &'static str,
}

/// What can't be understood.
pub const BAD_REQUEST: Refusal = refusal(400, "Bad Request");
/// A request that does not come to its end in time.
pub const TIMEOUT: Refusal = refusal(408, "Request Timeout");
/// A head that is too long, behind its first line.
pub const HEAD_TOO_LARGE: Refusal = refusal(431, "Request Header Fields Too Large");
/// A first line that is too long.
pub const TARGET_TOO_LONG: Refusal = refusal(414, "URI Too Long");
const METHOD_NOT_ALLOWED: Refusal = refusal(405, "Method Not Allowed");
const CONTENT_TOO_LARGE: Refusal = refusal(413, "Content Too Large");
const NOT_IMPLEMENTED: Refusal = refusal(501, "Not Implemented");
const VERSION_NOT_SUPPORTED: Refusal = refusal(505, "HTTP Version Not Supported");

const fn refusal(status: u16, reason: &'static str) -> Refusal {
    Refusal { status, reason }
}

/// Where the head ends, if it does: behind its empty line.
///
/// # Errors
/// A line feed without a carriage return, or a first line that is no request line: there is nothing to wait for.
pub fn end(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
    let mut line = 0;
    for (at, _) in bytes.iter().enumerate().filter(|&(_, &byte)| byte == b'\n') {
        let text =
            bytes.get(line..at).and_then(|text| text.strip_suffix(b"\r")).ok_or(BAD_REQUEST)?;
        if line == 0 {
            request_line(text)?;
        }
        if text.is_empty() {
            return Ok(Some(at + 1));
        }
        line = at + 1;
    }
    Ok(None)
}

/// Reads a whole head, with the empty line at its end.
///
/// # Errors
/// Whatever is malformed, asks for another method than GET and HEAD, has a body, or expects something.
pub fn parse(head: &[u8]) -> Result<Request, Refusal> {
    // Bytes above 127 are let pass in the value of a field (RFC 9110, 5.5); the line before it and the names are checked apart.
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let line = request_line(lines.next().unwrap_or_default().as_bytes())?;
    let mut fields = Fields::default();
    for field in lines.take_while(|line| !line.is_empty()) {
        fields.add(field)?;
    }
    // HTTP/1.1 must say which host it means, once; no other name is looked at.
    if fields.hosts > 1 || (fields.hosts == 0 && line.version == Version::Http11) {
        return Err(BAD_REQUEST);
    }
    if fields.length.is_some() && fields.encoded {
        return Err(BAD_REQUEST);
    }
    match fields.length {
        Some(Length::Zero) | None if !fields.encoded => {}
        _ if fields.encoded && !fields.chunked => return Err(NOT_IMPLEMENTED),
        _ => return Err(CONTENT_TOO_LARGE),
    }
    let path = line.target.split('?').next().unwrap_or_default();
    Ok(Request {
        path: path.to_owned(),
        accept: fields.accept,
        head_only: line.method == "HEAD",
        keep_alive: match line.version {
            Version::Http11 => !fields.close,
            Version::Http10 => fields.keep_alive && !fields.close,
        },
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

struct RequestLine<'a> {
    method: &'a str,
    /// The path and query, without the origin that a proxy would name.
    target: &'a str,
    version: Version,
}

fn request_line(line: &[u8]) -> Result<RequestLine<'_>, Refusal> {
    let line = std::str::from_utf8(line).map_err(|_| BAD_REQUEST)?;
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(BAD_REQUEST);
    };
    let version = match version.strip_prefix("HTTP/").map(str::as_bytes) {
        Some(b"1.1") => Version::Http11,
        Some(b"1.0") => Version::Http10,
        // A later minor version is understood by who knows an earlier one (RFC 9110, 2.5).
        Some([b'1', b'.', minor]) if minor.is_ascii_digit() => Version::Http11,
        Some([major, b'.', minor]) if major.is_ascii_digit() && minor.is_ascii_digit() => {
            return Err(VERSION_NOT_SUPPORTED);
        }
        _ => return Err(BAD_REQUEST),
    };
    if method.is_empty()
        || !method.bytes().all(is_token)
        || !target.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Err(BAD_REQUEST);
    }
    match method {
        "GET" | "HEAD" => {}
        "POST" | "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH" => {
            return Err(METHOD_NOT_ALLOWED);
        }
        _ => return Err(NOT_IMPLEMENTED),
    }
    Ok(RequestLine { method, target: origin_form(target).ok_or(BAD_REQUEST)?, version })
}

/// `/metrics` of `/metrics` or `http://host:9839/metrics`.
fn origin_form(target: &str) -> Option<&str> {
    if target.starts_with('/') {
        return Some(target);
    }
    let (scheme, rest) = target.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") {
        return None;
    }
    let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    (!host.is_empty()).then_some(if path.starts_with('/') { path } else { "/" })
}

#[derive(PartialEq, Eq)]
enum Length {
    Zero,
    More,
}

/// The fields that matter, of all of them.
#[derive(Default)]
struct Fields {
    accept: String,
    hosts: usize,
    length: Option<Length>,
    /// There is a `Transfer-Encoding`, and it is just `chunked`.
    encoded: bool,
    chunked: bool,
    close: bool,
    keep_alive: bool,
}

impl Fields {
    fn add(&mut self, line: &str) -> Result<(), Refusal> {
        let (name, value) = line.split_once(':').ok_or(BAD_REQUEST)?;
        let visible = |byte: u8| !byte.is_ascii_control() || byte == b'\t';
        if name.is_empty() || !name.bytes().all(is_token) || !value.bytes().all(visible) {
            return Err(BAD_REQUEST);
        }
        let value = value.trim_matches([' ', '\t']);
        match name.to_ascii_lowercase().as_str() {
            "accept" if value.is_ascii() => {
                let comma = if self.accept.is_empty() { "" } else { "," };
                self.accept.push_str(comma);
                self.accept.push_str(value);
            }
            "host" if !is_host(value) => return Err(BAD_REQUEST),
            "host" => self.hosts += 1,
            "content-length" => {
                let length = length(value).ok_or(BAD_REQUEST)?;
                if self.length.as_ref().is_some_and(|before| *before != length) {
                    return Err(BAD_REQUEST);
                }
                self.length = Some(length);
            }
            "transfer-encoding" => {
                self.chunked = !self.encoded && value.eq_ignore_ascii_case("chunked");
                self.encoded = true;
            }
            "connection" => {
                let mut options = value.split(',').map(str::trim);
                self.close |= options.clone().any(|option| option.eq_ignore_ascii_case("close"));
                self.keep_alive |= options.any(|option| option.eq_ignore_ascii_case("keep-alive"));
            }
            _ => {}
        }
        Ok(())
    }
}

/// A name or an address, and a port or none (RFC 9110, 7.2; RFC 3986, 3.2.2).
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

fn length(value: &str) -> Option<Length> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| if value.bytes().all(|byte| byte == b'0') { Length::Zero } else { Length::More })
}

/// A character of a method or a field name (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(head: &str) -> Result<Request, u16> {
        parse(head.as_bytes()).map_err(|refusal| refusal.status)
    }

    fn get(line: &str, fields: &str) -> Result<Request, u16> {
        status(&format!("{line}\r\n{fields}\r\n"))
    }

    #[test]
    fn a_scrape_is_understood() {
        let head =
            "GET /metrics?a=b HTTP/1.1\r\nHost: x\r\nAccept: a/b\r\naccept:c/d;q=0.5\r\n\r\n";
        let request = Request {
            path: "/metrics".to_owned(),
            accept: "a/b,c/d;q=0.5".to_owned(),
            head_only: false,
            keep_alive: true,
        };
        assert_eq!(status(head), Ok(request));
        assert_eq!(end(head.as_bytes()), Ok(Some(head.len())));
    }

    #[test]
    fn the_connection_is_kept_as_its_version_says() {
        let kept = |version: &str, fields: &str| {
            get(&format!("GET / HTTP/{version}"), fields).map(|request| request.keep_alive)
        };
        assert_eq!(kept("1.1", "Host: x\r\n"), Ok(true));
        assert_eq!(kept("1.1", "Host: x\r\nConnection: upgrade, Close\r\n"), Ok(false));
        assert_eq!(kept("1.1", "Host: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"), Ok(true));
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
            ("Transfer-Encoding: chunked", 413),
            ("Transfer-Encoding: gzip, chunked", 501),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 501),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5", 400),
        ] {
            assert_eq!(host(fields), Err(refused), "{fields}");
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            assert_eq!(get(&format!("{method} / HTTP/1.1"), "Host: x\r\n"), Err(405), "{method}");
        }
        assert_eq!(get("OPTIONS * HTTP/1.1", "Host: x\r\n"), Err(405));
        for method in ["get", "BREW"] {
            assert_eq!(get(&format!("{method} / HTTP/1.1"), "Host: x\r\n"), Err(501), "{method}");
        }
    }

    #[test]
    fn what_rfc_9112_lets_pass_is_answered() {
        for (line, fields) in [
            ("GET / HTTP/1.2", "Host: x\r\n"),
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
            ("GET / HTTP/1.1", "Host:\r\n", 400),
            ("GET / HTTP/1.1", "Host: \u{fc}\r\n", 400),
            ("GET / HTTP/1.1", "Host\r\n", 400),
            ("GET  / HTTP/1.1", "Host: x\r\n", 400),
            ("GET /", "", 400),
            ("G\0T / HTTP/1.1", "Host: x\r\n", 400),
            ("GET / HTTP/2.0", "Host: x\r\n", 505),
            ("GET / HTTP/0.9", "", 505),
            ("GET / http/1.1", "Host: x\r\n", 400),
            ("", "", 400),
        ] {
            assert_eq!(get(line, fields), Err(refused), "{line} {fields}");
        }
    }

    #[test]
    fn there_is_no_waiting_for_what_is_wrong_already() {
        assert_eq!(end(b"GET / HTTP/1.1\r\nHost: x\r\n"), Ok(None));
        assert_eq!(end(b"GET / HT"), Ok(None));
        assert_eq!(end(b"GET /metrics\r\n"), Err(BAD_REQUEST));
        assert_eq!(end(b"GET / HTTP/1.1\nHost: x\n\n"), Err(BAD_REQUEST));
        assert_eq!(end(b"GET / HTTP/1.1\r\nHost: x\n"), Err(BAD_REQUEST));
        assert_eq!(end(b"POST / HTTP/1.1\r\n"), Err(METHOD_NOT_ALLOWED));
    }
}
