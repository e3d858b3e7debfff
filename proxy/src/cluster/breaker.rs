//! Making circuit breakers and changing their limits; taking from them is the request path's.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use arc_swap::ArcSwapOption;

use super::{Breaker, ClusterState, Limit, RetryBudget};
use crate::stats::{ClusterStat, Group, RemainingStat};

/// `envoy.config.cluster.v3.CircuitBreakers.Thresholds` of one priority.
#[derive(Debug, Clone)]
pub struct BreakerLimits {
    pub connections: u32,
    pub pending: u32,
    pub requests: u32,
    pub retries: u32,
    pub connection_pools: u32,
    pub retry_budget: Option<RetryBudget>,
    /// `cluster.<name>.circuit_breakers.<priority>.remaining_*`, with `track_remaining`.
    pub remaining: Option<Group<RemainingStat>>,
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
            remaining: None,
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
            outlier_interval_ms: AtomicU64::new(0),
            tables: ArcSwapOption::empty(),
            added_via_api,
        }
    }
}

impl ClusterState {
    /// Sets the gauges of the circuit breakers; before statistics are shown, for the counts are exact only here.
    pub fn show_breakers(&self) {
        use ClusterStat as S;
        let default = [
            S::CircuitBreakersDefaultCxOpen,
            S::CircuitBreakersDefaultCxPoolOpen,
            S::CircuitBreakersDefaultRqOpen,
            S::CircuitBreakersDefaultRqPendingOpen,
            S::CircuitBreakersDefaultRqRetryOpen,
        ];
        let high = [
            S::CircuitBreakersHighCxOpen,
            S::CircuitBreakersHighCxPoolOpen,
            S::CircuitBreakersHighRqOpen,
            S::CircuitBreakersHighRqPendingOpen,
            S::CircuitBreakersHighRqRetryOpen,
        ];
        for (breaker, open) in self.breakers.iter().zip([default, high]) {
            breaker.show(&self.stats, open);
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
            remaining: ArcSwapOption::from_pointee(limits.remaining.clone()),
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
        self.remaining.store(limits.remaining.clone().map(Arc::new));
    }

    /// Sets the gauges that say whether a limit is reached and, where they are tracked, how much is left.
    fn show(&self, stats: &Group<ClusterStat>, open: [ClusterStat; 5]) {
        let limits = [
            &self.connections,
            &self.connection_pools,
            &self.requests,
            &self.pending,
            &self.retries,
        ];
        for (limit, gauge) in limits.into_iter().zip(open) {
            // A limit of 0 refuses everything and is never reached.
            stats.set(gauge, u64::from(limit.now() > 0 && limit.remaining() == 0));
        }
        let Some(remaining) = self.remaining.load_full() else {
            return;
        };
        let gauges = [
            RemainingStat::RemainingCx,
            RemainingStat::RemainingCxPools,
            RemainingStat::RemainingRq,
            RemainingStat::RemainingPending,
            RemainingStat::RemainingRetries,
        ];
        for (limit, gauge) in limits.into_iter().zip(gauges) {
            remaining.set(gauge, u64::from(limit.remaining()));
        }
    }
}
