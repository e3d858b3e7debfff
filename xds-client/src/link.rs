//! A client's stream to its management server: waiting, connecting or open, one step at a time.

mod codec;

use crate::connection::{Connection, chain};
use crate::message::{Request, Response};
use crate::server::ManagementServer;
use crate::state::Protocol;
use codec::Envelopes;
use http::uri::PathAndQuery;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::time::{Instant, sleep_until};
use tonic::codegen::tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Status, Streaming};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pub(crate) enum Link {
    /// Until the next attempt.
    Waiting(Instant),
    Connecting(Boxed<Result<Connection, Broken>>),
    Open(Stream),
    /// The stream is gone; why is being found out.
    Breaking(Boxed<Broken>),
}

pub(crate) enum Step {
    /// The wait is over: [`Link::connect`].
    Due,
    /// There is a connection: [`Link::open`].
    Connected(Connection),
    Received(Response),
    Broken(Broken),
}

/// Why there is no stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) reason: String,
}

pub(crate) struct Stream {
    requests: UnboundedSender<Request>,
    responses: Responses,
    connection: Connection,
    server: ManagementServer,
}

/// A server may hold its headers back until it has something to say, which it may not before it has read requests: so
/// they are awaited while requests already flow.
enum Responses {
    Opening(Boxed<Result<Streaming<Response>, Status>>),
    Open(Box<Streaming<Response>>),
}

impl Link {
    pub(crate) fn wait(time: Duration) -> Self {
        Self::Waiting(Instant::now() + time)
    }

    pub(crate) fn connect(server: &ManagementServer) -> Self {
        let server = server.clone();
        Self::Connecting(Box::pin(async move {
            server.connection().await.map_err(|reason| Broken { reason })
        }))
    }

    pub(crate) fn open(server: &ManagementServer, connection: Connection, path: &'static str, of: Protocol) -> Self {
        let (requests, receiver) = mpsc::unbounded_channel();
        let mut grpc = tonic::client::Grpc::with_origin(connection.clone(), server.origin().clone())
            // Envoy sets no limit, and a push of 10,000 clusters passes gRPC's 4 MiB easily.
            .max_decoding_message_size(usize::MAX);
        let mut request = tonic::Request::new(UnboundedReceiverStream::new(receiver));
        *request.metadata_mut() = server.metadata().clone();
        let opening = Box::pin(async move {
            grpc.ready()
                .await
                .map_err(|error| Status::from_error(Box::new(error)))?;
            let response = grpc
                .streaming(request, PathAndQuery::from_static(path), Envelopes(of))
                .await?;
            Ok(response.into_inner())
        });
        Self::Open(Stream {
            requests,
            responses: Responses::Opening(opening),
            connection,
            server: server.clone(),
        })
    }

    /// Puts a request on the stream, if one is open; what a broken stream does not take is said again on the next.
    pub(crate) fn send(&self, request: Request) {
        if let Self::Open(stream) = self {
            _ = stream.requests.send(request);
        }
    }

    /// Waits for the next step. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> Step {
        loop {
            match self {
                Self::Waiting(until) => {
                    sleep_until(*until).await;
                    return Step::Due;
                }
                Self::Connecting(connecting) => match connecting.await {
                    Ok(connection) => return Step::Connected(connection),
                    Err(broken) => return Step::Broken(broken),
                },
                Self::Open(stream) => match stream.next().await {
                    Ok(Some(response)) => return Step::Received(response),
                    Ok(None) => {
                        return Step::Broken(Broken {
                            reason: "the server ended the stream".to_owned(),
                        });
                    }
                    Err(status) => {
                        let (server, connection) = (stream.server.clone(), stream.connection.clone());
                        *self = Self::Breaking(Box::pin(broken(server, connection, status)));
                    }
                },
                Self::Breaking(broken) => return Step::Broken(broken.await),
            }
        }
    }
}

impl Stream {
    async fn next(&mut self) -> Result<Option<Response>, Status> {
        loop {
            match &mut self.responses {
                Responses::Opening(opening) => self.responses = Responses::Open(Box::new(opening.await?)),
                Responses::Open(responses) => return responses.message().await,
            }
        }
    }
}

/// What became of a stream that ended with an error. A status that the server sent leaves the connection to its other
/// streams; any other comes from the connection.
async fn broken(server: ManagementServer, mut connection: Connection, status: Status) -> Broken {
    let Some(lost) = std::error::Error::source(&status).map(chain) else {
        let code = status.code();
        return Broken {
            reason: format!("gRPC status {} ({code:?}): {}", i32::from(code), status.message()),
        };
    };
    server.give_up(&connection);
    match connection.ended().await {
        Some(ended) => {
            if ended.calm_asked_for {
                server.ping_less();
            }
            Broken {
                reason: format!("the connection ended: {}", ended.reason),
            }
        }
        None => Broken {
            reason: format!("the connection was lost: {lost}"),
        },
    }
}
