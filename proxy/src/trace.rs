//! Request tracing: whether a request is traced, what it is told of its trace and tells on, and the spans that collectors get.
//!
//! `decision` decides, purely; `context`, `b3` and `w3c` read and write trace contexts; `span` and `tags` are what is told of
//! a request, `custom_tag` what the config adds; `tracer` starts spans as Zipkin and OpenTelemetry want them, `zipkin` and
//! `otlp` write them, `sender` gathers and sends them. What happens to a stream stands in [`crate::http::tracing`].
//! Sources: Envoy's docs, "Tracing", and Envoy 1.40's own spans (`proxy/tests/tracing.rs`).

use http::HeaderValue;
use std::sync::Arc;

pub mod b3;
pub mod context;
pub mod custom_tag;
pub mod decision;
pub mod otlp;
pub mod sender;
pub mod span;
pub mod tags;
pub mod tracer;
pub mod w3c;
pub mod zipkin;

pub use context::SpanContext;
pub use custom_tag::CustomTag;
pub use decision::{Reason, Sampling};
pub use span::{Kind, Span};
pub use tracer::Tracer;

use crate::format::Format;

/// `HttpConnectionManager.Tracing`, parsed.
#[derive(Debug)]
pub struct Tracing {
    pub sampling: Sampling,
    pub custom_tags: Vec<CustomTag>,
    pub operations: Operations,
    /// Of the path in `http.url`. Envoy's default: 256.
    pub max_path_tag_length: usize,
    /// Spans tell when bytes came and went.
    pub verbose: bool,
    /// Each attempt at an upstream is a span of its own, and the proxy a hop of its own.
    pub spawn_upstream_span: bool,
    /// Upstreams are not told of the trace.
    pub no_context_propagation: bool,
    /// `None`: the bootstrap's, where it has one.
    pub tracer: Option<Arc<Tracer>>,
}

/// `envoy.config.route.v3.Tracing`, parsed: goes before what the connection manager says.
#[derive(Debug)]
pub struct RouteTracing {
    pub sampling: Sampling,
    pub custom_tags: Vec<CustomTag>,
    pub operations: Operations,
}

/// Names of spans. Where the first is set, decorators are not heeded.
#[derive(Debug, Default)]
pub struct Operations {
    pub downstream: Option<Format>,
    pub upstream: Option<Format>,
}

/// `envoy.config.route.v3.Decorator`, parsed.
#[derive(Debug)]
pub struct Decorator {
    /// Names the span.
    pub operation: HeaderValue,
    /// The peer is told, too. Envoy's default: true.
    pub propagate: bool,
}
