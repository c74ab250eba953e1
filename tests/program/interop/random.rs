//! Random requests. Most of them are nearly correct, because two parsers differ on those.

/// The same numbers for the same seed (SplitMix64).
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn choose<'c, T: ?Sized>(&mut self, choices: &[&'c T]) -> &'c T {
        choices[self.below(choices.len())]
    }

    /// The usual value, or sometimes another.
    fn usually<'c, T: ?Sized>(&mut self, usual: &'c T, count: usize, others: &[&'c T]) -> &'c T {
        if self.one_in(count) { self.choose(others) } else { usual }
    }
}

const METHODS: &[&str] =
    &["HEAD", "OPTIONS", "POST", "PUT", "CONNECT", "TRACE", "BREW", "get", "G(T", "G\u{e9}T", ""];

const TARGETS: &[&str] = &[
    "/",
    "/-/healthy",
    "/metrics?a=b",
    "/nothing",
    "//metrics",
    "/%6detrics",
    "/a b",
    "/\u{e9}",
    "*",
    "metrics",
    "http://x/metrics",
    "HTTP://x:1",
    "https://x/",
    "http://",
    "x:443",
    "",
];

const VERSIONS: &[&str] = &[
    "HTTP/1.0",
    "HTTP/1.0",
    "HTTP/1.2",
    "HTTP/2.0",
    "HTTP/0.9",
    "HTTP/1.10",
    "HTTP/11",
    "http/1.1",
    "",
];

const HOSTS: &[&[u8]] = &[
    b"Host: a.example:9839",
    b"Host: [::1]:9839",
    b"Host: [::1",
    b"Host: a b",
    b"Host: a/b@c",
    b"Host: a:99999x",
    b"Host: \xe9",
    b"Host:",
    b"Host : x",
    b"hOST:x ",
    b"Host: x\r\nHost: x",
    b"X-Host: x",
    b"X-Host: x",
    b"X-Host: x",
];

const FIELDS: &[&[u8]] = &[
    b"Accept: text/plain",
    b"Accept: application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1",
    b"Accept: \xe9",
    b"User-Agent: curl/7.88.1",
    b"User-Agent: \xc3\xa9\xff",
    b"User-Agent: a\x01b",
    b"User-Agent: a\x7fb",
    b"User-Agent: a\0b",
    b"User-Agent: a\tb",
    b"User-Agent:",
    b"User-Agent: \t ",
    b"Cookie: a=b; c=\"d\"",
    b"Connection: close",
    b"Connection: keep-alive",
    b"Connection: Upgrade, CLOSE",
    b"Connection: closed",
    b"Connection: ,close,",
    b"Upgrade: h2c",
    b"Expect: 100-continue",
    b"Expect: something",
    b"Content-Length: 0",
    b"Content-Length: 00",
    b"Content-Length: 5",
    b"Content-Length: 0, 0",
    b"Content-Length: +0",
    b"Content-Length: -1",
    b"Content-Length: 0x0",
    b"Content-Length:",
    b"Content-Length: 000000000000000000000000",
    b"Content-Length: 18446744073709551616",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: Chunked",
    b"Transfer-Encoding: chunked\r\nContent-Length: 0",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding:",
    b"Transfer-Encoding : chunked",
    b" folded: x",
    b"\tfolded",
    b"no colon",
    b": no name",
    b"a b: c",
    b"na(me: x",
    b"n\xe9me: x",
    b"X-Prometheus-Scrape-Timeout-Seconds: 10",
    b"Forwarded: for=\"[::1]\"",
    b"X: a\rb",
    b"X: a\nb",
];

const BODIES: &[&[u8]] = &[
    b"0\r\n\r\n",
    b"0\r\n\r\n",
    b"0\r\n",
    b"0;a=b\r\n\r\n",
    b"00\r\n\r\n",
    b"0\r\nX: y\r\n\r\n",
    b"0 \r\n\r\n",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"hello",
    b"x",
    b"-1\r\n\r\n",
];

/// What a mutation inserts.
const ODD: &[&[u8]] = &[
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\0",
    b"\x0b",
    b"\x7f",
    b"\xe9",
    b":",
    b",",
    b"/",
    b"?",
    b"#",
    b"%",
    b"\"",
    b"(",
    b"0",
    b"a",
];

/// The bytes that one client sends: up to three requests.
pub fn client(random: &mut Random) -> Vec<u8> {
    let count = 1 + random.below(3);
    (0..count).flat_map(|_| request(random)).collect()
}

fn request(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    if random.one_in(20) {
        bytes.extend_from_slice(random.choose(&[b"\r\n".as_slice(), b"\r\n\r\n", b"\n", b" \r\n"]));
    }
    let method = random.usually("GET", 4, METHODS);
    let target = random.usually("/metrics", 3, TARGETS);
    let version = random.usually("HTTP/1.1", 6, VERSIONS);
    bytes.extend_from_slice(format!("{method} {target} {version}\r\n").as_bytes());
    let mut fields = vec![random.usually(b"Host: x".as_slice(), 8, HOSTS)];
    let count = random.below(4);
    fields.extend((0..count).map(|_| random.choose(FIELDS)));
    if version == "HTTP/1.0" && random.one_in(3) {
        fields.push(b"Connection: keep-alive");
    }
    if random.one_in(4) {
        fields.rotate_left(1);
    }
    for field in fields {
        bytes.extend_from_slice(field);
        bytes.extend_from_slice(random.usually(b"\r\n".as_slice(), 60, &[b"\n", b"\r", b" \r\n"]));
    }
    if random.one_in(200) {
        let padding = random.choose(&["x: ", "y-"]);
        bytes.extend_from_slice(padding.repeat(4000).as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    if random.one_in(6) {
        bytes.extend_from_slice(random.choose(BODIES));
    }
    if random.one_in(4) {
        mutate(&mut bytes, random);
    }
    bytes
}

/// Inserts something odd at a random place, or removes something.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(2) {
        let start = random.below(bytes.len() + 1);
        let end = (start + random.below(3)).min(bytes.len());
        let odd: &[u8] = if random.one_in(3) { b"" } else { random.choose(ODD) };
        bytes.splice(start..end, odd.iter().copied());
    }
}
