//! A management server and the HTTP/2 connection to it, which the streams of several clients share.

use crate::connection::{Connection, Keepalive, chain};
use crate::error::Error;
use crate::target::{Io, Target};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;

/// How often a ping interval is doubled for servers that complain about it: 30 s become more than the five minutes
/// that Go's gRPC server insists on by default.
const MAX_DOUBLINGS: u32 = 4;

/// Everything about a management server. The defaults of [`ServerOptions::new`] are Envoy's where Envoy has any.
#[derive(Clone)]
pub struct ServerOptions {
    /// What errors and logs call it: the name of the cluster.
    pub name: String,
    pub target: Target,
    /// Replaces [`Target::connect`], for TLS (connect to the target, then wrap) or to choose among several targets.
    pub connector: Option<Connector>,
    /// `:authority`; default the server's name.
    pub authority: Option<String>,
    /// `:scheme`: set it where the connector speaks TLS. Default: false.
    pub https: bool,
    /// `initial_metadata`: headers of each stream.
    pub initial_metadata: Vec<(String, String)>,
    /// TCP and TLS together. Default 5 s.
    pub connect_timeout: Duration,
    /// HTTP/2 pings (`Http2ProtocolOptions.connection_keepalive`), which also find a peer that hangs. Default: every
    /// 30 s, 10 s to answer, for TCP; none for Unix sockets. Dropped packets are noticed sooner, see [`Target`].
    pub keepalive: Option<Keepalive>,
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
            https: false,
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
    metadata: HeaderMap,
    /// Replaced when the connection is found dead; the cell makes clients that come together share one attempt.
    current: Mutex<Arc<OnceCell<Connection>>>,
    ping_doublings: AtomicU32,
}

impl ManagementServer {
    /// # Errors
    /// An authority or a header that HTTP does not allow.
    pub fn new(options: ServerOptions) -> Result<Self, Error> {
        let authority = options.authority.as_ref().unwrap_or(&options.name);
        let scheme = if options.https { "https" } else { "http" };
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
        let mut metadata = HeaderMap::new();
        for (key, value) in &options.initial_metadata {
            let invalid = |reason| Error::Metadata {
                server: options.name.clone(),
                key: key.clone(),
                reason,
            };
            let name: HeaderName = key.parse().map_err(|_| invalid("the name".to_owned()))?;
            let value: HeaderValue = value.parse().map_err(|_| invalid("the value".to_owned()))?;
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

    /// How often a quiet connection is pinged: the configured interval, doubled each time that the server closed a
    /// connection because it wants fewer pings (gRPC's proposal A8).
    pub fn ping_interval(&self) -> Option<Duration> {
        let interval = self.0.options.keepalive?.interval;
        Some(interval * (1 << self.0.ping_doublings.load(Ordering::Relaxed)))
    }

    pub(crate) fn origin(&self) -> &Uri {
        &self.0.origin
    }

    pub(crate) fn metadata(&self) -> &HeaderMap {
        &self.0.metadata
    }

    /// The shared connection, opened now if there is none that lives.
    pub(crate) async fn connection(&self) -> Result<Connection, String> {
        let cell = {
            let mut current = self.0.current.lock().unwrap_or_else(PoisonError::into_inner);
            if current.get().is_some_and(Connection::is_closed) {
                *current = Arc::default();
            }
            current.clone()
        };
        cell.get_or_try_init(|| self.connect()).await.cloned()
    }

    /// A stream on the connection failed other than by a status of the server: it may refuse new ones (GOAWAY) while
    /// others still live on it, so whoever comes next opens another.
    pub(crate) fn give_up(&self, connection: &Connection) {
        let mut current = self.0.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.get().is_some_and(|it| it.is(connection)) {
            *current = Arc::default();
        }
    }

    pub(crate) fn ping_less(&self) {
        let doublings = self.0.ping_doublings.load(Ordering::Relaxed);
        self.0
            .ping_doublings
            .store((doublings + 1).min(MAX_DOUBLINGS), Ordering::Relaxed);
    }

    async fn connect(&self) -> Result<Connection, String> {
        let ServerOptions {
            target,
            connector,
            connect_timeout,
            ..
        } = &self.0.options;
        let keepalive = self.ping_interval().zip(self.0.options.keepalive);
        let keepalive = keepalive.map(|(interval, it)| Keepalive { interval, ..it });
        let connect = async {
            let io = match connector {
                Some(connector) => connector(target.clone()).await,
                None => target.connect().await,
            };
            let io = io.map_err(|error| format!("cannot connect: {}", chain(&error)))?;
            Connection::open(io, keepalive)
                .await
                .map_err(|error| format!("no HTTP/2 at {target}: {}", chain(&error)))
        };
        match tokio::time::timeout(*connect_timeout, connect).await {
            Ok(connected) => connected,
            Err(_) => Err(format!(
                "cannot connect: {target} did not answer within {connect_timeout:?}"
            )),
        }
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
