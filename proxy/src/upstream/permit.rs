//! Places under circuit breakers' limits, given back when dropped.

use std::{
    cell::Cell,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use crate::{
    cluster::{Breaker, ClusterState, EndpointState, Limit, Priority},
    stats::ClusterStat,
};

impl Limit {
    /// Takes a place, or refuses where the limit is reached. Exact across workers.
    pub fn try_take(&self) -> bool {
        let max = self.max.load(Ordering::Relaxed);
        self.now
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |n| (n < max).then(|| n + 1))
            .is_ok()
    }

    /// Takes a place whatever the limit says.
    pub fn take(&self) {
        self.now.fetch_add(1, Ordering::AcqRel);
    }

    pub fn give_back(&self) {
        self.now.fetch_sub(1, Ordering::AcqRel);
    }

    pub fn now(&self) -> u32 {
        self.now.load(Ordering::Relaxed)
    }

    /// Places left; 0 where the count stands above a lowered limit.
    pub fn remaining(&self) -> u32 {
        self.max
            .load(Ordering::Relaxed)
            .saturating_sub(self.now.load(Ordering::Relaxed))
    }
}

impl ClusterState {
    pub fn breaker(&self, priority: Priority) -> &Breaker {
        &self.breakers[priority as usize]
    }
}

/// Which limit a permit counts under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    Connection,
    Pending,
    Request,
    Retry,
}

/// One place under a limit.
#[derive(Debug)]
pub struct Permit {
    cluster: Arc<ClusterState>,
    priority: Priority,
    resource: Resource,
}

impl Permit {
    /// `None`: the breaker is open, and its overflow is counted.
    pub fn take(cluster: &Arc<ClusterState>, priority: Priority, resource: Resource) -> Option<Self> {
        if !limit(cluster.breaker(priority), resource).try_take() {
            let overflow = match resource {
                Resource::Connection => ClusterStat::UpstreamCxOverflow,
                Resource::Pending => ClusterStat::UpstreamRqPendingOverflow,
                Resource::Request => ClusterStat::UpstreamRqActiveOverflow,
                Resource::Retry => ClusterStat::UpstreamRqRetryOverflow,
            };
            cluster.stats.inc(overflow);
            return None;
        }
        Some(Self::counted(cluster, priority, resource))
    }

    /// A place beyond the limit: a pool's first connection is always allowed, as in Envoy.
    pub fn force(cluster: &Arc<ClusterState>, priority: Priority, resource: Resource) -> Self {
        limit(cluster.breaker(priority), resource).take();
        Self::counted(cluster, priority, resource)
    }

    fn counted(cluster: &Arc<ClusterState>, priority: Priority, resource: Resource) -> Self {
        gauge(cluster, resource, 1);
        Self {
            cluster: cluster.clone(),
            priority,
            resource,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        limit(self.cluster.breaker(self.priority), self.resource).give_back();
        gauge(&self.cluster, self.resource, -1);
    }
}

fn limit(breaker: &Breaker, resource: Resource) -> &Limit {
    match resource {
        Resource::Connection => &breaker.connections,
        Resource::Pending => &breaker.pending,
        Resource::Request => &breaker.requests,
        Resource::Retry => &breaker.retries,
    }
}

fn gauge(cluster: &ClusterState, resource: Resource, change: i64) {
    match resource {
        Resource::Pending => cluster.stats.gauge_add(ClusterStat::UpstreamRqPendingActive, change),
        Resource::Request => cluster.stats.gauge_add(ClusterStat::UpstreamRqActive, change),
        Resource::Connection => cluster.stats.gauge_add(ClusterStat::UpstreamCxActive, change),
        Resource::Retry => {}
    }
}

/// A request in flight at an endpoint: least-request balancing reads the count.
#[derive(Debug)]
pub struct ActiveRequest(Arc<EndpointState>);

impl ActiveRequest {
    pub fn new(endpoint: &Arc<EndpointState>) -> Self {
        endpoint.active_requests.fetch_add(1, Ordering::Relaxed);
        Self(endpoint.clone())
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.0.active_requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An open connection to an endpoint, or one that is being opened; counts how it ended when it is dropped.
#[derive(Debug)]
pub struct OpenConnection {
    endpoint: Arc<EndpointState>,
    permit: Permit,
    since: Instant,
    by_peer: Cell<bool>,
    /// Requests are under way, which the end cuts.
    busy: Cell<bool>,
}

impl OpenConnection {
    pub fn new(endpoint: &Arc<EndpointState>, permit: Permit) -> Self {
        endpoint.active_connections.fetch_add(1, Ordering::Relaxed);
        Self {
            endpoint: endpoint.clone(),
            permit,
            since: Instant::now(),
            by_peer: Cell::new(false),
            busy: Cell::new(false),
        }
    }

    /// When it began to be opened.
    pub fn since(&self) -> Instant {
        self.since
    }

    pub fn is_ended_by_peer(&self) -> bool {
        self.by_peer.get()
    }

    /// The peer ended it, or let it not come about.
    pub fn ended_by_peer(&self) {
        self.by_peer.set(true);
    }

    /// It idled longer than the cluster allows.
    pub fn idled_out(&self) {
        self.permit.cluster.stats.inc(ClusterStat::UpstreamCxIdleTimeout);
    }

    /// Whether an end would cut a request.
    pub fn busy(&self, busy: bool) {
        self.busy.set(busy);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        use ClusterStat as S;
        let stats = &self.permit.cluster.stats;
        let (ended, with_requests) = match self.by_peer.get() {
            true => (S::UpstreamCxDestroyRemote, S::UpstreamCxDestroyRemoteWithActiveRq),
            false => (S::UpstreamCxDestroyLocal, S::UpstreamCxDestroyLocalWithActiveRq),
        };
        stats.inc(S::UpstreamCxDestroy);
        stats.inc(ended);
        if self.busy.get() {
            stats.inc(S::UpstreamCxDestroyWithActiveRq);
            stats.inc(with_requests);
        }
        stats.record(S::UpstreamCxLengthMs, self.since.elapsed().as_millis() as u64);
        self.endpoint.active_connections.fetch_sub(1, Ordering::Relaxed);
    }
}
