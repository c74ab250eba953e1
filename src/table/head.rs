//! What stands before the rows: the first line and the header. If something else stands there, the
//! error says what it is and what causes it.

use anyhow::{Result, bail};

use super::{
    builtin,
    first_line::FirstLine,
    layout::{HEADER_WORDS, Layout, words},
    lines::split_line,
    uutils,
};

/// How many lines are searched for a header that is not where it belongs.
const SEARCHED: usize = 100;

/// What to do where the header line is missing.
pub(super) const WHOLE_TABLE: &str =
    "leave out -h (--no-header), so that the command prints the whole table of w";

/// What the rows are read by.
pub(super) struct Head<'a> {
    pub first_line: FirstLine,
    pub header: &'a [u8],
    /// Never empty.
    pub layouts: Vec<Layout>,
    /// What follows the header's line feed, if there is one.
    pub rows: Option<&'a [u8]>,
}

impl Head<'_> {
    /// Takes the line behind the rows, which the built-in `w` can have.
    pub(super) fn take_unlisted(&mut self) -> Option<u64> {
        match self.layouts[..] {
            [Layout::Builtin] => builtin::take_unlisted(&mut self.rows),
            _ => None,
        }
    }
}

/// Reads the header, and the line before it, which may be missing or empty.
pub(super) fn read(printed: &[u8]) -> Result<Head<'_>> {
    let (first, rest) = split_line(printed);
    let layouts = Layout::of_header(first);
    if !layouts.is_empty() {
        return Ok(Head { first_line: FirstLine::default(), header: first, layouts, rows: rest });
    }
    let first_line = FirstLine::read(first);
    let header_may_follow = first.is_empty() || first_line != FirstLine::default();
    if let Some((header, rows)) = rest.filter(|_| header_may_follow).map(split_line) {
        let layouts = Layout::of_header(header);
        if !layouts.is_empty() {
            return Ok(Head { first_line, header, layouts, rows });
        }
    }
    bail!(refusal(printed))
}

