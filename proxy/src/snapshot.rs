//! The one thing that both paths share: what the proxy is configured to do right now, immutable.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use hashbrown::HashMap;

use crate::{
    address::Address,
    cluster::Cluster,
    config::source::SourceSpecifier,
    listener::Listener,
    route::{RouteConfiguration, scope::Scopes},
};

/// By name.
pub type Named<T> = HashMap<Arc<str>, Arc<T>, foldhash::fast::RandomState>;

/// All active (warmed) resources. A request takes one `Arc` of it at its start and uses it to its end.
#[derive(Debug, Default, Clone)]
pub struct Snapshot {
    /// Grows with every publication.
    pub version: u64,
    pub listeners: Named<Listener>,
    /// Listeners by each of their addresses, for hand-off by original destination.
    pub by_address: HashMap<Address, Arc<Listener>, foldhash::fast::RandomState>,
    pub routes: Named<RouteConfiguration>,
    /// Scopes by the source that serves them (SRDS).
    pub scopes: HashMap<SourceSpecifier, Arc<Scopes>, foldhash::fast::RandomState>,
    pub clusters: Named<Cluster>,
    /// Runtime keys, merged over all layers, as JSON scalars.
    pub runtime: Arc<serde_json::Map<String, serde_json::Value>>,
}

impl Snapshot {
    /// The listener that takes connections to `destination`: the exact address, else the wildcard of its port.
    pub fn listener_for(&self, destination: &Address) -> Option<&Arc<Listener>> {
        let ip = destination.ip()?;
        let any = match ip {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        let wildcard = || self.by_address.get(&Address::Ip(SocketAddr::new(any, ip.port())));
        self.by_address.get(destination).or_else(wildcard)
    }

    /// Rebuilds the address index; call it after `listeners` changed.
    pub fn index_addresses(&mut self) {
        self.by_address = self
            .listeners
            .values()
            .flat_map(|listener| {
                listener
                    .addresses
                    .iter()
                    .map(move |a| (a.address.clone(), listener.clone()))
            })
            .collect();
    }
}
