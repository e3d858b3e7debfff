//! Logs that go to a gRPC service (`AccessLogService`): each worker gathers entries and sends them over a stream of its own.
//!
//! `entry` makes entries, `stream` sends them. What cannot be sent in time is dropped and counted, never waited for.

use std::{rc::Rc, sync::Arc, time::Duration};

use tokio::sync::watch;

mod entry;
mod stream;
mod tls;

pub use stream::LogStream;

use crate::{format::Facts, upstream::call::grpc::Destination, worker::Worker};

/// `HttpGrpcAccessLogConfig` or `TcpGrpcAccessLogConfig`, parsed.
#[derive(Debug)]
pub struct GrpcLog {
    pub shape: Shape,
    pub service: Arc<LogService>,
}

/// What entries hold.
#[derive(Debug)]
pub enum Shape {
    Http(HttpShape),
    Tcp,
}

/// What of a request is logged besides what always is.
#[derive(Debug, Default)]
pub struct HttpShape {
    /// By lower-case name, which may be a pseudo-header's.
    pub request_headers: Vec<Box<str>>,
    pub response_headers: Vec<Box<str>>,
    pub response_trailers: Vec<Box<str>>,
}

/// `CommonGrpcAccessLogConfig`, parsed: logs with equal ones share a stream.
#[derive(Debug)]
pub struct LogService {
    /// Of what makes it equal to others, HTTP and TCP apart.
    pub hash: u64,
    pub destination: Destination,
    pub log_name: Box<str>,
    /// Envoy's default: 1 s.
    pub flush_interval: Duration,
    /// Entries that are held until they are sent, in bytes. Envoy's default: 16 KiB; 0: each is sent at once.
    pub buffer_size: usize,
    /// Streams end once nothing refers to the service any more.
    in_use: watch::Sender<()>,
}

impl LogService {
    pub fn new(
        hash: u64,
        destination: Destination,
        log_name: Box<str>,
        flush_interval: Duration,
        buffer_size: usize,
    ) -> Self {
        Self {
            hash,
            destination,
            log_name,
            flush_interval,
            buffer_size,
            in_use: watch::Sender::new(()),
        }
    }
}

impl GrpcLog {
    pub fn write(&self, facts: &Facts<'_>, worker: &Rc<Worker>) {
        let entry = match &self.shape {
            Shape::Http(shape) => entry::http(shape, facts),
            Shape::Tcp => entry::tcp(facts, || worker.random()),
        };
        let tcp = matches!(self.shape, Shape::Tcp);
        worker.log_stream(&self.service, tcp).push(&entry);
    }
}
