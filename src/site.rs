//! Which path is answered with what. Knows the cache and the formats, nothing of sockets.

use std::sync::Arc;

use crate::{
    cache::Cache, clock::Clock, exposition::Format, landing_page, memory, metrics::Options,
    scrape::Snapshot, session::CommandShown,
};

/// For each byte of the metrics, what making the page takes at most.
const PAGE_PER_ANSWER: usize = 8;

/// All that can be asked for.
pub struct Site {
    cache: Cache,
    clock: Clock,
    endpoint: String,
    command: CommandShown,
}

/// An answer, but for what the connection adds.
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers beside length and date.
    pub headers: Vec<(&'static str, &'static str)>,
    /// Shared between all who are given it.
    pub body: Arc<Vec<u8>>,
}

impl Site {
    /// Answers from this cache.
    pub fn new(cache: Cache, clock: Clock, endpoint: String, options: &Options) -> Site {
        Site { cache, clock, endpoint, command: options.command }
    }

    /// Makes sure that there is a result for a path that shows one: the only step that may run `w`, or wait for it.
    pub fn prepare(&self, path: &str) {
        if path == self.endpoint || path == "/" {
            self.cache.get();
        }
    }

    /// Answers a request for a path that was prepared, at once.
    pub fn answer(&self, path: &str, accept: &str) -> Answer {
        match (path, self.cache.latest()) {
            (path, Some(snapshot)) if path == self.endpoint => {
                let format = Format::accepted(accept);
                Answer {
                    status: 200,
                    // A proxy that kept it would serve those who are gone.
                    headers: vec![
                        ("Content-Type", format.content_type()),
                        ("Vary", "Accept"),
                        ("Cache-Control", "no-store"),
                    ],
                    body: snapshot.rendered(format),
                }
            }
            ("/", Some(snapshot)) if memory::is_left(PAGE_PER_ANSWER * snapshot.text.len()) => {
                self.page(&snapshot)
            }
            ("/", Some(_)) => plain(503, "no memory is left for this page\n"),
            ("/-/healthy", _) => plain(200, "healthy\n"),
            _ => plain(404, "not found\n"),
        }
    }

    fn page(&self, snapshot: &Snapshot) -> Answer {
        let age = (self.clock)().instant.saturating_duration_since(snapshot.ended.instant);
        let page = landing_page::render(snapshot, age, &self.endpoint, self.command);
        Answer {
            status: 200,
            headers: vec![
                ("Content-Type", "text/html; charset=utf-8"),
                ("Content-Security-Policy", landing_page::SECURITY_POLICY),
                ("X-Content-Type-Options", "nosniff"),
                ("Referrer-Policy", "no-referrer"),
                ("Cache-Control", "no-store"),
            ],
            body: Arc::new(page.into_bytes()),
        }
    }
}

fn plain(status: u16, text: &str) -> Answer {
    Answer {
        status,
        headers: vec![("Content-Type", "text/plain; charset=utf-8")],
        body: Arc::new(text.as_bytes().to_vec()),
    }
}
