//! What the client is told when no upstream answers: Envoy's statuses, bodies, flags and details.

use std::{borrow::Cow, fmt::Write};

use http::{HeaderName, HeaderValue, StatusCode, header};

use super::{Plan, attempt::AttemptFailure, deadline::Expired};
use crate::{
    failure::{ResetReason, ResponseFlags},
    http::{
        local_reply::LocalReply,
        message::{RequestHead, ResponseHead},
        stream::Stream,
    },
    route::action::DirectResponse,
    stats::{ClusterStat, RouteStat},
};

pub(super) fn no_route() -> LocalReply {
    LocalReply::new(StatusCode::NOT_FOUND, "", "route_not_found").with_flags(ResponseFlags::NO_ROUTE_FOUND)
}

pub(super) fn no_cluster(status: StatusCode, name: &str) -> LocalReply {
    let mut reply = LocalReply::new(status, "", "cluster_not_found").with_flags(ResponseFlags::NO_CLUSTER_FOUND);
    reply.sentence = Some(format!("cluster {name:?} is not known: has the control plane sent it?"));
    reply
}

pub(super) fn redirect(status: StatusCode, location: String) -> LocalReply {
    let mut reply = LocalReply::new(status, "", "direct_response");
    if let Ok(value) = HeaderValue::try_from(location) {
        reply.headers.insert(header::LOCATION, value);
    }
    reply
}

/// A WebSocket's upstream says something else than yes (101) or no (4xx, 5xx).
pub(super) fn is_no_handshake(status: StatusCode) -> bool {
    status != StatusCode::SWITCHING_PROTOCOLS && !status.is_client_error() && !status.is_server_error()
}

/// The answer without its body.
pub(super) fn no_handshake(head: ResponseHead) -> LocalReply {
    let mut reply = LocalReply::new(head.status, "", "websocket_handshake_unsuccessful");
    reply.headers = head.headers;
    reply.headers.remove(header::CONTENT_LENGTH);
    reply
}

/// `require_tls`: the same URL over https.
pub(super) fn tls_redirect(request: &RequestHead) -> LocalReply {
    let location = format!("https://{}{}", request.authority_str(), request.path_str());
    redirect(StatusCode::MOVED_PERMANENTLY, location)
}

pub(super) fn direct_response(direct: &DirectResponse, request: &RequestHead) -> LocalReply {
    let body = String::from_utf8_lossy(&direct.body).into_owned();
    let mut reply = LocalReply::new(direct.status, body, "direct_response");
    // Envoy names the requested URL where the status wants a location.
    if direct.status == StatusCode::CREATED || direct.status.is_redirection() {
        let scheme = String::from_utf8_lossy(request.scheme.as_bytes());
        let location = format!("{scheme}://{}{}", request.authority_str(), request.path_str());
        if let Ok(value) = HeaderValue::try_from(location) {
            reply.headers.insert(header::LOCATION, value);
        }
    }
    reply
}

/// `strict_check_headers` names a header whose value cannot be what it should.
pub(super) fn invalid_header(name: &HeaderName, value: &HeaderValue) -> LocalReply {
    let value = String::from_utf8_lossy(value.as_bytes());
    let mut reply = LocalReply::new(
        StatusCode::BAD_REQUEST,
        format!("invalid header '{name}' with value '{value}'"),
        "",
    )
    .with_flags(ResponseFlags::INVALID_ENVOY_REQUEST_HEADERS)
    .closing();
    reply.details = Cow::Owned(format!("request_headers_failed_strict_check{{{name}}}"));
    reply
}

/// The control plane asks for load to be dropped (`drop_overloads`).
pub(super) fn dropped(unconditional: bool) -> LocalReply {
    let (body, details, flag, header) = match unconditional {
        true => (
            "unconditional drop overload",
            "unconditional_drop_overload",
            ResponseFlags::UNCONDITIONAL_DROP_OVERLOAD,
            HeaderName::from_static("x-envoy-unconditional-drop-overload"),
        ),
        false => (
            "drop overload",
            "drop_overload",
            ResponseFlags::DROP_OVERLOAD,
            HeaderName::from_static("x-envoy-drop-overload"),
        ),
    };
    let mut reply = LocalReply::new(StatusCode::SERVICE_UNAVAILABLE, body, details).with_flags(flag);
    reply.headers.insert(header, HeaderValue::from_static("true"));
    reply
}

