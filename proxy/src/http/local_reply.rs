//! Replies that the proxy itself gives: what Envoy would say, with its status, flags and details.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use xds_client::grpc;

use crate::{
    access_log::LogFormat,
    failure::ResponseFlags,
    format::Facts,
    http::{
        LocalReplyMapper, ReplyBody,
        message::{Protocol, RequestHead, ResponseHead},
        stream::Stream,
    },
    route::header_edit::EditedHeader,
};

/// A reply of the proxy's own.
#[derive(Debug, Clone)]
pub struct LocalReply {
    pub status: StatusCode,
    pub body: Cow<'static, str>,
    /// `response_code_details`.
    pub details: Cow<'static, str>,
    pub flags: ResponseFlags,
    pub headers: HeaderMap,
    /// The connection cannot be used further (HTTP/1).
    pub close: bool,
    /// Where the status does not imply it.
    pub grpc_status: Option<u32>,
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
            headers: HeaderMap::new(),
            close: false,
            grpc_status: None,
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

    /// The head before the configuration's edits: status and what the reply itself needs.
    pub fn head(&mut self, protocol: Protocol) -> ResponseHead {
        ResponseHead {
            status: self.status,
            headers: std::mem::take(&mut self.headers),
            protocol,
            spelling: Default::default(),
        }
    }

    /// Makes of the reply what `local_reply_config` says: the first mapper whose filter admits it, then the body's format.
    pub fn rewrite(&mut self, config: &super::LocalReply, stream: &mut Stream<'_>, head: &mut ResponseHead) {
        let mut format = config.body.as_ref();
        stream.info.response_code = Some(head.status.as_u16());
        let admits = |mapper: &&LocalReplyMapper| mapper.filter.admits(&facts(stream, head, ""), stream.worker);
        if let Some(mapper) = config.mappers.iter().find(admits) {
            if let Some(body) = &mapper.body {
                self.body = Cow::Owned(body.clone());
            }
            for addition in &mapper.headers {
                let value = addition.value(&facts(stream, head, ""));
                if let (Some(value), EditedHeader::Name(name)) = (value, &addition.name) {
                    addition.append.apply(&mut head.headers, name, value);
                }
            }
            if let Some(status) = mapper.status {
                head.status = status;
                stream.info.response_code = Some(status.as_u16());
            }
            format = mapper.format.as_ref().or(format);
        }
        let Some(ReplyBody { format, content_type }) = format else {
            return;
        };
        let mut body = String::new();
        let natural = match format {
            LogFormat::Text(format) => {
                format.write(&mut body, &facts(stream, head, &self.body));
                TEXT_PLAIN
            }
            LogFormat::Json(format) => {
                format.write(&mut body, &facts(stream, head, &self.body));
                // `grpc-message` is no line.
                if !is_grpc(&stream.request) {
                    body.push('\n');
                }
                JSON
            }
        };
        // What an edit of the route said of the old body is no longer true.
        head.headers
            .insert(header::CONTENT_TYPE, content_type.clone().unwrap_or(natural));
        self.body = Cow::Owned(body);
    }

    /// The head as the client of `request` gets it, and the body. A gRPC client gets 200 with `grpc-status`, no body.
    pub fn render(self, mut head: ResponseHead, request: &RequestHead) -> (ResponseHead, Cow<'static, str>) {
        let headers = &mut head.headers;
        if is_grpc(request) {
            headers.insert(header::CONTENT_TYPE, grpc::CONTENT_TYPE);
            let status = self.grpc_status.unwrap_or_else(|| grpc::of_http(head.status));
            headers.insert(grpc::GRPC_STATUS, HeaderValue::from(status));
            let message = utf8_percent_encode(&self.body, GRPC_MESSAGE_ESCAPES).to_string();
            if !message.is_empty()
                && let Ok(value) = HeaderValue::try_from(message)
            {
                headers.insert(grpc::GRPC_MESSAGE, value);
            }
            head.status = StatusCode::OK;
            return (head, Cow::Borrowed(""));
        }
        if !self.body.is_empty() {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(self.body.len()));
            headers.entry(header::CONTENT_TYPE).or_insert(TEXT_PLAIN);
        }
        (head, self.body)
    }
}

fn facts<'a>(stream: &'a Stream<'_>, head: &'a ResponseHead, body: &'a str) -> Facts<'a> {
    Facts {
        info: &stream.info,
        node: Some(&stream.worker.shared.node),
        request: stream.heard(),
        response: Some(head),
        response_trailers: None,
        local_reply_body: body,
    }
}

const TEXT_PLAIN: HeaderValue = HeaderValue::from_static("text/plain");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Whether a request is gRPC by its content type: `application/grpc`, alone or followed by `+` or `;`.
pub fn is_grpc(request: &RequestHead) -> bool {
    request
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.as_bytes().strip_prefix(b"application/grpc"))
        .is_some_and(|rest| rest.first().is_none_or(|c| *c == b'+' || *c == b';'))
}

/// `grpc-message` has printable ASCII but `%` as it is, the rest as `%XX`.
const GRPC_MESSAGE_ESCAPES: &AsciiSet = &CONTROLS.add(b'%');
