//! The bytes that a client has sent, and the requests in them.

use super::request::{self, BAD_REQUEST, Head, Refusal};

/// What a client has sent and what is not yet read as a request. Each byte is looked at once,
/// however slowly a head arrives.
#[derive(Default)]
pub(crate) struct Received {
    bytes: Vec<u8>,
    /// How many of the bytes were looked at.
    looked_at: usize,
    /// The length of the request line with its end, if it has arrived.
    line: Option<usize>,
}

impl Received {
    /// Adds what has arrived.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether more has arrived than a part of an empty line.
    pub(crate) fn has_begun(&self) -> bool {
        !matches!(self.bytes.as_slice(), [] | b"\r")
    }

    /// Whether the request that arrives is for an answer without a body.
    pub(crate) fn is_to_head(&self) -> bool {
        self.bytes.starts_with(b"HEAD ")
    }

    /// Takes the next request, if it is complete.
    ///
    /// # Errors
    /// The request is malformed, too long or not supported. It is refused as soon as its line or
    /// its length shows that, or when its head is complete.
    pub(crate) fn next(&mut self) -> Result<Option<Head>, Refusal> {
        self.drop_empty_lines()?;
        while let Some(end) = self.next_line_end()? {
            let line = match self.line {
                Some(line) => line,
                None => {
                    request::check_line(&self.bytes[..end])?;
                    *self.line.insert(end)
                }
            };
            if self.bytes[..end].ends_with(b"\r\n\r\n") {
                request::check_size(Some(line), end)?;
                let head = request::read(&self.bytes[..end])?;
                self.bytes.drain(..end);
                (self.looked_at, self.line) = (0, None);
                return Ok(Some(head));
            }
        }
        request::check_size(self.line, self.bytes.len())?;
        Ok(None)
    }

    /// Empty lines before a request are ignored (RFC 9112, 2.2).
    fn drop_empty_lines(&mut self) -> Result<(), Refusal> {
        if self.looked_at > 0 {
            return Ok(());
        }
        let empty = self.bytes.chunks(2).take_while(|line| *line == b"\r\n").count();
        self.bytes.drain(..2 * empty);
        match self.bytes.as_slice() {
            [] | b"\r" => Ok(()),
            // A method begins with a character of a token (RFC 9110, 5.6.2).
            [first, ..] if first.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(first) => {
                Ok(())
            }
            _ => Err(BAD_REQUEST),
        }
    }

    /// The end of the next line that was not looked at. A line feed without a carriage return is
    /// refused: some programs read it as the end of a line and others do not (RFC 9112, 2.2).
    fn next_line_end(&mut self) -> Result<Option<usize>, Refusal> {
        if self.bytes == b"\r" {
            return Ok(None);
        }
        let feed = self.bytes[self.looked_at..].iter().position(|&byte| byte == b'\n');
        self.looked_at = feed.map_or(self.bytes.len(), |feed| self.looked_at + feed + 1);
        match feed {
            None => Ok(None),
            Some(_) if self.bytes[..self.looked_at].ends_with(b"\r\n") => Ok(Some(self.looked_at)),
            Some(_) => Err(BAD_REQUEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::Method;

    /// The status of the refusal of these bytes; `None` if more is expected.
    fn refused(bytes: &[u8]) -> Option<u16> {
        let mut received = Received::default();
        received.push(bytes);
        received.next().err().map(|refusal| refusal.status)
    }

    #[test]
    fn a_head_that_arrives_in_pieces_is_read_as_one_that_arrives_at_once() {
        let head = b"\r\n\r\nHEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.0\r\n\r\n";
        for size in 1..head.len() {
            let mut received = Received::default();
            let mut paths = Vec::new();
            for piece in head.chunks(size) {
                received.push(piece);
                while let Ok(Some(head)) = received.next() {
                    paths.push((head.path, head.method));
                }
            }
            let expected =
                [("/metrics".to_owned(), Method::Head), ("/".to_owned(), Method::Get)].to_vec();
            assert_eq!(paths, expected, "pieces of {size}");
            assert!(received.bytes.is_empty());
        }
    }

    #[test]
    fn empty_lines_begin_no_request() {
        let mut received = Received::default();
        for piece in ["\r", "\n", "\r\n\r\n\r", "\n"] {
            received.push(piece.as_bytes());
            assert_eq!(received.next(), Ok(None));
            assert!(!received.has_begun(), "{piece:?}");
        }
        received.push(b"\r\nG");
        assert_eq!(received.next(), Ok(None));
        assert!(received.has_begun());
    }

    #[test]
    fn empty_lines_within_a_head_end_it_and_are_not_dropped() {
        let mut received = Received::default();
        received.push(b"HEAD / HTTP/1.1\r\nHost: x\r\n");
        assert!(received.is_to_head() && matches!(received.next(), Ok(None)));
        received.push(b"\r\nGET / HTTP/1.1\r\n");
        assert!(matches!(received.next(), Ok(Some(_))));
        assert!(!received.is_to_head());
    }

    #[test]
    fn each_byte_is_looked_at_once() {
        let mut received = Received::default();
        for byte in [b"GET / HTTP/1.1\r\nHost: x\r\nA: ".as_slice(), &[b'x'; 4000]].concat() {
            received.push(&[byte]);
            assert_eq!(received.next(), Ok(None));
            assert_eq!(received.looked_at, received.bytes.len());
        }
    }

    #[test]
    fn a_first_byte_that_begins_no_method_is_refused_at_once() {
        for first in [b"\x16".as_slice(), b"\0", b" GET", b"\n", b"\rG", b"\xff", b"<"] {
            assert_eq!(refused(first), Some(400), "{first:?}");
        }
        for first in [b"\r".as_slice(), b"\r\n\r", b"G", b"_"] {
            assert_eq!(refused(first), None, "{first:?}");
        }
    }
}
