//! Heads and frames: what codecs hand to the request path and back, the same for HTTP/1 and HTTP/2.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

/// The protocol of one side of a stream, as `%PROTOCOL%` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    Http10,
    Http11,
    Http2,
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

/// Bytes of the names in a head of twenty fields; more make the buffer grow.
const TYPICAL_NAMES: usize = 256;

/// How an HTTP/1 peer spelled its header names, kept where `preserve_case` is configured, so that the HTTP/1 encoder of the
/// other side writes them as the sender did. Empty, the default, means lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spelling {
    /// Names one after the other, each behind its length in one byte. Built once per head, walked once by the encoder.
    names: Bytes,
}

impl Spelling {
    /// Keeps the spelling of `names`, in the order in which they were sent. Lower-case names need no entry, and names of
    /// more than 255 bytes get none.
    pub fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut kept = Vec::with_capacity(TYPICAL_NAMES);
        for name in names.filter(|name| name.bytes().any(|b| b.is_ascii_uppercase())) {
            if let Ok(len) = u8::try_from(name.len()) {
                kept.push(len);
                kept.extend_from_slice(name.as_bytes());
            }
        }
        Self { names: kept.into() }
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The sender's spelling of `name`. `cursor` is where the last search ended: headers mostly come back in their order.
    pub fn find(&self, cursor: &mut usize, name: &str) -> Option<&[u8]> {
        let start = (*cursor).min(self.names.len());
        self.search(start, self.names.len(), cursor, name)
            .or_else(|| self.search(0, start, cursor, name))
    }

    fn search(&self, mut at: usize, end: usize, cursor: &mut usize, name: &str) -> Option<&[u8]> {
        while at < end {
            let next = at + 1 + usize::from(self.names[at]);
            let spelled = &self.names[at + 1..next];
            at = next;
            if spelled.eq_ignore_ascii_case(name.as_bytes()) {
                *cursor = next;
                return Some(spelled);
            }
        }
        None
    }
}

/// A request head in HTTP/2's shape, whatever protocol carried it: `Host` lives in `authority`, never in `headers`;
/// connection-level headers of HTTP/1 (`Connection`, `Keep-Alive`, `Transfer-Encoding`...) were consumed by the codec.
/// This is the canonical request: routing, RBAC and the upstream all see this one value.
#[derive(Debug, Clone)]
pub struct RequestHead {
    pub method: Method,
    /// `http` or `https`.
    pub scheme: HeaderValue,
    /// Empty where the client sent none, or an empty one.
    pub authority: HeaderValue,
    /// The client sent no `Host` at all, which HTTP/1.1 and HTTP/2 forbid: the connection manager answers 400.
    pub host_missing: bool,
    /// `:path`: path and query in origin form, `*` for OPTIONS, empty for a plain CONNECT.
    pub path: HeaderValue,
    /// HTTP/1 `Upgrade:` as written (compare it without regard to case) or HTTP/2 `:protocol` of an extended CONNECT. With HTTP/1 the method is as sent (GET);
    /// the HTTP/2 codec turns an extended CONNECT into a GET with `upgrade` set, as Envoy does. `Connection` and `Upgrade` of
    /// HTTP/1 are in `headers` too, for matchers and logs.
    pub upgrade: Option<HeaderValue>,
    pub headers: HeaderMap,
    /// Empty but for HTTP/1 with `preserve_case`.
    pub spelling: Spelling,
    pub protocol: Protocol,
}

impl RequestHead {
    /// Stands for a request that could not be parsed: everything empty.
    pub fn unparsed(protocol: Protocol) -> Self {
        Self {
            method: Method::GET,
            scheme: HeaderValue::from_static("http"),
            authority: HeaderValue::from_static(""),
            host_missing: true,
            path: HeaderValue::from_static(""),
            upgrade: None,
            headers: HeaderMap::new(),
            protocol,
            spelling: Spelling::default(),
        }
    }

    /// The path and query as text. The codecs admit visible ASCII only.
    pub fn path_str(&self) -> &str {
        std::str::from_utf8(self.path.as_bytes()).unwrap_or("")
    }

    pub fn authority_str(&self) -> &str {
        std::str::from_utf8(self.authority.as_bytes()).unwrap_or("")
    }

    pub fn is_websocket(&self) -> bool {
        let websocket = |upgrade: &HeaderValue| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket");
        self.upgrade.as_ref().is_some_and(websocket)
    }

    /// Whether a header's name begins with `prefix`. Inlined: a prefix of known length is compared in one step.
    #[inline]
    pub fn has_headers_with(&self, prefix: &str) -> bool {
        self.headers.keys().any(|name| name.as_str().starts_with(prefix))
    }

    /// The path without query.
    pub fn path_only(&self) -> &str {
        let p = self.path_str();
        p.find(['?', '#']).map_or(p, |i| &p[..i])
    }

    /// The query without `?`, if any.
    pub fn query(&self) -> Option<&str> {
        self.path_str().split_once('?').map(|(_, q)| q)
    }
}

/// A response head, final or informational (1xx).
#[derive(Debug, Clone)]
pub struct ResponseHead {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Empty but for HTTP/1 with `preserve_case`.
    pub spelling: Spelling,
    pub protocol: Protocol,
}

/// A piece of a body.
#[derive(Debug, Clone)]
pub enum Frame {
    Data(Bytes),
    /// Ends the body.
    Trailers(HeaderMap),
}

/// What a codec delivers next from a body.
#[derive(Debug, Clone)]
pub enum Incoming {
    Frame(Frame),
    /// The body ended cleanly, without trailers.
    End,
}
