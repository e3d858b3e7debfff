//! The deadlines of a request: the route's, and what `x-envoy-*` and `grpc-timeout` headers make of them.
//!
//! Source: Envoy's docs, "Router", headers `x-envoy-upstream-rq-timeout-ms` and following, and "How do I configure
//! timeouts?".

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::RouteAction;
use crate::http::{decimal, filter::router::Router, local_reply::is_grpc, message::RequestHead};

const TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-upstream-rq-timeout-ms");
const PER_TRY: HeaderName = HeaderName::from_static("x-envoy-upstream-rq-per-try-timeout-ms");
const EXPECTED: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
const STREAM_DURATION: HeaderName = HeaderName::from_static("x-envoy-upstream-stream-duration-ms");
const HEDGE: HeaderName = HeaderName::from_static("x-envoy-hedge-on-per-try-timeout");
const ALTERNATIVE_STAT_NAME: HeaderName = HeaderName::from_static("x-envoy-upstream-alt-stat-name");
const ALTERNATIVE_RESPONSE: HeaderName = HeaderName::from_static("x-envoy-upstream-rq-timeout-alt-response");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Effective limits of one request; `None`: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    pub global: Option<Duration>,
    pub per_try: Option<Duration>,
    pub per_try_idle: Option<Duration>,
    pub idle: Option<Duration>,
    pub max_stream: Option<Duration>,
    /// Of each attempt's stream to the upstream: the cluster's `max_stream_duration`, or what the request asks for.
    pub max_upstream_stream: Option<Duration>,
    /// The connection manager's `request_timeout`.
    pub request: Option<Duration>,
    /// `x-envoy-upstream-rq-timeout-alt-response`: a timeout is answered with 204.
    pub alternative_response: bool,
}

/// Computes the limits, takes the headers that set them out of the request and tells the upstream what to expect.
pub fn effective(
    action: &RouteAction,
    request: &mut RequestHead,
    router: &Router,
    stream_idle_timeout: Option<Duration>,
) -> Timeouts {
    let retry = action.retry.as_deref();
    let mut global = action.timeout.filter(|d| !d.is_zero());
    let mut per_try = retry.and_then(|r| r.per_try_timeout).filter(|d| !d.is_zero());
    let mut max_stream = action
        .max_stream_duration
        .and_then(|m| m.max_stream_duration)
        .filter(|d| !d.is_zero());
    if is_grpc(request)
        && let Some(limit) = grpc_limit(action, &request.headers)
    {
        match limit {
            GrpcLimit::Timeout(t) => global = t,
            GrpcLimit::MaxStream(t) => {
                max_stream = t;
                global = None;
            }
        }
    }
    // Most requests have none of these headers: one pass over the names is cheaper than six look-ups.
    let told = request.has_headers_with("x-envoy-");
    let take = |headers: &mut HeaderMap, name| if told { headers.remove::<HeaderName>(name) } else { None };
    if let Some(wanted) = take(&mut request.headers, TIMEOUT).as_ref().and_then(millis) {
        global = Some(wanted).filter(|d| !d.is_zero());
    }
    if let Some(wanted) = take(&mut request.headers, PER_TRY).as_ref().and_then(millis) {
        per_try = Some(wanted).filter(|d| !d.is_zero());
    }
    // A try that outlives the whole is no limit of its own.
    if global.is_some_and(|g| per_try.is_some_and(|p| p >= g)) {
        per_try = None;
    }
    let max_upstream_stream = take(&mut request.headers, STREAM_DURATION).as_ref().and_then(millis);
    take(&mut request.headers, ALTERNATIVE_STAT_NAME);
    // A try that is hedged goes on beside the next: the upstream has all of the time.
    let hedged = take(&mut request.headers, HEDGE).is_some_and(|v| v.as_bytes() == b"true");
    if !router.suppress_envoy_headers {
        let expected = per_try.filter(|_| !hedged).or(global);
        if let Some(expected) = expected {
            request
                .headers
                .insert(EXPECTED, decimal::value(expected.as_millis() as u64));
        }
    }
    let alternative_response = take(&mut request.headers, ALTERNATIVE_RESPONSE).is_some();
    let idle = action.idle_timeout.or(stream_idle_timeout).filter(|d| !d.is_zero());
    let per_try_idle = retry.and_then(|r| r.per_try_idle_timeout).filter(|d| !d.is_zero());
    Timeouts {
        global,
        per_try,
        per_try_idle,
        idle,
        max_stream,
        max_upstream_stream,
        request: None,
        alternative_response,
    }
}

fn millis(value: &HeaderValue) -> Option<Duration> {
    value.to_str().ok()?.parse().ok().map(Duration::from_millis)
}

enum GrpcLimit {
    Timeout(Option<Duration>),
    MaxStream(Option<Duration>),
}

/// What `grpc-timeout` does under `max_stream_duration.grpc_timeout_header_max` or the older `max_grpc_timeout`.
fn grpc_limit(action: &RouteAction, headers: &HeaderMap) -> Option<GrpcLimit> {
    let asked = headers.get(GRPC_TIMEOUT).and_then(grpc_timeout);
    let stream = action.max_stream_duration;
    if let Some(max) = stream.and_then(|m| m.grpc_timeout_header_max) {
        let offset = stream.and_then(|m| m.grpc_timeout_header_offset).unwrap_or_default();
        let limit = asked
            .map(|t| cap(t, max).saturating_sub(offset))
            .or((!max.is_zero()).then_some(max));
        return limit.map(|l| GrpcLimit::MaxStream(Some(l)));
    }
    let max = action.max_grpc_timeout?;
    let asked = asked.unwrap_or_default();
    let timeout = if !max.is_zero() && (asked.is_zero() || asked > max) {
        max
    } else {
        asked
    };
    let offset = action.grpc_timeout_offset.unwrap_or_default();
    // An offset never turns a limit into none.
    let timeout = if offset < timeout { timeout - offset } else { timeout };
    Some(GrpcLimit::Timeout((!timeout.is_zero()).then_some(timeout)))
}

fn cap(asked: Duration, max: Duration) -> Duration {
    if max.is_zero() { asked } else { asked.min(max) }
}

/// `TimeoutValue TimeoutUnit` of the gRPC protocol: at most eight digits and one of `HMSmun`.
fn grpc_timeout(value: &HeaderValue) -> Option<Duration> {
    const MAX_DIGITS: usize = 8;
    let text = value.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_hours(n)),
        "M" => Some(Duration::from_mins(n)),
        "S" => Some(Duration::from_secs(n)),
        "m" => Some(Duration::from_millis(n)),
        "u" => Some(Duration::from_micros(n)),
        "n" => Some(Duration::from_nanos(n)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeouts() {
        let parse = |s: &'static str| grpc_timeout(&HeaderValue::from_static(s));
        assert_eq!(parse("5S"), Some(Duration::from_secs(5)));
        assert_eq!(parse("100m"), Some(Duration::from_millis(100)));
        assert_eq!(parse("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(parse("S"), None);
        assert_eq!(parse("123456789S"), None);
        assert_eq!(parse("5x"), None);
    }
}
