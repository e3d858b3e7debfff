//! Which connections may be shared by which requests.

use std::sync::Arc;

use crate::{
    address::Address,
    cluster::{Cluster, Endpoint, UpstreamProtocol},
    http::message::Protocol,
    tls::UpstreamTransport,
    upstream::connect::ConnectOptions,
};

/// What connections must have in common to be shared: two requests with equal keys may use one connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PoolKey {
    address: Address,
    /// Identity of the TLS context's slot; 0 for plaintext.
    transport: usize,
    pub(super) protocol: Wanted,
    pub(super) options: ConnectOptions,
}

/// Which protocol a connection shall speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wanted {
    Http1,
    Http2,
    /// ALPN decides.
    Auto,
}

impl PoolKey {
    pub fn new(cluster: &Cluster, endpoint: &Endpoint, downstream: Protocol, options: ConnectOptions) -> Self {
        let protocol = match &cluster.protocol {
            UpstreamProtocol::Http1(_) => Wanted::Http1,
            UpstreamProtocol::Http2(_) => Wanted::Http2,
            UpstreamProtocol::UseDownstream { .. } if downstream == Protocol::Http2 => Wanted::Http2,
            UpstreamProtocol::UseDownstream { .. } => Wanted::Http1,
            UpstreamProtocol::Auto { .. } => Wanted::Auto,
        };
        let transport = match &endpoint.transport {
            UpstreamTransport::Raw => 0,
            UpstreamTransport::Tls(tls) => Arc::as_ptr(tls) as usize,
        };
        Self {
            address: endpoint.address.clone(),
            transport,
            protocol,
            options,
        }
    }
}
