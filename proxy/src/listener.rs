//! Listeners: sockets, inspection of what arrives, and the filter chain that takes a connection.
//!
//! In the order of a connection: `socket` binds, `accept` takes it on a worker (`exact_balance` may choose another), `inspect` looks at its first bytes,
//! `filter_chain` decides who takes it, `connection` walks it through all that to its network filter.

use std::{net::IpAddr, sync::Arc, time::Duration};

use ipnet::IpNet;

pub mod accept;
pub mod connection;
pub mod exact_balance;
pub mod filter_chain;
pub mod inspect;
pub mod socket;

use crate::{
    access_log::AccessLog,
    address::Address,
    cluster::TcpKeepalive,
    config::Dependencies,
    drain::Drain,
    http::HttpConnectionManager,
    network::NetworkFilter,
    stats::{Group, ListenerStat},
    tcp::TcpProxy,
    tls::DownstreamTls,
};

/// `envoy.config.listener.v3.Listener`, parsed.
#[derive(Debug)]
pub struct Listener {
    pub name: Arc<str>,
    /// `listener.<address>.`
    pub stats: Group<ListenerStat>,
    /// The first is the listener's own; the others are `additional_addresses`.
    pub addresses: Vec<ListenAddress>,
    /// False: takes connections only by hand-off from a listener with `use_original_dst`.
    pub bind_to_port: bool,
    /// Hands a connection to the listener of its original destination.
    pub use_original_dst: bool,
    pub direction: TrafficDirection,
    pub reuse_port: bool,
    pub exact_balance: bool,
    pub transparent: bool,
    pub freebind: bool,
    pub backlog: u32,
    pub tcp_fast_open_queue: Option<u32>,
    pub tcp_keepalive: Option<TcpKeepalive>,
    pub socket_options: Vec<SocketOption>,
    pub listener_filters: Vec<ListenerFilter>,
    /// `None`: wait for ever. Envoy's default: 15 s.
    pub listener_filters_timeout: Option<Duration>,
    pub continue_on_listener_filters_timeout: bool,
    pub filter_chains: Vec<Arc<FilterChain>>,
    pub default_filter_chain: Option<Arc<FilterChain>>,
    /// Read and write buffer limit of a connection, in bytes. Envoy's default: 1 MiB.
    pub per_connection_buffer_limit: u32,
    /// Logs connections that no filter chain took.
    pub access_log: Vec<AccessLog>,
    /// `listener.<this>.` in statistics: `stat_prefix`, or the address with `:` made `_`.
    pub stat_prefix: Arc<str>,
    pub ignore_global_conn_limit: bool,
    pub max_connections_per_socket_event: u32,
    /// `MODIFY_ONLY`: does not drain on SIGTERM, /drain_listeners or failed health check.
    pub drain_modify_only: bool,
    /// Hash of the parts that need new sockets when they change.
    pub socket_hash: u64,
    /// Hash of the whole received resource.
    pub hash: u64,
    /// What must be there before the listener serves.
    pub dependencies: Dependencies,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListenAddress {
    pub address: Address,
    /// An IPv6 wildcard also takes IPv4.
    pub ipv4_compat: bool,
    /// Mode of a Unix socket's file.
    pub mode: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrafficDirection {
    Unspecified,
    Inbound,
    Outbound,
}

/// A raw `setsockopt`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SocketOption {
    pub level: i32,
    pub name: i32,
    pub value: SocketOptionValue,
    pub state: SocketState,
}

/// When in a socket's life an option is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SocketState {
    Prebind,
    Bound,
    Listening,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SocketOptionValue {
    Int(i32),
    Bytes(Box<[u8]>),
}

#[derive(Debug)]
pub struct ListenerFilter {
    pub kind: ListenerFilterKind,
    /// The filter is skipped where this holds.
    pub disabled: Option<ListenerFilterPredicate>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerFilterKind {
    OriginalDst,
    TlsInspector { detect_ja3: bool },
    HttpInspector,
    ProxyProtocol { allow_without: bool },
}

/// `envoy.config.listener.v3.ListenerFilterChainMatchPredicate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerFilterPredicate {
    Any,
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
    /// `start..end` of the destination port.
    DestinationPort {
        start: u32,
        end: u32,
    },
}

/// One filter chain. Replaced by an update only where its content changed; then its connections drain.
#[derive(Debug)]
pub struct FilterChain {
    pub name: Arc<str>,
    pub matches: FilterChainMatch,
    /// `None`: plaintext (raw_buffer).
    pub tls: Option<Arc<DownstreamTls>>,
    /// Its connections watch this.
    pub drain: Drain,
    /// `None`: no limit.
    pub transport_socket_connect_timeout: Option<Duration>,
    /// In their order, before the one that takes the connection.
    pub network_filters: Box<[NetworkFilter]>,
    pub filter: TerminalFilter,
    pub hash: u64,
}

/// The network filter that takes the connection.
#[derive(Debug)]
pub enum TerminalFilter {
    Http(Arc<HttpConnectionManager>),
    Tcp(Arc<TcpProxy>),
    /// A chain without filters: the connection is closed at once, as Envoy does.
    None,
}

/// `envoy.config.listener.v3.FilterChainMatch`; empty parts match everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FilterChainMatch {
    pub destination_port: Option<u16>,
    pub prefix_ranges: Vec<IpNet>,
    pub direct_source_prefix_ranges: Vec<IpNet>,
    pub source_type: SourceType,
    pub source_prefix_ranges: Vec<IpNet>,
    pub source_ports: Vec<u16>,
    /// Lower-case; `*.x` for suffixes.
    pub server_names: Vec<Box<str>>,
    /// `raw_buffer`, `tls`; empty: any.
    pub transport_protocol: Box<str>,
    pub application_protocols: Vec<Box<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SourceType {
    #[default]
    Any,
    SameIpOrLoopback,
    External,
}

/// What the listener filters found out about a connection: the facts of the filter-chain decision.
#[derive(Debug, Clone)]
pub struct ConnectionFacts {
    /// The destination: original where restored.
    pub destination: Address,
    pub source: Address,
    pub direct_source: Option<IpAddr>,
    /// `raw_buffer` unless the TLS inspector saw a ClientHello.
    pub transport_protocol: &'static str,
    pub server_name: Option<Box<str>>,
    /// From the ClientHello's ALPN or the HTTP inspector.
    pub application_protocols: Vec<Box<str>>,
}

impl Listener {
    /// The chains, the default one last.
    pub fn chains(&self) -> impl Iterator<Item = &Arc<FilterChain>> {
        self.filter_chains.iter().chain(&self.default_filter_chain)
    }
}

impl FilterChain {
    /// Whether XFCC will need the client's whole certificate chain.
    pub fn keeps_client_chain(&self) -> bool {
        match &self.filter {
            TerminalFilter::Http(manager) => manager.set_client_cert.cert || manager.set_client_cert.chain,
            TerminalFilter::Tcp(_) | TerminalFilter::None => false,
        }
    }
}
