//! What a connection announces and admits: Envoy's `Http2ProtocolOptions`, the fields that act in the codec.

use std::time::Duration;

use crate::http::{UnderscoreAction, codec::limits};

/// `connection_keepalive`: PINGs that find dead connections.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Keepalive {
    /// Time between PINGs; zero sends none by the clock.
    pub interval: Duration,
    /// How long a PING may stay unanswered, while nothing else arrives, before the connection is closed.
    pub timeout: Duration,
    /// Share of `interval` that is added at random to each, 0.0 to 1.0. Envoy's default is 0.15.
    pub jitter: f64,
    /// A client connection that carried no stream for this long is pinged when the next one starts; zero never.
    pub idle_interval: Duration,
}

/// When a peer's frames are a flood. `max_outbound_frames` and `max_outbound_control_frames` have no place here: `h2` reads no
/// further while replies wait to be written, so that they cannot pile up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FloodLimits {
    /// `max_consecutive_inbound_frames_with_empty_payload`.
    pub empty_frames: u32,
    /// `max_inbound_priority_frames_per_stream`.
    pub priority_per_stream: u32,
    /// `max_inbound_window_update_frames_per_data_frame_sent`.
    pub window_updates_per_data: u32,
    /// `stream_reset_burst`, and `stream_reset_rate` per second.
    pub stream_reset_burst: u64,
    pub stream_reset_rate: u64,
}

impl Default for FloodLimits {
    fn default() -> Self {
        Self {
            empty_frames: limits::H2_EMPTY_FRAMES,
            priority_per_stream: limits::H2_PRIORITY_PER_STREAM,
            window_updates_per_data: limits::H2_WINDOW_UPDATES_PER_DATA,
            stream_reset_burst: limits::H2_RESET_BURST,
            stream_reset_rate: limits::H2_RESET_RATE,
        }
    }
}

impl FloodLimits {
    /// WINDOW_UPDATE frames over a connection's life, by Envoy's formula.
    pub(super) fn window_updates(&self, streams: u64, data_frames: u64) -> u64 {
        5 + 2 * (streams + u64::from(self.window_updates_per_data) * data_frames)
    }
}

/// A server's side. The default is what Envoy's defaults come to, with smaller windows (see [`limits`]).
#[derive(Debug, Clone)]
pub struct ServerSettings {
    pub max_concurrent_streams: u32,
    /// Bytes, at least 65,535.
    pub initial_stream_window: u32,
    /// Bytes, at least 65,535.
    pub initial_connection_window: u32,
    /// Bytes; 0 turns HPACK's dynamic table off.
    pub hpack_table_size: u32,
    /// `max_request_headers_kb`, in KiB.
    pub max_headers_kb: u32,
    /// `max_headers_count`, pseudo-header fields included, as Envoy counts.
    pub max_headers_count: u32,
    /// Extended CONNECT (RFC 8441).
    pub allow_connect: bool,
    /// `headers_with_underscores_action`; a rejected request is reset.
    pub headers_with_underscores: UnderscoreAction,
    pub keepalive: Option<Keepalive>,
    pub floods: FloodLimits,
}

/// A client's side, for upstream connections. Server push is always off.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Upper bound of streams that we open; the peer's SETTINGS may lower it.
    pub max_concurrent_streams: u32,
    pub initial_stream_window: u32,
    pub initial_connection_window: u32,
    pub hpack_table_size: u32,
    /// `max_response_headers_kb`, in KiB.
    pub max_headers_kb: u32,
    pub max_headers_count: u32,
    pub keepalive: Option<Keepalive>,
    pub floods: FloodLimits,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            max_concurrent_streams: limits::H2_MAX_CONCURRENT_STREAMS,
            initial_stream_window: limits::H2_STREAM_WINDOW,
            initial_connection_window: limits::H2_CONNECTION_WINDOW,
            hpack_table_size: limits::H2_HEADER_TABLE,
            max_headers_kb: limits::MAX_HEADERS_KB,
            max_headers_count: limits::MAX_HEADERS_COUNT,
            allow_connect: false,
            headers_with_underscores: UnderscoreAction::Allow,
            keepalive: None,
            floods: FloodLimits::default(),
        }
    }
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            max_concurrent_streams: limits::H2_MAX_CONCURRENT_STREAMS,
            initial_stream_window: limits::H2_STREAM_WINDOW,
            initial_connection_window: limits::H2_CONNECTION_WINDOW,
            hpack_table_size: limits::H2_HEADER_TABLE,
            max_headers_kb: limits::MAX_HEADERS_KB,
            max_headers_count: limits::MAX_HEADERS_COUNT,
            keepalive: None,
            floods: FloodLimits::default(),
        }
    }
}

/// Applies the settings that both builders of `h2` know; they share no trait.
macro_rules! apply {
    ($builder:expr, $settings:expr) => {{
        let s = $settings;
        $builder
            .initial_window_size(s.initial_stream_window.max(limits::H2_MIN_WINDOW))
            .initial_connection_window_size(s.initial_connection_window.max(limits::H2_MIN_WINDOW))
            .header_table_size(s.hpack_table_size)
            .max_header_list_size(header_list_size(s.max_headers_kb, s.max_headers_count))
            .max_send_buffer_size(limits::H2_SEND_BUFFER)
            .data_frame_budget(limits::H2_SMALL_DATA_BUDGET)
            .max_local_error_reset_streams(Some(limits::H2_LOCAL_ERROR_RESETS))
            .max_pending_accept_reset_streams(limits::H2_RESET_BEFORE_ACCEPT)
            .max_concurrent_reset_streams(limits::H2_REMEMBERED_RESETS)
            .reset_stream_duration(limits::H2_REMEMBER_RESET);
    }};
}

impl ServerSettings {
    pub(super) fn builder(&self) -> ::h2::server::Builder {
        let mut builder = ::h2::server::Builder::new();
        apply!(builder, self);
        builder.max_concurrent_streams(self.max_concurrent_streams);
        if self.allow_connect {
            builder.enable_connect_protocol();
        }
        builder
    }

    pub(super) fn head_limits(&self) -> HeadLimits {
        HeadLimits {
            bytes: kib(self.max_headers_kb),
            count: self.max_headers_count as usize,
        }
    }
}

impl ClientSettings {
    pub(super) fn builder(&self) -> ::h2::client::Builder {
        let mut builder = ::h2::client::Builder::new();
        apply!(builder, self);
        builder
            .enable_push(false)
            .initial_max_send_streams(limits::H2_STREAMS_BEFORE_SETTINGS);
        builder
    }

    pub(super) fn head_limits(&self) -> HeadLimits {
        HeadLimits {
            bytes: kib(self.max_headers_kb),
            count: self.max_headers_count as usize,
        }
    }
}

/// The limits of one head, in Envoy's measure: names and values without overhead, pseudo-header fields included.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadLimits {
    pub(super) bytes: usize,
    pub(super) count: usize,
}

fn kib(n: u32) -> usize {
    n as usize * 1024
}

/// `h2`'s limit, in HTTP/2's measure, with room for us to see and count what is only somewhat too large.
fn header_list_size(max_headers_kb: u32, max_headers_count: u32) -> u32 {
    let exact = max_headers_kb
        .saturating_mul(1024)
        .saturating_add(max_headers_count.saturating_mul(limits::H2_FIELD_OVERHEAD));
    exact.saturating_mul(limits::H2_OVERSIZE_SLACK)
}
