//! How a tracer starts spans, and what upstreams are told of them.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use http::{HeaderMap, HeaderValue};
use tokio::sync::watch;

use super::{
    b3,
    context::SpanContext,
    otlp::Otlp,
    span::{Kind, Span},
    w3c,
    zipkin::Zipkin,
};

/// A tracing provider, parsed.
#[derive(Debug)]
pub struct Tracer {
    pub exporter: Arc<Exporter>,
    /// Of what makes it equal to others, which share what waits to be sent.
    pub hash: u64,
    /// Senders end once nothing refers to the tracer any more.
    pub(super) in_use: watch::Sender<()>,
}

#[derive(Debug)]
pub enum Exporter {
    Zipkin(Zipkin),
    Otlp(Box<Otlp>),
}

/// In which words upstreams are told of a trace.
#[derive(Debug, Clone)]
pub enum Propagation {
    B3 { single: bool, w3c: bool },
    W3c { tracestate: HeaderValue },
}

/// A span that is to begin.
pub struct Begin<'a> {
    pub headers: &'a HeaderMap,
    /// The proxy decided to trace the request.
    pub traced: bool,
    pub egress: bool,
    /// Attempts have spans of their own.
    pub spawns: bool,
    pub start_time: SystemTime,
    pub start: Instant,
}

impl Tracer {
    pub fn new(exporter: Exporter, hash: u64) -> Self {
        Self {
            exporter: Arc::new(exporter),
            hash,
            in_use: watch::Sender::new(()),
        }
    }

    /// `None`: what the request tells of its trace cannot be read, so that it is left alone.
    pub fn start(&self, begin: &Begin<'_>, random: impl Fn() -> u64) -> Option<(Span, Propagation)> {
        match &*self.exporter {
            Exporter::Zipkin(zipkin) => zipkin.start(begin, random),
            Exporter::Otlp(otlp) => otlp.start(begin, random),
        }
    }

    /// A span that nobody named.
    pub fn name(&self, host: &str, egress: bool) -> String {
        match &*self.exporter {
            Exporter::Zipkin(_) => host.to_owned(),
            Exporter::Otlp(_) if egress => format!("egress {host}"),
            Exporter::Otlp(_) => "ingress".to_owned(),
        }
    }

    /// The span of an attempt. `spawns`: it is the proxy's own, else it is told from the side that the proxy stands on.
    pub fn child(&self, of: &Span, spawns: bool, now: (SystemTime, Instant), random: impl Fn() -> u64) -> Span {
        let kind = if spawns { Kind::Client } else { of.kind };
        let context = match &*self.exporter {
            Exporter::Zipkin(zipkin) => zipkin.continued(&of.context, kind, random),
            Exporter::Otlp(_) => below(&of.context, random()),
        };
        let kind = match &*self.exporter {
            Exporter::Zipkin(_) => kind,
            Exporter::Otlp(_) => Kind::Client,
        };
        Span::new(context, kind, false, now.0, now.1)
    }
}

impl Propagation {
    pub fn inject(&self, headers: &mut HeaderMap, context: &SpanContext) {
        match self {
            Self::B3 { single, w3c } => {
                b3::inject(headers, context, *single);
                if *w3c {
                    w3c::inject(headers, context);
                }
            }
            Self::W3c { tracestate } => {
                w3c::inject(headers, context);
                headers.insert(w3c::TRACESTATE, tracestate.clone());
            }
        }
    }
}

/// The context of a span that `caller` called.
pub fn below(caller: &SpanContext, span: u64) -> SpanContext {
    SpanContext {
        span,
        parent: caller.span,
        ..*caller
    }
}

impl Begin<'_> {
    /// A proxy that shows its attempts is a hop of its own; one that does not stands for the application beside it.
    pub(super) fn kind(&self) -> Kind {
        if self.egress && !self.spawns {
            Kind::Client
        } else {
            Kind::Server
        }
    }

    pub(super) fn span(&self, context: SpanContext, kind: Kind, remote_parent: bool) -> Span {
        Span::new(context, kind, remote_parent, self.start_time, self.start)
    }
}

#[cfg(test)]
#[path = "tracer/tests.rs"]
mod tests;
