//! Outlier detection: endpoints that fail are taken out for a while (Envoy's docs, "Outlier detection").
//!
//! Workers count results on the endpoint and eject at once; the control thread calls [`tick`] every second to let hosts
//! back in. Success-rate and failure-percentage ejection are not judged yet.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use http::StatusCode;

use super::{Cluster, Endpoint, OutlierDetection};
use crate::failure::ResetReason;

/// How a request to an endpoint went.
#[derive(Debug, Clone, Copy)]
pub enum Seen {
    Status(StatusCode),
    Reset(ResetReason),
    Timeout,
}

/// Moments are kept as milliseconds since the first one that was asked for.
fn now_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    // Never 0, which stands for "never".
    START.get_or_init(Instant::now).elapsed().as_millis() as u64 + 1
}

/// Takes note of one result, and ejects the endpoint where that was one too many.
pub fn report(cluster: &Cluster, endpoint: &Endpoint, seen: Seen) {
    let Some(config) = &cluster.outlier else { return };
    // The cluster's breaker refused, the endpoint was not asked: ejecting it would make the overload worse.
    if matches!(seen, Seen::Reset(ResetReason::Overflow)) {
        return;
    }
    let counters = &endpoint.state.outlier;
    let local_origin = matches!(seen, Seen::Reset(r) if r != ResetReason::RemoteReset) || matches!(seen, Seen::Timeout);
    if local_origin && config.split_external_local_origin_errors {
        let count = &counters.consecutive_local_origin_failure;
        let (limit, enforcing) = (
            config.consecutive_local_origin_failure,
            config.enforcing_consecutive_local_origin_failure,
        );
        return failed(cluster, config, endpoint, count, limit, enforcing);
    }
    // A local failure counts as the status that the client gets of it.
    let code = match seen {
        Seen::Status(status) => status.as_u16(),
        Seen::Timeout => 504,
        Seen::Reset(_) => 503,
    };
    if code < 500 {
        counters.consecutive_5xx.store(0, Ordering::Relaxed);
        counters.consecutive_gateway_failure.store(0, Ordering::Relaxed);
        counters.consecutive_local_origin_failure.store(0, Ordering::Relaxed);
        return;
    }
    if matches!(code, 502..=504) {
        let count = &counters.consecutive_gateway_failure;
        let (limit, enforcing) = (
            config.consecutive_gateway_failure,
            config.enforcing_consecutive_gateway_failure,
        );
        failed(cluster, config, endpoint, count, limit, enforcing);
    } else {
        counters.consecutive_gateway_failure.store(0, Ordering::Relaxed);
    }
    let count = &counters.consecutive_5xx;
    failed(
        cluster,
        config,
        endpoint,
        count,
        config.consecutive_5xx,
        config.enforcing_consecutive_5xx,
    );
}

fn failed(
    cluster: &Cluster,
    config: &OutlierDetection,
    endpoint: &Endpoint,
    count: &AtomicU32,
    limit: u32,
    enforcing: u32,
) {
    const PERCENT: u32 = 100;
    if limit == 0 || count.fetch_add(1, Ordering::Relaxed) + 1 < limit {
        return;
    }
    count.store(0, Ordering::Relaxed);
    // Partly enforced rules are enforced by the clock's last digits: no request waits for a better random number.
    if enforcing < PERCENT && now_ms() % u64::from(PERCENT) >= u64::from(enforcing) {
        return;
    }
    eject(cluster, config, endpoint);
}

/// Ejects, unless that would put more hosts out than `max_ejection_percent` allows: the share is judged after the ejection,
/// but one host may always go where `always_eject_one_host` says so.
fn eject(cluster: &Cluster, config: &OutlierDetection, endpoint: &Endpoint) {
    let state = &cluster.state;
    let hosts = cluster.endpoints.load().endpoints().count();
    let allowed = |ejected: u32| {
        fits(ejected, hosts, config.max_ejection_percent) || (ejected == 0 && config.always_eject_one_host)
    };
    let place = state
        .ejected
        .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |n| allowed(n).then(|| n + 1));
    if place.is_err() {
        return;
    }
    if endpoint.state.ejected.swap(true, Ordering::AcqRel) {
        // Another worker was first.
        state.ejected.fetch_sub(1, Ordering::AcqRel);
        return;
    }
    let counters = &endpoint.state.outlier;
    counters.ejections.fetch_add(1, Ordering::Relaxed);
    counters.last_ejection_ms.store(now_ms(), Ordering::Relaxed);
    state.health_generation.fetch_add(1, Ordering::AcqRel);
    tracing::warn!(
        cluster = &*cluster.name,
        "{} is ejected: it failed too often in a row",
        endpoint.address
    );
}

/// Whether one more ejection keeps the ejected share at or under `percent`.
fn fits(ejected: u32, hosts: usize, percent: u32) -> bool {
    const PERCENT: u64 = 100;
    (u64::from(ejected) + 1) * PERCENT <= u64::from(percent) * hosts as u64
}

/// Lets hosts back in whose time is over; the control thread calls it now and then.
pub fn tick(cluster: &Cluster) {
    let Some(config) = &cluster.outlier else { return };
    if cluster.state.ejected.load(Ordering::Acquire) == 0 {
        return;
    }
    let now = now_ms();
    let set = cluster.endpoints.load();
    for endpoint in set.priorities.iter().flat_map(|p| &p.endpoints) {
        let counters = &endpoint.state.outlier;
        let since = counters.last_ejection_ms.load(Ordering::Relaxed);
        let due = since + ejection_time(config, counters.ejections.load(Ordering::Relaxed)).as_millis() as u64;
        if now >= due && endpoint.state.ejected.swap(false, Ordering::AcqRel) {
            counters.last_unejection_ms.store(now, Ordering::Relaxed);
            cluster.state.ejected.fetch_sub(1, Ordering::AcqRel);
            cluster.state.health_generation.fetch_add(1, Ordering::AcqRel);
            tracing::info!(cluster = &*cluster.name, "{} is let back in", endpoint.address);
        }
    }
}

/// `base_ejection_time` times the ejections so far, up to `max_ejection_time`.
fn ejection_time(config: &OutlierDetection, ejections: u32) -> Duration {
    config
        .base_ejection_time
        .saturating_mul(ejections.max(1))
        .min(config.max_ejection_time)
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn the_ejected_share_holds_after_the_ejection() {
        for hosts in 1..20_usize {
            for percent in [0, 10, 33, 50, 100] {
                let mut ejected = 0;
                while fits(ejected, hosts, percent) {
                    ejected += 1;
                }
                assert!(
                    u64::from(ejected) * 100 <= u64::from(percent) * hosts as u64,
                    "{hosts} {percent}"
                );
            }
        }
    }
}
