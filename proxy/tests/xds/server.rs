//! A state-of-the-world xDS server that says what it is asked: per stream its method and requests, in order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use xds_client::message::{Any, DiscoveryRequest, DiscoveryResponse};

/// Tenfold what a loaded machine takes.
const LIMIT: Duration = Duration::from_secs(20);

/// Serves until the process ends.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
    pub address: Option<SocketAddr>,
}

struct Shared {
    /// By type URL, then name: version and bytes.
    resources: Mutex<BTreeMap<String, BTreeMap<String, Bytes>>>,
    version: watch::Sender<u64>,
    streams: Mutex<Vec<Stream>>,
    tls: Option<certs::ServerContext>,
}

/// What one stream was asked.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The last part of the path: `StreamSecrets`.
    pub method: String,
    pub requests: Vec<DiscoveryRequest>,
    pub open: bool,
}

impl Server {
    pub fn tcp(tls: Option<certs::ServerContext>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut server = Self::new(tls);
        server.address = Some(listener.local_addr().unwrap());
        let shared = server.shared.clone();
        run(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::spawn(accept(socket, shared.clone()));
            }
        });
        server
    }

    pub fn unix(path: &Path) -> Self {
        let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let server = Self::new(None);
        let shared = server.shared.clone();
        run(async move {
            let listener = tokio::net::UnixListener::from_std(listener).unwrap();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::spawn(accept(socket, shared.clone()));
            }
        });
        server
    }

    fn new(tls: Option<certs::ServerContext>) -> Self {
        let shared = Shared {
            resources: Mutex::default(),
            version: watch::Sender::new(1),
            streams: Mutex::default(),
            tls,
        };
        Self {
            shared: Arc::new(shared),
            address: None,
        }
    }

    /// Sets a resource, written as JSON, and pushes it; its name is its first field.
    pub fn set(&self, type_url: &str, resource: &serde_json::Value) {
        let name = resource["cluster_name"].as_str().or(resource["name"].as_str()).unwrap();
        let type_name = type_url.strip_prefix("type.googleapis.com/").unwrap();
        let (bytes, _) = xds_api::json::to_wire(type_name, resource, xds_api::json::ReadOptions::default()).unwrap();
        let mut resources = self.shared.resources.lock().unwrap();
        let of_type = resources.entry(type_url.to_owned()).or_default();
        of_type.insert(name.to_owned(), bytes.into());
        drop(resources);
        self.shared.version.send_modify(|version| *version += 1);
    }

    pub fn remove(&self, type_url: &str, name: &str) {
        if let Some(of_type) = self.shared.resources.lock().unwrap().get_mut(type_url) {
            of_type.remove(name);
        }
        self.shared.version.send_modify(|version| *version += 1);
    }

    pub fn streams(&self) -> Vec<Stream> {
        self.shared.streams.lock().unwrap().clone()
    }

    /// Open streams of a method.
    pub fn open(&self, method: &str) -> Vec<Stream> {
        let mut streams = self.streams();
        streams.retain(|stream| stream.open && stream.method == method);
        streams
    }

    /// Waits until the streams are as wanted.
    pub fn wait(&self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !wanted(self) {
            assert!(Instant::now() < deadline, "{what}: {:#?}", self.streams());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn run(serve: impl Future<Output = ()> + Send + 'static) {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(serve);
    });
}

async fn accept(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, shared: Arc<Shared>) {
    match shared.tls.clone() {
        None => connection(io, shared).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(io).await {
                connection(stream, shared).await;
            }
        }
    }
}

async fn connection(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, shared: Arc<Shared>) {
    let Ok(mut connection) = h2::server::handshake(io).await else {
        return;
    };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
        let mut streams = shared.streams.lock().unwrap();
        let index = streams.len();
        streams.push(Stream {
            method,
            requests: Vec::new(),
            open: true,
        });
        drop(streams);
        let head = http::Response::builder()
            .header("content-type", "application/grpc")
            .body(())
            .unwrap();
        let send = respond.send_response(head, false).unwrap();
        let shared = shared.clone();
        tokio::spawn(async move {
            serve(request.into_body(), send, &shared, index).await;
            shared.streams.lock().unwrap()[index].open = false;
        });
    }
}

/// What the client last asked of a type, and what it was told.
#[derive(Default)]
struct Asked {
    names: Vec<String>,
    told: BTreeMap<String, Bytes>,
    answered: bool,
}

async fn serve(mut body: h2::RecvStream, mut send: h2::SendStream<Bytes>, shared: &Shared, index: usize) {
    let mut buffer = BytesMut::new();
    let mut version = shared.version.subscribe();
    let mut asked: BTreeMap<String, Asked> = BTreeMap::new();
    loop {
        tokio::select! {
            chunk = body.data() => {
                let Some(Ok(chunk)) = chunk else { return };
                body.flow_control().release_capacity(chunk.len()).unwrap();
                buffer.extend_from_slice(&chunk);
                while let Some(request) = message(&mut buffer) {
                    let of_type = asked.entry(request.type_url.clone()).or_default();
                    if of_type.names != request.resource_names {
                        of_type.names.clone_from(&request.resource_names);
                        of_type.answered = false;
                    }
                    shared.streams.lock().unwrap()[index].requests.push(request);
                }
            }
            changed = version.changed() => changed.unwrap(),
        }
        let version = *version.borrow();
        for (type_url, asked) in &mut asked {
            if let Some(response) = response(shared, type_url, asked, version)
                && send.send_data(framed(&response), false).is_err()
            {
                return;
            }
        }
    }
}

fn response(shared: &Shared, type_url: &str, asked: &mut Asked, version: u64) -> Option<DiscoveryResponse> {
    let resources = shared.resources.lock().unwrap();
    let mut held = resources.get(type_url).cloned().unwrap_or_default();
    held.retain(|name, _| asked.names.is_empty() || asked.names.contains(name));
    // As SPIRE does: nothing is said of names that do not exist.
    let nothing_to_say = held.is_empty() && !asked.names.is_empty();
    if nothing_to_say || (held == asked.told && asked.answered) {
        return None;
    }
    asked.told.clone_from(&held);
    asked.answered = true;
    Some(DiscoveryResponse {
        version_info: version.to_string(),
        nonce: format!("nonce-{version}"),
        type_url: type_url.to_owned(),
        resources: held
            .into_values()
            .map(|value| Any {
                type_url: type_url.to_owned(),
                value,
            })
            .collect(),
        ..DiscoveryResponse::default()
    })
}

fn message(buffer: &mut BytesMut) -> Option<DiscoveryRequest> {
    let length = buffer.get(1..5)?.get_u32() as usize;
    if buffer.len() < 5 + length {
        return None;
    }
    buffer.advance(5);
    Some(DiscoveryRequest::decode(buffer.split_to(length)).unwrap())
}

fn framed(message: &DiscoveryResponse) -> Bytes {
    let body = message.encode_to_vec();
    let mut framed = BytesMut::with_capacity(5 + body.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(body.len()).unwrap());
    framed.put_slice(&body);
    framed.freeze()
}
