//! Makes snapshots public: swaps them in, binds and closes sockets, starts the drains that a change asks for.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use tokio::sync::{mpsc, watch};

use super::Command;
use crate::{
    address::Address,
    cluster::Cluster,
    config::source::SourceSpecifier,
    drain::{DrainOrder, DrainStrategy},
    listener::{
        FilterChain, ListenAddress, Listener,
        exact_balance::ExactBalance,
        socket::{self, BindError, Listening},
    },
    route::{RouteConfiguration, scope::Scopes},
    snapshot::Snapshot,
    stats::{ClusterManagerStat, Group, ListenerManagerStat, Prefix},
    worker::Shared,
};

/// How drains run: `--drain-time-s`, `--drain-strategy`.
#[derive(Debug, Clone, Copy)]
pub struct DrainSettings {
    /// Envoy's default: 600 s.
    pub time: Duration,
    pub strategy: DrainStrategy,
}

/// The writer of the snapshot. Changes gather in `next` until [`Publisher::publish`].
pub struct Publisher {
    shared: Arc<Shared>,
    workers: Vec<mpsc::UnboundedSender<Command>>,
    /// The control thread's requests: they hold snapshots and pools as workers do.
    caller: Option<mpsc::UnboundedSender<Command>>,
    next: Snapshot,
    changed: bool,
    /// Listeners changed: their addresses must be looked through again.
    readdressed: bool,
    /// New sockets, by worker: nobody accepts on them before their listener is public.
    opened: Vec<(usize, Command)>,
    /// Chains that went: told to drain once their successors are public, for clients come back at once.
    replaced: Vec<Arc<FilterChain>>,
    /// Chains that were told to drain, while they have connections.
    draining: Vec<Weak<FilterChain>>,
    sockets: HashMap<Arc<str>, OpenSockets>,
    drain: DrainSettings,
    cluster_stats: Group<ClusterManagerStat>,
    listener_stats: Group<ListenerManagerStat>,
    /// The process is about to end: nothing opens any more.
    ending: bool,
    /// Replaced snapshots that some worker may still hold: dropped here, never on a worker.
    retired: Vec<Arc<Snapshot>>,
}

/// Sockets of one listener; dropping the sender closes them.
struct OpenSockets {
    socket_hash: u64,
    /// As bound: a port 0 has become one.
    addresses: Vec<Address>,
    stop: watch::Sender<bool>,
}

impl Publisher {
    pub fn new(shared: Arc<Shared>, workers: Vec<mpsc::UnboundedSender<Command>>, drain: DrainSettings) -> Self {
        Self {
            next: Snapshot::clone(&shared.snapshot.load()),
            cluster_stats: shared.stats.group(Prefix::root("cluster_manager.")),
            listener_stats: shared.stats.group(Prefix::root("listener_manager.")),
            shared,
            workers,
            caller: None,
            changed: false,
            readdressed: false,
            opened: Vec::new(),
            replaced: Vec::new(),
            draining: Vec::new(),
            sockets: HashMap::default(),
            drain,
            ending: false,
            retired: Vec::new(),
        }
    }

    /// Tells the control thread's own worker of snapshots too, from now on.
    pub fn set_caller(&mut self, caller: mpsc::UnboundedSender<Command>) {
        self.caller = Some(caller);
    }

    /// What will be public after the next [`Self::publish`].
    pub fn next(&self) -> &Snapshot {
        &self.next
    }

    /// What is public at any time.
    pub fn snapshot(&self) -> Arc<ArcSwap<Snapshot>> {
        self.shared.snapshot.clone()
    }

    /// How long a drain takes at most.
    pub fn drain_time(&self) -> Duration {
        self.drain.time
    }

