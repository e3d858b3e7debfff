//! The next set of a cluster's endpoints: an assignment joined with what is known of each host.

use std::sync::{Arc, atomic::Ordering};

use hashbrown::HashMap;
use serde_json::Value;

use super::{
    Cluster, Endpoint, EndpointConfig, EndpointSet, EndpointState, LocalityEndpoints, PrioritySet, TransportSockets,
};
use crate::{address::Address, config::endpoint::LoadAssignment, stats::ClusterStat, tls::UpstreamTransport};

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
        let mut set = PrioritySet::default();
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
    mark_removed(cluster, &old, &next);
    let total = next.endpoints().count();
    let stats = &cluster.state.stats;
    stats.set(ClusterStat::MembershipTotal, total as u64);
    let healthy = next.endpoints().filter(|e| e.is_healthy()).count();
    stats.set(ClusterStat::MembershipHealthy, healthy as u64);
    stats.inc(ClusterStat::MembershipChange);
    cluster.endpoints.store(Arc::new(next));
}

/// This version of a cluster takes the place of the one before: hosts that only that one had are gone.
pub fn replace(new: &Cluster) {
    if let Some(old) = new.replaces.upgrade() {
        mark_removed(new, &old.endpoints.load(), &new.endpoints.load());
    }
}

/// Hosts that left: pools that hold connections to them close them.
fn mark_removed(cluster: &Cluster, old: &EndpointSet, next: &EndpointSet) {
    let stays: hashbrown::HashSet<&Address> = next.endpoints().map(|e| &e.address).collect();
    for endpoint in old.endpoints() {
        let removed = !stays.contains(&endpoint.address);
        endpoint.state.removed.store(removed, Ordering::Relaxed);
        // Nobody else will let it back in.
        if removed && endpoint.state.ejected.swap(false, Ordering::AcqRel) {
            cluster.state.ejected.fetch_sub(1, Ordering::AcqRel);
        }
    }
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
    let satisfied = |(key, wanted): (&String, &Value)| metadata.and_then(|m| m.get(key)) == Some(wanted);
    let chosen = sockets.matches.iter().find(|m| m.criteria.iter().all(satisfied));
    chosen.map_or(&sockets.default, |m| &m.transport).clone()
}
