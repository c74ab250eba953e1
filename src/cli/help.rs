//! The help, made from the same rows as the flags.

use std::fmt::Write;

use super::{
    flag::Flag,
    flags::{FLAGS, SWITCHES},
};
use crate::about::NAME;

/// The text, for a terminal of 80 columns.
pub(super) fn help() -> String {
    let mut text = format!(
        "Usage: {NAME} [FLAG [VALUE]]...\n       {NAME} w\n\nExposes logged-in users as Prometheus metrics. Runs w on each scrape.\nThe sub-command w prints the table of the built-in w.\n\nFlags (--flag value or --flag=value) override environment variables. A variable\ncan also have the name of its flag: EXPORTER_SCRAPE_INTERVAL.\n"
    );
    for Flag { name, value, variable, default, help } in FLAGS {
        let _ = writeln!(text, "  {name} {value}");
        wrap(&mut text, help);
        let default =
            if default.is_empty() { String::new() } else { format!(", default {default}") };
        let _ = writeln!(text, "      [{variable}{default}]");
    }
    for (names, help) in SWITCHES {
        let _ = writeln!(text, "  {}", names.join(", "));
        wrap(&mut text, help);
    }
    let _ = write!(
        text,
        "\nExamples:\n  {NAME} --once\n  {NAME} \\\n      --listen.host :: --scrape.interval 1m\n\nExit status:\n  0  stopped by a signal, or everything was printed\n  1  the system did not provide what is needed, or w failed with --once\n  2  a flag or an environment variable has a wrong value\n"
    );
    text
}

/// Appends the words in indented lines.
fn wrap(text: &mut String, words: &str) {
    const INDENT: &str = "     ";
    let mut line = INDENT.to_owned();
    for word in words.split(' ') {
        if line.len() + 1 + word.len() > 80 {
            let _ = writeln!(text, "{line}");
            line = INDENT.to_owned();
        }
        let _ = write!(line, " {word}");
    }
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_help_takes_the_whole_width() {
        let full = "x".repeat(74 - 4);
        for (words, lines) in [
            (format!("{full} abc"), vec![format!("      {full} abc")]),
            (format!("{full} abcd"), vec![format!("      {full}"), "      abcd".to_owned()]),
        ] {
            let mut text = String::new();
            wrap(&mut text, &words);
            assert_eq!(text.lines().collect::<Vec<_>>(), lines);
        }
    }
}
