//! What happens to a request before any filter sees it: it becomes the one canonical request, or is refused.
//!
//! Envoy's connection manager does the same in the same order: host, path, then who the client is (`forwarded`), what it
//! may not say about itself, its certificate (`client_cert`) and the request id (`request_id`). Sources: Envoy's docs,
//! "HTTP header manipulation" and "HTTP connection manager".

use http::{HeaderValue, Method, StatusCode, header};

mod client_cert;
mod forwarded;
pub mod path;
pub mod request_id;

pub use request_id::uuid;

use super::{
    EscapedSlashes, HttpConnectionManager,
    local_reply::LocalReply,
    message::{Protocol, ResponseHead, Spelling},
    stream::Stream,
};
use crate::stats::HttpStat;

/// Makes the request canonical.
///
/// # Errors
/// The reply that refuses it.
pub fn admit(stream: &mut Stream<'_>) -> Result<(), Box<LocalReply>> {
    admit_host(stream)?;
    admit_path(stream)?;
    let manager = stream.manager;
    let edge = forwarded::identify(
        manager,
        &mut stream.request,
        &mut stream.info,
        stream.worker.shared.own_address,
    );
    client_cert::forward(manager, &stream.info.connection, &mut stream.request);
    request_id::set(manager, &mut stream.request, &mut stream.info, edge, || {
        stream.worker.random()
    });
    if let Some(via) = &manager.via {
        super::response::append_via(&mut stream.request.headers, via);
    }
    answer_expectation(stream);
    Ok(())
}

/// `expect: 100-continue` is answered here, so that the upstream need not, unless `proxy_100_continue`.
fn answer_expectation(stream: &mut Stream<'_>) {
    if stream.manager.proxy_100_continue || stream.request.protocol == Protocol::Http10 {
        return;
    }
    let expects = stream.request.headers.get(header::EXPECT);
    if expects.is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        stream.request.headers.remove(header::EXPECT);
        let head = ResponseHead {
            status: StatusCode::CONTINUE,
            headers: http::HeaderMap::new(),
            protocol: stream.request.protocol,
            spelling: Spelling::default(),
        };
        // A client that is gone shows when its body is read.
        let _ = stream.down.send_informational(&head);
    }
}

fn admit_host(stream: &mut Stream<'_>) -> Result<(), Box<LocalReply>> {
    let manager = stream.manager;
    if stream.request.host_missing {
        return Err(LocalReply::new(StatusCode::BAD_REQUEST, "", "missing_host_header")
            .closing()
            .into());
    }
    let host = stream.request.authority_str();
    let mut kept = host;
    if manager.strip_any_host_port {
        kept = host_without_port(kept);
    } else if manager.strip_matching_host_port {
        let port = stream.info.connection.local_address.port();
        kept = kept.strip_suffix(&format!(":{port}")).unwrap_or(kept);
    }
    let bare = host_without_port(kept);
    let undotted = bare.strip_suffix('.').filter(|_| manager.strip_trailing_host_dot);
    let new = match undotted {
        Some(undotted) => Some(format!("{undotted}{}", &kept[bare.len()..])),
        None => (kept.len() != host.len()).then(|| kept.to_owned()),
    };
    if let Some(value) = new.and_then(|new| HeaderValue::try_from(new).ok()) {
        stream.request.authority = value;
    }
    Ok(())
}

/// `host` of `host:port`, `[::1]` of `[::1]:port`.
pub fn host_without_port(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => {
            let (host, port) = authority.split_at(colon);
            let is_port = port[1..].bytes().all(|b| b.is_ascii_digit());
            // A bare IPv6 address has colons of its own.
            if is_port && (!host.contains(':') || host.ends_with(']')) {
                host
            } else {
                authority
            }
        }
        _ => authority,
    }
}

fn admit_path(stream: &mut Stream<'_>) -> Result<(), Box<LocalReply>> {
    let manager = stream.manager;
    let request = &mut stream.request;
    if request.path.is_empty() {
        if request.method == Method::CONNECT {
            return Ok(());
        }
        return Err(LocalReply::new(StatusCode::NOT_FOUND, "", "missing_path_rejected").into());
    }
    if !request.path.as_bytes().starts_with(b"/") {
        return Err(LocalReply::new(StatusCode::NOT_FOUND, "", "absolute_path_rejected").into());
    }
    // Envoy refuses fragments: what RBAC matched must be what the application sees (CVE-2021-39156).
    if request.path.as_bytes().contains(&b'#') {
        return Err(unfit_path(manager));
    }
    if !manager.normalize_path && !manager.merge_slashes && manager.escaped_slashes == EscapedSlashes::KeepUnchanged {
        return Ok(());
    }
    let normalized = path::normalize(
        request.path_str(),
        manager.normalize_path,
        manager.merge_slashes,
        manager.escaped_slashes,
    );
    match normalized {
        path::Normalized::Unchanged => Ok(()),
        path::Normalized::Changed(path) => {
            request.path = HeaderValue::from_str(&path).map_err(|_| unfit_path(manager))?;
            Ok(())
        }
        path::Normalized::Rejected => Err(unfit_path(manager)),
        path::Normalized::RejectedEscapes(path) => {
            if let Ok(path) = HeaderValue::from_str(&path) {
                request.path = path;
            }
            Err(unfit_path(manager))
        }
        path::Normalized::Redirect(path) => {
            manager.stats.inc(HttpStat::DownstreamRqRedirectedWithNormalizedPath);
            let mut reply = LocalReply::new(StatusCode::TEMPORARY_REDIRECT, "", "path_normalization_failed");
            if let Ok(location) = HeaderValue::from_str(&path) {
                request.path = location.clone();
                reply.headers.insert(header::LOCATION, location);
            }
            Err(reply.into())
        }
    }
}

fn unfit_path(manager: &HttpConnectionManager) -> Box<LocalReply> {
    manager.stats.inc(HttpStat::DownstreamRqFailedPathNormalization);
    LocalReply::new(StatusCode::BAD_REQUEST, "", "path_normalization_failed")
        .closing()
        .into()
}
