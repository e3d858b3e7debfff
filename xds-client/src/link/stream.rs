//! One gRPC stream of discovery: requests one way, responses the other.

use crate::connection::{Connection, Requests};
use crate::grpc::{self, Messages, Status};
use crate::message::{DeltaDiscoveryResponse, DiscoveryResponse, Request, Response};
use crate::server::ManagementServer;
use crate::state::Protocol;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, TE};
use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};
use hyper::body::{Body, Incoming};
use prost::Message;
use std::future::poll_fn;
use std::pin::Pin;
use tokio::sync::mpsc::{self, UnboundedSender};

/// Why a stream ended.
pub(super) enum Failure {
    /// The server said so.
    Status(Status),
    /// With its connection, or reset.
    Lost(hyper::Error),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        Self::Lost(error)
    }
}

pub(super) struct Stream {
    of: Protocol,
    requests: UnboundedSender<Bytes>,
    responses: Responses,
    messages: Messages,
}

/// A server may hold its headers back until it has something to say, which it may not before it has read requests: so
/// they are awaited while requests already flow.
enum Responses {
    Opening(super::Boxed<Result<http::Response<Incoming>, hyper::Error>>),
    Open(http::Response<Incoming>),
}

impl Stream {
    pub(super) fn open(
        server: &ManagementServer,
        mut connection: Connection,
        path: &'static str,
        of: Protocol,
    ) -> Self {
        let (requests, body) = mpsc::unbounded_channel();
        let mut request = http::Request::new(Requests(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = at(server.origin(), path);
        *request.headers_mut() = server.metadata().clone();
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
        request.headers_mut().insert(CONTENT_TYPE, grpc::CONTENT_TYPE);
        Self {
            of,
            requests,
            responses: Responses::Opening(Box::pin(async move { connection.send(request).await })),
            messages: Messages::default(),
        }
    }

    /// What a broken stream does not take is said again on the next.
    pub(super) fn send(&self, request: &Request) {
        let framed = match request {
            Request::StateOfTheWorld(request) => framed(request),
            Request::Delta(request) => framed(request),
        };
        match framed {
            Ok(framed) => _ = self.requests.send(framed),
            Err(status) => tracing::error!("cannot send a discovery request: {status}"),
        }
    }

    /// The next response; `None`: the server ended the stream, and said nothing of it. Cancelling loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Response>, Failure> {
        loop {
            match &mut self.responses {
                Responses::Opening(opening) => {
                    let response = opening.await?;
                    grpc::status(response.status(), response.headers(), None).transpose()?;
                    self.responses = Responses::Open(response);
                }
                Responses::Open(response) => {
                    if let Some(message) = self.messages.take()? {
                        return Ok(Some(decode(self.of, message)?));
                    }
                    let body = response.body_mut();
                    let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await else {
                        return Ok(None);
                    };
                    match frame?.into_data() {
                        Ok(piece) => self.messages.push(&piece),
                        Err(frame) => {
                            grpc::status(response.status(), response.headers(), frame.trailers_ref()).transpose()?;
                        }
                    }
                }
            }
        }
    }
}

fn framed(message: &impl Message) -> Result<Bytes, Status> {
    grpc::framed(message.encoded_len(), |frame| {
        // The buffer grows.
        _ = message.encode(frame);
    })
}

fn decode(of: Protocol, message: Bytes) -> Result<Response, Status> {
    let decoded = match of {
        Protocol::StateOfTheWorld => DiscoveryResponse::decode(message).map(Response::StateOfTheWorld),
        Protocol::Delta => DeltaDiscoveryResponse::decode(message).map(Response::Delta),
    };
    let mut response = decoded.map_err(|error| Status {
        code: grpc::INTERNAL,
        message: format!("the server sent no discovery response: {error}"),
    })?;
    response.compact();
    Ok(response)
}

/// `path` at the server.
fn at(origin: &Uri, path: &'static str) -> Uri {
    let mut parts = origin.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::from_static(path));
    // The origin has the rest.
    Uri::from_parts(parts).unwrap_or_default()
}
