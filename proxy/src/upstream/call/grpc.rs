//! gRPC over calls of the proxy's own (`PROTOCOL-HTTP2.md` of gRPC): unary calls, and streams of messages to a server.

use std::{
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use xds_client::grpc::{self, Messages};

use super::{CallFailure, Cause, Streaming};
use crate::{
    config::source::{GrpcService, GrpcTarget},
    http::message::{Frame, Protocol, ResponseHead},
    worker::Worker,
};

/// Where a call goes, and what it says of itself. Parsed once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Destination {
    pub cluster: Box<str>,
    authority: HeaderValue,
    pub timeout: Option<Duration>,
    metadata: Vec<(HeaderName, HeaderValue)>,
}

impl Destination {
    /// `None`: the service is no cluster of ours (`google_grpc`).
    pub fn new(service: &GrpcService) -> Option<Self> {
        let GrpcTarget::Cluster { name, authority } = &service.target else {
            return None;
        };
        let authority = if authority.is_empty() { name } else { &**authority };
        Some(Self {
            cluster: (&**name).into(),
            authority: HeaderValue::try_from(authority).ok()?,
            timeout: service.timeout,
            metadata: service.initial_metadata.clone(),
        })
    }

    /// The same, saying one thing more of itself.
    pub fn with_metadata(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.metadata.push((name, value));
        self
    }
}

/// How a call ended that was not OK.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{status}")]
pub struct Status {
    pub status: grpc::Status,
    /// Of a call that the server did not answer.
    pub cause: Option<Cause>,
}

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Sends one message and waits for the one that answers it. `path`: `/package.Service/Method`.
///
/// # Errors
/// The server's status, or what stands for it where it gave none.
pub async fn unary(
    worker: &Rc<Worker>,
    to: &Destination,
    path: &'static str,
    message: &[u8],
    max_response_bytes: usize,
) -> Result<Bytes, Status> {
    let mut opened = None;
    let whole = async {
        let stream = opened.insert(ClientStream::open(worker, to, path).await?);
        stream.max_response_bytes = max_response_bytes;
        stream.send(message, true)?;
        stream.answer().await
    };
    let Some(timeout) = to.timeout else {
        return whole.await;
    };
    let in_time = tokio::time::timeout(timeout, whole).await;
    in_time.unwrap_or_else(|_| {
        let started = opened.as_ref().map(|opened: &ClientStream| &opened.stream);
        Err(super::streaming::timed_out(worker, &to.cluster, started, timeout).into())
    })
}

/// A call that sends many messages and is answered by one, or by none before its end. Dropping it resets the stream.
pub struct ClientStream {
    stream: Streaming,
    /// The answer's head came.
    head: Option<ResponseHead>,
    body: Messages,
    /// An answer with more is a failure. Default: [`MAX_RESPONSE_BYTES`].
    pub max_response_bytes: usize,
}

/// Answers to streams of ours say little.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

impl ClientStream {
    /// Opens the stream: its head is on its way.
    ///
    /// # Errors
    /// No endpoint could be reached.
    pub async fn open(worker: &Rc<Worker>, to: &Destination, path: &'static str) -> Result<Self, Status> {
        let mut headers = HeaderMap::with_capacity(to.metadata.len() + 6);
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        if let Some(timeout) = to.timeout {
            headers.insert(GRPC_TIMEOUT, grpc_timeout(timeout));
        }
        headers.insert(header::CONTENT_TYPE, grpc::CONTENT_TYPE);
        for (name, value) in &to.metadata {
            headers.append(name, value.clone());
        }
        let path = HeaderValue::from_static(path);
        let head = super::head(Method::POST, to.authority.clone(), path, headers, Protocol::Http2);
        Ok(Self {
            stream: Streaming::open(worker, &to.cluster, head, false).await?,
            head: None,
            body: Messages::default(),
            max_response_bytes: MAX_RESPONSE_BYTES,
        })
    }