    /// Adds or updates a listener. Sockets stay open unless what they are bound to changed; filter chains whose content did
    /// not change stay as they are, with their connections; those that went or changed drain.
    ///
    /// # Errors
    /// Where an address cannot be bound; nothing has changed then.
    pub fn set_listener(&mut self, mut listener: Listener) -> Result<(), BindError> {
        let name = listener.name.clone();
        let old = self.next.listeners.get(&name).cloned();
        let keeps_sockets = self.keeps_sockets(&listener);
        if listener.bind_to_port && !keeps_sockets && !self.ending {
            if let Err(e) = self.open(&listener) {
                self.listener_stats.inc(ListenerManagerStat::ListenerCreateFailure);
                return Err(e);
            }
        } else if !listener.bind_to_port {
            self.sockets.remove(&name);
        }
        match &old {
            None => {
                self.listener_stats.inc(ListenerManagerStat::ListenerAdded);
                // Envoy counts every worker's.
                let workers = self.workers.len() as u64;
                self.listener_stats
                    .add(ListenerManagerStat::ListenerCreateSuccess, workers);
            }
            Some(_) => {
                self.listener_stats.inc(ListenerManagerStat::ListenerModified);
                if keeps_sockets {
                    self.listener_stats.inc(ListenerManagerStat::ListenerInPlaceUpdated);
                }
            }
        }
        if let Some(open) = self.sockets.get(&name) {
            for (address, bound) in listener.addresses.iter_mut().zip(&open.addresses) {
                address.address = bound.clone();
            }
        }
        if let Some(old) = &old {
            keep_chains(&mut listener, old);
            let kept = |chain: &Arc<FilterChain>| listener.chains().any(|kept| Arc::ptr_eq(kept, chain));
            let replaced = old.chains().filter(|chain| !kept(chain)).cloned();
            self.replaced.extend(replaced);
        }
        self.next.listeners.insert(name, Arc::new(listener));
        self.readdressed = true;
        self.changed = true;
        Ok(())
    }

    /// Whether [`Self::set_listener`] could bind what it has to.
    ///
    /// # Errors
    /// The address that it could not.
    pub fn probe(&self, listener: &Listener) -> Result<(), BindError> {
        if !listener.bind_to_port || self.keeps_sockets(listener) || self.ending {
            return Ok(());
        }
        socket::probe(listener).inspect_err(|_| {
            self.listener_stats.inc(ListenerManagerStat::ListenerCreateFailure);
        })
    }

    fn keeps_sockets(&self, listener: &Listener) -> bool {
        let open = self.sockets.get(&listener.name);
        open.is_some_and(|open| open.socket_hash == listener.socket_hash)
    }

    fn open(&mut self, listener: &Listener) -> Result<(), BindError> {
        let by_worker = socket::bind(listener, self.workers.len())?;
        let bound = |(i, address): (usize, &ListenAddress)| {
            let first = by_worker.first().and_then(|sockets| sockets.get(i));
            first
                .and_then(Listening::bound)
                .unwrap_or_else(|| address.address.clone())
        };
        let addresses = listener.addresses.iter().enumerate().map(bound).collect();
        let (stop, stopped) = watch::channel(false);
        // One worker has nobody to hand anything to.
        let balance = (listener.exact_balance && self.workers.len() > 1).then(|| ExactBalance::new(&self.workers));
        for (worker, sockets) in by_worker.into_iter().enumerate() {
            let command = Command::Listen {
                name: listener.name.clone(),
                sockets,
                balance: balance.clone(),
                stop: stopped.clone(),
            };
            self.opened.push((worker, command));
        }
        self.sockets.insert(
            listener.name.clone(),
            OpenSockets {
                socket_hash: listener.socket_hash,
                addresses,
                stop,
            },
        );
        Ok(())
    }

    /// Removes a listener: its sockets close, its connections drain.
    pub fn remove_listener(&mut self, name: &str) {
        self.sockets.remove(name);
        if let Some(listener) = self.next.listeners.remove(name) {
            self.listener_stats.inc(ListenerManagerStat::ListenerRemoved);
            self.replaced.extend(listener.chains().cloned());
            self.readdressed = true;
            self.changed = true;
        }
    }

    pub fn set_routes(&mut self, routes: Arc<RouteConfiguration>) {
        self.next.routes.insert(routes.name.clone(), routes);
        self.changed = true;
    }

    pub fn remove_routes(&mut self, name: &str) {
        self.changed |= self.next.routes.remove(name).is_some();
    }

    pub fn set_scopes(&mut self, source: SourceSpecifier, scopes: Arc<Scopes>) {
        self.next.scopes.insert(source, scopes);
        self.changed = true;
    }

    pub fn remove_scopes(&mut self, source: &SourceSpecifier) {
        self.changed |= self.next.scopes.remove(source).is_some();
    }

    pub fn set_cluster(&mut self, cluster: Arc<Cluster>) {
        let old = self.next.clusters.insert(cluster.name.clone(), cluster);
        self.cluster_stats.inc(match old {
            None => ClusterManagerStat::ClusterAdded,
            Some(_) => ClusterManagerStat::ClusterModified,
        });
        self.changed = true;
    }

    pub fn remove_cluster(&mut self, name: &str) {
        if self.next.clusters.remove(name).is_some() {
            self.cluster_stats.inc(ClusterManagerStat::ClusterRemoved);
            self.changed = true;
        }
    }

    pub fn set_runtime(&mut self, runtime: Arc<serde_json::Map<String, serde_json::Value>>) {
        self.next.runtime = runtime;
        self.changed = true;
    }

