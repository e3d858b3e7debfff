//! `circuit_breakers`: limits by priority.

use std::sync::Arc;

use xds_api::envoy::config::{cluster::v3 as pb, core::v3::RoutingPriority};

use super::super::{at::At, rejection::Rejection};
use crate::{
    cluster::{BreakerLimits, RetryBudget},
    stats::{ClusterPart, Prefix},
};

/// `retry_budget`'s defaults.
const BUDGET_PERCENT: f64 = 20.0;
const BUDGET_MIN_CONCURRENCY: u32 = 3;

/// By priority. Of several thresholds for one priority the first counts, as in Envoy.
pub(super) fn parse(
    pb: Option<&pb::CircuitBreakers>,
    stat_name: &Arc<str>,
    at: &At,
) -> Result<[BreakerLimits; 2], Rejection> {
    let mut limits = [None, None];
    let thresholds = pb.map_or(&[][..], |pb| &pb.thresholds);
    let at = at.field("circuit_breakers");
    at.not_honoured(
        "per_host_thresholds",
        pb.is_some_and(|pb| !pb.per_host_thresholds.is_empty()),
    );
    for (i, threshold) in thresholds.iter().enumerate() {
        let at = at.item("thresholds", i);
        let (slot, part) = match at.enumeration("priority", threshold.priority)? {
            RoutingPriority::Default => (&mut limits[0], ClusterPart::RemainingDefault),
            RoutingPriority::High => (&mut limits[1], ClusterPart::RemainingHigh),
        };
        slot.get_or_insert_with(|| BreakerLimits {
            remaining: threshold
                .track_remaining
                .then(|| at.stats(Prefix::cluster_part(Arc::clone(stat_name), part))),
            ..limit(threshold)
        });
    }
    Ok(limits.map(Option::unwrap_or_default))
}

fn limit(pb: &pb::circuit_breakers::Thresholds) -> BreakerLimits {
    let default = BreakerLimits::default();
    let retry_budget = pb.retry_budget.as_ref().map(|budget| RetryBudget {
        percent: budget.budget_percent.as_ref().map_or(BUDGET_PERCENT, |p| p.value),
        min_retry_concurrency: budget.min_retry_concurrency.unwrap_or(BUDGET_MIN_CONCURRENCY),
    });
    BreakerLimits {
        connections: pb.max_connections.unwrap_or(default.connections),
        pending: pb.max_pending_requests.unwrap_or(default.pending),
        requests: pb.max_requests.unwrap_or(default.requests),
        retries: pb.max_retries.unwrap_or(default.retries),
        connection_pools: pb.max_connection_pools.unwrap_or(default.connection_pools),
        retry_budget,
        remaining: None,
    }
}
