//! A management server that does what the test says: it hands each stream to the test, which reads requests and writes
//! responses.

use bytes::Bytes;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::future::Future;
use std::future::{Ready, ready};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tonic::codegen::tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::server::{Grpc, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use xds_api::Message;
use xds_api::envoy::config::cluster::v3::Cluster;
use xds_api::envoy::config::core::v3::Node;
use xds_api::pb::Any;
use xds_client::{Io, Target, resource_type};

/// Nothing in these tests takes a second; this only ends a test that would hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn within<T>(time: Duration, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(time, future).await.expect("in time")
}

pub(crate) struct Server<Q, A> {
    pub(crate) target: Target,
    /// Connections accepted so far.
    pub(crate) connections: Arc<AtomicUsize>,
    calls: UnboundedReceiver<Call<Q, A>>,
    task: tokio::task::JoinHandle<()>,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    async fn accept(&self) -> Box<dyn Io> {
        match self {
            Self::Tcp(listener) => Box::new(listener.accept().await.unwrap().0),
            Self::Unix(listener) => Box::new(listener.accept().await.unwrap().0),
        }
    }
}

/// A stream that a client opened. Dropping it ends the stream with status OK.
pub(crate) struct Call<Q, A> {
    pub(crate) path: String,
    pub(crate) authority: String,
    pub(crate) scheme: String,
    pub(crate) metadata: tonic::metadata::MetadataMap,
    requests: Streaming<Q>,
    responses: UnboundedSender<Result<A, Status>>,
}

impl<Q, A> Drop for Server<Q, A> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<Q, A> Server<Q, A>
where
    Q: Message + Default + Send + 'static,
    A: Message + Default + Send + 'static,
{
    pub(crate) async fn tcp() -> Self {
        Self::on_port(0).await
    }

    pub(crate) async fn on_port(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Target::Tcp {
            host: "127.0.0.1".into(),
            port,
        };
        Self::serve(target, Listener::Tcp(listener))
    }

    pub(crate) fn unix(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let target = Target::Unix(path.to_owned());
        Self::serve(target, Listener::Unix(listener))
    }

    fn serve(target: Target, listener: Listener) -> Self {
        let (sender, calls) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = connections.clone();
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            loop {
                let io = TokioIo::new(listener.accept().await);
                counter.fetch_add(1, Ordering::Relaxed);
                let sender = sender.clone();
                let service = service_fn(move |request| call(request, sender.clone()));
                open.spawn(http2::Builder::new(TokioExecutor::new()).serve_connection(io, service));
            }
        });
        Self {
            target,
            connections,
            calls,
            task,
        }
    }

    pub(crate) async fn accept(&mut self) -> Call<Q, A> {
        within(PATIENCE, self.calls.recv()).await.expect("the server runs")
    }
}

impl<Q: Message + Default + 'static, A> Call<Q, A> {
    pub(crate) async fn request(&mut self) -> Q {
        within(PATIENCE, self.requests.message())
            .await
            .expect("no error")
            .expect("a request")
    }

    /// That nothing comes cannot be proved, only given time to be wrong.
    pub(crate) async fn no_request(&mut self) {
        let request = tokio::time::timeout(Duration::from_millis(50), self.requests.message()).await;
        assert!(request.is_err(), "unexpected request");
    }

    pub(crate) fn respond(&self, response: A) {
        self.responses.send(Ok(response)).unwrap();
    }

    pub(crate) fn fail(self, status: Status) {
        self.responses.send(Err(status)).unwrap();
    }
}

async fn call<Q, A>(
    request: hyper::Request<hyper::body::Incoming>,
    calls: UnboundedSender<Call<Q, A>>,
) -> Result<hyper::Response<tonic::body::Body>, Infallible>
where
    Q: Message + Default + Send + 'static,
    A: Message + Default + Send + 'static,
{
    let uri = request.uri();
    let (path, authority) = (
        uri.path().to_owned(),
        uri.authority().map(ToString::to_string).unwrap_or_default(),
    );
    let scheme = uri.scheme_str().unwrap_or_default().to_owned();
    let accept = Accept {
        path,
        authority,
        scheme,
        calls,
    };
    Ok(Grpc::new(ProstCodec::<A, Q>::default())
        .max_encoding_message_size(usize::MAX)
        .streaming(accept, request)
        .await)
}

struct Accept<Q, A> {
    path: String,
    authority: String,
    scheme: String,
    calls: UnboundedSender<Call<Q, A>>,
}

impl<Q, A> StreamingService<Q> for Accept<Q, A>
where
    Q: Send + 'static,
    A: Send + 'static,
{
    type Response = A;
    type ResponseStream = UnboundedReceiverStream<Result<A, Status>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<Q>>) -> Self::Future {
        let (responses, receiver) = mpsc::unbounded_channel();
        let (metadata, _, requests) = request.into_parts();
        let (path, authority, scheme) = (self.path.clone(), self.authority.clone(), self.scheme.clone());
        let sent = self.calls.send(Call {
            path,
            authority,
            scheme,
            metadata,
            requests,
            responses,
        });
        ready(match sent {
            Ok(()) => Ok(Response::new(UnboundedReceiverStream::new(receiver))),
            Err(_) => Err(Status::unavailable("the test is over")),
        })
    }
}

pub(crate) const NODE_ID: &str = "sidecar~10.0.0.1~web.default~default.svc.cluster.local";

pub(crate) fn node() -> Bytes {
    Node {
        id: NODE_ID.into(),
        ..Node::default()
    }
    .encode_to_vec()
    .into()
}

pub(crate) fn cluster(name: &str) -> Any {
    let value = Cluster {
        name: name.into(),
        ..Cluster::default()
    }
    .encode_to_vec();
    Any {
        type_url: resource_type::CLUSTER.into(),
        value: value.into(),
    }
}
