//! Replies that the proxy itself gives: what Envoy would say, with its status, flags and details.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::{
    failure::ResponseFlags,
    http::message::{Protocol, RequestHead, ResponseHead},
};

/// A reply of the proxy's own.
#[derive(Debug, Clone)]
pub struct LocalReply {
    pub status: StatusCode,
    pub body: Cow<'static, str>,
    /// `response_code_details`.
    pub details: Cow<'static, str>,
    pub flags: ResponseFlags,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The connection cannot be used further (HTTP/1).
    pub close: bool,
    /// Where the status does not imply it.
    pub grpc_status: Option<u32>,
    /// A route gave it: the response edits of route and virtual host apply.
    pub from_route: bool,
    /// The failure's sentence, for logs.
    pub sentence: Option<String>,
}

impl LocalReply {
    pub fn new(status: StatusCode, body: impl Into<Cow<'static, str>>, details: &'static str) -> Self {
        Self {
            status,
            body: body.into(),
            details: Cow::Borrowed(details),
            flags: ResponseFlags::default(),
            headers: Vec::new(),
            close: false,
            grpc_status: None,
            from_route: false,
            sentence: None,
        }
    }

    pub fn with_flags(mut self, flags: ResponseFlags) -> Self {
        self.flags.insert(flags);
        self
    }

    pub fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// The answer to a request that is not HTTP as Envoy takes it; the connection closes.
    pub fn unparsable(status: u16, details: &'static str, sentence: &str) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        let body = status.canonical_reason().unwrap_or("Bad Request");
        let mut reply = Self::new(status, body, details).closing();
        reply.flags.insert(ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR);
        reply.sentence = Some(sentence.to_owned());
        reply
    }

    /// The head as the client of `request` gets it, and the body. A gRPC client gets 200 with `grpc-status`, no body.
    pub fn render(self, request: Option<&RequestHead>, protocol: Protocol) -> (ResponseHead, Cow<'static, str>) {
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        if request.is_some_and(is_grpc) {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(
                GRPC_STATUS,
                HeaderValue::from(self.grpc_status.unwrap_or_else(|| grpc_status(self.status))),
            );
            if let Some(message) = Some(percent_encode(&self.body)).filter(|m| !m.is_empty())
                && let Ok(value) = HeaderValue::try_from(message)
            {
                headers.insert(GRPC_MESSAGE, value);
            }
            return (
                ResponseHead {
                    status: StatusCode::OK,
                    headers,
                    protocol,
                    spelling: Default::default(),
                },
                Cow::Borrowed(""),
            );
        }
        if !self.body.is_empty() {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(self.body.len()));
            headers
                .entry(header::CONTENT_TYPE)
                .or_insert(HeaderValue::from_static("text/plain"));
        }
        (
            ResponseHead {
                status: self.status,
                headers,
                protocol,
                spelling: Default::default(),
            },
            self.body,
        )
    }
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Whether a request is gRPC by its content type: `application/grpc`, alone or followed by `+` or `;`.
pub fn is_grpc(request: &RequestHead) -> bool {
    request
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.as_bytes().strip_prefix(b"application/grpc"))
        .is_some_and(|rest| rest.first().is_none_or(|c| *c == b'+' || *c == b';'))
}

/// gRPC's table from HTTP status to gRPC status (grpc/doc/http-grpc-status-mapping.md).
pub fn grpc_status(status: StatusCode) -> u32 {
    match status.as_u16() {
        200 => 0,
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// `grpc-message` encoding: printable ASCII but `%` as it is, the rest as `%XX`.
fn percent_encode(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, b| {
        match b {
            b'%' | 0..0x20 | 0x7f.. => {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{b:02X}");
            }
            printable => out.push(printable as char),
        }
        out
    })
}