/// Why there is no table.
fn refusal(printed: &[u8]) -> String {
    let ended: Vec<&[u8]> = printed.split(|&byte| byte == b'\n').take(SEARCHED).collect();
    let lines: Vec<&[u8]> =
        ended.iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
    let is_header = |line: &&[u8]| !Layout::of_header(line).is_empty();
    let known = lines.iter().position(is_header);
    let indented = || lines.iter().position(|line| is_header(&line.trim_ascii_start()));
    let header = known.or_else(indented).unwrap_or_else(|| likely_header(&lines));
    let carriage_return = ended[header].ends_with(b"\r").then(|| {
        "its lines end in a carriage return: the command has a terminal, as by ssh -t or docker exec -t; leave out -t"
            .to_owned()
    });
    let (above, unknown) = match known {
        Some(_) => (banner(&lines[..header]), None),
        // Not even one row is quoted: it has what a session's labels have, and a command line.
        None if is_headerless(&lines) => {
            (None, Some(format!("its header line is missing; {WHOLE_TABLE}")))
        }
        None => (banner(&lines[..header]), Some(unknown(lines[header]))),
    };
    [carriage_return, above, unknown].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// What stands above the header, without the first line.
fn banner(above: &[&[u8]]) -> Option<String> {
    let lines = match above.split_last() {
        Some((last, before)) if last.is_empty() || is_first_line(last) => before,
        _ => above,
    };
    let line = lines.iter().find(|line| !line.is_empty()).or(lines.first())?;
    let precede = match lines.len() {
        1 => "a line precedes".to_owned(),
        count => format!("{count} lines precede"),
    };
    let line = quoted(line, 0);
    Some(format!(
        "{precede} the table, such as a banner; the command must print nothing but the table: {line}"
    ))
}

/// Whether there is a row, or nothing, where the header should be.
fn is_headerless(lines: &[&[u8]]) -> bool {
    let has_first_line = lines.first().is_some_and(|line| line.is_empty() || is_first_line(line));
    lines.get(usize::from(has_first_line)).is_none_or(|line| Layout::is_row_of_any(line))
}

fn unknown(header: &[u8]) -> String {
    let indented = header.trim_ascii_start();
    if indented.len() < header.len() && !Layout::of_header(indented).is_empty() {
        let blanks = match header.len() - indented.len() {
            1 => "a blank".to_owned(),
            count => format!("{count} blanks"),
        };
        return format!(
            "it has {blanks} before each line; the command must print the table as w does"
        );
    }
    if uutils::is_older_header(header) {
        return uutils::uncounted(header);
    }
    let faulty = faulty_byte(header);
    let at = match faulty {
        0 => String::new(),
        faulty => format!(" from byte {} on", faulty + 1),
    };
    format!("its header is not known{at}: {}", quoted(header, faulty))
}

/// The line that is most probably an unknown header.
fn likely_header(lines: &[&[u8]]) -> usize {
    let after_first_line = || {
        let first = lines.iter().position(|line| is_first_line(line))?;
        (first + 1 < lines.len()).then_some(first + 1)
    };
    lines
        .iter()
        .position(|line| line.starts_with(b"USER"))
        .or_else(after_first_line)
        .or_else(|| lines.iter().position(|line| !line.is_empty()))
        .unwrap_or(0)
}

fn is_first_line(line: &[u8]) -> bool {
    FirstLine::read(line) != FirstLine::default()
}

/// The first byte at which a line differs from every header: the first word that no header has
/// there, or its end if only spaces differ.
fn faulty_byte(line: &[u8]) -> usize {
    let mut known = HEADER_WORDS.iter();
    let words = words(line);
    let faulty = words.iter().find(|(word, _)| !known.any(|known| known == word));
    faulty.map_or(line.len(), |&(_, start)| start)
}

/// A line for a message. It shows the faulty byte and what is before it. It contains nothing that
/// moves a terminal's cursor.
fn quoted(line: &[u8], faulty: usize) -> String {
    // As much as a header with the widest columns.
    const BEFORE: usize = 400;
    const AFTER: usize = 60;
    let start = faulty.saturating_sub(BEFORE);
    let cut = &line[start..line.len().min(faulty + AFTER)];
    let ellipsis = if start > 0 { "…" } else { "" };
    format!("{ellipsis}\"{}\"", cut.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "USER     TTY      FROM             LOGIN@   IDLE   JCPU   PCPU WHAT\n";
    const ROW: &str =
        "alice    pts/0    203.0.113.7      00:16    1:13   0.00s   ?    vim notes.txt\n";

    fn complaint(text: &str) -> String {
        let read = read(text.strip_suffix('\n').unwrap_or(text).as_bytes());
        read.map_or_else(|error| format!("{error:#}"), |_| "read".to_owned())
    }

    #[test]
    fn what_is_no_table_is_refused_with_its_reason() {
        assert_eq!(complaint("\x1b[31m\u{0}\n"), "its header is not known: \"\\x1b[31m\\x00\"");
        assert_eq!(
            complaint("BENUTZER TTY      VON              LOGIN@   IDLE   JCPU   PCPU WHAT\n"),
            "its header is not known: \"BENUTZER TTY      VON              LOGIN@   IDLE   JCPU   PC\""
        );
        assert_eq!(complaint("\nBENUTZER TTY\n"), "its header is not known: \"BENUTZER TTY\"");
        assert_eq!(
            complaint("USER     TTY      FROM             LOGIN@   IDLE   JCPU   PCPU WAS\n"),
            "its header is not known from byte 64 on: \"USER     TTY      FROM             LOGIN@   IDLE   JCPU   PCPU WAS\""
        );
    }

    #[test]
    fn a_quoted_header_is_not_cut_before_its_fault() {
        for blanks in [0, 200, 300, 500, 100_000] {
            let blanks = " ".repeat(blanks);
            let misplaced = format!(" 10:00:00 up\nUSER     TTY      FROM{blanks} LOGIN@ WHAT\n");
            let unknown =
                format!(" 10:00:00 up\nUSER     TTY      {blanks}VON        LOGIN@ WHAT\n");
            let garbage = format!("{blanks}{}\n", "x".repeat(100_000));
            for (text, fault) in
                [(misplaced, "LOGIN@ WHAT\""), (unknown, "VON     "), (garbage, "x")]
            {
                let complaint = complaint(&text);
                assert!(complaint.starts_with("its header is not known"), "{complaint}");
                assert!(complaint.contains(fault) && complaint.len() < 600, "{complaint}");
                let is_cut = blanks.len() >= 500;
                assert_eq!(complaint.contains(": …\""), is_cut, "{complaint}");
            }
        }
    }

    #[test]
    fn lines_before_the_table_are_shown_as_such() {
        let first = " 10:00:00 up 1 day,  2:03,  1 user,  load average: 0.00, 0.00, 0.00\n";
        let precede =
            "precede the table, such as a banner; the command must print nothing but the table";
        assert_eq!(
            complaint(&format!("Hello\n{first}{HEADER}{ROW}")),
            format!("a line {}: \"Hello\"", precede.replacen("precede", "precedes", 1))
        );
        assert_eq!(
            complaint(&format!("Hello\n{HEADER}{ROW}")),
            format!("a line {}: \"Hello\"", precede.replacen("precede", "precedes", 1))
        );
        assert_eq!(
            complaint(&format!("\n*****\nHello\n\n{first}{HEADER}{ROW}")),
            format!("4 lines {precede}: \"*****\"")
        );
        assert_eq!(
            complaint(&format!("\n\n{HEADER}{ROW}")),
            format!("a line {}: \"\"", precede.replacen("precede", "precedes", 1))
        );
        assert_eq!(
            complaint(&format!("Hallo\n{first}BENUTZER TTY\n{ROW}")),
            format!(
                "a line {}: \"Hallo\"; its header is not known: \"BENUTZER TTY\"",
                precede.replacen("precede", "precedes", 1)
            )
        );
    }

    #[test]
    fn a_terminals_carriage_returns_are_named() {
        let first = " 10:00:00 up 1 day,  2:03,  1 user,  load average: 0.00, 0.00, 0.00\n";
        for text in
            [format!("{first}{HEADER}{ROW}"), format!("{HEADER}{ROW}"), "BENUTZER TTY\n".to_owned()]
        {
            let complaint = complaint(&text.replace('\n', "\r\n"));
            assert!(complaint.starts_with("its lines end in a carriage return"), "{complaint}");
            assert!(
                complaint.contains("ssh -t") && complaint.contains("docker exec -t"),
                "{complaint}"
            );
        }
    }

    #[test]
    fn a_missing_header_line_is_named_and_no_row_is_quoted() {
        let first = " 10:00:00 up 1 day,  2:03,  1 user,  load average: 0.00, 0.00, 0.00\n";
        for row in [
            "",
            "alice    pts/0    192.0.2.7        08:40   12:05   0.01s  0.00s -bash\n",
            "alice    pts/0    192.0.2.7        08:40   12:05   0.01s  0.00s  -bash\n",
            "alice    pts/0     08:40   12:05   0.01s  0.00s -bash\n",
            "alice    pts/0    192.0.2.7         12:05  -bash\n",
            "alice             sshd             08:40                   ?    sshd: alice@notty\n",
            "USERS    pts/0    192.0.2.7        08:40   12:05   0.01s  0.00s -bash\nbob\n",
            &format!("{:33}pts/0    {:256} 08:40   12:05   0.01s   ?    w\n", "alice", "-"),
            "alice      pts/0    192.0.2.7                 9:03AM     - w -h\n",
            "alice    p0 192.0.2.7         9:03AM     - w -h\n",
            "alice    s001     -                Mon09    2days -bash\n",
            "alice    pts/0     09:51    7:06m  0.05   0     tmux\n",
            "alice           pts/0           00:01   Nov 24 00:15:27  203.0.113.7\n",
            "alice    pts/0     Tue Nov 24 00:15:28 2026 (203.0.113.7)\n",
        ] {
            for text in [row.to_owned(), format!("{first}{row}"), format!("\n{row}")] {
                if text.is_empty() {
                    continue;
                }
                let said = format!("its header line is missing; {WHOLE_TABLE}");
                assert_eq!(complaint(&text), said, "{text}");
                let ended = text.replace('\n', "\r\n");
                assert!(complaint(&ended).ends_with(&said), "{ended}");
            }
        }
    }

    #[test]
    fn what_is_no_row_either_is_quoted_as_an_unknown_header() {
        for line in [
            "BENUTZER TTY      VON              LOGIN@   IDLE   JCPU   PCPU WAS",
            "UTILIS.  TTY      DE               LOGIN@   IDLE   JCPU   PCPU QUOI",
            "USER     TTY                                IDLE   WHATEVER",
            "Linux host 6.12.57-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.12.57-1 x86_64",
            "Last login: Tue Nov 24 09:41:03 2026 from 203.0.113.7",
            "hello",
        ] {
            let complaint = complaint(&format!("{line}\n"));
            assert!(complaint.starts_with("its header is not known"), "{complaint}");
        }
    }

    #[test]
    fn blanks_before_each_line_are_named() {
        let first = " 10:00:00 up 1 day,  2:03,  1 user,  load average: 0.00, 0.00, 0.00\n";
        for (blanks, named) in [(" ", "a blank"), ("    ", "4 blanks"), ("\t", "a blank")] {
            for text in [format!("{first}{HEADER}{ROW}"), format!("{HEADER}{ROW}")] {
                let text: String = text.lines().map(|line| format!("{blanks}{line}\n")).collect();
                assert_eq!(
                    complaint(&text),
                    format!(
                        "it has {named} before each line; the command must print the table as w does"
                    )
                );
            }
        }
    }
}
