//! Request heads: from a client in HTTP/2's terms to [`RequestHead`], and from it to a server.

use ::h2::{Reason, ext::Protocol as ConnectProtocol};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version,
    header::{CONTENT_LENGTH, COOKIE, HOST},
    request, uri,
};

use super::{
    error::{End, INVALID_FIELD, MESSAGING, UNDERSCORE},
    head::{Rejection, check_limits, strip_connection_fields, strip_empty_content_length},
    settings::HeadLimits,
};
use crate::{
    http::{
        UnderscoreAction,
        codec::CodecError,
        message::{Protocol, RequestHead, Spelling},
    },
    stats::{Group, Http2Stat},
};

/// Between cookie crumbs (RFC 9113 section 8.2.3).
const CRUMB_SEPARATOR: &[u8] = b"; ";

/// Reads heads of one connection.
pub(super) struct RequestReader {
    pub(super) limits: HeadLimits,
    pub(super) underscores: UnderscoreAction,
    /// The authority of the last request: clients send the same one again and again, so its bytes are shared.
    last_authority: HeaderValue,
}

impl RequestReader {
    pub(super) fn new(limits: HeadLimits, underscores: UnderscoreAction) -> Self {
        Self {
            limits,
            underscores,
            last_authority: HeaderValue::from_static(""),
        }
    }

    /// `h2` has checked pseudo-header fields, connection-level fields, `TE` and `Content-Length`; the rest is ours.
    pub(super) fn read(&mut self, parts: request::Parts, stats: &Group<Http2Stat>) -> Result<RequestHead, Rejection> {
        let request::Parts {
            mut method,
            uri,
            mut headers,
            mut extensions,
            ..
        } = parts;
        check_limits(self.limits, &headers, pseudo_size(&method, &uri), stats)?;
        check_content_length(&headers)?;
        let authority = self.authority(&uri, &mut headers)?;
        let upgrade = extensions.remove::<ConnectProtocol>();
        let path = path(&method, &uri, upgrade.is_some())?;
        let upgrade = match upgrade {
            Some(protocol) => {
                method = Method::GET;
                Some(HeaderValue::from_str(protocol.as_str()).map_err(|_| {
                    Rejection::malformed(
                        INVALID_FIELD,
                        format!("the :protocol {:?} is not a token", protocol.as_str()),
                    )
                })?)
            }
            None => None,
        };
        self.check_underscores(&mut headers, stats)?;
        join_cookies(&mut headers)?;
        let scheme = match uri.scheme_str() {
            Some("https") => HeaderValue::from_static("https"),
            // `h2` drops :scheme where :authority is absent.
            Some("http") | None => HeaderValue::from_static("http"),
            Some(other) => HeaderValue::from_str(other)
                .map_err(|_| Rejection::malformed(INVALID_FIELD, format!("the :scheme {other:?} is not valid")))?,
        };
        Ok(RequestHead {
            method,
            scheme,
            host_missing: false,
            authority,
            path,
            upgrade,
            headers,
            spelling: Spelling::default(),
            protocol: Protocol::Http2,
        })
    }

    /// `:authority`, or `Host` in its absence; with both, `Host` is discarded, as Envoy does.
    fn authority(&mut self, uri: &Uri, headers: &mut HeaderMap) -> Result<HeaderValue, Rejection> {
        let mut hosts = headers.get_all(HOST).iter();
        let (host, more) = (hosts.next(), hosts.next().is_some());
        let text = match uri.authority() {
            Some(authority) => authority.as_str().as_bytes(),
            None if more => {
                return Err(Rejection::malformed(
                    INVALID_FIELD,
                    "the request has no :authority and several Host fields",
                ));
            }
            None => host
                .map(HeaderValue::as_bytes)
                .filter(|host| !host.is_empty())
                .ok_or_else(|| Rejection::malformed(MESSAGING, "the request has neither :authority nor Host"))?,
        };
        if self.last_authority.as_bytes() != text {
            let parsed = uri::Authority::try_from(text)
                .ok()
                .filter(|authority| !authority.as_str().contains('@'));
            let Some(parsed) = parsed else {
                let text = String::from_utf8_lossy(text).into_owned();
                return Err(Rejection::malformed(
                    INVALID_FIELD,
                    format!("{text:?} is not a host with an optional port"),
                ));
            };
            self.last_authority = HeaderValue::from_str(parsed.as_str())
                .map_err(|_| Rejection::malformed(INVALID_FIELD, "the :authority has bytes that no field may carry"))?;
        }
        if host.is_some() {
            headers.remove(HOST);
        }
        Ok(self.last_authority.clone())
    }

    fn check_underscores(&self, headers: &mut HeaderMap, stats: &Group<Http2Stat>) -> Result<(), Rejection> {
        if self.underscores == UnderscoreAction::Allow {
            return Ok(());
        }
        let offending: Vec<HeaderName> = headers
            .keys()
            .filter(|name| name.as_str().contains('_'))
            .cloned()
            .collect();
        if let (Some(name), UnderscoreAction::RejectRequest) = (offending.first(), self.underscores) {
            stats.inc(Http2Stat::RequestsRejectedWithUnderscoresInHeaders);
            return Err(Rejection {
                reason: Reason::INTERNAL_ERROR,
                details: UNDERSCORE,
                sentence: format!("header {name} has an underscore, which headers_with_underscores_action rejects"),
            });
        }
        for name in offending {
            stats.inc(Http2Stat::DroppedHeadersWithUnderscores);
            headers.remove(name);
        }
        Ok(())
    }
}

