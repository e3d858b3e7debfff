//! One worker's stream of entries to one service.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    sync::Arc,
};

use bytes::BufMut;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};

use super::LogService;
use crate::{
    stats::{Group, GrpcAccessLogStat},
    upstream::call::grpc::{ClientStream, Destination, Status},
    worker::Worker,
};

const METHOD: &str = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs";

/// Bytes on a stream that the server does not take; beyond, entries stay in the buffer, and are dropped once that holds as
/// many.
const MAX_QUEUED_BYTES: usize = 1 << 20;

/// Entries that wait, and whoever sends them.
pub struct LogStream {
    pub(super) shared: Rc<Shared>,
}

pub(super) struct Shared {
    log_name: Box<str>,
    tcp: bool,
    buffer_size: usize,
    stats: Group<GrpcAccessLogStat>,
    /// `log_entry` fields one after the other, as a message holds them.
    buffer: RefCell<Vec<u8>>,
    /// How many.
    entries: Cell<u64>,
    /// There is something to send at its time.
    filled: Notify,
    /// There is so much that it is sent now.
    full: Notify,
    ended: Cell<bool>,
}

impl LogStream {
    /// Starts the sender on the worker.
    pub fn start(service: &Arc<LogService>, tcp: bool, worker: &Rc<Worker>) -> Self {
        let shared = Rc::new(Shared {
            log_name: service.log_name.clone(),
            tcp,
            buffer_size: service.buffer_size,
            stats: worker.log_stats().clone(),
            buffer: RefCell::default(),
            entries: Cell::new(0),
            filled: Notify::new(),
            full: Notify::new(),
            ended: Cell::new(false),
        });
        let sender = Sender {
            shared: shared.clone(),
            worker: worker.clone(),
            destination: service.destination.clone(),
            interval: service.flush_interval,
            in_use: service.in_use.subscribe(),
            stream: None,
        };
        tokio::task::spawn_local(sender.run());
        Self { shared }
    }

    /// Its service is no longer used.
    pub fn has_ended(&self) -> bool {
        self.shared.ended.get()
    }

    /// Takes an entry, or drops it where too many wait.
    pub(super) fn push(&self, entry: &[u8]) {
        let shared = &self.shared;
        let mut buffer = shared.buffer.borrow_mut();
        if buffer.len() >= shared.buffer_size.max(MAX_QUEUED_BYTES) {
            shared.stats.inc(GrpcAccessLogStat::LogsDropped);
            shared.full.notify_one();
            return;
        }
        // Envoy does not count those of connections.
        if !shared.tcp {
            shared.stats.inc(GrpcAccessLogStat::LogsWritten);
        }
        shared.entries.set(shared.entries.get() + 1);
        put_message(&mut buffer, LOG_ENTRY, entry);
        if buffer.len() >= shared.buffer_size {
            shared.full.notify_one();
        } else {
            shared.filled.notify_one();
        }
    }
}

struct Sender {
    shared: Rc<Shared>,
    worker: Rc<Worker>,
    destination: Destination,
    interval: std::time::Duration,
    in_use: watch::Receiver<()>,
    stream: Option<ClientStream>,
}

