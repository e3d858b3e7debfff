//! Where a redirect sends the client (Envoy's `RedirectAction`).

use std::borrow::Cow;

use super::{
    RouteMatch,
    action::{Redirect, RedirectPath},
    rewrite,
};
use crate::http::message::RequestHead;

/// The `location` of a redirect.
pub fn location(redirect: &Redirect, matches: &RouteMatch, request: &RequestHead) -> String {
    let current = std::str::from_utf8(request.scheme.as_bytes()).unwrap_or("http");
    let scheme = match &redirect.scheme {
        Some(scheme) => scheme,
        None if redirect.https => "https",
        None => current,
    };
    let authority = request.authority_str();
    let host = redirect
        .host
        .as_deref()
        .map_or_else(|| host_for(authority, current, redirect), Cow::Borrowed);
    let mut out = format!("{scheme}://{host}");
    if let Some(port) = redirect.port {
        out.push(':');
        out.push_str(&port.to_string());
    }
    let (path, query) = match request.path_str().split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (request.path_str(), None),
    };
    let (new_path, brings_query) = match &redirect.path {
        RedirectPath::Keep => (Cow::Borrowed(path), false),
        RedirectPath::Path(p) => (Cow::Borrowed(&**p), p.contains('?')),
        RedirectPath::Prefix(prefix) => (Cow::Owned(rewrite::prefix(path, matches, prefix)), false),
        RedirectPath::Regex(r) => (Cow::Owned(r.pattern.replace_all(path, &r.substitution)), false),
    };
    out.push_str(&new_path);
    if let Some(query) = query.filter(|_| !redirect.strip_query && !brings_query) {
        out.push('?');
        out.push_str(query);
    }
    out
}

/// The request's own host, without a port that the redirect replaces or that only the old scheme implied.
fn host_for<'a>(authority: &'a str, scheme: &str, redirect: &Redirect) -> Cow<'a, str> {
    let changes_scheme = redirect.https || redirect.scheme.is_some();
    let default_port = if scheme == "https" { ":443" } else { ":80" };
    if redirect.port.is_some() {
        return Cow::Borrowed(crate::http::admission::host_without_port(authority));
    }
    match authority.strip_suffix(default_port) {
        Some(host) if changes_scheme => Cow::Borrowed(host),
        _ => Cow::Borrowed(authority),
    }
}