    /// Swaps in what has gathered, if anything has.
    pub fn publish(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        if std::mem::take(&mut self.readdressed) {
            self.next.index_addresses();
        }
        self.next.version += 1;
        let (clusters, listeners) = (&self.next.clusters, &self.next.listeners);
        self.cluster_stats
            .set(ClusterManagerStat::ActiveClusters, clusters.len() as u64);
        self.listener_stats
            .set(ListenerManagerStat::TotalListenersActive, listeners.len() as u64);
        let old = self.shared.snapshot.swap(Arc::new(self.next.clone()));
        self.retired.push(old);
        self.tell(|| Command::Swapped);
        for (worker, listen) in self.opened.drain(..) {
            // As above.
            let _ = self.workers[worker].send(listen);
        }
        self.draining
            .retain(|chain| chain.upgrade().is_some_and(|chain| chain.drain.watchers() > 0));
        let order = self.order(true);
        for chain in self.replaced.drain(..) {
            chain.drain.start(order);
            self.draining.push(Arc::downgrade(&chain));
        }
        self.drop_retired();
    }

    /// How many resources wait for what they need.
    pub fn set_warming(&self, clusters: usize, listeners: usize) {
        self.cluster_stats
            .set(ClusterManagerStat::WarmingClusters, clusters as u64);
        self.listener_stats
            .set(ListenerManagerStat::TotalListenersWarming, listeners as u64);
    }

    /// Drops replaced snapshots that nobody else holds any more; call it now and then.
    pub fn drop_retired(&mut self) {
        self.retired.retain(|old| Arc::strong_count(old) > 1);
        self.draining.retain(|chain| chain.strong_count() > 0);
        let draining = self.draining.len() as u64;
        self.listener_stats
            .set(ListenerManagerStat::TotalFilterChainsDraining, draining);
    }

    /// Drains listeners for which `which` holds. `close`: sockets close now; otherwise they keep accepting, and their
    /// connections are told to go.
    pub fn drain_listeners(&mut self, which: impl Fn(&Listener) -> bool, graceful: bool, close: bool) {
        let listeners: Vec<_> = self.next.listeners.values().filter(|l| which(l)).cloned().collect();
        for listener in listeners {
            if graceful {
                self.drain_listener(&listener, self.order(false));
            }
            if close {
                self.sockets.remove(&listener.name);
            }
        }
    }

    /// Drains everything before the process ends: sockets close, idle connections too.
    pub fn drain_for_exit(&mut self) {
        self.ending = true;
        let order = DrainOrder {
            strategy: DrainStrategy::Immediate,
            close_idle: true,
            ..self.order(true)
        };
        for listener in self.next.listeners.values() {
            self.drain_listener(listener, order);
        }
        for chain in self.draining.iter().filter_map(Weak::upgrade) {
            chain.drain.start(order);
        }
        self.sockets.clear();
    }

    /// Connections of all listeners, also of filter chains that were replaced and drain.
    pub fn connections(&self) -> usize {
        let current = self.next.listeners.values().flat_map(|l| l.chains());
        let draining = self.draining.iter().filter_map(Weak::upgrade);
        let watchers = |chain: &FilterChain| chain.drain.watchers();
        current.map(|chain| watchers(chain)).sum::<usize>() + draining.map(|chain| watchers(&chain)).sum::<usize>()
    }

    fn drain_listener(&self, listener: &Listener, order: DrainOrder) {
        listener.chains().for_each(|chain| chain.drain.start(order));
    }

    fn order(&self, close_at_end: bool) -> DrainOrder {
        DrainOrder {
            since: Instant::now(),
            time: self.drain.time,
            strategy: self.drain.strategy,
            close_at_end,
            close_idle: false,
        }
    }

    /// Tells the workers to end.
    pub fn stop(&self) {
        self.tell(|| Command::Stop);
    }

    /// Tells all workers, and this thread's.
    pub fn tell(&self, command: impl Fn() -> Command) {
        for worker in self.workers.iter().chain(&self.caller) {
            // One that is gone has stopped, and ends only with the process.
            let _ = worker.send(command());
        }
    }
}

impl Drop for OpenSockets {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Puts the chains of `old` in the place of equal ones of `new`, so that their connections and TLS contexts stay.
fn keep_chains(new: &mut Listener, old: &Listener) {
    let keep = |chain: &mut Arc<FilterChain>| {
        if let Some(same) = old.chains().find(|o| o.hash == chain.hash && o.name == chain.name) {
            *chain = same.clone();
        }
    };
    new.filter_chains
        .iter_mut()
        .chain(&mut new.default_filter_chain)
        .for_each(keep);
}
