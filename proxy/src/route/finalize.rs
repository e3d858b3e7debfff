//! The edits that a route makes to heads, in Envoy's order: most specific level first, so that the least specific one
//! (the route configuration) has the last word, unless `most_specific_header_mutations_wins`.

use super::{
    HashPolicy, HeaderEdits, Route, RouteAction, VirtualHost,
    action::{HashInput, Target},
    rewrite,
};
use crate::{
    cluster::Endpoint,
    format::Facts,
    http::{filter::router::Router, message::ResponseHead, stream::Stream},
};
use http::{HeaderName, HeaderValue};

const ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");

/// Makes the request what the upstream shall get; an endpoint's own host name comes later.
pub fn finalize_request(
    stream: &mut Stream<'_>,
    virtual_host: &VirtualHost,
    route: &Route,
    weighted: Option<usize>,
    router: &Router,
) {
    let Some(action) = route.forward() else { return };
    if virtual_host.include_request_attempt_count {
        stream
            .request
            .headers
            .insert(ATTEMPT_COUNT, HeaderValue::from_static("1"));
    }
    edit(stream, virtual_host, route, weighted, |edits, stream| {
        let facts = Facts {
            node: Some(&stream.worker.shared.node),
            ..Facts::of_connection(&stream.info)
        };
        edits.request.apply_to_request(&mut stream.request, facts);
    });
    let weighted = weighted.and_then(|i| match &action.target {
        Target::Weighted(set) => set.clusters[i].host_rewrite.as_ref(),
        _ => None,
    });
    rewrite::host(action, weighted, &mut stream.request);
    rewrite::path(
        action,
        &route.matches,
        &mut stream.request,
        router.suppress_envoy_headers,
    );
}

/// Applies the response edits of every level.
pub fn finalize_response(stream: &mut Stream<'_>, head: &mut ResponseHead, weighted: Option<usize>) {
    let (Some(virtual_host), Some(route)) = (stream.info.virtual_host.clone(), stream.info.route.clone()) else {
        return;
    };
    edit(stream, &virtual_host, &route, weighted, |edits, stream| {
        let facts = Facts {
            info: &stream.info,
            node: Some(&stream.worker.shared.node),
            request: Some(&stream.request),
            response: None,
            response_trailers: None,
            local_reply_body: "",
        };
        edits.response.apply_to_response(head, facts);
    });
}

fn edit(
    stream: &mut Stream<'_>,
    virtual_host: &VirtualHost,
    route: &Route,
    weighted: Option<usize>,
    mut apply: impl FnMut(&HeaderEdits, &mut Stream<'_>),
) {
    let configuration = stream.info.route_configuration.clone();
    let weighted = weighted.and_then(|i| match &route.forward()?.target {
        Target::Weighted(set) => Some(&set.clusters[i].header_edits),
        _ => None,
    });
    let levels = [
        weighted,
        Some(&route.header_edits),
        Some(&virtual_host.header_edits),
        configuration.as_ref().map(|c| &*c.header_edits),
    ];
    let reversed = configuration
        .as_ref()
        .is_some_and(|c| c.most_specific_header_mutations_wins);
    let mut each = |edits: Option<&HeaderEdits>| {
        if let Some(edits) = edits {
            apply(edits, stream);
        }
    };
    if reversed {
        levels.into_iter().rev().for_each(&mut each);
    } else {
        levels.into_iter().for_each(&mut each);
    }
}

/// An endpoint was chosen: its host name goes into the request where the route says so, and the attempt is counted.
pub fn host_from_endpoint(stream: &mut Stream<'_>, action: &RouteAction, endpoint: &Endpoint) {
    if stream
        .info
        .virtual_host
        .as_ref()
        .is_some_and(|v| v.include_request_attempt_count)
    {
        stream
            .request
            .headers
            .insert(ATTEMPT_COUNT, HeaderValue::from(stream.info.upstream.attempts));
    }
    rewrite::host_from_endpoint(action, endpoint, &mut stream.request);
}

/// The hash of a request under its route's policies, for consistent-hash balancers.
pub fn hash(action: &RouteAction, stream: &Stream<'_>) -> Option<u64> {
    let mut hash: Option<u64> = None;
    for policy in &action.hash_policy {
        if let Some(new) = hash_one(policy, stream) {
            // Envoy's combination of several hashes: rotate and xor.
            hash = Some(hash.map_or(new, |old| old.rotate_left(1) ^ new));
        }
        if policy.terminal && hash.is_some() {
            break;
        }
    }
    hash
}

fn hash_one(policy: &HashPolicy, stream: &Stream<'_>) -> Option<u64> {
    let xx = |bytes: &[u8]| xxhash_rust::xxh64::xxh64(bytes, 0);
    match &policy.input {
        HashInput::Header { name, rewrite } => {
            let value = super::matcher::joined(&stream.request.headers, name)?;
            match rewrite {
                Some(r) => {
                    let text = std::str::from_utf8(&value).ok()?;
                    Some(xx(r.pattern.replace_all(text, &r.substitution).as_bytes()))
                }
                None => Some(xx(&value)),
            }
        }
        HashInput::Cookie { name, .. } => {
            let cookies = stream.request.headers.get_all(http::header::COOKIE);
            let mut pairs = cookies
                .iter()
                .filter_map(|v| v.to_str().ok())
                .flat_map(|v| v.split(';'));
            pairs
                .find_map(|pair| pair.trim().split_once('=').filter(|(n, _)| *n == &**name))
                .map(|(_, v)| xx(v.as_bytes()))
        }
        HashInput::SourceIp => stream
            .info
            .remote_address
            .ip()
            .map(|a| xx(a.ip().to_string().as_bytes())),
        HashInput::QueryParameter(name) => {
            let mut pairs = stream.request.query()?.split('&').filter_map(|p| p.split_once('='));
            pairs.find(|(n, _)| *n == &**name).map(|(_, v)| xx(v.as_bytes()))
        }
        HashInput::FilterState(_) => None,
    }
}
