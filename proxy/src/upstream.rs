//! Upstream connections: from a chosen endpoint to an exchange over a connection, new or pooled.
//!
//! `connect` opens a socket and its TLS, `pool` keeps connections of one endpoint for reuse, `exchange` is one request
//! and its response over either protocol, `permit` counts what circuit breakers limit, `reset` says why an attempt brought
//! no answer, `answers` counts those that came. `call` is for requests that the proxy itself makes.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use hashbrown::HashMap;

pub mod answers;
pub mod call;
mod codec_stats;
pub mod connect;
pub mod exchange;
pub mod permit;
pub mod pool;
pub mod reset;

pub use exchange::Exchange;

use crate::{
    cluster::{Cluster, ClusterState, Endpoint, balance::Balancer},
    stats::{Group, GrpcStat, Prefix, Store},
};
use codec_stats::CodecStats;
use pool::{Pool, PoolKey};

/// Methods of a cluster that count under their own names: clients choose them.
const MAX_GRPC_METHODS: usize = 1000;

/// One worker's part of a cluster: the balancer's state and the connection pools. Outlives config updates.
pub struct LocalCluster {
    pub state: Arc<ClusterState>,
    pub balancer: RefCell<Balancer>,
    /// Of the config that the pools' connections were made with.
    config_hash: Cell<u64>,
    /// Of the endpoints that the pools were made for, where `close_connections_on_host_set_change` asks.
    endpoint_version: Cell<u64>,
    codecs: Rc<CodecStats>,
    /// By `service/method`; the empty one is for all others.
    grpc: RefCell<HashMap<Box<str>, Group<GrpcStat>, foldhash::fast::RandomState>>,
    pools: RefCell<HashMap<PoolKey, Rc<Pool>, foldhash::fast::RandomState>>,
}

impl LocalCluster {
    pub fn new(cluster: &Arc<Cluster>) -> Rc<Self> {
        Rc::new(Self {
            state: cluster.state.clone(),
            balancer: RefCell::new(Balancer::default()),
            config_hash: Cell::new(cluster.hash),
            endpoint_version: Cell::new(cluster.endpoints.load().version),
            codecs: Rc::default(),
            grpc: RefCell::default(),
            pools: RefCell::default(),
        })
    }

    /// An update of the cluster itself (not of its endpoints or secrets) starts with new connections, as in Envoy.
    pub fn adopt(&self, cluster: &Cluster) {
        if self.config_hash.replace(cluster.hash) != cluster.hash {
            self.balancer.borrow_mut().forget();
            self.drain();
        }
    }

    /// The pool of an endpoint, made at first use.
    pub fn pool(&self, key: PoolKey, endpoint: &Arc<Endpoint>) -> Rc<Pool> {
        self.pools
            .borrow_mut()
            .entry(key)
            .or_insert_with_key(|key| Pool::new(key.clone(), endpoint.clone(), self.codecs.clone()))
            .clone()
    }

    /// The statistics of a gRPC method, `service/method`, made at first use; past [`MAX_GRPC_METHODS`] those of all others.
    pub fn grpc_stats(&self, store: &Store, cluster: &str, method: &str) -> Group<GrpcStat> {
        if let Some(known) = self.grpc.borrow().get(method) {
            return known.clone();
        }
        let mut grpc = self.grpc.borrow_mut();
        let method = if grpc.len() < MAX_GRPC_METHODS { method } else { "" };
        let make = || store.group(Prefix::grpc(cluster, method));
        grpc.entry(method.into()).or_insert_with(make).clone()
    }

    /// Closes idle connections that are dead, expired or whose endpoint left, and forgets empty pools.
    pub fn sweep(&self, now: std::time::Instant, cluster: Option<&Cluster>) {
        if let Some(cluster) = cluster.filter(|c| c.lb_config.close_connections_on_host_set_change) {
            let version = cluster.endpoints.load().version;
            if self.endpoint_version.replace(version) != version {
                self.drain();
            }
        }
        self.pools.borrow_mut().retain(|_, pool| {
            if pool.is_orphaned() {
                pool.drain();
                return false;
            }
            pool.sweep(now, cluster.and_then(|c| c.idle_timeout), cluster.is_none());
            !pool.is_unused()
        });
    }

    /// Drains every pool: busy connections finish their request and close, idle ones close now.
    pub fn drain(&self) {
        for (_, pool) in self.pools.borrow_mut().drain() {
            pool.drain();
        }
    }
}