impl Sender {
    /// Until the service is used no more.
    async fn run(mut self) {
        let mut due: Option<Instant> = None;
        loop {
            let shared = self.shared.clone();
            // What a slow server left waiting is tried again.
            if due.is_none() && !shared.buffer.borrow().is_empty() {
                due = Some(Instant::now() + self.interval);
            }
            let timer = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shared.full.notified() => {
                    due = None;
                    self.flush().await;
                }
                () = shared.filled.notified(), if due.is_none() => due = Some(Instant::now() + self.interval),
                () = timer => {
                    due = None;
                    self.flush().await;
                }
                ended = heard(&mut self.stream) => {
                    tracing::debug!(log = &*shared.log_name, "the stream of access logs ended: {ended:?}");
                    self.stream = None;
                }
                // Nothing is ever sent on it: that it changed says that the service is gone.
                _ = self.in_use.changed() => {
                    self.flush().await;
                    shared.ended.set(true);
                    self.leave().await;
                    return;
                }
            }
        }
    }

    /// Sends what waits. What finds no server is lost; what finds a slow one waits.
    async fn flush(&mut self) {
        if self.shared.buffer.borrow().is_empty() {
            return;
        }
        if self
            .stream
            .as_ref()
            .is_some_and(|stream| stream.queued() > MAX_QUEUED_BYTES)
        {
            return;
        }
        let fresh = self.stream.is_none();
        if fresh {
            match ClientStream::open(&self.worker, &self.destination, METHOD).await {
                Ok(stream) => self.stream = Some(stream),
                Err(status) => {
                    tracing::debug!(log = &*self.shared.log_name, "no stream for access logs: {status}");
                    self.shared.buffer.borrow_mut().clear();
                    let lost = self.shared.entries.take();
                    self.shared.stats.add(GrpcAccessLogStat::GrpcEntriesFlushFailed, lost);
                    return;
                }
            }
        }
        let entries = std::mem::take(&mut *self.shared.buffer.borrow_mut());
        let count = self.shared.entries.take();
        let mut message = Vec::with_capacity(entries.len() + HEADROOM);
        if fresh {
            put_message(&mut message, IDENTIFIER, &self.identifier());
        }
        put_message(
            &mut message,
            if self.shared.tcp { TCP_LOGS } else { HTTP_LOGS },
            &entries,
        );
        let sent = self.stream.as_mut().map(|stream| stream.send(&message, false));
        let stats = &self.shared.stats;
        if let Some(Err(status)) = sent {
            tracing::debug!(log = &*self.shared.log_name, "access logs were not sent: {status}");
            stats.add(GrpcAccessLogStat::GrpcEntriesFlushFailed, count);
            self.stream = None;
        } else {
            stats.add(GrpcAccessLogStat::GrpcEntriesFlushed, count);
        }
    }

    fn identifier(&self) -> Vec<u8> {
        let mut identifier = Vec::new();
        put_message(&mut identifier, NODE, &self.worker.shared.node.bytes);
        if !self.shared.log_name.is_empty() {
            put_message(&mut identifier, LOG_NAME, self.shared.log_name.as_bytes());
        }
        identifier
    }

    /// Ends the stream in order, within a while.
    async fn leave(&mut self) {
        const GRACE: std::time::Duration = std::time::Duration::from_secs(5);
        if let Some(stream) = &mut self.stream
            && stream.close().is_ok()
        {
            // Whether the server says so or not: nobody is left to hear it.
            let _ = tokio::time::timeout(GRACE, poll_fn(|cx| stream.poll_status(cx))).await;
        }
    }
}

/// Writes what is queued; ready once the server ended the stream.
async fn heard(stream: &mut Option<ClientStream>) -> Result<(), Status> {
    match stream {
        Some(stream) => poll_fn(|cx| stream.poll_status(cx)).await,
        None => std::future::pending().await,
    }
}

/// Numbers of fields: of `StreamAccessLogsMessage`, its `Identifier`, and the lists of entries.
const IDENTIFIER: u8 = 1;
const HTTP_LOGS: u8 = 2;
const TCP_LOGS: u8 = 3;
const NODE: u8 = 1;
const LOG_NAME: u8 = 2;
const LOG_ENTRY: u8 = 1;

/// What of a message is neither entries nor the node.
const HEADROOM: usize = 64;

/// A field with a length, in protobuf's wire format.
fn put_message(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    const LENGTH_DELIMITED: u8 = 2;
    out.put_u8(field << 3 | LENGTH_DELIMITED);
    let mut length = bytes.len();
    while length >= 0x80 {
        out.put_u8(length as u8 | 0x80);
        length >>= 7;
    }
    out.put_u8(length as u8);
    out.extend_from_slice(bytes);
}
