//! The exporter and Python's h11 read the same random requests. Both must accept the same ones,
//! except for the differences listed here.

use std::{
    io::{BufRead, BufReader, Lines, Read, Write},
    net::Shutdown,
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use crate::{
    harness::{Exporter, FakeW},
    interop::python,
    interop::random::{self, Random},
};

/// Each sends one to three requests.
const CLIENTS: usize = 4000;

/// `INTEROP_SEED` sets another one.
const SEED: u64 = 7;

/// An intended difference.
struct Difference {
    why: &'static str,
    /// How the verdicts of the exporter and of h11 begin.
    verdicts: [&'static str; 2],
    /// Whether the request is such a one.
    applies: fn(&Request) -> bool,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        why: "only GET, HEAD and OPTIONS are answered; h11 leaves the method to the program",
        verdicts: ["refused 405", ""],
        applies: |request| {
            ["POST", "PUT", "DELETE", "CONNECT", "TRACE", "PATCH"].contains(&request.method())
        },
    },
    Difference {
        why: "a method that HTTP does not define is not implemented; h11 leaves it to the program",
        verdicts: ["refused 501", ""],
        applies: |request| !["GET", "HEAD", "OPTIONS"].contains(&request.method()),
    },
    Difference {
        why: "only HTTP/1.0 and HTTP/1.1 are answered; h11 leaves the version to the program",
        verdicts: ["refused 505", ""],
        applies: |request| !["HTTP/1.0", "HTTP/1.1"].contains(&request.version()),
    },
    Difference {
        why: "a transfer coding is not implemented (RFC 9112, 6.1); h11 reads chunked bodies",
        verdicts: ["refused 501", ""],
        applies: |request| !request.values("transfer-encoding").is_empty(),
    },
    Difference {
        why: "no body is read, only an empty one",
        verdicts: ["refused 413", ""],
        applies: |request| {
            request.values("content-length").iter().any(|value| value.contains(['1', '5']))
        },
    },
    Difference {
        why: "a folded field line is refused, as RFC 9112, 5.2 allows; h11 unfolds it",
        verdicts: ["refused 400", ""],
        applies: |request| request.lines().skip(1).any(|line| line.starts_with([' ', '\t'])),
    },
    Difference {
        why: "a bare line feed may end a line for one program and not for the next; h11 lets it",
        verdicts: ["refused 400", ""],
        applies: |request| request.head.split_inclusive('\n').any(|line| !line.ends_with("\r\n")),
    },
    Difference {
        why: "a control character is no part of a field value (RFC 9110, 5.5); h11 lets most pass",
        verdicts: ["refused 400", ""],
        applies: |request| {
            let is_odd = |char: char| char.is_ascii_control() && char != '\t';
            request.lines().any(|line| line.contains(is_odd))
        },
    },
    Difference {
        why: "an invalid Host is refused (RFC 9112, 3.2); h11 does not look at it",
        verdicts: ["refused 400", ""],
        applies: |request| request.values("host").iter().any(|host| !is_host(host)),
    },
    Difference {
        why: "a target is a path, an http URI, or the * of OPTIONS (RFC 9112, 3.2); h11 leaves that to the program",
        verdicts: ["refused 400", ""],
        applies: |request| {
            let target = request.target().to_ascii_lowercase();
            let is_uri = target
                .strip_prefix("http://")
                .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', '?']));
            let is_all = target == "*" && request.method() == "OPTIONS";
            !target.starts_with('/') && !is_uri && !is_all
        },
    },
    Difference {
        why: "a list is no Content-Length, as RFC 9112, 6.3 allows; h11 takes one of equal lengths",
        verdicts: ["refused 400", ""],
        applies: |request| request.values("content-length").iter().any(|value| value.contains(',')),
    },
    Difference {
        why: "the fields may take 8,192 bytes; h11's bound is 16 KiB for all",
        verdicts: ["refused 431", ""],
        applies: |request| request.head.len() > 8192,
    },
    Difference {
        why: "empty lines before a request are let pass (RFC 9112, 2.2); h11 refuses them",
        verdicts: ["", "refused no request line received"],
        applies: |request| request.bytes.starts_with(b"\r\n"),
    },
    Difference {
        why: "a length of zero is zero, however it is written; h11 compares and counts the digits",
        verdicts: ["accepted", "refused "],
        applies: |request| {
            let lengths = request.values("content-length");
            let is_zero = |value: &&str| value.chars().all(|char| char == '0');
            let is_long = lengths.iter().any(|value| value.len() > 20);
            lengths.iter().all(is_zero)
                && (is_long || lengths.iter().any(|&length| length != lengths[0]))
        },
    },
    Difference {
        why: "an HTTP/1.0 client may ask for its connection to be kept; h11 does not keep it",
        verdicts: ["", "over"],
        applies: |request| {
            request.before.as_ref().is_some_and(|before| before.version() == "HTTP/1.0")
        },
    },
];

/// The verdicts of one side: `accepted` for each request, and finally why it stops: `refused` with
/// the reason, `over` if no other request follows or may follow, or `unfinished`, which only h11
/// distinguishes.
type Verdicts = Vec<String>;

/// h11, in a separate Python process.
struct H11 {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl H11 {
    fn start() -> H11 {
        let mut process =
            python("verdicts.py").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        H11 { process, input, output }
    }

    /// Its verdicts, and where each accepted request ends.
    fn reads(&mut self, sent: &[u8]) -> (Verdicts, Vec<usize>) {
        let hexadecimal: String = sent.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(self.input, "{hexadecimal}").unwrap();
        let line = self.output.next().unwrap().unwrap();
        let ends = line.split('\t').filter_map(|verdict| verdict.strip_prefix("accepted "));
        let ends = ends.map(|end| end.parse().unwrap()).collect();
        let without_end = |verdict: &str| match verdict.strip_prefix("accepted") {
            Some(_) => "accepted".to_owned(),
            None => verdict.to_owned(),
        };
        (line.split('\t').map(without_end).collect(), ends)
    }
}

impl Drop for H11 {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn exporter_reads(exporter: &Exporter, sent: &[u8]) -> Verdicts {
    let mut stream = exporter.connect();
    // It may have refused the first part already.
    let _ = stream.write_all(sent);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answers = Vec::new();
    let _ = stream.read_to_end(&mut answers);
    let answers = String::from_utf8(answers).unwrap();
    let verdict = |answer: &str| match &answer[..3] {
        "200" | "204" | "404" => "accepted".to_owned(),
        status => format!("refused {status}"),
    };
    let mut verdicts: Verdicts = answers.split("HTTP/1.1 ").skip(1).map(verdict).collect();
    if verdicts.last().is_none_or(|last| last == "accepted") {
        verdicts.push("over".to_owned());
    }
    verdicts
}

/// The exporter refuses a wrong request as soon as possible, h11 when the head is complete.
fn agree(our: &str, their: &str) -> bool {
    match our.split(' ').next().unwrap() {
        "accepted" => their == "accepted",
        "refused" => their.contains("refused"),
        _ => their == "over" || their.starts_with("unfinished"),
    }
}

/// A request with different verdicts.
struct Request<'s> {
    /// The request and everything after it.
    bytes: &'s [u8],
    /// The head with its empty line, each byte as a character.
    head: String,
    /// The one before, on the same connection.
    before: Option<Box<Request<'s>>>,
}

impl<'s> Request<'s> {
    fn new(bytes: &'s [u8]) -> Request<'s> {
        let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
        let end = text.find("\n\n").map(|end| end + 2).into_iter();
        let end = end.chain(text.find("\n\r\n").map(|end| end + 3)).min();
        Request { bytes, head: text[..end.unwrap_or(text.len())].to_owned(), before: None }
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        self.head.split('\n').map(|line| line.trim_end_matches('\r'))
    }

    fn word(&self, index: usize) -> &str {
        self.lines()
            .find(|line| !line.is_empty())
            .unwrap_or_default()
            .split(' ')
            .nth(index)
            .unwrap_or_default()
    }

    fn method(&self) -> &str {
        self.word(0)
    }

    fn target(&self) -> &str {
        self.word(1)
    }

    fn version(&self) -> &str {
        self.word(2)
    }

    /// The values of the fields of that name.
    fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.lines().filter_map(|line| line.split_once(':'));
        let named = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.trim_matches([' ', '\t'])).collect()
    }
}

/// A name or an address, with a port or without.
fn is_host(value: &str) -> bool {
    let (host, port) = match value.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (value, ""),
    };
    let name = |name: &str| {
        name.chars().all(|char| char.is_ascii_alphanumeric() || "-._~%!$&'()*+,;=".contains(char))
    };
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_right = match address {
        Some(address) => name(&address.replace(':', "")),
        None => name(host),
    };
    !host.is_empty() && is_right && port.chars().all(|char| char.is_ascii_digit())
}

