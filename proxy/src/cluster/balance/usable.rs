//! What may be chosen: the healthy endpoints of each priority with their weights, and the tables of consistent hashing,
//! which all workers share.

use std::sync::Arc;

use super::{
    super::{Cluster, Endpoint, EndpointSet, LbPolicy, PrioritySet},
    consistent::{Host, Table},
    priority,
};

/// What is derived depends on these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) endpoints: u64,
    pub(super) health: u64,
    /// Hash of the cluster's config: its policy and panic threshold.
    pub(super) config: u64,
}

/// Endpoints of one priority that may be chosen.
#[derive(Debug, Default)]
pub(super) struct Usable {
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    /// Running sums of the weights; empty where all weights are equal.
    sums: Vec<u64>,
    /// For consistent hashing.
    table: Option<Arc<Table>>,
    /// Health is ignored: too few are healthy.
    pub(super) panic: bool,
}

/// The tables of a cluster's priorities. A worker that finds none of its version makes them, and the others take those.
#[derive(Debug)]
pub struct Tables {
    version: Version,
    by_priority: Vec<Arc<Table>>,
}

/// Every priority's, by priority.
pub(super) fn of_priorities(set: &EndpointSet, cluster: &Cluster, version: Version) -> Vec<Usable> {
    // While healthy hosts elsewhere can take everything, no priority panics.
    let shares: Vec<_> = set
        .priorities
        .iter()
        .map(|p| (healthy(&p.endpoints).count(), p.endpoints.len()))
        .collect();
    let overprovisioning = u64::from(set.overprovisioning_factor);
    let enough = priority::is_enough(&shares, overprovisioning);
    let (mut usable, weights): (Vec<_>, Vec<_>) = set
        .priorities
        .iter()
        .map(|p| Usable::of(p, cluster, enough, overprovisioning))
        .unzip();
    if matches!(cluster.lb, LbPolicy::RingHash { .. } | LbPolicy::Maglev { .. }) {
        let tables = tables(&usable, &weights, cluster, version);
        for (usable, table) in usable.iter_mut().zip(&tables.by_priority) {
            usable.table = Some(table.clone());
        }
    }
    usable
}

fn healthy(endpoints: &[Arc<Endpoint>]) -> impl Iterator<Item = &Arc<Endpoint>> {
    endpoints.iter().filter(|e| e.is_healthy())
}

fn tables(usable: &[Usable], weights: &[Vec<u64>], cluster: &Cluster, version: Version) -> Arc<Tables> {
    if let Some(tables) = cluster.state.tables.load_full().filter(|t| t.version == version) {
        return tables;
    }
    let made = usable.iter().zip(weights).map(|(usable, weights)| {
        let keys: Vec<_> = usable.endpoints.iter().map(|e| hash_key(e, cluster)).collect();
        let hosts: Vec<_> = keys
            .iter()
            .zip(weights)
            .map(|(key, &weight)| Host { key, weight })
            .collect();
        Arc::new(match cluster.lb {
            LbPolicy::Maglev { table_size } => Table::maglev(&hosts, table_size),
            LbPolicy::RingHash {
                minimum_size,
                maximum_size,
                murmur,
            } => Table::ring(&hosts, minimum_size, maximum_size, murmur),
            _ => Table::Ring(Box::default()),
        })
    });
    let tables = Arc::new(Tables {
        version,
        by_priority: made.collect(),
    });
    cluster.state.tables.store(Some(tables.clone()));
    tables
}

/// What places a host: its `hash_key` in the metadata of load balancing, its name where the cluster says so, its address.
fn hash_key(endpoint: &Endpoint, cluster: &Cluster) -> String {
    let metadata = endpoint.config.metadata.as_deref();
    let own = metadata.and_then(|m| m.get("envoy.lb")?.get("hash_key")?.as_str());
    match own {
        Some(key) if !key.is_empty() => key.to_owned(),
        _ if cluster.lb_config.use_hostname_for_hashing => endpoint.config.hostname.to_string(),
        _ => endpoint.address.to_string(),
    }
}

