//! Making circuit breakers and changing their limits; taking from them is the request path's.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

use arc_swap::ArcSwapOption;

use super::{Breaker, ClusterState, Limit, RetryBudget};
use crate::stats::{ClusterStat, Group};

/// `envoy.config.cluster.v3.CircuitBreakers.Thresholds` of one priority.
#[derive(Debug, Clone, Copy)]
pub struct BreakerLimits {
    pub connections: u32,
    pub pending: u32,
    pub requests: u32,
    pub retries: u32,
    pub connection_pools: u32,
    pub retry_budget: Option<RetryBudget>,
    pub track_remaining: bool,
}

/// Envoy's defaults.
impl Default for BreakerLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            pending: 1024,
            requests: 1024,
            retries: 3,
            connection_pools: u32::MAX,
            retry_budget: None,
            track_remaining: false,
        }
    }
}

impl ClusterState {
    /// Limits are by [`super::Priority`].
    pub fn new(name: Arc<str>, limits: &[BreakerLimits; 2], stats: Group<ClusterStat>, added_via_api: bool) -> Self {
        Self {
            name,
            stats,
            breakers: [Breaker::new(&limits[0]), Breaker::new(&limits[1])],
            endpoint_version: AtomicU64::new(0),
            health_generation: AtomicU64::new(0),
            ejected: AtomicU32::new(0),
            added_via_api,
        }
    }
}

impl Breaker {
    pub fn new(limits: &BreakerLimits) -> Self {
        let limit = |max| Limit {
            now: AtomicU32::new(0),
            max: AtomicU32::new(max),
        };
        Self {
            connections: limit(limits.connections),
            pending: limit(limits.pending),
            requests: limit(limits.requests),
            retries: limit(limits.retries),
            connection_pools: limit(limits.connection_pools),
            retry_budget: ArcSwapOption::from_pointee(limits.retry_budget),
            track_remaining: AtomicBool::new(limits.track_remaining),
        }
    }

    /// New limits, at once; counts stay.
    pub fn set(&self, limits: &BreakerLimits) {
        let store = |limit: &Limit, max| limit.max.store(max, Ordering::Relaxed);
        store(&self.connections, limits.connections);
        store(&self.pending, limits.pending);
        store(&self.requests, limits.requests);
        store(&self.retries, limits.retries);
        store(&self.connection_pools, limits.connection_pools);
        self.retry_budget.store(limits.retry_budget.map(Arc::new));
        self.track_remaining.store(limits.track_remaining, Ordering::Relaxed);
    }
}
