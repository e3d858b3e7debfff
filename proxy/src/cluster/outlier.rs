//! Outlier detection: endpoints that fail are taken out for a while (Envoy's docs, "Outlier detection").
//!
//! Workers count results on the endpoint and eject at once where it failed too often in a row; the control thread calls
//! [`tick`] every second to let hosts back in and, each `interval`, to judge hosts by their success rates (`rates`).

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use http::StatusCode;

use super::{Cluster, Endpoint, EndpointState, OutlierDetection};
use crate::{failure::ResetReason, stats::OutlierDetectionStat as Stat};

mod rates;

/// How a request to an endpoint, or a connection of a TCP proxy, went.
#[derive(Debug, Clone, Copy)]
pub enum Seen {
    Status(StatusCode),
    /// A TCP proxy's connection was made.
    Connected,
    Reset(ResetReason),
    Timeout,
}

/// Why a host is to be ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Consecutive5xx,
    GatewayFailure,
    LocalOriginFailure,
    SuccessRate,
    FailurePercentage,
}

/// Moments are kept as milliseconds since the first one that was asked for.
fn now_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    // Never 0, which stands for "never".
    START.get_or_init(Instant::now).elapsed().as_millis() as u64 + 1
}

/// Takes note of one result, and ejects the endpoint where that was one too many. `random` decides about rules that are
/// enforced in part.
pub fn report(cluster: &Cluster, endpoint: &Endpoint, seen: Seen, random: u64) {
    let Some(config) = &cluster.outlier else { return };
    // The cluster's breaker refused, the endpoint was not asked: ejecting it would make the overload worse.
    if matches!(seen, Seen::Reset(ResetReason::Overflow)) {
        return;
    }
    let counters = &endpoint.state.outlier;
    let failed = |count: &AtomicU32, limit: u32, cause: Cause| {
        if limit > 0 && count.fetch_add(1, Ordering::Relaxed) + 1 >= limit {
            count.store(0, Ordering::Relaxed);
            detected(cluster, config, endpoint, cause, random);
        }
    };
    let local_origin = matches!(seen, Seen::Reset(r) if r != ResetReason::RemoteReset) || matches!(seen, Seen::Timeout);
    if local_origin && config.split_external_local_origin_errors {
        let limit = config.consecutive_local_origin_failure;
        return failed(
            &counters.consecutive_local_origin_failure,
            limit,
            Cause::LocalOriginFailure,
        );
    }
    // Whoever answers, however badly, was reached.
    counters.consecutive_local_origin_failure.store(0, Ordering::Relaxed);
    // A local failure counts as the status that the client gets of it.
    let code = match seen {
        Seen::Status(status) => status.as_u16(),
        Seen::Connected => 200,
        Seen::Timeout => 504,
        Seen::Reset(_) => 503,
    };
    counters.interval_total.fetch_add(1, Ordering::Relaxed);
    if code < 500 {
        counters.interval_success.fetch_add(1, Ordering::Relaxed);
        counters.consecutive_5xx.store(0, Ordering::Relaxed);
        counters.consecutive_gateway_failure.store(0, Ordering::Relaxed);
        return;
    }
    if matches!(code, 502..=504) {
        let limit = config.consecutive_gateway_failure;
        failed(&counters.consecutive_gateway_failure, limit, Cause::GatewayFailure);
    } else {
        counters.consecutive_gateway_failure.store(0, Ordering::Relaxed);
    }
    failed(&counters.consecutive_5xx, config.consecutive_5xx, Cause::Consecutive5xx);
}

