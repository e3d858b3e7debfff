//! A control plane that writes down what it is asked, over all streams, in the order in which it came. It speaks both
//! variants of the protocol, and can hold back what it has to say of a type.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use serde_json::Value;
use tokio::sync::watch;
use xds_client::message::{
    Any, DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};

/// Types by the name of their service, in the order in which a push tells of them.
pub const TYPES: [(&str, &str); 6] = [
    ("CDS", "envoy.config.cluster.v3.Cluster"),
    ("EDS", "envoy.config.endpoint.v3.ClusterLoadAssignment"),
    ("LDS", "envoy.config.listener.v3.Listener"),
    ("SRDS", "envoy.config.route.v3.ScopedRouteConfiguration"),
    ("RDS", "envoy.config.route.v3.RouteConfiguration"),
    ("VHDS", "envoy.config.route.v3.VirtualHost"),
];
/// Of these a state-of-the-world response is the full state, and everything is asked for by naming nothing.
const FULL_STATE: [&str; 3] = ["CDS", "LDS", "SRDS"];
/// When nobody asked for anything for so long, nobody will.
const QUIET: Duration = Duration::from_millis(300);
/// Tenfold what a loaded machine takes.
const LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);

fn type_url(service: &str) -> String {
    let (_, name) = TYPES
        .iter()
        .find(|(known, _)| *known == service)
        .expect("a known service");
    format!("type.googleapis.com/{name}")
}

fn service(type_url: &str) -> Option<&'static str> {
    let of = |(_, name): &&(&str, &str)| type_url.ends_with(&format!("/{name}"));
    TYPES.iter().find(of).map(|(service, _)| *service)
}

/// Serves until the process ends.
#[derive(Clone)]
pub struct ControlPlane {
    shared: Arc<Shared>,
    pub address: SocketAddr,
}

struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// By service, then name: version and bytes.
    resources: BTreeMap<&'static str, BTreeMap<String, (u64, Bytes)>>,
    held: BTreeSet<&'static str>,
    /// Virtual hosts that do not exist are said not to.
    log: Vec<String>,
    last: Option<Instant>,
    version: u64,
}

impl State {
    fn say(&mut self, line: String) {
        self.log.push(line);
        self.last = Some(Instant::now());
    }
}

impl ControlPlane {
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: watch::Sender::new(0),
        });
        let serving = shared.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((socket, _)) = listener.accept().await {
                    tokio::spawn(connection(socket, serving.clone()));
                }
            });
        });
        Self { shared, address }
    }

    /// One push: what is now, and what is no more.
    pub fn push(&self, set: &[(&'static str, Value)], removed: &[(&'static str, &str)]) {
        let mut state = self.shared.state.lock().unwrap();
        state.version += 1;
        let version = state.version;
        for (service, resource) in set {
            let name = resource["cluster_name"].as_str().or(resource["name"].as_str()).unwrap();
            let url = type_url(service);
            let type_name = url.strip_prefix("type.googleapis.com/").unwrap();
            let options = xds_api::json::ReadOptions::default();
            let (bytes, _) = xds_api::json::to_wire(type_name, resource, options).unwrap();
            let of_type = state.resources.entry(service).or_default();
            of_type.insert(name.to_owned(), (version, bytes.into()));
        }
        for (service, name) in removed {
            state.resources.entry(service).or_default().remove(*name);
        }
        drop(state);
        self.shared.changed.send_modify(|changes| *changes += 1);
    }

    /// Says nothing of a type until it is let go.
    pub fn hold(&self, service: &'static str) {
        self.shared.state.lock().unwrap().held.insert(service);
    }

    pub fn let_go(&self, service: &'static str) {
        self.shared.state.lock().unwrap().held.remove(service);
        self.shared.changed.send_modify(|changes| *changes += 1);
    }

    /// Writes a line of the test's own between what was asked.
    pub fn note(&self, line: impl Into<String>) {
        self.shared.state.lock().unwrap().log.push(line.into());
    }

    /// Waits until nothing more is asked.
    pub fn settle(&self) {
        let deadline = Instant::now() + LIMIT;
        let began = Instant::now();
        loop {
            let last = self.shared.state.lock().unwrap().last.unwrap_or(began).max(began);
            if last.elapsed() >= QUIET {
                return;
            }
            assert!(Instant::now() < deadline, "asked without end: {:#?}", self.log());
            std::thread::sleep(POLL);
        }
    }

    pub fn log(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().log.clone()
    }
}

