//! What the sidecars say of themselves, asked over and over at their admin endpoints.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::Duration,
};

use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    sidecar::{Admin, Protocol},
    topology::{V1, V2},
};

/// Between two rounds of questions.
const INTERVAL: Duration = Duration::from_millis(300);

#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) sidecars: Vec<SidecarFacts>,
    /// web's view of its upstream clusters, by name.
    pub(crate) clusters: BTreeMap<String, ClusterFacts>,
}

#[derive(Debug, Clone)]
pub(crate) struct SidecarFacts {
    pub(crate) node: &'static str,
    pub(crate) protocol: Protocol,
    pub(crate) alive: bool,
    pub(crate) rss_kib: u64,
    pub(crate) max_rss_kib: u64,
    /// Serial numbers of the certificates that it presents now: one, once a rotation has arrived everywhere in it.
    pub(crate) presents: BTreeSet<String>,
    /// Serial numbers of the CAs that every one of its TLS contexts trusts.
    pub(crate) trusts: BTreeSet<String>,
    /// Every certificate that it was seen with.
    pub(crate) seen: BTreeSet<String>,
    pub(crate) handshakes: u64,
    pub(crate) failed_handshakes: u64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct ClusterFacts {
    pub(crate) requests: u64,
    pub(crate) active: u64,
    pub(crate) limit: u64,
    /// Requests that the circuit breaker refused.
    pub(crate) overflow: u64,
    /// More were refused since the last look.
    pub(crate) open: bool,
    /// Ports of its endpoints, and whether outlier detection has ejected them.
    pub(crate) hosts: BTreeMap<u64, bool>,
}

impl Facts {
    pub(crate) fn v2(&self) -> ClusterFacts {
        self.clusters.get(V2).cloned().unwrap_or_default()
    }

    /// Whether outlier detection has ejected v2's instance on this port.
    pub(crate) fn has_ejected(&self, port: u64) -> bool {
        self.v2().hosts.get(&port).copied().unwrap_or(false)
    }

    pub(crate) fn failed_handshakes(&self) -> u64 {
        self.sidecars.iter().map(|s| s.failed_handshakes).sum()
    }
}

/// Asks until it is dropped.
pub(crate) struct Observer {
    facts: watch::Receiver<Facts>,
    task: JoinHandle<()>,
}

impl Observer {
    pub(crate) fn start(sidecars: impl Iterator<Item = (Admin, Protocol)>) -> Self {
        let fresh = |(admin, protocol): &(Admin, Protocol)| SidecarFacts {
            node: admin.node,
            protocol: *protocol,
            alive: true,
            rss_kib: 0,
            max_rss_kib: 0,
            presents: BTreeSet::new(),
            trusts: BTreeSet::new(),
            seen: BTreeSet::new(),
            handshakes: 0,
            failed_handshakes: 0,
        };
        let sidecars: Vec<(Admin, Protocol)> = sidecars.collect();
        let mut known = Facts {
            sidecars: sidecars.iter().map(fresh).collect(),
            clusters: BTreeMap::new(),
        };
        let (tell, facts) = watch::channel(known.clone());
        let task = tokio::spawn(async move {
            loop {
                for ((admin, _), known_of) in sidecars.iter().zip(&mut known.sidecars) {
                    // One that does not answer keeps what is known of it: a killed one, or one that ends.
                    known_of.alive = look(admin, known_of).await.is_ok();
                }
                if let Some((web, _)) = sidecars.first() {
                    let _ = look_at_clusters(web, &mut known.clusters).await;
                }
                if tell.send(known.clone()).is_err() {
                    return;
                }
                tokio::time::sleep(INTERVAL).await;
            }
        });
        Self { facts, task }
    }

