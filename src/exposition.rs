//! Writes the text exposition formats: Prometheus' 0.0.4 and OpenMetrics 1.0.
//!
//! Sources: "Exposition formats" in Prometheus' documentation, and the OpenMetrics 1.0
//! specification.

use std::{io::Write, time::Duration};

use crate::decimal::decimal;

/// Which of the two formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The value of the `Content-Type` header.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// What an `Accept` header asks for. It is OpenMetrics 1.0 only if the header names it, with a
    /// weight that is above that of every text named before it. Without the header it is text.
    pub fn accepted(accept: &str) -> Format {
        let mut best = (0, Format::Text);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let format = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "application/openmetrics-text" => Format::OpenMetrics,
                "text/plain" | "text/*" | "*/*" => Format::Text,
                _ => continue,
            };
            let mut weight = Some(1000);
            for parameter in parts {
                let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                let other_version =
                    format == Format::OpenMetrics && value.trim_matches('"') != "1.0.0";
                match name.trim().to_ascii_lowercase().as_str() {
                    "q" => weight = weight.and(thousandths(value)),
                    "version" if other_version => weight = None,
                    _ => {}
                }
            }
            if weight.is_some_and(|weight| weight > best.0) {
                best = (weight.unwrap_or(0), format);
            }
        }
        best.1
    }
}

/// Reads a weight between 0 and 1 with up to three decimals (RFC 9110, 12.4.2) as thousandths.
fn thousandths(weight: &str) -> Option<u128> {
    Some(decimal(weight.trim())?.as_millis()).filter(|&weight| weight <= 1000)
}

/// What kind of family it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A value that goes up and down.
    Gauge,
    /// A value that only goes up; the name ends in `_total`.
    Counter,
    /// Always 1, for its labels; the name ends in `_info`. Text has no such type and calls it a
    /// gauge.
    Info,
}

/// An answer that is being written.
pub struct Exposition {
    format: Format,
    out: Vec<u8>,
}

impl Exposition {
    /// An empty answer, with room for that many bytes if there is enough memory. It grows if it
    /// needs more.
    pub fn new(format: Format, room: usize) -> Exposition {
        let mut out = Vec::new();
        // Without it, the answer grows in steps.
        let _ = out.try_reserve_exact(room);
        Exposition { format, out }
    }

    /// Begins a family, by its name in the text format. Its HELP and TYPE are written with its
    /// first sample. Without samples, nothing is written.
    ///
    /// A `timestamp`, the time since the Unix epoch, is put after each of its samples.
    pub fn family<'w>(
        &'w mut self,
        name: &'w str,
        kind: Kind,
        help: &'w str,
        timestamp: Option<Duration>,
    ) -> Family<'w> {
        let timestamp = match (timestamp, self.format) {
            (None, _) => String::new(),
            (Some(time), Format::Text) => format!(" {}", time.as_millis()),
            (Some(time), Format::OpenMetrics) => {
                format!(" {}.{:03}", time.as_secs(), time.subsec_millis())
            }
        };
        Family { exposition: self, head: Some((kind, help)), name, timestamp }
    }

    /// The answer, complete.
    pub fn finish(mut self) -> Vec<u8> {
        if self.format == Format::OpenMetrics {
            self.put("# EOF\n");
        }
        self.out.shrink_to_fit();
        self.out
    }

    fn put(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn put_value(&mut self, value: f64) {
        if value.is_infinite() {
            self.put(if value.is_sign_positive() { "+Inf" } else { "-Inf" });
        } else if value.fract() == 0.0 && (0.0..1e15).contains(&value) {
            // Most values are whole, and an integer is written several times faster. In range, so
            // nothing is cut.
            let _ = write!(self.out, "{}", value as u64);
        } else {
            // Writing to a vector does not fail.
            let _ = write!(self.out, "{value}");
        }
    }

    fn put_head(&mut self, name: &str, kind: Kind, help: &str) {
        match self.format {
            Format::Text => {
                self.put_comment("HELP", name);
                put_escaped(&mut self.out, help, false);
                self.put("\n");
                self.put_comment("TYPE", name);
                self.put(match kind {
                    Kind::Gauge | Kind::Info => "gauge\n",
                    Kind::Counter => "counter\n",
                });
            }
            Format::OpenMetrics => {
                let (name, kind) = match kind {
                    Kind::Gauge => (name, "gauge\n"),
                    Kind::Counter => (name.strip_suffix("_total").unwrap_or(name), "counter\n"),
                    Kind::Info => (name.strip_suffix("_info").unwrap_or(name), "info\n"),
                };
                self.put_comment("TYPE", name);
                self.put(kind);
                if let Some(unit) =
                    ["seconds", "bytes"].into_iter().find(|&unit| name.ends_with(unit))
                {
                    self.put_comment("UNIT", name);
                    self.put(unit);
                    self.put("\n");
                }
                self.put_comment("HELP", name);
                put_escaped(&mut self.out, help, true);
                self.put("\n");
            }
        }
    }

    fn put_comment(&mut self, keyword: &str, name: &str) {
        self.put("# ");
        self.put(keyword);
        self.put(" ");
        self.put(name);
        self.put(" ");
    }
}

