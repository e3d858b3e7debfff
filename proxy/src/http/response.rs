//! What happens to a response head on its way down, and how responses are counted.

use std::{
    cell::RefCell,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{
    HttpConnectionManager, ServerHeader, codec::CodecError, decimal, filter, message::ResponseHead, stream::Stream,
};
use crate::{
    route,
    stats::{HttpStat, ListenerHttpStat},
};

const UPSTREAM_SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");
const ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Who asks for a trace wants to find it.
const FORCE_TRACE: HeaderName = HeaderName::from_static("x-envoy-force-trace");

/// A head that came from an upstream: the router's headers, then the edits of route, virtual host and configuration,
/// then what every response gets.
pub fn from_upstream(stream: &mut Stream<'_>, head: &mut ResponseHead, weighted: Option<usize>, suppress: bool) {
    // The time is the upstream's only where the request had been read in full.
    if !suppress && stream.request_done {
        let since = stream.info.times.last_downstream_rx.unwrap_or(stream.info.start);
        let until = stream.info.times.first_upstream_rx.unwrap_or_else(Instant::now);
        let elapsed = until.saturating_duration_since(since).as_millis();
        head.headers
            .insert(UPSTREAM_SERVICE_TIME, decimal::value(elapsed as u64));
    }
    count_attempts(stream, &mut head.headers);
    route::finalize_response(stream, head, weighted);
    filter::encode(stream, head);
    finish_head(stream, head);
}

/// `x-envoy-attempt-count`, where the virtual host wants responses to have it.
pub(super) fn count_attempts(stream: &Stream<'_>, headers: &mut HeaderMap) {
    let host = stream.info.virtual_host.as_ref();
    if host.is_some_and(|v| v.include_attempt_count_in_response) {
        headers.insert(ATTEMPT_COUNT, HeaderValue::from(stream.info.upstream.attempts));
    }
}

/// What every final response gets, also a local one: server, date, via, request id.
pub fn finish_head(stream: &mut Stream<'_>, head: &mut ResponseHead) {
    let manager = stream.manager;
    match manager.server_header {
        ServerHeader::Overwrite => {
            head.headers.insert(header::SERVER, manager.server_name.clone());
        }
        ServerHeader::AppendIfAbsent => {
            head.headers
                .entry(header::SERVER)
                .or_insert_with(|| manager.server_name.clone());
        }
        ServerHeader::PassThrough => {}
    }
    head.headers.entry(header::DATE).or_insert_with(date);
    if (manager.always_set_request_id_in_response || stream.request.headers.contains_key(FORCE_TRACE))
        && let Some(id) = &stream.info.request_id
    {
        head.headers.insert(REQUEST_ID, id.clone());
    }
    if let Some(via) = &manager.via {
        append_via(&mut head.headers, via);
    }
    super::tracing::answer(stream, head);
    if stream.last || stream.drains() || stream.closing_at.is_some_and(|at| Instant::now() >= at) {
        stream.down.close_after_response();
    }
}

/// Adds our name to `via`, behind those of others.
pub(super) fn append_via(headers: &mut HeaderMap, via: &HeaderValue) {
    let joined = match headers.get(header::VIA) {
        Some(before) => HeaderValue::try_from([before.as_bytes(), b", ", via.as_bytes()].concat()),
        None => Ok(via.clone()),
    };
    if let Ok(value) = joined {
        headers.insert(header::VIA, value);
    }
}

/// Passes a 1xx head on: only 100, and only where the connection manager forwards it (`proxy_100_continue`); Envoy drops
/// every other.
pub(super) fn forward_informational(stream: &mut Stream<'_>, head: &ResponseHead) -> Result<(), CodecError> {
    if head.status == http::StatusCode::CONTINUE && stream.manager.proxy_100_continue {
        return stream.down.send_informational(head);
    }
    Ok(())
}

/// The `Date` header of this second (RFC 9110, 6.6.1). Formatted once a second and thread.
fn date() -> HeaderValue {
    thread_local! {
        static CACHE: RefCell<(u64, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static(""))) };
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    CACHE.with_borrow_mut(|(second, value)| {
        if *second != now {
            *second = now;
            let text = jiff::Timestamp::from_second(now as i64)
                .map(|t| t.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
                .unwrap_or_default();
            *value = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
        }
        value.clone()
    })
}

/// `http.<prefix>.downstream_rq_Nxx`, and the same of the listener.
pub fn count_code(manager: &HttpConnectionManager, code: u16) {
    let (of_manager, of_listener) = match code / 100 {
        1 => (HttpStat::DownstreamRq1xx, ListenerHttpStat::DownstreamRq1xx),
        2 => (HttpStat::DownstreamRq2xx, ListenerHttpStat::DownstreamRq2xx),
        3 => (HttpStat::DownstreamRq3xx, ListenerHttpStat::DownstreamRq3xx),
        4 => (HttpStat::DownstreamRq4xx, ListenerHttpStat::DownstreamRq4xx),
        _ => (HttpStat::DownstreamRq5xx, ListenerHttpStat::DownstreamRq5xx),
    };
    manager.stats.inc(of_manager);
    manager.stats.inc(HttpStat::DownstreamRqCompleted);
    if let Some(stats) = &manager.listener_stats {
        stats.inc(of_listener);
        stats.inc(ListenerHttpStat::DownstreamRqCompleted);
    }
}
