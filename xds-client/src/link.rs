//! A client's stream to its management server: waiting, connecting or open, one step at a time.

mod stream;

use crate::connection::{Connection, chain};
use crate::message::{Request, Response};
use crate::server::ManagementServer;
use crate::state::Protocol;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use stream::{Failure, Stream};
use tokio::time::{Instant, sleep_until};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pub(crate) enum Link {
    /// Until the next attempt.
    Waiting(Instant),
    Connecting(Boxed<Result<Connection, Broken>>),
    Open(Box<Open>),
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

pub(crate) struct Open {
    stream: Stream,
    connection: Connection,
    server: ManagementServer,
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
        Self::Open(Box::new(Open {
            stream: Stream::open(server, connection.clone(), path, of),
            connection,
            server: server.clone(),
        }))
    }

    /// Puts a request on the stream, if one is open; what a broken stream does not take is said again on the next.
    pub(crate) fn send(&self, request: &Request) {
        if let Self::Open(open) = self {
            open.stream.send(request);
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
                Self::Open(open) => match open.stream.next().await {
                    Ok(Some(response)) => return Step::Received(response),
                    Ok(None) => {
                        return Step::Broken(Broken {
                            reason: "the server ended the stream".to_owned(),
                        });
                    }
                    Err(Failure::Status(status)) => {
                        return Step::Broken(Broken {
                            reason: status.to_string(),
                        });
                    }
                    Err(Failure::Lost(error)) => {
                        let (server, connection) = (open.server.clone(), open.connection.clone());
                        *self = Self::Breaking(Box::pin(broken(server, connection, error)));
                    }
                },
                Self::Breaking(broken) => return Step::Broken(broken.await),
            }
        }
    }
}

/// What became of a stream that ended with its connection, or alone of its connection's streams.
async fn broken(server: ManagementServer, mut connection: Connection, error: hyper::Error) -> Broken {
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
            reason: format!("the connection was lost: {}", chain(&error)),
        },
    }
}