/// Counts a detection, and ejects where the rule is enforced and enough hosts stay.
fn detected(cluster: &Cluster, config: &OutlierDetection, endpoint: &Endpoint, cause: Cause, random: u64) {
    const PERCENT: u64 = 100;
    if endpoint.state.ejected.load(Ordering::Relaxed) {
        return;
    }
    let stats = &config.stats;
    let (detected, enforced, enforcing) = match cause {
        Cause::Consecutive5xx => (
            Stat::EjectionsDetectedConsecutive5xx,
            Stat::EjectionsEnforcedConsecutive5xx,
            config.enforcing_consecutive_5xx,
        ),
        Cause::GatewayFailure => (
            Stat::EjectionsDetectedConsecutiveGatewayFailure,
            Stat::EjectionsEnforcedConsecutiveGatewayFailure,
            config.enforcing_consecutive_gateway_failure,
        ),
        Cause::LocalOriginFailure => (
            Stat::EjectionsDetectedConsecutiveLocalOriginFailure,
            Stat::EjectionsEnforcedConsecutiveLocalOriginFailure,
            config.enforcing_consecutive_local_origin_failure,
        ),
        Cause::SuccessRate => (
            Stat::EjectionsDetectedSuccessRate,
            Stat::EjectionsEnforcedSuccessRate,
            config.enforcing_success_rate,
        ),
        Cause::FailurePercentage => (
            Stat::EjectionsDetectedFailurePercentage,
            Stat::EjectionsEnforcedFailurePercentage,
            config.enforcing_failure_percentage,
        ),
    };
    stats.inc(detected);
    // Names that Envoy has kept from before.
    match cause {
        Cause::Consecutive5xx => stats.inc(Stat::EjectionsConsecutive5xx),
        Cause::SuccessRate => stats.inc(Stat::EjectionsSuccessRate),
        Cause::GatewayFailure | Cause::LocalOriginFailure | Cause::FailurePercentage => {}
    }
    let enforces = random % PERCENT < u64::from(enforcing);
    let ejection = eject(cluster, config, endpoint, enforces, random);
    if matches!(cause, Cause::Consecutive5xx | Cause::SuccessRate) && !matches!(ejection, Ejection::Overflow) {
        stats.inc(Stat::EjectionsTotal);
    }
    match ejection {
        Ejection::Overflow => stats.inc(Stat::EjectionsOverflow),
        Ejection::NotEnforced | Ejection::Lost => {}
        Ejection::Done => {
            stats.inc(enforced);
            stats.inc(Stat::EjectionsEnforcedTotal);
            stats.gauge_add(Stat::EjectionsActive, 1);
            tracing::warn!(
                cluster = &*cluster.name,
                "{} is ejected: {}",
                endpoint.address,
                cause.words()
            );
        }
    }
}

enum Ejection {
    Done,
    /// `max_ejection_percent` allows no more.
    Overflow,
    NotEnforced,
    /// Another worker was first.
    Lost,
}

/// Ejects, unless that would put more hosts out than `max_ejection_percent` allows: the share is judged after the ejection,
/// but one host may always go where `always_eject_one_host` says so.
fn eject(cluster: &Cluster, config: &OutlierDetection, endpoint: &Endpoint, enforces: bool, random: u64) -> Ejection {
    let state = &cluster.state;
    let hosts = cluster.endpoints.load().endpoints().count();
    let allowed = |ejected: u32| {
        fits(ejected, hosts, config.max_ejection_percent) || (ejected == 0 && config.always_eject_one_host)
    };
    if !enforces {
        return match allowed(state.ejected.load(Ordering::Relaxed)) {
            true => Ejection::NotEnforced,
            false => Ejection::Overflow,
        };
    }
    let place = state
        .ejected
        .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |n| allowed(n).then(|| n + 1));
    if place.is_err() {
        return Ejection::Overflow;
    }
    if endpoint.state.ejected.swap(true, Ordering::AcqRel) {
        state.ejected.fetch_sub(1, Ordering::AcqRel);
        return Ejection::Lost;
    }
    let counters = &endpoint.state.outlier;
    counters.ejections.fetch_add(1, Ordering::Relaxed);
    let in_a_row = counters.ejections_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
    let now = now_ms();
    counters.last_ejection_ms.store(now, Ordering::Relaxed);
    let time = ejection_time(config, in_a_row) + jitter(config.max_ejection_time_jitter, random);
    counters
        .ejected_until_ms
        .store(now + time.as_millis() as u64, Ordering::Relaxed);
    state.health_generation.fetch_add(1, Ordering::AcqRel);
    Ejection::Done
}

/// Whether one more ejection keeps the ejected share at or under `percent`.
fn fits(ejected: u32, hosts: usize, percent: u32) -> bool {
    const PERCENT: u64 = 100;
    (u64::from(ejected) + 1) * PERCENT <= u64::from(percent) * hosts as u64
}