/// `h2` takes the same length twice, and an empty one; an HTTP/1 upstream may not.
fn check_content_length(headers: &HeaderMap) -> Result<(), Rejection> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (_, Some(_)) => Err(Rejection::malformed(
            INVALID_FIELD,
            "the request has several Content-Length fields",
        )),
        (Some(length), None) if length.is_empty() => {
            Err(Rejection::malformed(INVALID_FIELD, "the Content-Length is empty"))
        }
        _ => Ok(()),
    }
}

/// `:path` as it is; absolute form and a missing slash `h2` refuses, `*` is for OPTIONS only (RFC 9113 section 8.3.1).
fn path(method: &Method, uri: &Uri, extended: bool) -> Result<HeaderValue, Rejection> {
    if method == Method::CONNECT && !extended {
        return Ok(HeaderValue::from_static(""));
    }
    let text = uri.path_and_query().map_or("", uri::PathAndQuery::as_str);
    match text.as_bytes().first() {
        Some(b'/') => {}
        Some(b'*') if method == Method::OPTIONS => {}
        _ => {
            return Err(Rejection::malformed(
                MESSAGING,
                format!("the :path {text:?} does not start with a slash"),
            ));
        }
    }
    HeaderValue::from_str(text).map_err(|_| {
        Rejection::malformed(
            INVALID_FIELD,
            format!("the :path {text:?} has bytes that no field may carry"),
        )
    })
}

/// HTTP/2 may split `Cookie` into crumbs; whoever reads it expects one field (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) -> Result<(), Rejection> {
    let crumbs = headers.get_all(COOKIE);
    if crumbs.iter().nth(1).is_none() {
        return Ok(());
    }
    let mut joined = Vec::with_capacity(crumbs.iter().map(|crumb| crumb.len() + CRUMB_SEPARATOR.len()).sum());
    for crumb in crumbs {
        if !joined.is_empty() {
            joined.extend_from_slice(CRUMB_SEPARATOR);
        }
        joined.extend_from_slice(crumb.as_bytes());
    }
    let joined = HeaderValue::from_maybe_shared(Bytes::from(joined))
        .map_err(|_| Rejection::malformed(INVALID_FIELD, "the cookie crumbs do not join to a field"))?;
    headers.insert(COOKIE, joined);
    Ok(())
}

fn pseudo_size(method: &Method, uri: &Uri) -> (usize, usize) {
    let present = [
        Some((":method".len(), method.as_str().len())),
        uri.scheme_str().map(|s| (":scheme".len(), s.len())),
        uri.authority().map(|a| (":authority".len(), a.as_str().len())),
        uri.path_and_query().map(|p| (":path".len(), p.as_str().len())),
    ];
    present
        .into_iter()
        .flatten()
        .fold((0, 0), |(n, bytes), (name, value)| (n + 1, bytes + name + value))
}

/// The head in `h2`'s shape. The caller keeps its own for retries and logs, so fields are cloned (values share their bytes).
///
/// # Errors
/// Where `http::Uri` cannot carry the authority or path: Envoy admits `<`, `>`, a backtick and bytes that are no UTF-8 in a path.
pub(super) fn write(head: &RequestHead) -> Result<Request<()>, CodecError> {
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.headers_mut() = head.headers.clone();
    strip_connection_fields(request.headers_mut());
    if let Some(upgrade) = &head.upgrade {
        let name = upgrade.to_str().unwrap_or_default();
        *request.method_mut() = Method::CONNECT;
        request.extensions_mut().insert(ConnectProtocol::from(name));
        strip_empty_content_length(request.headers_mut());
    }
    *request.uri_mut() = uri(head)?;
    // Without an authority `h2` sends a request only where it believes it to come from HTTP/1, as it does here.
    *request.version_mut() = if head.authority.is_empty() {
        Version::HTTP_11
    } else {
        Version::HTTP_2
    };
    Ok(request)
}

fn uri(head: &RequestHead) -> Result<Uri, CodecError> {
    let mut parts = uri::Parts::default();
    if !head.authority.is_empty() {
        parts.authority = Some(
            uri::Authority::try_from(head.authority.as_bytes())
                .map_err(|e| inexpressible(":authority", &head.authority, &e.to_string()))?,
        );
    }
    if !head.path.is_empty() {
        parts.path_and_query = Some(
            uri::PathAndQuery::try_from(head.path.as_bytes())
                .map_err(|e| inexpressible(":path", &head.path, &e.to_string()))?,
        );
        if parts.authority.is_some() {
            parts.scheme = Some(match head.scheme.as_bytes() {
                b"http" => uri::Scheme::HTTP,
                b"https" => uri::Scheme::HTTPS,
                other => {
                    uri::Scheme::try_from(other).map_err(|e| inexpressible(":scheme", &head.scheme, &e.to_string()))?
                }
            });
        }
    }
    Uri::from_parts(parts).map_err(|e| inexpressible(":path", &head.path, &e.to_string()))
}

fn inexpressible(field: &str, value: &HeaderValue, why: &str) -> CodecError {
    End::Server.violation(
        INVALID_FIELD,
        format!("an HTTP/2 upstream cannot be sent the {field} {value:?}: {why}"),
    )
}
