//! The log: a line an event, on standard error. Knows no levels and no time; whoever collects it adds them.

use std::io::{self, Write};

/// Writes one line. Whatever `w` or a client put into the message, it stays one line and moves no cursor.
pub fn line(message: &str) {
    let mut text = String::with_capacity(message.len() + 1);
    for char in message.chars() {
        if char.is_control() {
            text.extend(char.escape_default());
        } else {
            text.push(char);
        }
    }
    text.push('\n');
    // Nobody is left to tell if standard error is closed.
    let _ = io::stderr().write_all(text.as_bytes());
}
