//! Makes characters visible that a terminal obeys instead of showing them: control characters and
//! those that change the direction of text, begin a new line or take no space.

/// A line in which such characters are escaped, as Rust writes them in a string.
pub fn printable(line: &str) -> String {
    let mut text = String::with_capacity(line.len() + 1);
    for char in line.chars() {
        if char.is_control() || is_invisible(char) {
            text.extend(char.escape_default());
        } else {
            text.push(char);
        }
    }
    text
}

/// Whether a character is a format character or a separator of lines (Unicode: Cf, Zl, Zp).
fn is_invisible(char: char) -> bool {
    matches!(char,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_be_seen_is_escaped() {
        for (line, shown) in [
            ("alice \"pts/0\" \\ 203.0.113.7", "alice \"pts/0\" \\ 203.0.113.7"),
            ("Grüße, दिल्ली, e\u{301}", "Grüße, दिल्ली, e\u{301}"),
            ("\x1b[2J\r\n\t\u{85}", r"\u{1b}[2J\r\n\t\u{85}"),
            ("\u{202e}eve\u{2028}\u{2066}\u{200b}", r"\u{202e}eve\u{2028}\u{2066}\u{200b}"),
        ] {
            assert_eq!(printable(line), shown);
        }
    }
}
