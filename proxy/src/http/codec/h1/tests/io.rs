//! A stream made of segments.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::{ClientConnection, ClientSettings, ServerConnection, ServerSettings};
use crate::http::{
    codec::CodecError,
    message::{Frame, Incoming, RequestHead, ResponseHead},
};

/// Gives one segment per read, then waits or ends; keeps what is written.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) segments: VecDeque<Vec<u8>>,
    pub(super) ends: bool,
    pub(super) written: Vec<u8>,
    /// Most that one write takes; 0: everything.
    pub(super) write_limit: usize,
    pub(super) shut: bool,
}

impl Script {
    pub(super) fn new<'a>(segments: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self {
            segments: segments.into_iter().map(<[u8]>::to_vec).collect(),
            ..Self::default()
        }
    }

    pub(super) fn ending(mut self) -> Self {
        self.ends = true;
        self
    }
}

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(mut segment) = self.segments.pop_front() else {
            return if self.ends { Poll::Ready(Ok(())) } else { Poll::Pending };
        };
        let rest = segment.split_off(segment.len().min(buf.remaining()));
        buf.put_slice(&segment);
        if !rest.is_empty() {
            self.segments.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let n = if self.write_limit == 0 {
            buf.len()
        } else {
            buf.len().min(self.write_limit)
        };
        self.written.extend_from_slice(&buf[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let limit = if self.write_limit == 0 {
            usize::MAX
        } else {
            self.write_limit
        };
        let all: Vec<u8> = bufs.iter().flat_map(|b| b.iter().copied()).take(limit).collect();
        self.poll_write(cx, &all)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shut = true;
        Poll::Ready(Ok(()))
    }
}

pub(super) fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

pub(super) fn server(script: Script, settings: ServerSettings) -> ServerConnection<Script> {
    ServerConnection::new(script, Arc::new(settings))
}

pub(super) fn client(script: Script, settings: ClientSettings) -> ClientConnection<Script> {
    ClientConnection::new(script, settings)
}

/// The result of something that must not wait.
pub(super) fn now<T>(poll: Poll<T>) -> T {
    match poll {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("pending"),
    }
}

pub(super) type Seen<T> = Result<T, CodecError>;

/// A body, its data joined.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Whole {
    pub(super) data: Vec<u8>,
    pub(super) trailers: Option<http::HeaderMap>,
}

pub(super) fn collect(mut poll: impl FnMut(&mut Context<'_>) -> Poll<Seen<Incoming>>) -> Poll<Seen<Whole>> {
    let mut whole = Whole::default();
    loop {
        match poll(&mut context()) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Ready(Ok(Incoming::End)) => return Poll::Ready(Ok(whole)),
            Poll::Ready(Ok(Incoming::Frame(Frame::Data(data)))) => whole.data.extend_from_slice(&data),
            Poll::Ready(Ok(Incoming::Frame(Frame::Trailers(trailers)))) => {
                whole.trailers = Some(trailers);
                return Poll::Ready(Ok(whole));
            }
        }
    }
}

pub(super) fn request(bytes: &[u8]) -> Seen<RequestHead> {
    request_with(bytes, ServerSettings::default())
}

pub(super) fn request_with(bytes: &[u8], settings: ServerSettings) -> Seen<RequestHead> {
    let head = now(server(Script::new([bytes]).ending(), settings).poll_request(&mut context()));
    head.map(|head| head.expect("a head"))
}

pub(super) fn plain_get() -> RequestHead {
    request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("a plain request")
}

/// The first final response head to `asked`, and its body.
pub(super) fn response_to(asked: &RequestHead, bytes: &[u8]) -> Seen<(ResponseHead, Whole)> {
    let mut client = client(Script::new([bytes]).ending(), ClientSettings::default());
    client.send_head(asked, asked.method != http::Method::CONNECT && asked.upgrade.is_none());
    loop {
        let (head, end) = now(client.poll_head(&mut context()))?;
        if head.status.is_informational() && head.status != http::StatusCode::SWITCHING_PROTOCOLS {
            continue;
        }
        let body = now(collect(|cx| client.poll_body(cx)))?;
        assert!(!end || body == Whole::default(), "a message that ended has no body");
        return Ok((head, body));
    }
}

/// What the server writes for `head` and `frames` to `request`.
pub(super) fn written(request: &[u8], settings: ServerSettings, head: &ResponseHead, frames: Vec<Frame>) -> String {
    let mut server = server(Script::new([request]), settings);
    now(server.poll_request(&mut context()))
        .expect("a request")
        .expect("a head");
    let end = frames.is_empty();
    server.send_head(head, end);
    let last = frames.len().saturating_sub(1);
    for (i, frame) in frames.into_iter().enumerate() {
        server.send_frame(frame, i == last);
    }
    now(server.poll_flush(&mut context())).expect("a write");
    let closes = !server.finish_request();
    let mut text = String::from_utf8_lossy(&server.io().written).into_owned();
    if closes {
        text.push_str("<close>");
    }
    text
}

pub(super) fn head(status: u16, headers: &[(&'static str, &'static str)]) -> ResponseHead {
    let mut map = http::HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, http::HeaderValue::from_static(value));
    }
    ResponseHead {
        status: http::StatusCode::from_u16(status).expect("a status"),
        headers: map,
        spelling: Default::default(),
        protocol: crate::http::message::Protocol::Http11,
    }
}

pub(super) fn data(text: &'static str) -> Frame {
    Frame::Data(bytes::Bytes::from_static(text.as_bytes()))
}
