//! A worker: one thread, one current-thread runtime, and everything that lives and dies on it.
//!
//! A connection, its streams, its upstream connections and their pools stay on one worker: no locks, no `Send`.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use arc_swap::{ArcSwap, Cache};
use hashbrown::HashMap;

use crate::{cluster::Cluster, snapshot::Snapshot, stats, upstream::LocalCluster};

/// What all threads share.
pub struct Shared {
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub stats: Arc<stats::Store>,
    /// Numbers connections across workers.
    pub connection_ids: std::sync::atomic::AtomicU64,
    pub node: Node,
    /// `--concurrency`.
    pub workers: usize,
}

/// What formats and headers say of this proxy.
#[derive(Debug, Default, Clone)]
pub struct Node {
    pub id: Box<str>,
    pub cluster: Box<str>,
    pub zone: Box<str>,
    pub metadata: Arc<serde_json::Value>,
}

/// The state of one worker thread. Everything that runs on the thread holds an `Rc` of it.
pub struct Worker {
    pub index: usize,
    pub shared: Arc<Shared>,
    snapshot: RefCell<Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>>,
    clusters: RefCell<HashMap<Arc<str>, Rc<LocalCluster>, foldhash::fast::RandomState>>,
    random: Cell<u64>,
}

impl Worker {
    /// `seed` makes the worker's random decisions; any value will do.
    pub fn new(index: usize, shared: Arc<Shared>, seed: u64) -> Rc<Self> {
        let snapshot = RefCell::new(Cache::new(shared.snapshot.clone()));
        Rc::new(Self {
            index,
            snapshot,
            clusters: RefCell::default(),
            random: Cell::new(seed | 1),
            shared,
        })
    }

    /// The current snapshot: one atomic load and one count, no lock.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.borrow_mut().load().clone()
    }

    /// This worker's pools and balancer of a cluster, made at first use.
    pub fn local_cluster(&self, cluster: &Arc<Cluster>) -> Rc<LocalCluster> {
        if let Some(local) = self.clusters.borrow().get(&cluster.name) {
            return local.clone();
        }
        let local = LocalCluster::new(cluster);
        self.clusters.borrow_mut().insert(cluster.name.clone(), local.clone());
        local
    }

    /// Clusters that this worker has used; for sweeps.
    pub fn local_clusters(&self) -> Vec<Rc<LocalCluster>> {
        self.clusters.borrow().values().cloned().collect()
    }

    /// Forgets a cluster that is gone from the snapshot; its pools close.
    pub fn forget_cluster(&self, name: &str) -> Option<Rc<LocalCluster>> {
        self.clusters.borrow_mut().remove(name)
    }

    /// A random number (wyrand): decisions take it as a fact.
    pub fn random(&self) -> u64 {
        /// wyrand's two constants.
        const STEP: u64 = 0xa076_1d64_78bd_642f;
        const MIX: u64 = 0xe703_7ed1_a0b4_28db;
        let next = self.random.get().wrapping_add(STEP);
        self.random.set(next);
        let wide = u128::from(next) * u128::from(next ^ MIX);
        (wide >> u64::BITS) as u64 ^ wide as u64
    }
}
