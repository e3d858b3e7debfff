//! STRICT_DNS and LOGICAL_DNS: names become endpoints, again and again (Envoy's docs, "Service discovery").
//!
//! Resolution is getaddrinfo's, on the runtime's blocking threads. A name that fails keeps its last addresses.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    io,
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, Weak},
    time::Duration,
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
    let mut failures = 0;
    loop {
        let answers = look_up(&config).await;
        let Some(cluster) = cluster.upgrade() else { return };
        let (mut changed, mut failed) = (false, false);
        for ((target, known), answer) in config.targets.iter().zip(&mut last).zip(answers) {
            let Some(mut found) = judge(&cluster, target, answer, config.family) else {
                failed = true;
                continue;
            };
            if logical {
                found.truncate(1);
            }
            changed |= *known != found;
            *known = found;
        }
        let first = cluster.endpoints.load().version == 0;
        if changed || first {
            endpoint_set::apply(&cluster, &assignment(&cluster, &config.targets, &last));
        }
        drop(cluster);
        if first {
            resolved.notify_one();
        }
        failures = if failed { failures + 1 } else { 0 };
        tokio::time::sleep(pause(&config, failures, RandomState::new().build_hasher().finish())).await;
    }
}

/// How long until the next look-up: the refresh rate and its jitter, or after `failures` failed ones in a row an interval
/// that doubles up to its limit, of which a random part counts.
fn pause(config: &DnsConfig, failures: u32, random: u64) -> Duration {
    /// Beyond this many doublings every limit is reached.
    const MAX_DOUBLINGS: u32 = 20;
    let up_to = |most: Duration| Duration::from_millis(random % (most.as_millis() as u64).max(1));
    match config.failure_refresh {
        Some((base, max)) if failures > 0 => {
            let doublings = (failures - 1).min(MAX_DOUBLINGS);
            // Not at once: a name server that fails is not helped by a storm.
            up_to(base.saturating_mul(1 << doublings).min(max)).max(MIN_PAUSE)
        }
        _ => config.refresh_rate + up_to(config.jitter),
    }
}

/// Between two look-ups, at least.
const MIN_PAUSE: Duration = Duration::from_millis(10);

type Answer = io::Result<Vec<SocketAddr>>;

/// All names at the same time: one that hangs does not keep the others.
async fn look_up(config: &DnsConfig) -> Vec<Answer> {
    let look_ups: Vec<_> = config
        .targets
        .iter()
        .map(|target| {
            let name = (target.host.to_string(), target.port);
            tokio::task::spawn_local(async move { tokio::net::lookup_host(name).await.map(Iterator::collect) })
        })
        .collect();
    let mut answers = Vec::with_capacity(look_ups.len());
    for look_up in look_ups {
        answers.push(look_up.await.unwrap_or_else(|e| Err(io::Error::other(e))));
    }
    answers
}

/// The addresses of a name, sorted; `None` where it could not be resolved.
fn judge(cluster: &Cluster, target: &DnsTarget, answer: Answer, family: DnsFamily) -> Option<Vec<SocketAddr>> {
    let stats = &cluster.state.stats;
    stats.inc(ClusterStat::UpdateAttempt);
    match answer {
        Ok(addresses) => {
            stats.inc(ClusterStat::UpdateSuccess);
            Some(of_family(addresses, family))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_are_chosen_as_the_cluster_says() {
        let both = ["[::2]:1", "10.0.0.2:1", "10.0.0.1:1", "[::1]:1", "10.0.0.1:1"];
        let (v4, v6) = (["10.0.0.1:1", "10.0.0.2:1"], ["[::1]:1", "[::2]:1"]);
        for (family, given, wanted) in [
            (DnsFamily::V4Only, &both[..], &v4[..]),
            (DnsFamily::V6Only, &both, &v6),
            (DnsFamily::V4Preferred, &both, &v4),
            (DnsFamily::V4Preferred, &v6, &v6),
            (DnsFamily::Auto, &both, &v6),
            (DnsFamily::Auto, &v4, &v4),
            (DnsFamily::V6Only, &v4, &[]),
        ] {
            assert_eq!(
                of_family(addresses(given), family),
                addresses(wanted),
                "{family:?} {given:?}"
            );
        }
        assert_eq!(of_family(addresses(&both), DnsFamily::All).len(), 4);
    }

    #[test]
    fn failures_are_retried_sooner_and_then_later() {
        let second = Duration::from_secs(1);
        let config = DnsConfig {
            refresh_rate: 60 * second,
            respect_ttl: false,
            failure_refresh: Some((second, 8 * second)),
            jitter: 10 * second,
            family: DnsFamily::Auto,
            targets: Arc::new([]),
        };
        let longest = |failures| {
            let pauses = (0..20_000).map(|random| pause(&config, failures, random));
            pauses.max().unwrap_or_default().as_millis().div_ceil(1000)
        };
        assert_eq!([0, 1, 2, 3, 4, 99].map(longest), [70, 1, 2, 4, 8, 8]);
        assert!(pause(&config, 1, 0) >= MIN_PAUSE);
        let plain = DnsConfig {
            failure_refresh: None,
            jitter: Duration::ZERO,
            ..config
        };
        assert_eq!(pause(&plain, 3, 12_345), 60 * second);
    }
}
