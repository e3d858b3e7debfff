//! A management server and the HTTP/2 connection to it, which the streams of several clients share.

use crate::error::Error;
use crate::target::{Io, Target};
use http::Uri;
use hyper_util::rt::TokioIo;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::transport::{Channel, Endpoint};

/// What a server may send ahead of the reader on a stream, and on all streams together: enough to keep a link across a
/// data centre full, small enough that a stalled reader costs little. Messages may be larger.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// How often a ping interval is doubled for servers that complain about it: 30 s become more than the five minutes
/// that Go's gRPC server insists on by default.
const MAX_DOUBLINGS: u32 = 4;

/// Everything about a management server. The defaults of [`ServerOptions::new`] are Envoy's where Envoy has any.
#[derive(Clone)]
pub struct ServerOptions {
    /// What errors and logs call it: the name of the cluster.
    pub name: String,
    pub target: Target,
    /// Replaces [`Target::connect`], for TLS: connect to the target, then wrap.
    pub connector: Option<Connector>,
    /// `:authority`; default the server's name. The scheme is https if there is a connector.
    pub authority: Option<String>,
    /// `initial_metadata`: headers of each stream.
    pub initial_metadata: Vec<(String, String)>,
    /// TCP and TLS together. Default 5 s.
    pub connect_timeout: Duration,
    /// HTTP/2 pings (`Http2ProtocolOptions.connection_keepalive`), which also find a peer that hangs. Default: every
    /// 30 s, 10 s to answer, for TCP; none for Unix sockets. Dropped packets are noticed sooner, see [`Target`].
    pub keepalive: Option<Keepalive>,
}

/// HTTP/2 pings on a connection from which nothing has come for `interval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    pub interval: Duration,
    pub timeout: Duration,
}

/// Opens a connection to a target; gives TLS to a crate that knows nothing of it.
pub type Connector = Arc<dyn Fn(Target) -> Connecting + Send + Sync>;
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send>>;

impl ServerOptions {
    pub fn new(name: impl Into<String>, target: Target) -> Self {
        let keepalive = match target {
            Target::Tcp { .. } => Some(Keepalive {
                interval: Duration::from_secs(30),
                timeout: Duration::from_secs(10),
            }),
            Target::Unix(_) => None,
        };
        Self {
            name: name.into(),
            target,
            connector: None,
            authority: None,
            initial_metadata: Vec::new(),
            connect_timeout: Duration::from_secs(5),
            keepalive,
        }
    }
}

/// A management server. Clones share one connection, opened when it is first needed.
#[derive(Clone)]
pub struct ManagementServer(Arc<Inner>);

struct Inner {
    options: ServerOptions,
    origin: Uri,
    metadata: MetadataMap,
    /// Replaced when the connection is found dead; the cell makes clients that come together share one attempt.
    current: Mutex<Arc<OnceCell<Channel>>>,
    ping_doublings: AtomicU32,
}

/// A connection in use; says which one to give up.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) channel: Channel,
    cell: Arc<OnceCell<Channel>>,
}

impl ManagementServer {
    /// # Errors
    /// An authority or a header that HTTP does not allow.
    pub fn new(options: ServerOptions) -> Result<Self, Error> {
        let authority = options.authority.as_ref().unwrap_or(&options.name);
        let scheme = if options.connector.is_some() { "https" } else { "http" };
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(authority.as_str())
            .path_and_query("/")
            .build();
        let origin = uri.map_err(|error| Error::Authority {
            server: options.name.clone(),
            authority: authority.clone(),
            reason: error.to_string(),
        })?;
        let mut metadata = MetadataMap::new();
        for (key, value) in &options.initial_metadata {
            let invalid = |reason| Error::Metadata {
                server: options.name.clone(),
                key: key.clone(),
                reason,
            };
            let name: AsciiMetadataKey = key.parse().map_err(|_| invalid("the name".to_owned()))?;
            let value: AsciiMetadataValue = value.parse().map_err(|_| invalid("the value".to_owned()))?;
            metadata.append(name, value);
        }
        Ok(Self(Arc::new(Inner {
            options,
            origin,
            metadata,
            current: Mutex::default(),
            ping_doublings: AtomicU32::new(0),
        })))
    }

    /// The name given in the options.
    pub fn name(&self) -> &str {
        &self.0.options.name
    }

    pub fn target(&self) -> &Target {
        &self.0.options.target
    }

    pub(crate) fn origin(&self) -> &Uri {
        &self.0.origin
    }

    pub(crate) fn metadata(&self) -> &MetadataMap {
        &self.0.metadata
    }

    /// The shared connection, opened now if there is none.
    pub(crate) async fn connection(&self) -> Result<Connection, tonic::transport::Error> {
        let cell = self.0.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let channel = cell.get_or_try_init(|| self.connect()).await?.clone();
        Ok(Connection { channel, cell })
    }

    /// The connection failed: whoever comes next opens another. Streams that still live on it stay.
    pub(crate) fn give_up(&self, connection: &Connection) {
        let mut current = self.0.current.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&current, &connection.cell) {
            *current = Arc::default();
        }
    }

    /// The server closed the connection because it wants fewer pings (gRPC's proposal A8 asks a client to double).
    pub(crate) fn ping_less(&self) {
        let doublings = self.0.ping_doublings.load(Ordering::Relaxed);
        self.0
            .ping_doublings
            .store((doublings + 1).min(MAX_DOUBLINGS), Ordering::Relaxed);
    }

    async fn connect(&self) -> Result<Channel, tonic::transport::Error> {
        let options = &self.0.options;
        let mut endpoint = Endpoint::from(self.0.origin.clone())
            .connect_timeout(options.connect_timeout)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        if let Some(Keepalive { interval, timeout }) = options.keepalive {
            let interval = interval * (1 << self.0.ping_doublings.load(Ordering::Relaxed));
            endpoint = endpoint
                .http2_keep_alive_interval(interval)
                .keep_alive_timeout(timeout)
                .keep_alive_while_idle(true);
        }
        let (target, connector) = (options.target.clone(), options.connector.clone());
        let connect = tower::service_fn(move |_: Uri| {
            let (target, connector) = (target.clone(), connector.clone());
            async move {
                let io = match connector {
                    Some(connector) => connector(target).await?,
                    None => target.connect().await?,
                };
                Ok::<_, io::Error>(TokioIo::new(io))
            }
        });
        endpoint.connect_with_connector(connect).await
    }
}

impl fmt::Display for ManagementServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0.options.name, self.0.options.target)
    }
}

impl fmt::Debug for ManagementServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManagementServer({self})")
    }
}