impl Usable {
    /// Healthy endpoints; below the panic threshold all of them, for better some answers than none. Also their weights.
    fn of(set: &PrioritySet, cluster: &Cluster, enough: bool, overprovisioning: u64) -> (Self, Vec<u64>) {
        const PERCENT: f64 = 100.0;
        let all = &set.endpoints;
        let share = healthy(all).count() as f64 / all.len().max(1) as f64 * PERCENT;
        let panic = !enough && share < cluster.lb_config.healthy_panic_threshold;
        let by_locality = !panic && cluster.lb_config.locality_weighted && set.localities.iter().any(|l| l.weight > 0);
        let (endpoints, weights): (Vec<_>, Vec<_>) = match (panic, cluster.lb_config.fail_traffic_on_panic) {
            (true, true) => Default::default(),
            (false, _) if by_locality => locality_weighted(set, overprovisioning),
            (true, false) => all.iter().map(weighted).unzip(),
            (false, _) => healthy(all).map(weighted).unzip(),
        };
        let even = weights.windows(2).all(|pair| pair[0] == pair[1]);
        let mut sum = 0;
        let sums = weights.iter().map(|weight| {
            sum += weight;
            sum
        });
        let usable = Self {
            sums: if even { Vec::new() } else { sums.collect() },
            endpoints,
            table: None,
            panic,
        };
        (usable, weights)
    }

    /// The endpoint at `point` of the line on which each takes the length of its weight.
    pub(super) fn by_weight(&self, point: u64) -> Option<&Arc<Endpoint>> {
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

    /// Round robin: `turn` counts up. Steps of the golden ratio spread a heavy endpoint's turns evenly among the others'.
    pub(super) fn in_turn(&self, turn: u64) -> Option<&Arc<Endpoint>> {
        /// 2^64 divided by the golden ratio.
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        match self.sums.last() {
            None => self.by_weight(turn),
            Some(total) => {
                let part = u128::from(turn.wrapping_mul(GOLDEN)) * u128::from(*total);
                self.by_weight((part >> u64::BITS) as u64)
            }
        }
    }

    pub(super) fn by_hash(&self, hash: u64, attempt: u32) -> Option<&Arc<Endpoint>> {
        self.endpoints.get(self.table.as_ref()?.host(hash, attempt)?)
    }
}

fn weighted(endpoint: &Arc<Endpoint>) -> (Arc<Endpoint>, u64) {
    (endpoint.clone(), u64::from(endpoint.config.weight))
}

/// Healthy endpoints, each with its share of its locality's weight; a locality takes less than its weight once less than
/// 1 / overprovisioning of it is healthy (Envoy's docs, "Locality weighted load balancing").
fn locality_weighted(set: &PrioritySet, overprovisioning: u64) -> (Vec<Arc<Endpoint>>, Vec<u64>) {
    /// Weights are whole numbers: this fine.
    const PARTS: f64 = 1e6;
    const PERCENT: u64 = 100;
    let (mut endpoints, mut weights) = (Vec::new(), Vec::new());
    for locality in set.localities.iter().filter(|l| l.weight > 0) {
        let sum: u64 = healthy(&locality.endpoints).map(|e| u64::from(e.config.weight)).sum();
        let count = healthy(&locality.endpoints).count() as u64;
        let available = (count * overprovisioning / (locality.endpoints.len() as u64).max(1)).min(PERCENT);
        let weight = f64::from(locality.weight) * available as f64 / PERCENT as f64;
        for endpoint in healthy(&locality.endpoints) {
            let share = weight * f64::from(endpoint.config.weight) / sum as f64;
            endpoints.push(endpoint.clone());
            weights.push(((share * PARTS) as u64).max(1));
        }
    }
    (endpoints, weights)
}

#[cfg(test)]
mod tests;