    /// Queues a message; `end`: it is the last. [`Self::poll_status`] writes.
    ///
    /// # Errors
    /// The stream is gone.
    pub fn send(&mut self, message: &[u8], end: bool) -> Result<(), Status> {
        let framed = grpc::framed(message.len(), |frame| frame.extend_from_slice(message))?;
        Ok(self.stream.send(Frame::Data(framed), end)?)
    }

    /// Nothing more is sent; the server may answer.
    ///
    /// # Errors
    /// The stream is gone.
    pub fn close(&mut self) -> Result<(), Status> {
        Ok(self.stream.send(Frame::Data(Bytes::new()), true)?)
    }

    /// Bytes queued and not written.
    pub fn queued(&self) -> usize {
        self.stream.queued()
    }

    /// Writes what is queued and hears what the server says; ready once it ended the call.
    pub fn poll_status(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        if self.head.is_none() {
            let (head, end) = ready!(self.stream.poll_head(cx))?;
            let known = head.headers.contains_key(grpc::GRPC_STATUS);
            if end || known {
                return Poll::Ready(status(&head, None));
            }
            if head.status != StatusCode::OK {
                return Poll::Ready(status(&head, None));
            }
            self.head = Some(head);
        }
        let Some(head) = &self.head else {
            return Poll::Pending;
        };
        loop {
            match ready!(self.stream.poll_frame(cx))? {
                Some(Frame::Data(data)) => {
                    if self.body.len() + data.len() > self.max_response_bytes {
                        return Poll::Ready(Err(self.stream.too_large(self.max_response_bytes).into()));
                    }
                    self.body.push(&data);
                }
                Some(Frame::Trailers(trailers)) => return Poll::Ready(status(head, Some(&trailers))),
                None => return Poll::Ready(status(head, None)),
            }
        }
    }

    /// Waits for the end, and gives the message that was the answer.
    ///
    /// # Errors
    /// The server's status, or that it said OK and sent no message.
    pub async fn finish(mut self) -> Result<Bytes, Status> {
        self.answer().await
    }

    async fn answer(&mut self) -> Result<Bytes, Status> {
        poll_fn(|cx| self.poll_status(cx)).await?;
        let nothing = || grpc::Status {
            code: grpc::INTERNAL,
            message: "the answer holds no whole message".into(),
        };
        Ok(self.body.take()?.ok_or_else(nothing)?)
    }
}

/// How the server ended the call. One that says nothing did not say OK.
fn status(head: &ResponseHead, trailers: Option<&HeaderMap>) -> Result<(), Status> {
    let said = grpc::status(head.status, &head.headers, trailers);
    let nothing = || grpc::Status {
        code: grpc::UNKNOWN,
        message: "the server ended the call without a status".into(),
    };
    Ok(said.unwrap_or_else(|| Err(nothing()))?)
}

impl From<grpc::Status> for Status {
    fn from(status: grpc::Status) -> Self {
        Self { status, cause: None }
    }
}

/// At most eight digits and a unit.
fn grpc_timeout(timeout: Duration) -> HeaderValue {
    const MOST: u128 = 99_999_999;
    let (count, unit) = match timeout.as_millis() {
        ms if ms <= MOST => (ms, 'm'),
        ms if ms / 1000 <= MOST => (ms / 1000, 'S'),
        ms => ((ms / 60_000).min(MOST), 'M'),
    };
    // Digits and a letter.
    HeaderValue::try_from(format!("{count}{unit}")).unwrap_or_else(|_| HeaderValue::from_static("0m"))
}

impl From<CallFailure> for Status {
    fn from(failure: CallFailure) -> Self {
        let code = match failure.cause {
            Cause::TooLarge => grpc::RESOURCE_EXHAUSTED,
            _ => grpc::UNAVAILABLE,
        };
        let status = grpc::Status {
            code,
            message: failure.sentence,
        };
        Self {
            status,
            cause: Some(failure.cause),
        }
    }
}