/// A deadline passed before a response head came. `alternative`: the request asked for 204 instead of 504.
pub(super) fn timed_out(expired: Expired, request_done: bool, alternative: bool) -> LocalReply {
    /// gRPC's DEADLINE_EXCEEDED.
    const DEADLINE_EXCEEDED: u32 = 4;
    let upstream = |details| {
        let (status, body) = match alternative {
            true => (StatusCode::NO_CONTENT, ""),
            false => (StatusCode::GATEWAY_TIMEOUT, "upstream request timeout"),
        };
        LocalReply::new(status, body, details).with_flags(ResponseFlags::UPSTREAM_REQUEST_TIMEOUT)
    };
    let late = if request_done {
        StatusCode::GATEWAY_TIMEOUT
    } else {
        StatusCode::REQUEST_TIMEOUT
    };
    match expired {
        Expired::Global => upstream("response_timeout"),
        Expired::PerTry => upstream("upstream_per_try_timeout"),
        Expired::PerTryIdle => upstream("upstream_per_try_idle_timeout"),
        Expired::Idle => LocalReply::new(late, "stream timeout", "stream_idle_timeout")
            .with_flags(ResponseFlags::STREAM_IDLE_TIMEOUT),
        Expired::MaxStreamDuration => {
            let mut reply = LocalReply::new(late, "downstream duration timeout", "max_duration_timeout");
            reply.grpc_status = Some(DEADLINE_EXCEEDED);
            reply
        }
        Expired::MaxUpstreamStreamDuration => LocalReply::new(
            late,
            "upstream max stream duration reached",
            "upstream_max_stream_duration_reached",
        )
        .with_flags(ResponseFlags::UPSTREAM_MAX_STREAM_DURATION_REACHED),
        Expired::Request => LocalReply::new(
            StatusCode::REQUEST_TIMEOUT,
            "request timeout",
            "request_overall_timeout",
        ),
    }
}

/// No attempt brought a response head.
pub(super) fn upstream_failure(stream: &mut Stream<'_>, plan: &Plan, failure: AttemptFailure) -> LocalReply {
    let stats = &plan.cluster.state.stats;
    match failure {
        AttemptFailure::NoHealthyEndpoint => {
            let mut reply = LocalReply::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "no healthy upstream",
                "no_healthy_upstream",
            )
            .with_flags(ResponseFlags::NO_HEALTHY_UPSTREAM);
            reply.sentence = Some(format!(
                "cluster {}: no endpoint can take the request",
                plan.cluster.name
            ));
            reply
        }
        AttemptFailure::TimedOut(expired) => {
            match expired {
                // Counted where each attempt ends.
                Expired::PerTry => {}
                Expired::PerTryIdle => stats.inc(ClusterStat::UpstreamRqPerTryIdleTimeout),
                _ => {
                    stats.inc(ClusterStat::UpstreamRqTimeout);
                    plan.count(RouteStat::UpstreamRqTimeout);
                }
            }
            timed_out(expired, stream.request_done, plan.timeouts.alternative_response)
        }
        AttemptFailure::Reset {
            reason,
            transport,
            sentence,
        } => {
            stream.info.upstream.transport_failure.clone_from(&transport);
            reset(stream, reason, transport, sentence)
        }
    }
}

const OVERLOADED: HeaderName = HeaderName::from_static("x-envoy-overloaded");

fn reset(stream: &Stream<'_>, reason: ResetReason, transport: Option<Box<str>>, sentence: String) -> LocalReply {
    let words = reason.words();
    let retried = if stream.info.upstream.attempts > 1 {
        "retried and the latest "
    } else {
        ""
    };
    let body = format!("upstream connect error or disconnect/reset before headers. {retried}reset reason: {words}");
    let mut details = format!("upstream_reset_before_response_started{{{}", words.replace(' ', "_"));
    if let Some(transport) = transport {
        // Writing to a String cannot fail.
        let _ = write!(details, "|{}", transport.replace(' ', "_"));
    }
    details.push('}');
    let status = match reason {
        ResetReason::ProtocolError => StatusCode::BAD_GATEWAY,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut reply = LocalReply::new(status, body, "").with_flags(reason.flag());
    reply.details = Cow::Owned(details);
    reply.sentence = Some(sentence);
    if reason == ResetReason::Overflow {
        reply.headers.insert(OVERLOADED, HeaderValue::from_static("true"));
    }
    reply
}
