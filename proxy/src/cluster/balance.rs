//! Load balancing: which endpoint of a cluster takes a request. Pure: random numbers, cursors and load are facts.
//!
//! `priority` picks the priority by health, this module the endpoint within it: weighted round robin, least request by the
//! power of two choices, weighted random. What a balancer derives from the endpoints is rebuilt only when they changed.
//! Ring hash and Maglev are served by weighted random until they are built.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use super::{Cluster, Discovery, EdsHealth, Endpoint, EndpointConfig, EndpointState, LbPolicy};
use crate::{address::Address, stream_info::ConnectionInfo};

mod priority;

/// What a worker keeps between two choices for one cluster.
#[derive(Debug, Default)]
pub struct Balancer {
    /// Of the endpoint set and of health that `usable` was derived from.
    version: Option<(u64, u64)>,
    /// By priority.
    usable: Vec<Usable>,
    /// Next place of round robin.
    cursor: u64,
    /// Endpoints of an ORIGINAL_DST cluster, made at first use.
    original: hashbrown::HashMap<SocketAddr, Arc<Endpoint>>,
}

/// Endpoints of one priority that may be chosen.
#[derive(Debug, Default)]
struct Usable {
    endpoints: Vec<Arc<Endpoint>>,
    /// Running sums of the weights; empty where all weights are equal.
    sums: Vec<u64>,
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
        return balancer.original(cluster, facts.original_destination?, *port_override);
    }
    balancer.refresh(cluster);
    let picked = priority::pick(&balancer.usable, |u| u.endpoints.len(), (facts.random)(), cluster)?;
    trace.priority(picked, balancer.usable.len(), balancer.usable[picked].endpoints.len());
    let mut chosen = balancer.within(picked, cluster.lb, facts.random)?;
    for _ in 1..facts.max_attempts.max(1) {
        if !facts.avoid.iter().any(|tried| Arc::ptr_eq(&tried.state, &chosen.state)) {
            break;
        }
        chosen = balancer.within(picked, cluster.lb, facts.random)?;
    }
    Some(chosen)
}

/// The address that the client meant, where an interception restored it.
pub fn original_destination(connection: &ConnectionInfo) -> Option<SocketAddr> {
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

    fn refresh(&mut self, cluster: &Cluster) {
        let set = cluster.endpoints.load();
        let version = (set.version, cluster.state.health_generation.load(Ordering::Acquire));
        if self.version == Some(version) {
            return;
        }
        self.version = Some(version);
        // While healthy hosts elsewhere can take everything, no priority panics.
        let shares: Vec<_> = set
            .priorities
            .iter()
            .map(|p| (healthy(&p.endpoints), p.endpoints.len()))
            .collect();
        let enough = priority::is_enough(&shares, u64::from(set.overprovisioning_factor));
        self.usable = set
            .priorities
            .iter()
            .map(|p| Usable::of(&p.endpoints, cluster, enough))
            .collect();
    }

    fn within(&mut self, priority: usize, policy: LbPolicy, random: &mut dyn FnMut() -> u64) -> Option<Arc<Endpoint>> {
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
                usable.by_weight(self.cursor).cloned()
            }
            LbPolicy::Random | LbPolicy::RingHash { .. } | LbPolicy::Maglev { .. } => {
                usable.by_weight(random()).cloned()
            }
        }
    }

    /// An endpoint for where the client meant to go.
    fn original(&mut self, cluster: &Cluster, to: SocketAddr, port: Option<u16>) -> Option<Arc<Endpoint>> {
        let to = SocketAddr::new(to.ip(), port.unwrap_or(to.port()));
        if self.original.len() >= MAX_ORIGINAL {
            self.original.clear();
        }
        let endpoint = self.original.entry(to).or_insert_with(|| {
            Arc::new(Endpoint {
                address: Address::Ip(to),
                locality: Arc::default(),
                priority: 0,
                config: EndpointConfig::plain(),
                transport: cluster.transport.default.clone(),
                state: Arc::new(EndpointState::default()),
            })
        });
        Some(endpoint.clone())
    }
}

fn healthy(endpoints: &[Arc<Endpoint>]) -> usize {
    endpoints.iter().filter(|e| e.is_healthy()).count()
}

impl Usable {
    /// Healthy endpoints; below the panic threshold all of them, for better some answers than none.
    fn of(endpoints: &[Arc<Endpoint>], cluster: &Cluster, enough: bool) -> Self {
        const PERCENT: f64 = 100.0;
        let healthy: Vec<Arc<Endpoint>> = endpoints.iter().filter(|e| e.is_healthy()).cloned().collect();
        let share = healthy.len() as f64 / endpoints.len().max(1) as f64 * PERCENT;
        let panic = !enough && share < cluster.lb_config.healthy_panic_threshold;
        let endpoints = match (panic, cluster.lb_config.fail_traffic_on_panic) {
            (true, true) => Vec::new(),
            (true, false) => endpoints.to_vec(),
            (false, _) => healthy,
        };
        let even = endpoints
            .windows(2)
            .all(|pair| pair[0].config.weight == pair[1].config.weight);
        let mut sum = 0;
        let sums = endpoints.iter().map(|e| {
            sum += u64::from(e.config.weight);
            sum
        });
        let sums = if even { Vec::new() } else { sums.collect() };
        Self { endpoints, sums }
    }

    /// The endpoint at `point` of the line on which each takes the length of its weight.
    fn by_weight(&self, point: u64) -> Option<&Arc<Endpoint>> {
        match self.sums.last() {
            None => self
                .endpoints
                .get((point % self.endpoints.len().max(1) as u64) as usize),
            Some(total) => {
                let point = point % total;
                self.endpoints.get(self.sums.partition_point(|sum| *sum <= point))
            }
        }
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
