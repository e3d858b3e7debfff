//! What a route makes of path and host before the request goes up.

use http::{HeaderName, HeaderValue};

use super::{
    RouteAction, RouteMatch,
    action::{HostRewrite, PathRewrite},
    matcher::PathMatch,
};
use crate::{cluster::Endpoint, http::message::RequestHead};

const ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");
const ORIGINAL_HOST: HeaderName = HeaderName::from_static("x-envoy-original-host");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Rewrites the path, keeping the query; the old one is told in `x-envoy-original-path`.
pub fn path(action: &RouteAction, matches: &RouteMatch, request: &mut RequestHead, suppress_envoy_headers: bool) {
    let Some(rewrite) = &action.path_rewrite else { return };
    let whole = request.path_str();
    let (path, query) = whole.find('?').map_or((whole, ""), |i| whole.split_at(i));
    let mut new = match rewrite {
        PathRewrite::Prefix(with) => prefix(path, matches, with),
        PathRewrite::Regex(r) => r.pattern.replace_all(path, &r.substitution),
    };
    new.push_str(query);
    let Ok(value) = HeaderValue::try_from(new) else { return };
    let old = std::mem::replace(&mut request.path, value);
    if !suppress_envoy_headers {
        request.headers.insert(ORIGINAL_PATH, old);
    }
}

/// Replaces what the route's path matcher matched.
pub fn prefix(path: &str, matches: &RouteMatch, with: &str) -> String {
    let matched = match &matches.path {
        PathMatch::Prefix(p) | PathMatch::PathSeparatedPrefix(p) => p.len(),
        PathMatch::Exact(_) | PathMatch::Regex(_) => path.len(),
        PathMatch::Connect => 0,
    };
    let rest = path.get(matched..).unwrap_or("");
    format!("{with}{rest}")
}

/// Rewrites the host where that does not need the endpoint.
pub fn host(action: &RouteAction, weighted: Option<&HeaderValue>, request: &mut RequestHead) {
    if let Some(literal) = weighted {
        // A weighted cluster's rewrite is not told, as in Envoy.
        request.authority = literal.clone();
        return;
    }
    let new = match &action.host_rewrite {
        Some(HostRewrite::Literal(literal)) => literal.clone(),
        Some(HostRewrite::Header(name)) => match request.headers.get(name).filter(|v| !v.is_empty()) {
            Some(value) => value.clone(),
            None => return,
        },
        Some(HostRewrite::PathRegex(r)) => {
            match HeaderValue::try_from(r.pattern.replace_all(request.path_only(), &r.substitution)) {
                Ok(value) => value,
                Err(_) => return,
            }
        }
        Some(HostRewrite::Auto) | None => return,
    };
    set_host(action, request, new);
}

/// `auto_host_rewrite`: the chosen endpoint's host name.
pub fn host_from_endpoint(action: &RouteAction, endpoint: &Endpoint, request: &mut RequestHead) {
    let hostname = &endpoint.config.hostname;
    if matches!(action.host_rewrite, Some(HostRewrite::Auto))
        && !hostname.is_empty()
        && let Ok(value) = HeaderValue::from_str(hostname)
    {
        set_host(action, request, value);
    }
}

fn set_host(action: &RouteAction, request: &mut RequestHead, new: HeaderValue) {
    if request.authority == new {
        return;
    }
    let old = std::mem::replace(&mut request.authority, new);
    if action.append_x_forwarded_host {
        let joined = match request.headers.get(FORWARDED_HOST) {
            Some(before) => HeaderValue::try_from([before.as_bytes(), old.as_bytes()].join(&b',')),
            None => Ok(old.clone()),
        };
        if let Ok(value) = joined {
            request.headers.insert(FORWARDED_HOST, value);
        }
    }
    request.headers.insert(ORIGINAL_HOST, old);
}
