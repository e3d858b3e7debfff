//! Load balancing: which endpoint of a cluster takes a request. Pure: random numbers, cursors and load are facts.
//!
//! `priority` picks the priority by health, this module the endpoint within it: weighted round robin, least request by the
//! power of two choices, weighted random, or consistent hashing (`consistent`). What a balancer derives from the endpoints
//! (`usable`) is rebuilt only when they changed.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use super::{Cluster, Discovery, EdsHealth, Endpoint, EndpointConfig, LbPolicy, original::OriginalHost};
use crate::{stats::ClusterStat, stream_info::ConnectionInfo};

mod consistent;
mod priority;
mod usable;

pub use usable::Tables;
use usable::{Usable, Version};

/// What a worker keeps between two choices for one cluster.
#[derive(Debug, Default)]
pub struct Balancer {
    /// What `usable` was derived from.
    version: Option<Version>,
    /// By priority.
    usable: Vec<Usable>,
    /// Next place of round robin.
    cursor: u64,
    /// Hosts of an ORIGINAL_DST cluster that this worker has met.
    original: hashbrown::HashMap<SocketAddr, Arc<OriginalHost>>,
}

/// Most destinations that an ORIGINAL_DST cluster remembers per worker; beyond, the memory starts over.
const MAX_ORIGINAL: usize = 4096;

/// The facts of one choice.
pub struct Facts<'a> {
    /// For consistent hashing.
    pub hash: Option<u64>,
    /// Endpoints that earlier attempts used; avoided where the retry policy says so.
    pub avoid: &'a [Arc<Endpoint>],
    /// How often to choose again while the choice is to be avoided.
    pub max_attempts: u32,
    /// Where the client meant to go, for ORIGINAL_DST clusters.
    pub original_destination: Option<SocketAddr>,
    pub random: &'a mut dyn FnMut() -> u64,
}

/// Records the steps of a choice; the unit type records nothing.
pub trait Trace {
    /// The priority that was picked, of how many, and how many endpoints it offers.
    fn priority(&mut self, _picked: usize, _of: usize, _endpoints: usize) {}
}

impl Trace for () {}

/// Chooses an endpoint; `None` where none can take the request.
pub fn choose(
    cluster: &Arc<Cluster>,
    balancer: &mut Balancer,
    facts: Facts<'_>,
    trace: &mut impl Trace,
) -> Option<Arc<Endpoint>> {
    if let Discovery::OriginalDst { port_override, .. } = &cluster.discovery {
        return Some(balancer.original(cluster, facts.original_destination?, *port_override));
    }
    balancer.refresh(cluster, facts.random);
    // Equal hashes go to equal priorities too.
    let point = match cluster.lb {
        LbPolicy::RingHash { .. } | LbPolicy::Maglev { .. } => facts.hash,
        _ => None,
    };
    let point = point.unwrap_or_else(&mut *facts.random);
    let Some(picked) = priority::pick(&balancer.usable, |u| u.endpoints.len(), point, cluster) else {
        // Nothing healthy is less than any threshold.
        if cluster.lb_config.healthy_panic_threshold > 0.0 {
            cluster.state.stats.inc(ClusterStat::LbHealthyPanic);
        }
        return None;
    };
    let usable = &balancer.usable[picked];
    trace.priority(picked, balancer.usable.len(), usable.endpoints.len());
    if usable.panic {
        cluster.state.stats.inc(ClusterStat::LbHealthyPanic);
    }
    let mut chosen = balancer.within(picked, cluster.lb, point, 0, facts.random)?;
    for attempt in 1..facts.max_attempts.max(1) {
        if !facts.avoid.iter().any(|tried| Arc::ptr_eq(&tried.state, &chosen.state)) {
            break;
        }
        chosen = balancer.within(picked, cluster.lb, point, attempt, facts.random)?;
    }
    Some(chosen)
}

