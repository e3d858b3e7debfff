//! Access logs: which streams are logged, in what format, where to.

use std::sync::Arc;

use crate::{
    failure::ResponseFlags,
    format::Format,
    route::matcher::{HeaderMatcher, RuntimeFraction},
};

/// `envoy.config.accesslog.v3.AccessLog`, parsed.
#[derive(Debug)]
pub struct AccessLog {
    pub filter: Option<Filter>,
    pub sink: Sink,
}

#[derive(Debug)]
pub enum Sink {
    /// File, stdout or stderr: lines go through a writer that the control thread flushes.
    File { path: Arc<str>, format: LogFormat },
}

#[derive(Debug)]
pub enum LogFormat {
    Text(Format),
    /// One JSON object a line.
    Json(JsonFormat),
}

/// A JSON tree whose leaves are formats; a leaf of one operator keeps its type (numbers, null).
#[derive(Debug, Default)]
pub struct JsonFormat {
    _parts: (),
}

impl JsonFormat {
    /// # Errors
    /// What is wrong with which operator.
    pub fn parse(_format: &serde_json::Value) -> Result<Self, String> {
        Ok(Self::default())
    }
}

/// `envoy.config.accesslog.v3.AccessLogFilter`, parsed.
#[derive(Debug)]
pub enum Filter {
    StatusCode {
        op: Comparison,
        value: u32,
    },
    /// Milliseconds.
    Duration {
        op: Comparison,
        value: u64,
    },
    NotHealthCheck,
    Traceable,
    Runtime(RuntimeFraction),
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Header(Box<HeaderMatcher>),
    /// Empty: any flag.
    ResponseFlag(ResponseFlags),
    GrpcStatus {
        statuses: Vec<u32>,
        exclude: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Eq,
    Ge,
    Le,
    Ne,
}

impl AccessLog {
    /// Logs a stream where the filter admits it.
    pub fn write(&self, facts: &crate::format::Facts<'_>, worker: &crate::worker::Worker) {
        let _ = (facts, worker);
    }
}