/// `base_ejection_time` times the ejections in a row, up to `max_ejection_time`.
fn ejection_time(config: &OutlierDetection, ejections: u32) -> Duration {
    config
        .base_ejection_time
        .saturating_mul(ejections.max(1))
        .min(config.max_ejection_time.max(config.base_ejection_time))
}

/// From nothing to `most`, by milliseconds.
fn jitter(most: Duration, random: u64) -> Duration {
    // The lower digits decided about enforcement.
    Duration::from_millis((random >> 32) % (most.as_millis() as u64 + 1))
}

/// Lets hosts back in whose time is over and judges success rates; the control thread calls it every second.
pub fn tick(cluster: &Cluster, random: u64) {
    tick_at(cluster, random, now_ms());
}

fn tick_at(cluster: &Cluster, random: u64, now: u64) {
    let state = &cluster.state;
    let Some(config) = &cluster.outlier else {
        // Detection was taken out of the config: nobody else would let them back in.
        if state.ejected.load(Ordering::Relaxed) > 0 {
            for_each_host(cluster, |endpoint| let_in(cluster, endpoint, now));
        }
        return;
    };
    let last = state.outlier_interval_ms.load(Ordering::Relaxed);
    let interval_over = now >= last + config.interval.as_millis() as u64;
    for_each_host(cluster, |endpoint| {
        let counters = &endpoint.state.outlier;
        if endpoint.state.ejected.load(Ordering::Relaxed) {
            if now >= counters.ejected_until_ms.load(Ordering::Relaxed) {
                let_in(cluster, endpoint, now);
            }
        } else if interval_over {
            // Each interval that a host stays in makes its next ejection shorter.
            let less = |n: u32| n.checked_sub(1);
            let _ = counters
                .ejections_in_a_row
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    });
    if interval_over {
        state.outlier_interval_ms.store(now, Ordering::Relaxed);
        // The first interval began before anything was counted.
        if last > 0 {
            judge(cluster, config, random);
        }
    }
}

/// Judges every host by what was counted since the last time.
fn judge(cluster: &Cluster, config: &OutlierDetection, mut random: u64) {
    let mut hosts = Vec::new();
    let set = cluster.endpoints.load();
    for endpoint in set.endpoints() {
        let counters = &endpoint.state.outlier;
        let total = counters.interval_total.swap(0, Ordering::Relaxed);
        let success = counters.interval_success.swap(0, Ordering::Relaxed).min(total);
        hosts.push((endpoint, rates::Rate { total, success }));
    }
    let counted: Vec<_> = hosts.iter().map(|(_, rate)| *rate).collect();
    for (host, cause) in rates::outliers(&counted, config) {
        random = random.rotate_left(7).wrapping_mul(5);
        detected(cluster, config, hosts[host].0, cause, random);
    }
}

fn for_each_host(cluster: &Cluster, each: impl FnMut(&std::sync::Arc<Endpoint>)) {
    cluster.endpoints.load().endpoints().for_each(each);
}

fn let_in(cluster: &Cluster, endpoint: &Endpoint, now: u64) {
    if forget_ejection(cluster, &endpoint.state) {
        endpoint.state.outlier.last_unejection_ms.store(now, Ordering::Relaxed);
        tracing::info!(cluster = &*cluster.name, "{} is let back in", endpoint.address);
    }
}

/// A host is in again, or has left the cluster: it counts as ejected no more. Whether it did.
pub fn forget_ejection(cluster: &Cluster, host: &EndpointState) -> bool {
    if !host.ejected.swap(false, Ordering::AcqRel) {
        return false;
    }
    cluster.state.ejected.fetch_sub(1, Ordering::AcqRel);
    cluster.state.health_generation.fetch_add(1, Ordering::AcqRel);
    if let Some(config) = &cluster.outlier {
        config.stats.gauge_add(Stat::EjectionsActive, -1);
    }
    true
}

impl Cause {
    fn words(self) -> &'static str {
        match self {
            Self::Consecutive5xx => "it failed too often in a row",
            Self::GatewayFailure => "it answered 502, 503 or 504 too often in a row",
            Self::LocalOriginFailure => "it could not be reached too often in a row",
            Self::SuccessRate => "it succeeds less often than the others",
            Self::FailurePercentage => "it fails too often",
        }
    }
}

#[cfg(test)]
mod tests;
