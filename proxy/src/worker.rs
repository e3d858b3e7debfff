//! A worker: one thread, one current-thread runtime, and everything that lives and dies on it.
//!
//! A connection, its streams, its upstream connections and their pools stay on one worker: no locks, no `Send`.

use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Cache};
use hashbrown::HashMap;
use tokio::sync::Notify;

use crate::{
    access_log::{
        file::LogFiles,
        grpc::{LogService, LogStream},
    },
    cluster::{Cluster, Limit},
    control::{Command, Commands, demand::Demands},
    http::{codec::h1, decimal},
    istio,
    listener::accept,
    snapshot::Snapshot,
    stats, sys,
    tcp::copy,
    trace::{Tracer, sender::SpanSender},
    upstream::LocalCluster,
};

/// What all threads share.
pub struct Shared {
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub stats: stats::Store,
    /// Numbers connections across workers.
    pub connection_ids: std::sync::atomic::AtomicU64,
    pub node: Node,
    /// The machine's first address that is not loopback, of the family that `--local-address-ip-version` asks for.
    pub own_address: Option<std::net::IpAddr>,
    pub log_files: Arc<LogFiles>,
    /// `--concurrency`.
    pub workers: usize,
    /// Connections of all listeners that count, and how many there may be (`overload_manager`).
    pub downstream_connections: Limit,
    /// The bootstrap's, of connection managers that trace and name none.
    pub tracer: Option<Arc<Tracer>>,
    /// What requests wait for, told to the control thread.
    pub demands: Demands,
}

/// What formats and headers say of this proxy.
#[derive(Debug, Default, Clone)]
pub struct Node {
    pub id: Box<str>,
    pub cluster: Box<str>,
    pub zone: Box<str>,
    pub metadata: Arc<serde_json::Value>,
    /// As control planes and log services are told of it.
    pub bytes: bytes::Bytes,
}

/// The state of one worker thread. Everything that runs on the thread holds an `Rc` of it. The control thread has one too,
/// for the requests that it makes; it accepts nothing.
pub struct Worker {
    pub index: usize,
    pub shared: Arc<Shared>,
    snapshot: RefCell<Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>>,
    clusters: RefCell<HashMap<Arc<str>, Rc<LocalCluster>, foldhash::fast::RandomState>>,
    /// Tells [`run`] that there is a cluster to look after.
    used: Notify,
    random: Cell<u64>,
    istio: istio::Local,
    /// `http2.`, made at the first HTTP/2 connection and kept, so that its counters outlive connections.
    http2_stats: OnceCell<stats::Group<stats::Http2Stat>>,
    /// The same of HTTP/1.
    http1_stats: OnceCell<stats::Group<stats::Http1Stat>>,
    /// `http.async-client.`, of requests that the proxy itself makes.
    call_stats: OnceCell<stats::Group<stats::AsyncClientStat>>,
    /// `access_logs.grpc_access_log.`
    log_stats: OnceCell<stats::Group<stats::GrpcAccessLogStat>>,
    /// Streams of log entries, by their service's hash, HTTP and TCP apart.
    log_streams: RefCell<HashMap<(u64, bool), Rc<LogStream>>>,
    /// Spans that wait, by their tracer's hash.
    span_senders: RefCell<HashMap<u64, Rc<SpanSender>>>,
}

impl Worker {
    /// `seed` makes the worker's random decisions; any value will do.
    pub fn new(index: usize, shared: Arc<Shared>, seed: u64) -> Rc<Self> {
        let snapshot = RefCell::new(Cache::new(shared.snapshot.clone()));
        Rc::new(Self {
            index,
            snapshot,
            clusters: RefCell::default(),
            used: Notify::new(),
            random: Cell::new(seed | 1),
            istio: istio::Local::default(),
            http2_stats: OnceCell::new(),
            http1_stats: OnceCell::new(),
            call_stats: OnceCell::new(),
            log_stats: OnceCell::new(),
            log_streams: RefCell::default(),
            span_senders: RefCell::default(),
            shared,
        })
    }

