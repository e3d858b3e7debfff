//! Every protocol limit of the codecs, with its reason and the CVE that it answers.

/// Largest request or response head in KiB, unless the config says otherwise: Envoy's `max_request_headers_kb` default.
pub const MAX_HEADERS_KB: u32 = 60;
/// Most header fields in one head: Envoy's `max_headers_count` default.
pub const MAX_HEADERS_COUNT: u32 = 100;

// HTTP/2. What `h2` polices by itself is named here too, so that the table is complete: CONTINUATION frames of one head are
// capped by the head's size limit (CVE-2024-27316), PING and SETTINGS are answered before the next frame is read, so that their
// replies cannot pile up (CVE-2019-9512, CVE-2019-9515), and HPACK's table never exceeds what we announced.

/// Streams that a peer may have open on one connection, unless the config says otherwise: Envoy's `max_concurrent_streams` default.
pub const H2_MAX_CONCURRENT_STREAMS: u32 = 1024;
/// Bytes that a peer may send on one stream before we have passed them on. Envoy's default is 16 MiB; a sidecar's budget is
/// smaller than that, and 256 KiB still fills 1 Gbit/s at 2 ms.
pub const H2_STREAM_WINDOW: u32 = 256 * 1024;
/// The same for a whole connection: four stream windows, so that one slow stream cannot stall the others.
pub const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Smallest window that a config may ask for: HTTP/2's initial window (RFC 9113 section 6.5.2), Envoy's floor.
pub const H2_MIN_WINDOW: u32 = 65_535;
/// HPACK's dynamic table, in bytes: HTTP/2's and Envoy's default.
pub const H2_HEADER_TABLE: u32 = 4096;
/// Bytes of one stream that `h2` may hold between us and the socket; the rest waits in the stream's own queue, where flow
/// control of the other side sees it.
pub const H2_SEND_BUFFER: usize = 64 * 1024;
/// What HTTP/2 adds to the length of each field when it measures a head (RFC 9113 section 6.5.2). Envoy counts names and values only.
pub const H2_FIELD_OVERHEAD: u32 = 32;
/// Heads up to this multiple of the limit are decoded and refused by us with a reset, as Envoy refuses them, and counted; what is
/// larger `h2` answers with 431, and beyond four times that it closes the connection.
pub const H2_OVERSIZE_SLACK: u32 = 2;
/// Unread DATA frames smaller than 256 bytes cost more memory than they carry; each may be charged up to 256 against this
/// budget before the connection is closed (RUSTSEC advisory on `h2`, fixed in 0.4.16). `h2`'s own default, half the connection
/// window, ends a chatty gRPC stream whose reader is slow after 2,048 messages; this admits 16,384, about 4 MiB of bookkeeping.
pub const H2_SMALL_DATA_BUDGET: usize = 4 * 1024 * 1024;
/// Streams that were reset before we saw them (CVE-2023-44487, rapid reset). `h2` allows 20, which a client that cancels a
/// batch of calls in one packet can reach.
pub const H2_RESET_BEFORE_ACCEPT: usize = 200;
/// Streams of one connection that we reset because the peer broke a rule (CVE-2025-8671, MadeYouReset).
pub const H2_LOCAL_ERROR_RESETS: usize = 500;
/// Reset streams that are remembered, and for how long, so that frames already on their way do not count as errors.
pub const H2_REMEMBERED_RESETS: usize = 64;
pub const H2_REMEMBER_RESET: std::time::Duration = std::time::Duration::from_secs(1);
/// Rapid reset, once streams are ours: a connection that was reset this often by its peer ends when more than half of its
/// streams were. Envoy's `overload.premature_reset_total_stream_count`.
pub const H2_PREMATURE_RESET_TOTAL: u32 = 500;
/// A stream that its peer reset earlier than this counts. Envoy's `overload.premature_reset_min_stream_lifetime_seconds`.
pub const H2_PREMATURE_LIFETIME: std::time::Duration = std::time::Duration::from_secs(1);
/// Streams that we open before the peer's SETTINGS arrived: HTTP/2 recommends that no peer allow fewer (RFC 9113 section 6.5.2).
pub const H2_STREAMS_BEFORE_SETTINGS: usize = 100;
/// Empty HEADERS, CONTINUATION or DATA frames in a row that end no stream (CVE-2019-9518): Envoy's
/// `max_consecutive_inbound_frames_with_empty_payload`.
pub const H2_EMPTY_FRAMES: u32 = 1;
/// PRIORITY frames per stream (CVE-2019-9513): Envoy's `max_inbound_priority_frames_per_stream`.
pub const H2_PRIORITY_PER_STREAM: u32 = 100;
/// WINDOW_UPDATE frames per DATA frame that we sent (CVE-2019-9511 and its kin): Envoy's
/// `max_inbound_window_update_frames_per_data_frame_sent`.
pub const H2_WINDOW_UPDATES_PER_DATA: u32 = 10;
/// Resets that a peer may send at once, and per second after that (CVE-2023-44487): Envoy's `stream_reset_burst` and
/// `stream_reset_rate`.
pub const H2_RESET_BURST: u64 = 1000;
pub const H2_RESET_RATE: u64 = 33;

// HTTP/1

/// Largest response head in KiB from an HTTP/1 upstream: what Envoy 1.40 accepts (81,920 bytes; it answers 502 above).
pub const MAX_RESPONSE_HEADERS_KB: u32 = 80;
/// What one read may bring: one buffer of this size per worker, not per connection.
pub const READ_SIZE: usize = 64 * 1024;
/// Bytes of pipelined requests that are held while a response is awaited; the rest stays in the socket, so that a client
/// cannot make the proxy store its queue.
pub const MAX_PIPELINED: usize = READ_SIZE;
/// Bytes of extensions in one chunk's size line. Envoy has no bound; unbounded they let a peer burn CPU for no data
/// (CVE-2023-39326 in Go's net/http). No real client sends any.
pub const MAX_CHUNK_EXTENSION: usize = 64 * 1024;
/// Names in one `Connection` header from which on Envoy refuses the request (CVE-2019-18838's hardening).
pub const MAX_CONNECTION_OPTIONS: usize = 10;
/// Length of a `TE` value nominated by `Connection` from which on Envoy refuses the request.
pub const MAX_NOMINATED_TE: usize = 256;
/// Shorter data is copied behind the head, so that both leave in one write and one TLS record; longer data is written from
/// where it lies.
pub const COPY_BELOW: usize = 2 * 1024;
/// The same for streams that cannot write vectored (each slice would be a TLS record and a system call of its own).
pub const COPY_BELOW_FLAT: usize = 16 * 1024;
/// Idle write buffers kept per worker, and the largest that is kept: a burst must not become resident memory.
pub const KEPT_OUTPUTS: usize = 32;
pub const KEPT_OUTPUT_SIZE: usize = 16 * 1024;