/// The first request with different verdicts.
fn difference<'s>(
    ours: &Verdicts,
    theirs: &Verdicts,
    ends: &[usize],
    sent: &'s [u8],
) -> Option<(Request<'s>, [String; 2])> {
    let both = ours.iter().zip(theirs);
    let index = both.clone().position(|(our, their)| !agree(our, their))?;
    // Up to there both agree, so h11 knows where the request begins.
    let begin = |index: usize| if index == 0 { 0 } else { ends[index - 1] };
    let mut request = Request::new(&sent[begin(index)..]);
    if index > 0 {
        request.before = Some(Box::new(Request::new(&sent[begin(index - 1)..begin(index)])));
    }
    Some((request, [ours[index].clone(), theirs[index].clone()]))
}

#[test]
#[ignore = "needs Python's h11"]
fn the_same_requests_are_acceptable_as_to_h11() {
    let seed = std::env::var("INTEROP_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &["--scrape.interval=1h"]);
    exporter.metrics();
    let mut h11 = H11::start();
    let mut random = Random(seed);
    let mut seen = vec![0; DIFFERENCES.len()];
    let mut unlisted = Vec::new();
    for _ in 0..CLIENTS {
        let sent = random::client(&mut random);
        let (theirs, ends) = h11.reads(&sent);
        // Twice, because on a busy machine the exporter may not wait for a client that has closed
        // its side.
        let differs = || difference(&exporter_reads(&exporter, &sent), &theirs, &ends, &sent);
        let Some((request, [our, their])) = differs().and_then(|_| differs()) else { continue };
        let listed = DIFFERENCES.iter().position(|difference| {
            let [ours, theirs] = difference.verdicts;
            our.starts_with(ours) && their.starts_with(theirs) && (difference.applies)(&request)
        });
        match listed {
            Some(listed) => seen[listed] += 1,
            None => unlisted.push(format!("{our}, h11 {their}: {}", sent.escape_ascii())),
        }
    }
    for (Difference { why, .. }, count) in DIFFERENCES.iter().zip(&seen) {
        println!("{count:4} {why}");
    }
    assert!(unlisted.is_empty(), "seed {seed}:\n{}", unlisted.join("\n"));
    let all_seen = seed != SEED || seen.iter().all(|&count| count > 0);
    assert!(all_seen, "a listed difference does not occur: {seen:?}");
}
