//! Gauges that are known rather than counted: set before statistics are shown.

use std::time::SystemTime;

use crate::{
    cluster::endpoint_set,
    stats::{CertificateStat, ClusterStat, Group, ListenerStat, Prefix, ServerStat, Store},
    tls::held,
    worker::Shared,
};

const DAY_SECONDS: u64 = 24 * 60 * 60;
/// The name of [`CertificateStat::ExpirationUnixTimeSeconds`], to ask whether it is wanted before it is made.
const EXPIRATION: &str = "expiration_unix_time_seconds";

/// Of clusters, and when the first certificate in use expires.
pub fn refresh(shared: &Shared, server: &Group<ServerStat>) {
    let snapshot = shared.snapshot.load();
    let mut connections = 0;
    for listener in snapshot.listeners.values() {
        connections += listener.stats.value(ListenerStat::DownstreamCxActive);
    }
    server.set(ServerStat::TotalConnections, connections);
    let downstream = snapshot.listeners.values().flat_map(|listener| listener.chains());
    let downstream = downstream.filter_map(|chain| chain.tls.as_ref()?.context.load().as_ref()?.expires_at());
    let mut first = downstream.min();
    for cluster in snapshot.clusters.values() {
        for transport in cluster.transport.tls_contexts() {
            let expires = transport
                .context
                .load()
                .as_ref()
                .and_then(|context| context.expires_at());
            first = [first, expires].into_iter().flatten().min();
        }
        let state = &cluster.state;
        // What nobody has used yet shows what it was made with.
        if state.stats.value(ClusterStat::UpstreamCxTotal) > 0
            || state.stats.value(ClusterStat::UpstreamRqPendingTotal) > 0
        {
            state.show_breakers();
        }
        if cluster.outlier.is_some() {
            endpoint_set::refresh_health(cluster);
        }
    }
    expiry(server, first);
}

/// Envoy tells whole days, and its largest number where there is no certificate; seconds are ours, because SVIDs live for
/// less than a day.
fn expiry(server: &Group<ServerStat>, first: Option<SystemTime>) {
    let Some(first) = first else {
        server.set(ServerStat::DaysUntilFirstCertExpiring, u64::from(u32::MAX));
        return;
    };
    let left = first.duration_since(SystemTime::now()).unwrap_or_default().as_secs();
    server.set(ServerStat::DaysUntilFirstCertExpiring, left / DAY_SECONDS);
    server.set(ServerStat::SecondsUntilFirstCertExpiring, left);
}

/// When each certificate in use expires, under Envoy's names. They exist for as long as they are held: ten thousand clusters
/// have tens of thousands, which nobody reads between two scrapes.
#[must_use]
pub fn certificates(shared: &Shared) -> Vec<Group<CertificateStat>> {
    let mut groups = Vec::new();
    held::each(&shared.snapshot.load(), |held| {
        let scope = (held.stat_prefix)();
        held.expirations(|name, at| groups.extend(expiration(&shared.stats, &scope, name, at)));
    });
    groups
}

fn expiration(stats: &Store, scope: &str, name: &str, at: SystemTime) -> Option<Group<CertificateStat>> {
    let admitted = stats.admits(&format!("{scope}certificate.{name}.{EXPIRATION}"));
    let group = admitted.then(|| stats.group(Prefix::certificate(scope, name)))?;
    let seconds = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    group.set(CertificateStat::ExpirationUnixTimeSeconds, seconds);
    Some(group)
}
