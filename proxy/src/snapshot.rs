//! The one thing that both paths share: what the proxy is configured to do right now, immutable.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::{cluster::Cluster, listener::Listener, route::RouteConfiguration};

/// By name.
pub type Named<T> = HashMap<Arc<str>, Arc<T>, foldhash::fast::RandomState>;

/// All active (warmed) resources. A request takes one `Arc` of it at its start and uses it to its end.
#[derive(Debug, Default, Clone)]
pub struct Snapshot {
    /// Grows with every publication.
    pub version: u64,
    pub listeners: Named<Listener>,
    pub routes: Named<RouteConfiguration>,
    pub clusters: Named<Cluster>,
    /// Runtime keys, merged over all layers, as JSON scalars.
    pub runtime: Arc<serde_json::Map<String, serde_json::Value>>,
}