/// The address that the client meant: where the cluster says so and the request has the header, the one that it names,
/// else the one that an interception restored.
pub fn original_destination(
    cluster: &Cluster,
    connection: &ConnectionInfo,
    headers: Option<&http::HeaderMap>,
) -> Option<SocketAddr> {
    let Discovery::OriginalDst { use_http_header, .. } = &cluster.discovery else {
        return None;
    };
    let named = use_http_header.as_ref().and_then(|name| headers?.get(name));
    if let Some(named) = named {
        let address = named.to_str().ok().and_then(|text| text.trim().parse().ok());
        if address.is_none() {
            cluster.state.stats.inc(ClusterStat::OriginalDstHostInvalid);
        }
        return address;
    }
    connection
        .local_address_restored
        .then(|| connection.local_address.ip())
        .flatten()
}

impl Balancer {
    /// The cluster's config changed: nothing that was derived from the old one stays.
    pub fn forget(&mut self) {
        self.version = None;
        self.original.clear();
    }

    fn refresh(&mut self, cluster: &Cluster, random: &mut dyn FnMut() -> u64) {
        let set = cluster.endpoints.load();
        let version = Version {
            endpoints: set.version,
            health: cluster.state.health_generation.load(Ordering::Acquire),
            config: cluster.hash,
        };
        if self.version == Some(version) {
            return;
        }
        if self.version.is_none() {
            // Workers and proxies that started together must not all begin with the first host.
            self.cursor = random();
        }
        self.version = Some(version);
        self.usable = usable::of_priorities(&set, cluster, version);
    }

    fn within(
        &mut self,
        priority: usize,
        policy: LbPolicy,
        point: u64,
        attempt: u32,
        random: &mut dyn FnMut() -> u64,
    ) -> Option<Arc<Endpoint>> {
        let usable = self.usable.get(priority)?;
        match policy {
            LbPolicy::LeastRequest { choices, .. } => {
                let picks = (0..choices.max(1)).filter_map(|_| usable.by_weight(random()));
                picks
                    .min_by_key(|e| e.state.active_requests.load(Ordering::Relaxed))
                    .cloned()
            }
            LbPolicy::RoundRobin | LbPolicy::ClusterProvided => {
                self.cursor = self.cursor.wrapping_add(1);
                usable.in_turn(self.cursor).cloned()
            }
            LbPolicy::Random => usable.by_weight(random()).cloned(),
            LbPolicy::RingHash { .. } | LbPolicy::Maglev { .. } => usable.by_hash(point, attempt).cloned(),
        }
    }

    /// An endpoint for where the client meant to go.
    fn original(&mut self, cluster: &Cluster, to: SocketAddr, port: Option<u16>) -> Arc<Endpoint> {
        let to = SocketAddr::new(to.ip(), port.unwrap_or(to.port()));
        if let Some(endpoint) = self.original.get(&to).and_then(|host| host.choose()) {
            return endpoint;
        }
        if self.original.len() >= MAX_ORIGINAL {
            self.original.clear();
        }
        let host = cluster.originals.get(cluster, to);
        let endpoint = host.endpoint.clone();
        self.original.insert(to, host);
        endpoint
    }
}

impl Endpoint {
    /// Whether config, outlier detection and health checks let it take traffic.
    pub fn is_healthy(&self) -> bool {
        matches!(
            self.config.health,
            EdsHealth::Unknown | EdsHealth::Healthy | EdsHealth::Degraded
        ) && !self.state.ejected.load(Ordering::Relaxed)
            && !self.state.failed_active_health_check.load(Ordering::Relaxed)
    }
}

impl EndpointConfig {
    /// A host of which nothing is said.
    pub fn plain() -> Self {
        Self {
            hostname: "".into(),
            weight: 1,
            health: EdsHealth::Unknown,
            metadata: None,
            canary: false,
            additional_addresses: Vec::new(),
        }
    }
}