/// Appends a text with `\`, line feed and, if asked, `"` escaped. All three are single bytes in
/// UTF-8 and part of no other character.
fn put_escaped(out: &mut Vec<u8>, text: &str, quote: bool) {
    let special = |byte: &u8| matches!(byte, b'\\' | b'\n') || (quote && *byte == b'"');
    let mut rest = text.as_bytes();
    while let Some((plain, [byte, tail @ ..])) =
        rest.iter().position(special).and_then(|at| rest.split_at_checked(at))
    {
        out.extend_from_slice(plain);
        out.extend_from_slice(&[b'\\', if *byte == b'\n' { b'n' } else { *byte }]);
        rest = tail;
    }
    out.extend_from_slice(rest);
}

/// The labels of a sample as both formats write them. They are made once for all families that have
/// them.
pub struct Labels(Vec<u8>);

impl Labels {
    /// From names and values, in this order.
    pub fn new(labels: &[(&str, &str)]) -> Labels {
        let lengths = labels.iter().map(|(name, value)| name.len() + value.len());
        let mut out = Vec::with_capacity(lengths.sum::<usize>() + 4 * labels.len() + 1);
        for (index, (name, value)) in labels.iter().enumerate() {
            out.push(if index == 0 { b'{' } else { b',' });
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"=\"");
            put_escaped(&mut out, value, true);
            out.push(b'"');
        }
        if !labels.is_empty() {
            out.push(b'}');
        }
        Labels(out)
    }
}

/// One family that is being written: all its samples in one piece.
pub struct Family<'w> {
    exposition: &'w mut Exposition,
    /// Until it is written.
    head: Option<(Kind, &'w str)>,
    name: &'w str,
    timestamp: String,
}

impl Family<'_> {
    /// Adds a sample. Its labels must not have been in this family before.
    pub fn sample(&mut self, labels: &Labels, value: f64) {
        if let Some((kind, help)) = self.head.take() {
            self.exposition.put_head(self.name, kind, help);
        }
        self.exposition.put(self.name);
        self.exposition.out.extend_from_slice(&labels.0);
        self.exposition.put(" ");
        self.exposition.put_value(value);
        self.exposition.put(&self.timestamp);
        self.exposition.put("\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_answered_only_if_the_scraper_prefers_it() {
        for (accept, format) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html, */*;q=0.8", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"", Format::OpenMetrics),
            ("application/openmetrics-text;version=0.0.1", Format::Text),
            ("application/openmetrics-text;version=2.0.0", Format::Text),
            ("application/openmetrics-text;q=0", Format::Text),
            ("application/openmetrics-text;q=x", Format::Text),
            ("application/openmetrics-text;q=0.4,text/plain;q=0.5", Format::Text),
            ("application/openmetrics-text;q=0.5,text/plain;q=0.4", Format::OpenMetrics),
            ("text/plain;q=0.4,application/openmetrics-text;q=0.401", Format::OpenMetrics),
            ("text/plain;q=0.401,application/openmetrics-text;q=0.4", Format::Text),
            ("text/plain,application/openmetrics-text", Format::Text),
            ("application/openmetrics-text,text/plain", Format::OpenMetrics),
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
            ),
        ] {
            assert_eq!(Format::accepted(accept), format, "{accept}");
        }
    }

    #[test]
    fn a_client_that_accepts_the_type_of_an_answer_gets_that_format() {
        for format in [Format::Text, Format::OpenMetrics] {
            assert_eq!(Format::accepted(format.content_type()), format);
        }
    }

    fn written(format: Format) -> String {
        let mut exposition = Exposition::new(format, 0);
        let at = Some(Duration::from_millis(1_795_479_356_007));
        let mut family =
            exposition.family("a_seconds", Kind::Gauge, "A \"quoted\" \\ help.\nTwo lines.", at);
        family.sample(&Labels::new(&[("user", "a\"b\\c\nd"), ("tty", "")]), 0.07);
        family.sample(&Labels::new(&[]), f64::INFINITY);
        exposition.family("none", Kind::Gauge, "Has no samples.", None);
        exposition.family("b_total", Kind::Counter, "B.", None).sample(&Labels::new(&[]), 3.0);
        exposition
            .family("c_info", Kind::Info, "C.", None)
            .sample(&Labels::new(&[("version", "1")]), 1.0);
        String::from_utf8(exposition.finish()).unwrap_or_default()
    }

    #[test]
    fn text_has_help_and_type_and_milliseconds() {
        assert_eq!(
            written(Format::Text),
            r#"# HELP a_seconds A "quoted" \\ help.\nTwo lines.
# TYPE a_seconds gauge
a_seconds{user="a\"b\\c\nd",tty=""} 0.07 1795479356007
a_seconds +Inf 1795479356007
# HELP b_total B.
# TYPE b_total counter
b_total 3
# HELP c_info C.
# TYPE c_info gauge
c_info{version="1"} 1
"#
        );
    }

    #[test]
    fn openmetrics_has_type_unit_help_seconds_and_an_end() {
        assert_eq!(
            written(Format::OpenMetrics),
            r#"# TYPE a_seconds gauge
# UNIT a_seconds seconds
# HELP a_seconds A \"quoted\" \\ help.\nTwo lines.
a_seconds{user="a\"b\\c\nd",tty=""} 0.07 1795479356.007
a_seconds +Inf 1795479356.007
# TYPE b counter
# HELP b B.
b_total 3
# TYPE c info
# HELP c C.
c_info{version="1"} 1
# EOF
"#
        );
    }
}
