//! The applications behind the sidecars. They know nothing of TLS, versions of routes, or each other's places.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use crate::http1::{Head, Wire};

/// What an API's reply says of itself, and what `web` hands on to its own clients.
pub(crate) const VERSION: &str = "x-version";
/// The identity under which the API was called, as its sidecar found it in the client's certificate.
pub(crate) const CALLER: &str = "x-caller";
/// The weights under which a route was chosen, added by the route configuration.
pub(crate) const WEIGHTS: &str = "x-weights";

/// A running application; it ends, with its connections, when dropped.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    /// How long every reply takes, in milliseconds.
    delay: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
enum Kind {
    /// Calls the API through its own sidecar's outbound listener.
    Web { outbound: SocketAddr },
    Api {
        version: &'static str,
        delay: Arc<AtomicU64>,
    },
}

impl App {
    pub(crate) async fn web(outbound: SocketAddr) -> io::Result<Self> {
        Self::start(Kind::Web { outbound }, Arc::default()).await
    }

    pub(crate) async fn api(version: &'static str) -> io::Result<Self> {
        let delay = Arc::new(AtomicU64::new(0));
        let kind = Kind::Api {
            version,
            delay: delay.clone(),
        };
        Self::start(kind, delay).await
    }

    async fn start(kind: Kind, delay: Arc<AtomicU64>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            // Dropped with this task: what is aborted here ends its connections too.
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => if let Ok((socket, _)) = accepted {
                        connections.spawn(serve(socket, kind.clone()));
                    },
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(Self { address, delay, task })
    }

    pub(crate) fn slow_down(&self, delay: Duration) {
        self.delay.store(delay.as_millis() as u64, Ordering::Relaxed);
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: TcpStream, kind: Kind) -> io::Result<()> {
    let mut client = Wire::new(socket);
    let mut upstream = None;
    while let Some(request) = client.request().await? {
        let reply = match &kind {
            Kind::Api { version, delay } => api(version, delay, &request).await,
            Kind::Web { outbound } => web(*outbound, &mut upstream, &request).await,
        };
        client.send(&reply).await?;
    }
    Ok(())
}

async fn api(version: &str, delay: &AtomicU64, request: &Head) -> String {
    let delay = delay.load(Ordering::Relaxed);
    if delay > 0 {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    let caller = caller(request.header("x-forwarded-client-cert").unwrap_or_default());
    let body = format!("api {version}\n");
    format!(
        "HTTP/1.1 200 OK\r\n{VERSION}: {version}\r\n{CALLER}: {caller}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The URI of the client's certificate in `x-forwarded-client-cert`.
fn caller(xfcc: &str) -> &str {
    let fields = xfcc.split([';', ',']);
    let mut uris = fields.filter_map(|field| field.strip_prefix("URI="));
    uris.next().unwrap_or("none")
}

async fn web(outbound: SocketAddr, upstream: &mut Option<Wire>, request: &Head) -> String {
    match call(outbound, upstream, &request.path).await {
        Ok((head, body)) => {
            let mut reply = format!("HTTP/1.1 {} -\r\n", head.status);
            for name in [VERSION, CALLER, WEIGHTS] {
                if let Some(value) = head.header(name) {
                    reply.push_str(&format!("{name}: {value}\r\n"));
                }
            }
            reply.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
            reply.push_str(&body);
            reply
        }
        Err(e) => {
            *upstream = None;
            let body = format!("web: its own sidecar failed: {e}\n");
            format!("HTTP/1.1 502 -\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        }
    }
}

async fn call(outbound: SocketAddr, upstream: &mut Option<Wire>, path: &str) -> io::Result<(Head, String)> {
    let wire = match upstream {
        Some(wire) => wire,
        None => upstream.insert(Wire::connect(outbound).await?),
    };
    wire.send(&format!("GET {path} HTTP/1.1\r\nhost: api\r\n\r\n")).await?;
    let (head, body) = wire.response().await?;
    if head.closes() {
        *upstream = None;
    }
    Ok((head, String::from_utf8_lossy(&body).into_owned()))
}
