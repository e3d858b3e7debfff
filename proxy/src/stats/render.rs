//! `/stats` and `/stats/prometheus`, a chunk at a time.
//!
//! The control thread takes one chunk after the other and yields between them, so a scrape of 50,000 series holds up
//! neither the ADS keepalive nor `/ready`. Names are built, matched and thrown away group by group; nothing is cached.
//! Order, shape and number formats are those of Envoy 1.40.

mod json;
mod number;
mod prometheus;
mod query;
mod series;
mod text;

pub use query::{Buckets, Format, Query};

use std::sync::Arc;

use super::store::{House, Store};

/// Groups looked at for one chunk: about a millisecond's work where each has a hundred stats.
const GROUPS_PER_CHUNK: usize = 32;
/// A chunk's size beyond which it is handed out.
const CHUNK_BYTES: usize = 64 * 1024;

/// A scrape under way: an iterator over chunks of the body. Chunks may be empty while it gathers.
pub struct Render {
    house: Arc<House>,
    query: Query,
    body: Body,
}

enum Body {
    Text(text::Text),
    Json(json::Json),
    Prometheus(prometheus::Prometheus),
}

impl Store {
    /// Starts a scrape.
    pub fn render(&self, query: Query) -> Render {
        let groups = self.groups();
        let body = match query.format {
            Format::Text => Body::Text(text::Text::new(groups, self.all_labelled())),
            Format::Json => Body::Json(json::Json::new(groups, self.all_labelled())),
            Format::Prometheus => Body::Prometheus(prometheus::Prometheus::new(groups, self.all_labelled())),
        };
        Render {
            house: self.house().clone(),
            query,
            body,
        }
    }
}

impl Render {
    /// The response's `content-type`.
    pub fn content_type(&self) -> &'static str {
        match self.body {
            Body::Json(_) => "application/json",
            Body::Text(_) | Body::Prometheus(_) => "text/plain; charset=UTF-8",
        }
    }
}

impl Iterator for Render {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        match &mut self.body {
            Body::Text(text) => text.chunk(&self.house.settings, &self.query),
            Body::Json(json) => json.chunk(&self.house.settings, &self.query),
            Body::Prometheus(prometheus) => prometheus.chunk(&self.house.settings, &self.query),
        }
    }
}

#[cfg(test)]
mod tests;
