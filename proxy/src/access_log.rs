//! Access logs: which streams are logged, in what format, where to. `file` owns the files, `grpc` the streams to services.

pub mod file;
pub mod grpc;

use std::{rc::Rc, sync::Arc};

use crate::{
    failure::ResponseFlags,
    format::{Facts, Format},
    route::matcher::{HeaderMatcher, MetadataMatcher, RuntimeFraction},
    trace::Reason,
    worker::Worker,
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
    File {
        path: Arc<str>,
        format: LogFormat,
    },
    Grpc(Box<grpc::GrpcLog>),
}

#[derive(Debug)]
pub enum LogFormat {
    Text(Format),
    /// One JSON object a line.
    Json(crate::format::JsonFormat),
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
    And(Vec<Self>),
    Or(Vec<Self>),
    Header(Box<HeaderMatcher>),
    /// Of the stream's dynamic metadata.
    Metadata {
        matcher: Box<MetadataMatcher>,
        if_missing: bool,
    },
    /// Whether lines that are written when a stream ends, as all are here, are wanted.
    LogType(bool),
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
    pub fn write(&self, facts: &Facts<'_>, worker: &Rc<Worker>) {
        if !self.filter.as_ref().is_none_or(|f| f.admits(facts, worker)) {
            return;
        }
        let (path, format) = match &self.sink {
            Sink::File { path, format } => (path, format),
            Sink::Grpc(log) => return log.write(facts, worker),
        };
        let mut line = String::with_capacity(LINE_CAPACITY);
        match format {
            LogFormat::Text(text) => text.write(&mut line, facts),
            LogFormat::Json(json) => {
                json.write(&mut line, facts);
                line.push('\n');
            }
        }
        worker.shared.log_files.write(path, &line);
    }
}

/// Bytes: most lines fit.
const LINE_CAPACITY: usize = 512;

impl Comparison {
    fn holds(self, left: u64, right: u64) -> bool {
        match self {
            Self::Eq => left == right,
            Self::Ge => left >= right,
            Self::Le => left <= right,
            Self::Ne => left != right,
        }
    }
}

impl Filter {
    pub fn admits(&self, facts: &Facts<'_>, worker: &Worker) -> bool {
        let info = facts.info;
        match self {
            Self::StatusCode { op, value } => op.holds(u64::from(info.response_code.unwrap_or(0)), u64::from(*value)),
            Self::Duration { op, value } => {
                let taken = info.times.end.unwrap_or_else(std::time::Instant::now) - info.start;
                op.holds(taken.as_millis() as u64, *value)
            }
            // No health-check filter marks requests.
            Self::NotHealthCheck => true,
            Self::Traceable => info.trace_reason.is_some_and(Reason::is_traced),
            Self::Runtime(fraction) => {
                const MILLION: u64 = 1_000_000;
                worker.random() % MILLION < fraction.millionths(&worker.snapshot().runtime)
            }
            Self::And(all) => all.iter().all(|f| f.admits(facts, worker)),
            Self::Or(any) => any.iter().any(|f| f.admits(facts, worker)),
            Self::Header(matcher) => facts.request.is_some_and(|r| matcher.matches(r)),
            Self::Metadata { matcher, if_missing } => {
                let found = matcher.found(info.dynamic_metadata.as_deref());
                found.unwrap_or(*if_missing)
            }
            Self::LogType(wanted) => *wanted,
            Self::ResponseFlag(flags) if flags.is_empty() => !info.flags.is_empty(),
            Self::ResponseFlag(flags) => info.flags.contains(*flags),
            Self::GrpcStatus { statuses, exclude } => {
                facts.grpc_status().is_some_and(|s| statuses.contains(&s)) != *exclude
            }
        }
    }
}
