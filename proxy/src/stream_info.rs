//! What is known of a connection and of a stream: the facts that formats, access logs and decisions read.

use std::{
    borrow::Cow,
    cell::RefCell,
    rc::Rc,
    sync::Arc,
    time::{Instant, SystemTime},
};

use crate::{
    address::Address,
    cluster::{Cluster, Endpoint},
    failure::ResponseFlags,
    http::{codec::h1::WireBytes, message::Protocol},
    istio::{exchange::Learned, peer::Peer},
    listener::{TrafficDirection, UpstreamSource},
    network::istio_stats::Reported,
    route::{Route, RouteConfiguration, VirtualHost},
    trace::Reason,
};

/// One downstream connection, from accept to close.
#[derive(Debug)]
pub struct ConnectionInfo {
    /// `%CONNECTION_ID%`: unique in the process.
    pub id: u64,
    /// Where the client meant to go: the original destination where a listener filter restored it.
    pub local_address: Address,
    /// The socket's own address, `%DOWNSTREAM_DIRECT_LOCAL_ADDRESS%`.
    pub direct_local_address: Address,
    pub remote_address: Address,
    /// Whether `local_address` was restored from an interception (`%..%` and ORIGINAL_DST clusters need to know).
    pub local_address_restored: bool,
    /// `original_src`: what its upstream connections are bound to.
    pub upstream_source: Option<UpstreamSource>,
    /// From the TLS inspector alone, as in Envoy: termination by itself tells nothing.
    pub requested_server_name: Option<Arc<str>>,
    pub tls: Option<Arc<TlsInfo>>,
    pub listener_name: Arc<str>,
    pub direction: TrafficDirection,
    pub filter_chain_name: Arc<str>,
    /// The listener's `per_connection_buffer_limit_bytes`.
    pub buffer_limit: u32,
    pub start_time: SystemTime,
    pub start: Instant,
    /// Made by the first network filter that has something to tell.
    pub state: RefCell<Option<Box<ConnectionState>>>,
}

/// What network filters tell of a connection, to each other, to the terminal filter and to logs.
#[derive(Debug, Default)]
pub struct ConnectionState {
    /// `filter namespace -> object`.
    pub dynamic_metadata: serde_json::Map<String, serde_json::Value>,
    /// Envoy's filter state `envoy.tcp_proxy.cluster`: overrides the TCP proxy's own.
    pub cluster: Option<Arc<str>>,
    pub termination_details: Option<Cow<'static, str>>,
    /// Bytes that the client sent and the terminal filter never saw.
    pub withheld: u64,
    /// A filter closed the connection, not a peer.
    pub closed: bool,
    /// Who the client is, once Istio's metadata exchange has told.
    pub peer: Option<Learned>,
    pub flags: ResponseFlags,
}

/// What the TLS session with a peer established.
#[derive(Debug)]
pub struct TlsInfo {
    /// The peer's certificate, where it presented one.
    pub peer: Option<certs::PeerInfo>,
    /// The peer's chain in DER, leaf first; kept only where XFCC's `Cert` or `Chain` asks for it.
    pub peer_chain: Vec<Box<[u8]>>,
    /// Our own certificate's facts (`%DOWNSTREAM_LOCAL_URI_SAN%`, XFCC `By`).
    pub local: Option<Arc<certs::CertificateInfo>>,
    /// As Envoy prints it: `TLSv1.3`.
    pub version: &'static str,
    /// OpenSSL's name of the cipher suite.
    pub cipher: &'static str,
    pub alpn: Option<Box<str>>,
}

/// One stream: an HTTP request, or a TCP connection's whole life.
#[derive(Debug)]
pub struct StreamInfo {
    pub connection: Rc<ConnectionInfo>,
    pub start_time: SystemTime,
    pub start: Instant,
    pub protocol: Option<Protocol>,
    /// The client as XFF tells it; the connection's remote address otherwise.
    pub remote_address: Address,
    pub request_id: Option<http::HeaderValue>,
    /// `None`: nobody asked whether the request is traced.
    pub trace_reason: Option<Reason>,
    pub route_configuration: Option<Arc<RouteConfiguration>>,
    pub virtual_host: Option<Arc<VirtualHost>>,
    pub route: Option<Arc<Route>>,
    pub response_code: Option<u16>,
    pub response_code_details: Option<Cow<'static, str>>,
    pub connection_termination_details: Option<Cow<'static, str>>,
    pub flags: ResponseFlags,
    pub bytes: Bytes,
    pub upstream: UpstreamInfo,
    /// Of a TCP connection: what Istio's metrics counted already.
    pub reported: Reported,
    /// The workload that sent it, where Istio's metadata exchange told.
    pub downstream_peer: Option<Rc<Peer>>,
    pub times: Times,
    /// `filter namespace -> object`, made at first use.
    pub dynamic_metadata: Option<Box<serde_json::Map<String, serde_json::Value>>>,
    /// The sentence of the failure that ended the stream, for logs and `why`.
    pub failure: Option<Box<str>>,
}

