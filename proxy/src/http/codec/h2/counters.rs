//! What the HTTP/2 codec counts. Plain cells of one worker: the caller shares one set per listener or cluster and reads it.

use std::cell::Cell;

/// Counters and gauges, named as Envoy's `http2.*` statistics where Envoy has the same.
#[derive(Debug, Default)]
pub struct CodecCounters {
    /// RST_STREAM frames that arrived, and that we sent.
    pub rx_reset: Cell<u64>,
    pub tx_reset: Cell<u64>,
    /// Messages that broke a rule of HTTP/2.
    pub rx_messaging_error: Cell<u64>,
    /// Heads with too many fields.
    pub header_overflow: Cell<u64>,
    /// Heads with too many bytes.
    pub header_list_size_too_large: Cell<u64>,
    /// Messages that arrived with trailers.
    pub trailers: Cell<u64>,
    /// GOAWAY frames; a drain sends two.
    pub goaway_sent: Cell<u64>,
    pub keepalive_timeout: Cell<u64>,
    /// Streams that the peer refused, unprocessed.
    pub stream_refused_errors: Cell<u64>,
    pub requests_rejected_with_underscores_in_headers: Cell<u64>,
    pub dropped_headers_with_underscores: Cell<u64>,
    /// Connections closed because of floods.
    pub inbound_empty_frames_flood: Cell<u64>,
    pub inbound_priority_frames_flood: Cell<u64>,
    pub inbound_window_update_frames_flood: Cell<u64>,
    pub stream_reset_flood: Cell<u64>,
    /// Connections closed because their peer reset most of its streams early: `downstream_rq_too_many_premature_resets`.
    pub too_many_premature_resets: Cell<u64>,
    /// Gauge.
    pub streams_active: Cell<u64>,
}

/// Adds one.
pub(super) fn count(cell: &Cell<u64>) {
    cell.set(cell.get() + 1);
}

/// Takes one from a gauge.
pub(super) fn discount(cell: &Cell<u64>) {
    cell.set(cell.get().saturating_sub(1));
}