async fn connection(io: tokio::net::TcpStream, shared: Arc<Shared>) {
    let Ok(mut connection) = h2::server::handshake(io).await else {
        return;
    };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default();
        let is_delta = method.starts_with("Delta");
        let head = http::Response::builder().header("content-type", "application/grpc");
        let send = respond.send_response(head.body(()).unwrap(), false).unwrap();
        let stream = Stream {
            send,
            shared: shared.clone(),
            is_delta,
            of_type: BTreeMap::new(),
        };
        tokio::spawn(stream.serve(request.into_body()));
    }
}

struct Stream {
    send: h2::SendStream<Bytes>,
    shared: Arc<Shared>,
    is_delta: bool,
    of_type: BTreeMap<&'static str, Asked>,
}

/// What the client wants of a type, and what it was told.
#[derive(Default)]
struct Asked {
    wildcard: bool,
    names: BTreeSet<String>,
    told: BTreeMap<String, u64>,
    /// Some answer was given; the nonce of the last, and whether that was answered in turn.
    nonce: u64,
    answered: bool,
    /// Names that were asked for since the last answer.
    fresh: BTreeSet<String>,
    is_new: bool,
}

impl Stream {
    async fn serve(mut self, mut body: h2::RecvStream) {
        let mut buffer = BytesMut::new();
        let mut changed = self.shared.changed.subscribe();
        loop {
            tokio::select! {
                chunk = body.data() => {
                    let Some(Ok(chunk)) = chunk else { return };
                    let _ = body.flow_control().release_capacity(chunk.len());
                    buffer.extend_from_slice(&chunk);
                    while let Some(message) = message(&mut buffer) {
                        match self.is_delta {
                            true => self.delta(&DeltaDiscoveryRequest::decode(message).unwrap()),
                            false => self.sotw(&DiscoveryRequest::decode(message).unwrap()),
                        }
                        if self.answer().is_err() {
                            return;
                        }
                    }
                }
                Ok(()) = changed.changed() => if self.answer().is_err() {
                    return;
                },
            }
        }
    }

    fn sotw(&mut self, request: &DiscoveryRequest) {
        let Some(service) = service(&request.type_url) else {
            return;
        };
        let asked = self.of_type.entry(service).or_default();
        let names: BTreeSet<String> = request.resource_names.iter().cloned().collect();
        let verb = asked.verb(&request.response_nonce, request.error_detail.is_some());
        if request.response_nonce.is_empty() {
            (asked.is_new, asked.wildcard) = (true, names.is_empty());
        }
        asked.fresh.extend(names.difference(&asked.names).cloned());
        asked.told.retain(|name, _| asked.wildcard || names.contains(name));
        asked.names = names;
        let line = format!("{service} {verb} {}", listed(asked.wildcard, &asked.names));
        self.shared.state.lock().unwrap().say(line);
    }

    fn delta(&mut self, request: &DeltaDiscoveryRequest) {
        let Some(service) = service(&request.type_url) else {
            return;
        };
        let asked = self.of_type.entry(service).or_default();
        let verb = asked.verb(&request.response_nonce, request.error_detail.is_some());
        let more: BTreeSet<String> = request.resource_names_subscribe.iter().cloned().collect();
        let fewer: BTreeSet<String> = request.resource_names_unsubscribe.iter().cloned().collect();
        let is_first =
            !std::mem::replace(&mut asked.is_new, true) && request.response_nonce.is_empty() && asked.nonce == 0;
        if is_first {
            asked.wildcard = more.is_empty() || more.contains("*");
        }
        for name in &fewer {
            asked.names.remove(name);
            asked.told.remove(name);
        }
        asked.fresh.extend(more.iter().cloned());
        asked.names.extend(more.iter().cloned());
        let mut line = format!("{service} {verb}");
        if is_first && more.is_empty() {
            line.push_str(" *");
        }
        more.iter().for_each(|name| line.push_str(&format!(" +{name}")));
        fewer.iter().for_each(|name| line.push_str(&format!(" -{name}")));
        self.shared.state.lock().unwrap().say(line);
    }

    /// Says what the client does not know yet, in the order of a push.
    fn answer(&mut self) -> Result<(), h2::Error> {
        for (service, _) in TYPES {
            let Some(asked) = self.of_type.get_mut(service) else {
                continue;
            };
            let state = self.shared.state.lock().unwrap();
            if state.held.contains(service) {
                continue;
            }
            let mut held = state.resources.get(service).cloned().unwrap_or_default();
            let version = state.version;
            drop(state);
            held.retain(|name, _| asked.wildcard || asked.names.contains(name));
            let response = match self.is_delta {
                true => asked.delta(service, &held, version),
                false => asked.sotw(service, &held, version),
            };
            if let Some(response) = response {
                self.send.send_data(framed(&response), false)?;
            }
        }
        Ok(())
    }
}

