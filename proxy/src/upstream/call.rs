//! Requests that the proxy itself makes (config over REST, key sets, log and trace export, authorization), through the same
//! clusters, balancers, pools, breakers and statistics as traffic.
//!
//! [`call`] sends one request and collects its answer; [`Streaming`] is the exchange itself, for bodies that come bit by
//! bit; [`grpc`] puts messages into either. All of it runs on the thread of the [`Worker`] that it is given; the control
//! thread has one of its own.

use std::{rc::Rc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

pub mod grpc;
mod streaming;

pub use streaming::Streaming;

use crate::{
    failure::ResetReason,
    http::message::{Frame, Protocol, RequestHead, Spelling},
    worker::Worker,
};

/// One request of the proxy's own.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: Method,
    /// `Host`, `:authority`; Envoy puts the cluster's name where nothing else is configured.
    pub authority: HeaderValue,
    /// With the query.
    pub path: HeaderValue,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// `None`: for ever. Covers all of the call.
    pub timeout: Option<Duration>,
    /// An answer with a larger body is a failure.
    pub max_response_bytes: usize,
}

/// Its whole answer, whatever the status.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{sentence}")]
pub struct CallFailure {
    pub cause: Cause,
    /// One sentence that names the cluster or the endpoint.
    pub sentence: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// No cluster of this name is public.
    NoCluster,
    /// No endpoint of the cluster can take a request.
    NoHealthyEndpoint,
    Reset(ResetReason),
    Timeout,
    /// The answer is larger than the caller takes.
    TooLarge,
}

const EXPECTED_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");

impl Request {
    /// A request without headers and body, to the origin `authority`.
    pub fn new(method: Method, authority: HeaderValue, path: HeaderValue, max_response_bytes: usize) -> Self {
        Self {
            method,
            authority,
            path,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            timeout: None,
            max_response_bytes,
        }
    }

    fn head(mut self) -> RequestHead {
        if !self.body.is_empty() {
            self.headers.insert(header::CONTENT_LENGTH, self.body.len().into());
        }
        if let Some(timeout) = self.timeout {
            let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            self.headers.insert(EXPECTED_TIMEOUT, ms.into());
        }
        head(self.method, self.authority, self.path, self.headers, Protocol::Http11)
    }
}

/// `protocol`: of the connection that it would have come on, which clusters may follow (`use_downstream_protocol_config`).
fn head(
    method: Method,
    authority: HeaderValue,
    path: HeaderValue,
    headers: HeaderMap,
    protocol: Protocol,
) -> RequestHead {
    RequestHead {
        method,
        scheme: HeaderValue::from_static("http"),
        authority,
        host_missing: false,
        path,
        upgrade: None,
        headers,
        spelling: Spelling::default(),
        protocol,
    }
}

/// Sends `request` to an endpoint of `cluster` and waits for the end of its answer. One attempt. Dropping it gives up.
///
/// # Errors
/// Where no whole answer came in time.
pub async fn call(worker: &Rc<Worker>, cluster: &str, request: Request) -> Result<Response, CallFailure> {
    let (timeout, limit, body) = (request.timeout, request.max_response_bytes, request.body.clone());
    let head = request.head();
    let Some(timeout) = timeout else {
        let mut streaming = Streaming::open(worker, cluster, head, body.is_empty()).await?;
        return collect(&mut streaming, body, limit).await;
    };
    let mut started = None;
    let whole = async {
        let streaming = started.insert(Streaming::open(worker, cluster, head, body.is_empty()).await?);
        collect(streaming, body, limit).await
    };
    let in_time = tokio::time::timeout(timeout, whole).await;
    in_time.unwrap_or_else(|_| Err(streaming::timed_out(worker, cluster, started.as_ref(), timeout)))
}

async fn collect(streaming: &mut Streaming, body: Bytes, limit: usize) -> Result<Response, CallFailure> {
    if !body.is_empty() {
        streaming.send(Frame::Data(body), true)?;
    }
    let (head, end) = streaming.head().await?;
    let mut response = Response {
        status: head.status,
        headers: head.headers,
        body: Bytes::new(),
        trailers: None,
    };
    if end {
        return Ok(response);
    }
    let mut gathered = BytesMut::new();
    while let Some(frame) = streaming.frame().await? {
        match frame {
            Frame::Data(data) if gathered.len() + data.len() > limit => return Err(streaming.too_large(limit)),
            Frame::Data(data) => gathered.extend_from_slice(&data),
            Frame::Trailers(trailers) => response.trailers = Some(trailers),
        }
    }
    response.body = gathered.freeze();
    Ok(response)
}
