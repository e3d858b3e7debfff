//! Who may ask for what, and answers in whole or in pieces.

use std::{convert::Infallible, rc::Rc};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, header, request::Parts};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use percent_encoding::percent_decode_str;

use super::{Admin, paths, server::Body};
use crate::stats::Query;

/// A body and its type.
pub(super) struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: Content,
}

enum Content {
    Whole(String),
    /// The control thread turns to other work between two of them.
    Pieces(Box<dyn Iterator<Item = String>>),
}

pub(super) const TEXT: &str = "text/plain; charset=UTF-8";
pub(super) const JSON: &str = "application/json";

impl Answer {
    fn new(status: StatusCode, content_type: &'static str, body: Content) -> Self {
        Self {
            status,
            content_type,
            body,
        }
    }

    pub(super) fn text(body: impl Into<String>) -> Self {
        Self::new(StatusCode::OK, TEXT, Content::Whole(body.into()))
    }

    pub(super) fn json(body: impl Into<String>) -> Self {
        Self::new(StatusCode::OK, JSON, Content::Whole(body.into()))
    }

    pub(super) fn error(status: StatusCode, body: impl Into<String>) -> Self {
        Self::new(status, TEXT, Content::Whole(body.into()))
    }

    /// An error in the plain type that Envoy's config dump has for them.
    pub(super) fn plain(status: StatusCode, body: impl Into<String>) -> Self {
        Self::new(status, "text/plain", Content::Whole(body.into()))
    }

    pub(super) fn pieces(pieces: impl Iterator<Item = String> + 'static) -> Self {
        Self::new(StatusCode::OK, TEXT, Content::Pieces(Box::new(pieces)))
    }

    pub(super) fn json_pieces(pieces: impl Iterator<Item = String> + 'static) -> Self {
        Self::new(StatusCode::OK, JSON, Content::Pieces(Box::new(pieces)))
    }
}

/// Answers one request. `form`: parameters that came in its body.
pub(super) fn respond(admin: &Rc<Admin>, head: &Parts, form: &str) -> Response<Body> {
    let path = head.uri.path();
    let query = head.uri.query().unwrap_or("");
    let allowed = &admin.options.allow_paths;
    if !allowed.is_empty() && !allowed.iter().any(|m| m.matches(path.as_bytes())) {
        return full(Answer::error(
            StatusCode::FORBIDDEN,
            format!("request to path {path} not allowed\n"),
        ));
    }
    if matches!(path, "/stats" | "/stats/prometheus") {
        return stats(admin, query, path.ends_with("prometheus"));
    }
    let Some(entry) = paths::find(path) else {
        let body = format!("invalid path. {}", paths::help());
        return full(Answer::error(StatusCode::NOT_FOUND, body));
    };
    if entry.changes && head.method != Method::POST {
        let body = format!("Method {} not allowed, POST required.", head.method);
        return full(Answer::error(StatusCode::METHOD_NOT_ALLOWED, body));
    }
    if entry.changes && from_elsewhere(&head.headers) {
        let why = "this request changes state and was sent by a page of another origin: refused\n";
        return full(Answer::error(StatusCode::FORBIDDEN, why));
    }
    let parameters = format!("{query}&{form}");
    full((entry.answer)(admin, &Parameters(&parameters)))
}

/// A browser sent this for a page that is not ours (there is none of ours).
fn from_elsewhere(headers: &HeaderMap) -> bool {
    let site = headers
        .get("sec-fetch-site")
        .is_some_and(|v| v != "same-origin" && v != "none");
    site || headers.contains_key(header::ORIGIN)
}

fn full(answer: Answer) -> Response<Body> {
    let body: Body = match answer.body {
        Content::Whole(body) => Box::pin(Full::new(Bytes::from(body))),
        Content::Pieces(mut pieces) => {
            let next = move || {
                pieces
                    .next()
                    .map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::from(piece))))
            };
            Box::pin(StreamBody::new(futures_lite(next)))
        }
    };
    finish(answer.status, answer.content_type, body)
}

fn finish(status: StatusCode, content_type: &str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Ok(value) = content_type.parse() {
        headers.insert(header::CONTENT_TYPE, value);
    }
    headers.insert(
        header::CACHE_CONTROL,
        http::HeaderValue::from_static("no-cache, max-age=0"),
    );
    headers.insert("x-content-type-options", http::HeaderValue::from_static("nosniff"));
    response
}

/// Statistics in pieces: the control thread turns to other work between two of them.
fn stats(admin: &Rc<Admin>, query: &str, prometheus: bool) -> Response<Body> {
    let query = match Query::parse(query, prometheus) {
        Ok(query) => query,
        Err(why) => return full(Answer::error(StatusCode::BAD_REQUEST, why)),
    };
    admin.refresh_gauges();
    // The scrape holds them from here on.
    let _certificates = crate::server::gauges::certificates(&admin.shared);
    let mut render = admin.shared.stats.render(query);
    let content_type = render.content_type();
    let pieces = futures_lite(move || {
        render
            .next()
            .map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::from(piece))))
    });
    finish(StatusCode::OK, content_type, Box::pin(StreamBody::new(pieces)))
}

/// An iterator as a stream that yields to the runtime before every item.
fn futures_lite<T>(next: impl FnMut() -> Option<T> + Unpin) -> impl futures_core::Stream<Item = T> {
    Yielding { next, yielded: false }
}

struct Yielding<F> {
    next: F,
    yielded: bool,
}

impl<T, F: FnMut() -> Option<T> + Unpin> futures_core::Stream for Yielding<F> {
    type Item = T;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        if !std::mem::replace(&mut self.yielded, true) {
            cx.waker().wake_by_ref();
            return std::task::Poll::Pending;
        }
        self.yielded = false;
        std::task::Poll::Ready((self.next)())
    }
}

/// A query string.
pub(super) struct Parameters<'a>(&'a str);

impl Parameters<'_> {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then_some(value)
        })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A parameter with its percent signs resolved.
    pub(super) fn decoded(&self, name: &str) -> Option<String> {
        self.get(name).map(decode)
    }

    /// All of them, in order.
    pub(super) fn all(&self) -> Vec<(String, String)> {
        let pairs = self.0.split('&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (decode(name), decode(value)))
            .collect()
    }
}

/// `%2F` is a slash; what is no escape stays.
fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        let query = Parameters("a=1&b&name_regex=%5Ea%2Bb%25&c=%zz&a=2");
        assert_eq!(query.get("a"), Some("1"));
        assert!(query.has("b") && !query.has("x"));
        assert_eq!(query.decoded("name_regex").as_deref(), Some("^a+b%"));
        assert_eq!(query.decoded("c").as_deref(), Some("%zz"));
        assert_eq!(query.all().len(), 5);
    }

    #[test]
    fn browsers_from_elsewhere() {
        let headers = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(
                http::HeaderName::from_static(name),
                http::HeaderValue::from_static(value),
            )])
        };
        assert!(from_elsewhere(&headers("origin", "http://evil.example")));
        assert!(from_elsewhere(&headers("sec-fetch-site", "cross-site")));
        assert!(from_elsewhere(&headers("sec-fetch-site", "same-site")));
        assert!(!from_elsewhere(&headers("sec-fetch-site", "none")));
        assert!(!from_elsewhere(&headers("host", "10.1.2.3:15090")));
    }
}
