//! The answers that clients get of one snapshot. Each is rendered when it is first asked for.

use std::{cell::OnceCell, sync::Arc};

use crate::{
    exposition::Format,
    landing_page::{self, Settings},
    metrics::{self, Options},
    snapshot::Snapshot,
};

/// A snapshot, and the answers that have been rendered of it. Clients share their bytes.
#[derive(Debug)]
pub struct Answers {
    /// What they are rendered from.
    pub snapshot: Snapshot,
    text: OnceCell<Arc<Vec<u8>>>,
    openmetrics: OnceCell<Arc<Vec<u8>>>,
    page: OnceCell<Arc<Vec<u8>>>,
}

impl From<Snapshot> for Answers {
    fn from(snapshot: Snapshot) -> Answers {
        let (text, openmetrics, page) = Default::default();
        Answers { snapshot, text, openmetrics, page }
    }
}

impl Answers {
    /// The metrics in a format.
    pub fn metrics(&self, format: Format, options: &Options) -> Arc<Vec<u8>> {
        let rendered = match format {
            Format::Text => &self.text,
            Format::OpenMetrics => &self.openmetrics,
        };
        let render = || Arc::new(metrics::render(format, options, &self.snapshot));
        Arc::clone(rendered.get_or_init(render))
    }

    /// The landing page.
    pub fn page(&self, settings: &Settings) -> Arc<Vec<u8>> {
        let render = || Arc::new(landing_page::render(&self.snapshot, settings));
        Arc::clone(self.page.get_or_init(render))
    }
}
