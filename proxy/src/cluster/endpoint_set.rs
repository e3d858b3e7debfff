//! The next set of a cluster's endpoints: an assignment joined with what is known of each host.

use std::sync::{Arc, atomic::Ordering};

use hashbrown::HashMap;

use super::{
    Cluster, Discovery, EdsHealth, Endpoint, EndpointConfig, EndpointSet, EndpointState, LocalityEndpoints,
    PrioritySet, TransportSockets, outlier,
};
use crate::{
    address::Address, config::endpoint::LoadAssignment, metadata::Metadata, stats::ClusterStat, tls::UpstreamTransport,
};

/// Makes `assignment` the endpoints of this version of a cluster. State of hosts that stay is carried over by address, also
/// from the version that it replaces.
pub fn apply(cluster: &Cluster, assignment: &LoadAssignment) {
    let old = cluster.endpoints.load();
    let replaced = cluster
        .replaces
        .upgrade()
        .map(|replaced| replaced.endpoints.load_full());
    let known: HashMap<&Address, &Arc<EndpointState>> = replaced
        .as_deref()
        .into_iter()
        .chain([&**old])
        .flat_map(EndpointSet::endpoints)
        .map(|e| (&e.address, &e.state))
        .collect();
    let mut priorities = Vec::with_capacity(assignment.priorities.len());
    for (priority, localities) in assignment.priorities.iter().enumerate() {
        let mut set = PrioritySet {
            endpoints: Vec::with_capacity(localities.iter().map(|locality| locality.endpoints.len()).sum()),
            localities: Vec::with_capacity(localities.len()),
        };
        for locality in localities {
            let endpoints: Vec<Arc<Endpoint>> = locality
                .endpoints
                .iter()
                .map(|(address, config)| {
                    Arc::new(Endpoint {
                        address: address.clone(),
                        locality: locality.locality.clone(),
                        priority: priority as u32,
                        config: config.clone(),
                        transport: transport(&cluster.transport, config),
                        state: known.get(address).map_or_else(Arc::default, |state| (*state).clone()),
                    })
                })
                .collect();
            set.endpoints.extend(endpoints.iter().cloned());
            set.localities.push(LocalityEndpoints {
                locality: locality.locality.clone(),
                weight: locality.weight,
                endpoints,
            });
        }
        priorities.push(set);
    }
    let next = EndpointSet {
        version: cluster.state.endpoint_version.fetch_add(1, Ordering::Relaxed) + 1,
        priorities,
        overprovisioning_factor: assignment.policy.overprovisioning_factor,
        drop_overloads: assignment.policy.drop_overloads.clone(),
    };
    let left = mark_removed(cluster, &old, &next);
    let (total, known_hosts) = (next.endpoints().count(), known.len());
    let stats = &cluster.state.stats;
    stats.set(ClusterStat::MembershipTotal, total as u64);
    // Envoy sets it only where hosts change.
    if !matches!(cluster.discovery, Discovery::Static) {
        let heaviest = next.endpoints().map(|e| u64::from(e.config.weight)).max();
        stats.set(ClusterStat::MaxHostWeight, heaviest.unwrap_or(0));
    }
    // Hosts that came are those that are neither known nor gone.
    let changed = left > 0 || total != known_hosts;
    if changed {
        stats.inc(ClusterStat::MembershipChange);
    } else if old.version > 0 {
        stats.inc(ClusterStat::UpdateNoRebuild);
    }
    let default = |e: &&Arc<Endpoint>| !known.contains_key(&e.address) && cluster.transport.is_default(e);
    let defaults = next.endpoints().filter(default).count();
    stats.add(ClusterStat::DefaultTotalMatchCount, defaults as u64);
    cluster.endpoints.store(Arc::new(next));
    refresh_health(cluster);
}

/// Sets the gauges of health, which ejections change too.
pub fn refresh_health(cluster: &Cluster) {
    let set = cluster.endpoints.load();
    let degraded = |e: &&Arc<Endpoint>| e.is_healthy() && e.config.health == EdsHealth::Degraded;
    let degraded = set.endpoints().filter(degraded).count();
    let healthy = set.endpoints().filter(|e| e.is_healthy()).count();
    let stats = &cluster.state.stats;
    stats.set(ClusterStat::MembershipDegraded, degraded as u64);
    stats.set(ClusterStat::MembershipHealthy, (healthy - degraded) as u64);
}

/// This version of a cluster takes the place of the one before: hosts that only that one had are gone.
pub fn replace(new: &Cluster) {
    if let Some(old) = new.replaces.upgrade() {
        mark_removed(new, &old.endpoints.load(), &new.endpoints.load());
    }
}

/// Hosts that left: pools that hold connections to them close them, and they are ejected no more, for nobody else would
/// let them back in. How many they are.
fn mark_removed(cluster: &Cluster, old: &EndpointSet, next: &EndpointSet) -> usize {
    let stays: hashbrown::HashSet<&Address> = next.endpoints().map(|e| &e.address).collect();
    let mut left = 0;
    for endpoint in old.endpoints() {
        let leaves = !stays.contains(&endpoint.address);
        endpoint.state.removed.store(leaves, Ordering::Relaxed);
        if leaves {
            left += 1;
            outlier::forget_ejection(cluster, &endpoint.state);
        }
    }
    left
}

impl EndpointSet {
    /// Of all priorities.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.priorities.iter().flat_map(|p| &p.endpoints)
    }
}

/// Metadata namespace that chooses a host's transport socket.
const TRANSPORT_SOCKET_MATCH: &str = "envoy.transport_socket_match";

/// The first `transport_socket_matches` entry whose criteria the host's metadata satisfies, else the cluster's own.
fn transport(sockets: &TransportSockets, config: &EndpointConfig) -> UpstreamTransport {
    let metadata = config.metadata.as_deref().and_then(|m| m.get(TRANSPORT_SOCKET_MATCH));
    let satisfied = |(key, wanted): &(Box<str>, Metadata)| metadata.and_then(|m| m.get(key)) == Some(wanted);
    let chosen = sockets.matches.iter().find(|m| m.criteria.iter().all(satisfied));
    chosen.map_or(&sockets.default, |m| &m.transport).clone()
}
