//! The lines of what `w` printed.

use std::{io::BufRead, iter};

/// The lines of a text, which is `None` if there are none.
pub(super) fn lines(mut text: Option<&[u8]>) -> impl Iterator<Item = &[u8]> {
    iter::from_fn(move || {
        let (line, rest) = split_line(text?);
        text = rest;
        Some(line)
    })
}

/// The first line, and what follows its line feed, if there is one.
pub(super) fn split_line(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut rest = bytes;
    // Most of a row is blanks. This finds its end by many bytes at a time. Reading memory does not
    // fail.
    let length = rest.skip_until(b'\n').unwrap_or(0);
    let line = &bytes[..length];
    match line.strip_suffix(b"\n") {
        Some(line) => (line, Some(rest)),
        None => (line, None),
    }
}
