//! STRICT_DNS and LOGICAL_DNS: names become endpoints, again and again (Envoy's docs, "Service discovery").
//!
//! Resolution is getaddrinfo's, on the runtime's blocking threads. A name that fails keeps its last addresses.

use std::{
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, Weak},
};

use tokio::sync::Notify;

use super::{Cluster, Discovery, DnsConfig, DnsFamily, DnsTarget};
use crate::{
    cluster::endpoint_set,
    config::endpoint::{AssignmentPolicy, LoadAssignment, LocalityAssignment},
    stats::ClusterStat,
};

/// Percent. Envoy's default.
const OVERPROVISIONING_FACTOR: u32 = 140;

/// Resolves a cluster's names until the cluster is gone. `resolved` is told after the first round, failed or not: a bad name
/// must not keep the proxy from becoming ready.
pub async fn run(cluster: Weak<Cluster>, config: DnsConfig, logical: bool, resolved: Rc<Notify>) {
    let mut last: Vec<Vec<SocketAddr>> = vec![Vec::new(); config.targets.len()];
    loop {
        let mut changed = false;
        for (target, known) in config.targets.iter().zip(&mut last) {
            let Some(found) = resolve(target, config.family, &cluster).await else {
                continue;
            };
            let found = if logical {
                found.into_iter().take(1).collect()
            } else {
                found
            };
            changed |= *known != found;
            *known = found;
        }
        let Some(cluster) = cluster.upgrade() else { return };
        let first = cluster.endpoints.load().version == 0;
        if changed || first {
            endpoint_set::apply(&cluster, &assignment(&cluster, &config.targets, &last));
        }
        drop(cluster);
        if first {
            resolved.notify_one();
        }
        tokio::time::sleep(config.refresh_rate).await;
    }
}

/// The addresses of a name, sorted; `None` where it could not be resolved.
async fn resolve(target: &DnsTarget, family: DnsFamily, cluster: &Weak<Cluster>) -> Option<Vec<SocketAddr>> {
    let answer = tokio::net::lookup_host((&*target.host, target.port)).await;
    let cluster = cluster.upgrade()?;
    let stats = &cluster.state.stats;
    stats.inc(ClusterStat::UpdateAttempt);
    match answer {
        Ok(addresses) => {
            stats.inc(ClusterStat::UpdateSuccess);
            Some(of_family(addresses.collect(), family))
        }
        Err(e) => {
            stats.inc(ClusterStat::UpdateFailure);
            tracing::warn!(
                cluster = &*cluster.name,
                "{} cannot be resolved: {e}; its last addresses stay",
                target.host
            );
            None
        }
    }
}

fn of_family(mut addresses: Vec<SocketAddr>, family: DnsFamily) -> Vec<SocketAddr> {
    addresses.sort_unstable();
    addresses.dedup();
    let (v4, v6): (Vec<_>, Vec<_>) = addresses.into_iter().partition(SocketAddr::is_ipv4);
    match family {
        DnsFamily::V4Only => v4,
        DnsFamily::V6Only => v6,
        DnsFamily::V4Preferred if !v4.is_empty() => v4,
        DnsFamily::V4Preferred => v6,
        DnsFamily::Auto if !v6.is_empty() => v6,
        DnsFamily::Auto => v4,
        DnsFamily::All => v4.into_iter().chain(v6).collect(),
    }
}

fn assignment(cluster: &Cluster, targets: &[DnsTarget], addresses: &[Vec<SocketAddr>]) -> LoadAssignment {
    let highest = targets.iter().map(|t| t.priority as usize).max().unwrap_or(0);
    let mut priorities: Vec<Vec<LocalityAssignment>> = (0..=highest).map(|_| Vec::new()).collect();
    for (target, addresses) in targets.iter().zip(addresses) {
        let endpoints = addresses
            .iter()
            .map(|a| ((*a).into(), target.template.clone()))
            .collect();
        priorities[target.priority as usize].push(LocalityAssignment {
            locality: target.locality.clone(),
            weight: target.locality_weight,
            endpoints,
        });
    }
    LoadAssignment {
        cluster_name: Arc::clone(&cluster.name),
        priorities,
        policy: AssignmentPolicy {
            overprovisioning_factor: OVERPROVISIONING_FACTOR,
            drop_overloads: Vec::new(),
            weighted_priority_health: false,
            stale_after: None,
        },
        hash: 0,
    }
}

impl Cluster {
    /// The names to resolve, and whether only the first address counts.
    pub fn dns(&self) -> Option<(&DnsConfig, bool)> {
        match &self.discovery {
            Discovery::StrictDns(config) => Some((config, false)),
            Discovery::LogicalDns(config) => Some((config, true)),
            _ => None,
        }
    }
}
