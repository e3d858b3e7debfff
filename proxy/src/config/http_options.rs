//! Options of the HTTP codecs, shared by connection managers and clusters.

use xds_api::envoy::config::core::v3 as core;

use super::{
    at::At,
    extension::{self, Category, Kind},
    rejection::Rejection,
};
use crate::{
    cluster::{HeaderCase, Http1Options, Http2Keepalive, Http2Options},
    http::codec::{h2::FloodLimits, limits},
};

/// Envoy's default jitter of keepalive pings, in percent.
const KEEPALIVE_JITTER: f64 = 15.0;

pub(crate) fn http1(pb: Option<&core::Http1ProtocolOptions>, at: &At) -> Result<Http1Options, Rejection> {
    let Some(pb) = pb else {
        return Ok(Http1Options::default());
    };
    Ok(Http1Options {
        header_case: header_case(pb, at)?,
        enable_trailers: pb.enable_trailers,
        allow_chunked_length: pb.allow_chunked_length,
        send_fully_qualified_url: pb.send_fully_qualified_url,
    })
}

pub(crate) fn header_case(pb: &core::Http1ProtocolOptions, at: &At) -> Result<HeaderCase, Rejection> {
    use core::http1_protocol_options::header_key_format::HeaderFormat as F;
    const FORMATTERS: &[Kind<HeaderCase>] = &[Kind {
        type_name: "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig",
        parse: |_, _| Ok(HeaderCase::Preserve),
    }];
    let Some(format) = pb.header_key_format.as_deref() else {
        return Ok(HeaderCase::Lower);
    };
    let at = at.field("header_key_format");
    match &format.header_format {
        None => Err(at.reject("is empty: set proper_case_words or stateful_formatter")),
        Some(F::ProperCaseWords(_)) => Ok(HeaderCase::Proper),
        Some(F::StatefulFormatter(formatter)) => {
            let at = at.field("stateful_formatter.typed_config");
            let any = formatter.typed_config.as_ref();
            let case = extension::dispatch(Category::HeaderFormatter, any, false, FORMATTERS, &at)?;
            Ok(case.unwrap_or_default())
        }
    }
}

pub(crate) fn http2(pb: Option<&core::Http2ProtocolOptions>, at: &At) -> Result<Http2Options, Rejection> {
    let default = core::Http2ProtocolOptions::default();
    let pb = pb.unwrap_or(&default);
    at.not_honoured("custom_settings_parameters", !pb.custom_settings_parameters.is_empty());
    at.not_honoured("allow_metadata", pb.allow_metadata);
    Ok(Http2Options {
        max_concurrent_streams: pb.max_concurrent_streams.unwrap_or(limits::H2_MAX_CONCURRENT_STREAMS),
        initial_stream_window: pb.initial_stream_window_size.unwrap_or(limits::H2_STREAM_WINDOW),
        initial_connection_window: pb
            .initial_connection_window_size
            .unwrap_or(limits::H2_CONNECTION_WINDOW),
        hpack_table_size: pb.hpack_table_size.unwrap_or(limits::H2_HEADER_TABLE),
        floods: floods(pb),
        allow_connect: pb.allow_connect,
        keepalive: match &pb.connection_keepalive {
            Some(keepalive) => Some(self::keepalive(keepalive, &at.field("connection_keepalive"))?),
            None => None,
        },
    })
}

fn floods(pb: &core::Http2ProtocolOptions) -> FloodLimits {
    let default = FloodLimits::default();
    FloodLimits {
        empty_frames: pb
            .max_consecutive_inbound_frames_with_empty_payload
            .unwrap_or(default.empty_frames),
        priority_per_stream: pb
            .max_inbound_priority_frames_per_stream
            .unwrap_or(default.priority_per_stream),
        window_updates_per_data: pb
            .max_inbound_window_update_frames_per_data_frame_sent
            .unwrap_or(default.window_updates_per_data),
        stream_reset_burst: pb.stream_reset_burst.unwrap_or(default.stream_reset_burst),
        stream_reset_rate: pb.stream_reset_rate.unwrap_or(default.stream_reset_rate),
    }
}

fn keepalive(pb: &core::KeepaliveSettings, at: &At) -> Result<Http2Keepalive, Rejection> {
    let timeout = at.required("timeout", pb.timeout.as_ref())?;
    Ok(Http2Keepalive {
        interval: at.duration("interval", pb.interval.as_ref())?,
        timeout: at.duration("timeout", Some(timeout))?.unwrap_or_default(),
        interval_jitter_percent: pb
            .interval_jitter
            .as_ref()
            .map_or(KEEPALIVE_JITTER, |jitter| jitter.value),
        connection_idle_interval: at.duration("connection_idle_interval", pb.connection_idle_interval.as_ref())?,
    })
}