/// Byte counts of a stream: bodies as `%BYTES_RECEIVED%` counts them, heads and wire beside.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bytes {
    pub received: u64,
    pub sent: u64,
    pub request_headers: u64,
    pub response_headers: u64,
    pub response_trailers: u64,
    pub upstream_wire_received: u64,
    pub upstream_wire_sent: u64,
    pub downstream_wire_received: u64,
    pub downstream_wire_sent: u64,
}

/// The last upstream attempt of a stream.
#[derive(Debug, Default)]
pub struct UpstreamInfo {
    pub cluster: Option<Arc<Cluster>>,
    pub endpoint: Option<Arc<Endpoint>>,
    pub local_address: Option<Address>,
    pub protocol: Option<Protocol>,
    pub connection_id: u64,
    pub tls: Option<Arc<TlsInfo>>,
    /// `%UPSTREAM_TRANSPORT_FAILURE_REASON%`.
    pub transport_failure: Option<Box<str>>,
    /// `%UPSTREAM_REQUEST_ATTEMPT_COUNT%`.
    pub attempts: u32,
    /// The workload that answered, where Istio's metadata exchange told.
    pub peer: Option<Rc<Peer>>,
}

/// Moments of a stream, for durations in logs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    pub last_downstream_rx: Option<Instant>,
    pub first_upstream_tx: Option<Instant>,
    pub last_upstream_tx: Option<Instant>,
    pub first_upstream_rx: Option<Instant>,
    pub last_upstream_rx: Option<Instant>,
    pub first_downstream_tx: Option<Instant>,
    pub last_downstream_tx: Option<Instant>,
    pub upstream_connect: Option<(Instant, Instant)>,
    /// When the stream ended; `%DURATION%`.
    pub end: Option<Instant>,
}

impl Bytes {
    /// What one attempt took; a retry adds to it, as in Envoy.
    pub fn add_upstream(&mut self, wire: WireBytes) {
        self.upstream_wire_received += wire.received;
        self.upstream_wire_sent += wire.sent;
    }
}

impl StreamInfo {
    pub fn new(connection: Rc<ConnectionInfo>) -> Self {
        let remote_address = connection.remote_address.clone();
        Self {
            connection,
            start_time: SystemTime::now(),
            start: Instant::now(),
            protocol: None,
            remote_address,
            request_id: None,
            trace_reason: None,
            route_configuration: None,
            virtual_host: None,
            route: None,
            response_code: None,
            response_code_details: None,
            connection_termination_details: None,
            flags: ResponseFlags::default(),
            bytes: Bytes::default(),
            upstream: UpstreamInfo::default(),
            reported: Reported::default(),
            downstream_peer: None,
            times: Times::default(),
            dynamic_metadata: None,
            failure: None,
        }
    }

    /// Adds to the dynamic metadata of `namespace`.
    pub fn set_metadata(&mut self, namespace: &str, key: &str, value: serde_json::Value) {
        set_metadata(self.dynamic_metadata.get_or_insert_default(), namespace, key, value);
    }

    /// A stream that is a whole connection: takes over what network filters told of it.
    pub fn adopt_connection(&mut self) {
        let Some(state) = self.connection.state.borrow_mut().take() else {
            return;
        };
        if !state.dynamic_metadata.is_empty() {
            self.dynamic_metadata = Some(Box::new(state.dynamic_metadata));
        }
        self.connection_termination_details = state.termination_details;
        self.bytes.received += state.withheld;
    }
}

impl ConnectionState {
    /// Adds to the dynamic metadata of `namespace`.
    pub fn set_metadata(&mut self, namespace: &str, key: &str, value: serde_json::Value) {
        set_metadata(&mut self.dynamic_metadata, namespace, key, value);
    }
}

type Metadata = serde_json::Map<String, serde_json::Value>;

fn set_metadata(all: &mut Metadata, namespace: &str, key: &str, value: serde_json::Value) {
    let own = all.entry(namespace).or_insert_with(|| Metadata::new().into());
    if let serde_json::Value::Object(own) = own {
        own.insert(key.to_owned(), value);
    }
}