    pub(crate) fn now(&self) -> Facts {
        self.facts.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Facts> {
        self.facts.clone()
    }

    /// What a round of questions says that begins after this call. Callers give it the time that a round may take.
    pub(crate) async fn fresh(&mut self) -> Facts {
        // The first change may be of a round that is under way.
        for _ in 0..2 {
            if self.facts.changed().await.is_err() {
                break;
            }
        }
        self.now()
    }

    /// Waits until `holds`, at most `patience`. False: it never did.
    pub(crate) async fn until(&mut self, patience: Duration, holds: impl FnMut(&Facts) -> bool) -> bool {
        tokio::time::timeout(patience, self.facts.wait_for(holds))
            .await
            .is_ok_and(|seen| seen.is_ok())
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look(admin: &Admin, facts: &mut SidecarFacts) -> io::Result<()> {
    let stats = stats(admin).await?;
    let tls = |ends: &[&str]| -> u64 {
        let tls = stats.iter().filter(|(name, _)| name.contains(".ssl."));
        let wanted = tls.filter(|(name, _)| ends.iter().any(|end| name.ends_with(end)));
        wanted.map(|(_, value)| value).sum()
    };
    facts.handshakes = tls(&[".handshake"]);
    let failed_connects = [V1, V2].map(|c| stats.get(&format!("cluster.{c}.upstream_cx_connect_fail")));
    facts.failed_handshakes = tls(&[
        ".connection_error",
        ".fail_verify_no_cert",
        ".fail_verify_error",
        ".fail_verify_san",
        ".fail_verify_cert_hash",
    ]) + failed_connects.into_iter().flatten().sum::<u64>();

    let certificates = json(admin, "/certs").await?;
    let contexts = certificates["certificates"].as_array().map_or(&[][..], Vec::as_slice);
    facts.presents = contexts.iter().flat_map(|c| serials(&c["cert_chain"])).collect();
    let mut trusts = contexts.iter().map(|c| serials(&c["ca_cert"]).collect::<BTreeSet<_>>());
    let first = trusts.next().unwrap_or_default();
    // A context that does not agree leaves nothing that all trust, so that the change has not arrived yet.
    facts.trusts = if trusts.all(|other| other == first) {
        first
    } else {
        BTreeSet::new()
    };
    facts.seen.extend(facts.presents.iter().cloned());

    if let Some(rss) = admin.rss_kib() {
        facts.rss_kib = rss;
        facts.max_rss_kib = facts.max_rss_kib.max(rss);
    }
    Ok(())
}

fn serials(certificates: &Value) -> impl Iterator<Item = String> {
    let certificates = certificates.as_array().map_or(&[][..], Vec::as_slice);
    certificates
        .iter()
        .filter_map(|c| c["serial_number"].as_str().map(str::to_owned))
}

async fn look_at_clusters(web: &Admin, clusters: &mut BTreeMap<String, ClusterFacts>) -> io::Result<()> {
    let stats = stats(web).await?;
    let said = json(web, "/clusters?format=json").await?;
    for status in said["cluster_statuses"].as_array().into_iter().flatten() {
        let name = status["name"].as_str().unwrap_or_default();
        if ![V1, V2].contains(&name) {
            continue;
        }
        let stat = |what: &str| stats.get(&format!("cluster.{name}.{what}")).copied().unwrap_or(0);
        let facts = clusters.entry(name.to_owned()).or_default();
        // Refused for want of a place to wait, or in flight.
        let overflow = stat("upstream_rq_pending_overflow") + stat("upstream_rq_active_overflow");
        facts.open = overflow > facts.overflow || stat("circuit_breakers.default.rq_open") > 0;
        facts.overflow = overflow;
        facts.requests = stat("upstream_rq_total");
        facts.active = stat("upstream_rq_active");
        facts.limit = status["circuit_breakers"]["thresholds"][0]["max_requests"]
            .as_u64()
            .unwrap_or(0);
        let hosts = status["host_statuses"].as_array().into_iter().flatten();
        facts.hosts = hosts
            .filter_map(|host| {
                let port = host["address"]["socket_address"]["port_value"].as_u64()?;
                let ejected = host["health_status"]["failed_outlier_check"].as_bool();
                Some((port, ejected.unwrap_or(false)))
            })
            .collect();
    }
    Ok(())
}

async fn json(admin: &Admin, path: &str) -> io::Result<Value> {
    let (_, body) = admin.request("GET", path).await?;
    Ok(serde_json::from_str(&body)?)
}

/// Counters and gauges by name.
async fn stats(admin: &Admin) -> io::Result<BTreeMap<String, u64>> {
    let (_, text) = admin.request("GET", "/stats?usedonly").await?;
    let value = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    Ok(text.lines().filter_map(value).collect())
}