    /// The current snapshot: one atomic load and one count, no lock.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.borrow_mut().load().clone()
    }

    /// What this worker remembers of Istio's peers and metrics.
    pub fn istio(&self) -> &istio::Local {
        &self.istio
    }

    /// The counters of downstream HTTP/2 connections.
    pub fn http2_stats(&self) -> stats::Group<stats::Http2Stat> {
        let make = || self.shared.stats.group(stats::Prefix::root("http2."));
        self.http2_stats.get_or_init(make).clone()
    }

    /// The counters of downstream HTTP/1 connections, there from the first one on.
    pub fn http1_stats(&self) {
        let make = || self.shared.stats.group(stats::Prefix::root("http1."));
        self.http1_stats.get_or_init(make);
    }

    /// The counters of requests that the proxy itself makes, there from the first one on.
    pub fn call_stats(&self) -> &stats::Group<stats::AsyncClientStat> {
        let make = || self.shared.stats.group(stats::Prefix::root("http.async-client."));
        self.call_stats.get_or_init(make)
    }

    /// The counters of log entries for services.
    pub fn log_stats(&self) -> &stats::Group<stats::GrpcAccessLogStat> {
        let make = || {
            self.shared
                .stats
                .group(stats::Prefix::root("access_logs.grpc_access_log."))
        };
        self.log_stats.get_or_init(make)
    }

    /// This worker's stream to a log service, made at first use.
    pub fn log_stream(self: &Rc<Self>, service: &Arc<LogService>, tcp: bool) -> Rc<LogStream> {
        let mut streams = self.log_streams.borrow_mut();
        streams.retain(|_, stream| !stream.has_ended());
        let start = || Rc::new(LogStream::start(service, tcp, self));
        streams.entry((service.hash, tcp)).or_insert_with(start).clone()
    }

    /// Who sends this worker's spans of a tracer, made at first use.
    pub fn span_sender(self: &Rc<Self>, tracer: &Arc<Tracer>) -> Rc<SpanSender> {
        let mut senders = self.span_senders.borrow_mut();
        senders.retain(|_, sender| !sender.has_ended());
        let start = || Rc::new(SpanSender::start(tracer, self));
        senders.entry(tracer.hash).or_insert_with(start).clone()
    }

    /// This worker's pools and balancer of a cluster, made at first use.
    pub fn local_cluster(&self, cluster: &Arc<Cluster>) -> Rc<LocalCluster> {
        let known = self.clusters.borrow().get(&cluster.name).cloned();
        if let Some(local) = known {
            if Arc::ptr_eq(&local.state, &cluster.state) {
                local.adopt(cluster);
                return local;
            }
            // Removed and added again in one push.
            local.drain();
        }
        let local = LocalCluster::new(cluster);
        self.clusters.borrow_mut().insert(cluster.name.clone(), local.clone());
        self.used.notify_one();
        local
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

/// How often a worker looks after its pools: idle timeouts are that exact.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Runs a worker on the calling thread until it is told to stop. Must be polled on a `LocalRuntime`.
pub async fn run(worker: Rc<Worker>, mut commands: Commands) {
    let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let idle = worker.clusters.borrow().is_empty();
        let command = tokio::select! {
            command = commands.recv() => command,
            () = worker.used.notified(), if idle => continue,
            // Its timer, always near, also spares the requests' timers a system call each: only one that becomes the
            // next to fire wakes the driver.
            _ = sweep.tick(), if !idle => {
                worker.sweep();
                continue;
            }
        };
        match command {
            Some(Command::Listen {
                name,
                sockets,
                balance,
                stop,
            }) => {
                for socket in sockets {
                    if let Err(e) = accept::spawn(&worker, name.clone(), socket, balance.clone(), stop.clone()) {
                        tracing::error!(listener = &*name, "cannot watch the listening socket: {e}");
                    }
                }
            }
            Some(Command::Serve(connection)) => {
                if let Err(e) = connection.serve(&worker) {
                    tracing::error!("cannot serve a connection that was handed over: {e}");
                }
            }
            Some(Command::Swapped) => worker.swapped(),
            Some(Command::Quiet) => quiet(),
            Some(Command::Stop) | None => return,
        }
    }
}

/// Gives back what the thread keeps at hand. What lives on among what a burst left holds the whole page that it lies on, so
/// small things go too.
fn quiet() {
    h1::forget();
    decimal::forget();
    copy::forget();
    sys::release_thread_cache();
    sys::release_stack();
}

impl Worker {
    /// Lets go of the old snapshot, and drains pools of clusters that left or changed.
    fn swapped(&self) {
        let snapshot = self.snapshot();
        self.clusters
            .borrow_mut()
            .retain(|name, local| match snapshot.clusters.get(name) {
                Some(cluster) if Arc::ptr_eq(&cluster.state, &local.state) => {
                    local.adopt(cluster);
                    true
                }
                _ => {
                    local.drain();
                    false
                }
            });
    }

    fn sweep(&self) {
        let snapshot = self.snapshot();
        let now = Instant::now();
        for (name, local) in &*self.clusters.borrow() {
            local.sweep(now, snapshot.clusters.get(name).map(|c| &**c));
        }
    }
}