impl Asked {
    /// What a request says besides names.
    fn verb(&mut self, nonce: &str, is_nack: bool) -> &'static str {
        let is_last = !nonce.is_empty() && nonce == self.nonce.to_string();
        match (is_last && !std::mem::replace(&mut self.answered, true), is_nack) {
            (true, true) => "nacks",
            (true, false) => "acks",
            (false, _) => "asks",
        }
    }

    fn sent(&mut self, held: &BTreeMap<String, (u64, Bytes)>) {
        self.told = held
            .iter()
            .map(|(name, (version, _))| (name.clone(), *version))
            .collect();
        self.fresh.clear();
        self.is_new = false;
        self.nonce += 1;
        self.answered = false;
    }

    fn news<'a>(&self, held: &'a BTreeMap<String, (u64, Bytes)>) -> Vec<(&'a String, &'a (u64, Bytes))> {
        let is_news = |(name, (version, _)): &(&'a String, &'a (u64, Bytes))| {
            self.told.get(*name) != Some(version) || self.fresh.contains(*name)
        };
        held.iter().filter(is_news).collect()
    }

    fn sotw(&mut self, service: &str, held: &BTreeMap<String, (u64, Bytes)>, version: u64) -> Option<Vec<u8>> {
        let full = FULL_STATE.contains(&service);
        let gone = full && self.told.keys().any(|name| !held.contains_key(name));
        let news = self.news(held);
        if news.is_empty() && !gone && !(self.is_new && full) {
            return None;
        }
        let said: Vec<Bytes> = match full {
            true => held.values().map(|(_, bytes)| bytes.clone()).collect(),
            false => news.into_iter().map(|(_, (_, bytes))| bytes.clone()).collect(),
        };
        self.sent(held);
        let any = |value| Any {
            type_url: type_url(service),
            value,
        };
        let response = DiscoveryResponse {
            version_info: version.to_string(),
            nonce: self.nonce.to_string(),
            type_url: type_url(service),
            resources: said.into_iter().map(any).collect(),
            ..DiscoveryResponse::default()
        };
        Some(response.encode_to_vec())
    }

    fn delta(&mut self, service: &str, held: &BTreeMap<String, (u64, Bytes)>, version: u64) -> Option<Vec<u8>> {
        let resource = |(name, (version, bytes)): (&String, &(u64, Bytes))| Resource {
            name: name.clone(),
            version: version.to_string(),
            // The name that the client asked for.
            aliases: if service == "VHDS" {
                vec![name.clone()]
            } else {
                Vec::new()
            },
            resource: Some(Any {
                type_url: type_url(service),
                value: bytes.clone(),
            }),
            ..Resource::default()
        };
        let mut said: Vec<Resource> = self.news(held).into_iter().map(resource).collect();
        let mut gone: Vec<String> = self
            .told
            .keys()
            .filter(|name| !held.contains_key(*name))
            .cloned()
            .collect();
        let unknown = self
            .fresh
            .iter()
            .filter(|name| !held.contains_key(*name) && **name != "*");
        match service {
            // An empty resource says that there is none.
            "VHDS" => said.extend(unknown.map(|name| Resource {
                name: name.clone(),
                aliases: vec![name.clone()],
                ..Resource::default()
            })),
            _ => gone.extend(unknown.cloned()),
        }
        let first = self.is_new && self.nonce == 0 && self.wildcard;
        if said.is_empty() && gone.is_empty() && !first {
            return None;
        }
        self.sent(held);
        let response = DeltaDiscoveryResponse {
            system_version_info: version.to_string(),
            nonce: self.nonce.to_string(),
            type_url: type_url(service),
            resources: said,
            removed_resources: gone,
            ..DeltaDiscoveryResponse::default()
        };
        Some(response.encode_to_vec())
    }
}

fn listed(wildcard: bool, names: &BTreeSet<String>) -> String {
    match wildcard && names.is_empty() {
        true => "*".to_owned(),
        false => names.iter().cloned().collect::<Vec<_>>().join(","),
    }
}

fn message(buffer: &mut BytesMut) -> Option<BytesMut> {
    let length = buffer.get(1..5)?.get_u32() as usize;
    if buffer.len() < 5 + length {
        return None;
    }
    buffer.advance(5);
    Some(buffer.split_to(length))
}

fn framed(body: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(5 + body.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(body.len()).unwrap());
    framed.put_slice(body);
    framed.freeze()
}
