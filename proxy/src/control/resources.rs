//! All resources that the proxy knows, and when each is warm enough to be public.
//!
//! A cluster waits for its endpoints and secrets, a listener for its routes and secrets; the version before stays public
//! meanwhile. Endpoints, routes and secrets go straight to whoever uses them.

use std::{
    cell::RefCell,
    hash::{BuildHasher, Hasher, RandomState},
    rc::Rc,
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use tokio::sync::Notify;

mod extensions;
mod runtime;
mod secrets;
mod subscriptions;
mod warming;

use extensions::Extension;

use super::{
    expiry::Expiry,
    interest::{Interest, Kind, Need, User},
    key_files::{Owner, Watches},
    ledger::{Entry, Ledger, Refusal},
    origin::{OriginId, Origins},
    publisher::Publisher,
    runtime::RuntimeLayers,
    subscription_stats::SubscriptionStats,
};
use crate::{
    bootstrap::Received,
    cluster::{Cluster, Discovery, dns, endpoint_set, outlier},
    config::{
        self, Context, Rejection, cluster::ParsedCluster, endpoint::LoadAssignment, secret::Secret, tls::Material,
    },
    listener::Listener,
    worker::Worker,
};

/// Resources by kind and name, and the publisher that makes warm ones public.
pub struct Resources {
    pub publisher: Publisher,
    pub context: Context,
    pub interest: Interest,
    pub origins: Origins,
    pub ledger: Rc<RefCell<Ledger>>,
    pub stats: SubscriptionStats,
    pub watches: Watches,
    expiry: Expiry,
    /// Shared with the admin interface, which shows and changes them.
    pub runtime: Rc<RefCell<RuntimeLayers>>,
    /// Layers that control planes serve: each by its need, until [`Resources::complete_runtime`] found them all met.
    awaited_layers: Vec<Need>,
    runtime_complete: bool,
    held_layers: HashSet<Need>,
    /// By which the control thread sends requests of its own.
    pub caller: Rc<Worker>,
    clusters: HashMap<Arc<str>, KnownCluster>,
    listeners: HashMap<Arc<str>, KnownListener>,
    /// Names of those that are not public yet: of 10,000 that are known, few.
    warming_clusters: HashSet<Arc<str>>,
    warming_listeners: HashSet<Arc<str>>,
    routes: HashSet<Need>,
    extensions: HashMap<Need, Extension>,
    assignments: HashMap<Need, Arc<LoadAssignment>>,
    /// A certificate and a validation context may share a name.
    secrets: HashMap<Need, Vec<HeldSecret>>,
    /// For these nobody waits any more: their fetch timed out, or the server said that they do not exist.
    given_up: HashSet<Need>,
    /// Needs of listeners that drain, which routes serve to their end.
    retiring: Vec<(Instant, Arc<str>, Vec<Need>)>,
    /// Told when a DNS cluster was resolved for the first time.
    pub resolved: Rc<Notify>,
}

struct KnownCluster {
    received: Received,
    dynamic: bool,
    cluster: Arc<Cluster>,
    /// Endpoints and secrets.
    needs: Vec<Need>,
    /// Those of the version that is public until this one is warm.
    former: Vec<Need>,
}

struct KnownListener {
    received: Received,
    dynamic: bool,
    /// Until it is public.
    warming: Option<Listener>,
    /// Routes, secrets and configs of filters.
    needs: Vec<Need>,
    /// What it does not wait for.
    others: Vec<Need>,
    former: Vec<Need>,
}

struct HeldSecret {
    secret: Secret,
    material: Material,
    /// Hash of the files that the material was read from.
    files: u64,
}

/// A resource as it came, and from where.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    pub body: &'a Bytes,
    pub version: &'a Arc<str>,
    pub origin: OriginId,
}

impl Resources {
    pub fn new(
        publisher: Publisher,
        context: Context,
        ledger: Rc<RefCell<Ledger>>,
        runtime: Rc<RefCell<RuntimeLayers>>,
        caller: Rc<Worker>,
    ) -> Self {
        Self {
            stats: SubscriptionStats::new(&context.stats),
            expiry: Expiry::new(&context.stats),
            publisher,
            context,
            interest: Interest::default(),
            origins: Origins::default(),
            ledger,
            watches: Watches::default(),
            caller,
            runtime,
            awaited_layers: Vec::new(),
            runtime_complete: false,
            held_layers: HashSet::new(),
            clusters: HashMap::new(),
            listeners: HashMap::new(),
            warming_clusters: HashSet::new(),
            warming_listeners: HashSet::new(),
            routes: HashSet::new(),
            extensions: HashMap::new(),
            assignments: HashMap::new(),
            secrets: HashMap::new(),
            given_up: HashSet::new(),
            retiring: Vec::new(),
            resolved: Rc::default(),
        }
    }

    /// Takes a resource; an equal one changes nothing.
    ///
    /// # Errors
    /// Why it is not taken; the last good version stays.
    pub fn take(&mut self, kind: Kind, name: &Arc<str>, arrival: Arrival<'_>) -> Result<(), Rejection> {
        let taken = match kind {
            Kind::Cluster => self.take_cluster(arrival),
            Kind::Endpoints => self.take_assignment(arrival),
            Kind::Extension => self.take_extension(arrival),
            Kind::Listener => self.take_listener(arrival),
            Kind::Routes => self.take_routes(arrival),
            Kind::Runtime => self.take_runtime(arrival),
            Kind::Secret => self.take_secret(arrival),
        };
        if let Err(rejection) = &taken {
            let mut ledger = self.ledger.borrow_mut();
            let record = ledger.of(kind).entry(name.clone()).or_default();
            record.error = Some(Box::new(Refusal::now(arrival.body, arrival.version, rejection)));
        }
        taken
    }

    fn take_cluster(&mut self, arrival: Arrival<'_>) -> Result<(), Rejection> {
        let parsed = config::cluster::parse(arrival.body, true, &mut self.context)?;
        let received = Received::new(parsed.cluster.name.clone(), Bytes::copy_from_slice(arrival.body));
        self.add_cluster(received, parsed, Some(arrival.version));
        Ok(())
    }

    /// Adds a parsed cluster. `version`: of a dynamic one.
    pub fn add_cluster(&mut self, received: Received, mut parsed: ParsedCluster, version: Option<&Arc<str>>) {
        let name = received.name.clone();
        let known = self.clusters.get(&name);
        // What stands in the bootstrap stays as it is, as in Envoy.
        if known.is_some_and(|k| k.received.hash == received.hash || (version.is_some() && !k.dynamic)) {
            return self.ledger.borrow_mut().taken(Kind::Cluster, &name);
        }
        let endpoints = parsed.dependencies.endpoints.take();
        let secrets = std::mem::take(&mut parsed.dependencies.secrets);
        let inline = parsed.assignment.take();
        let public = self.publisher.next().clusters.get(&name);
        let cluster = Arc::new(parsed.adopt(public.or(known.map(|k| &k.cluster))));
        if let Some(assignment) = inline {
            endpoint_set::apply(&cluster, &assignment);
        }
        if let Some((config, logical)) = cluster.dns() {
            let resolving = dns::run(Arc::downgrade(&cluster), config.clone(), logical, self.resolved.clone());
            tokio::task::spawn_local(resolving);
        }
        let contexts = cluster.transport.tls_contexts();
        let watched = contexts.flat_map(|tls| tls.config.context.watched()).collect();
        self.watches.set(&Owner::Cluster(name.clone()), watched);
        let user = User::Cluster(name.clone());
        let mut needs = self.want_secrets(&secrets, &user);
        if let Some(reference) = endpoints {
            let need = self.want(Kind::Endpoints, &reference.name, &reference.source, &user);
            // The assignment that is held serves the new version too, until another comes.
            if let Some(assignment) = self.assignments.get(&need) {
                endpoint_set::apply(&cluster, assignment);
            }
            needs.push(need);
        }
        let entry = Entry::now(received.bytes.clone(), version);
        self.ledger
            .borrow_mut()
            .clusters
            .entry(name.clone())
            .or_default()
            .warm(entry);
        let new = KnownCluster {
            received,
            dynamic: version.is_some(),
            cluster,
            needs,
            former: Vec::new(),
        };
        self.warming_clusters.insert(name.clone());
        if let Some(old) = self.clusters.insert(name.clone(), new) {
            let mut former = old.former;
            former.extend(old.needs);
            if let Some(known) = self.clusters.get_mut(&name) {
                known.former = former;
            }
        }
    }

    /// Clusters and listeners can be removed by the server; other kinds go when nobody names them.
    pub fn remove(&mut self, kind: Kind, origin: OriginId, name: &Arc<str>) {
        match kind {
            Kind::Cluster => self.remove_cluster(name),
            Kind::Listener => self.remove_listener(name),
            Kind::Runtime => self.remove_runtime(origin, name),
            Kind::Extension => self.remove_extension(Need {
                kind,
                origin,
                name: name.clone(),
            }),
            // It does not exist, or no longer: what was held stays, as in Envoy, and nobody waits for it.
            Kind::Endpoints | Kind::Routes | Kind::Secret => self.give_up(Need {
                kind,
                origin,
                name: name.clone(),
            }),
        }
    }

    fn remove_cluster(&mut self, name: &Arc<str>) {
        if self.clusters.get(name).is_some_and(|k| !k.dynamic) {
            return;
        }
        self.warming_clusters.remove(name);
        if let Some(known) = self.clusters.remove(name) {
            self.publisher.remove_cluster(name);
            self.watches.set(&Owner::Cluster(name.clone()), Vec::new());
            self.stats.forget_cluster(&known.cluster);
            let user = User::Cluster(name.clone());
            known
                .needs
                .iter()
                .chain(&known.former)
                .for_each(|need| self.interest.release(need, &user));
        }
        self.ledger.borrow_mut().clusters.remove(name);
    }

    fn take_assignment(&mut self, arrival: Arrival<'_>) -> Result<(), Rejection> {
        let assignment = Arc::new(config::endpoint::parse(arrival.body, &mut self.context)?);
        let need = arrival.need(Kind::Endpoints, &assignment.cluster_name);
        for user in self.interest.users(&need) {
            if let User::Cluster(name) = user
                && let Some(known) = self.clusters.get(name)
            {
                let asks = |version: &Cluster| matches!(&version.discovery, Discovery::Eds { service_name } if *service_name == need.name);
                for version in self.versions(known).filter(|version| asks(version)) {
                    endpoint_set::apply(version, &assignment);
                }
            }
        }
        let entry = Entry::now(Bytes::new(), Some(arrival.version));
        let mut ledger = self.ledger.borrow_mut();
        ledger.endpoints.entry(need.name.clone()).or_default().replace(entry);
        self.assignments.insert(need, assignment);
        Ok(())
    }

    fn take_listener(&mut self, arrival: Arrival<'_>) -> Result<(), Rejection> {
        let listener = config::listener::parse(arrival.body, &mut self.context)?;
        let known = |name: &str| self.clusters.contains_key(name);
        listener.dependencies.check_clusters(known)?;
        // As in Envoy: whoever sent it hears at once that it cannot work.
        self.publisher.probe(&listener).map_err(|e| {
            let problem = format!("cannot bind '{}': {}", e.address, crate::sys::error_text(&e.source));
            Rejection {
                kind: config::listener::KIND,
                name: (*listener.name).into(),
                path: "address".into(),
                problem: problem.into(),
            }
        })?;
        let received = Received::new(listener.name.clone(), Bytes::copy_from_slice(arrival.body));
        self.add_listener(received, listener, Some(arrival.version));
        Ok(())
    }

    /// Adds a parsed listener. `version`: of a dynamic one.
    pub fn add_listener(&mut self, received: Received, listener: Listener, version: Option<&Arc<str>>) {
        let name = received.name.clone();
        let known = self.listeners.get(&name);
        if known.is_some_and(|k| k.received.hash == received.hash || (version.is_some() && !k.dynamic)) {
            return self.ledger.borrow_mut().taken(Kind::Listener, &name);
        }
        let contexts = listener.chains().filter_map(|chain| chain.tls.as_ref());
        let watched = contexts.flat_map(|tls| tls.config.watched()).collect();
        self.watches.set(&Owner::Listener(name.clone()), watched);
        let user = User::Listener(name.clone());
        let mut needs = self.want_secrets(&listener.dependencies.secrets, &user);
        for reference in &listener.dependencies.routes {
            self.stats.name_routes(reference);
            needs.push(self.want(Kind::Routes, &reference.name, &reference.source, &user));
        }
        let (awaited, others) = self.want_extensions(&listener.dependencies, &user);
        needs.extend(awaited);
        let entry = Entry::now(received.bytes.clone(), version);
        self.ledger
            .borrow_mut()
            .listeners
            .entry(name.clone())
            .or_default()
            .warm(entry);
        let new = KnownListener {
            received,
            dynamic: version.is_some(),
            warming: Some(listener),
            needs,
            others,
            former: Vec::new(),
        };
        self.warming_listeners.insert(name.clone());
        if let Some(old) = self.listeners.insert(name.clone(), new) {
            let mut former = old.former;
            former.extend(old.needs);
            former.extend(old.others);
            if let Some(known) = self.listeners.get_mut(&name) {
                known.former = former;
            }
        }
    }

    fn remove_listener(&mut self, name: &Arc<str>) {
        if self.listeners.get(name).is_some_and(|k| !k.dynamic) {
            return;
        }
        self.warming_listeners.remove(name);
        if let Some(mut known) = self.listeners.remove(name) {
            self.publisher.remove_listener(name);
            self.watches.set(&Owner::Listener(name.clone()), Vec::new());
            known.needs.append(&mut known.others);
            known.needs.append(&mut known.former);
            self.retire(name.clone(), known.needs);
        }
        self.ledger.borrow_mut().listeners.remove(name);
    }

    /// Connections of the old version go on under its routes until they are drained.
    fn retire(&mut self, listener: Arc<str>, needs: Vec<Need>) {
        if !needs.is_empty() {
            let drained = Instant::now() + self.publisher.drain_time();
            self.retiring.push((drained, listener, needs));
        }
    }

    fn take_routes(&mut self, arrival: Arrival<'_>) -> Result<(), Rejection> {
        let parsed = config::route::parse(arrival.body, &mut self.context)?;
        let routes = Arc::new(parsed.routes);
        let entry = Entry::now(Bytes::copy_from_slice(arrival.body), Some(arrival.version));
        self.ledger
            .borrow_mut()
            .routes
            .entry(routes.name.clone())
            .or_default()
            .replace(entry);
        self.routes.insert(arrival.need(Kind::Routes, &routes.name));
        self.publisher.set_routes(routes);
        Ok(())
    }

    /// Nobody waits for this any more (`initial_fetch_timeout`).
    pub fn give_up(&mut self, need: Need) {
        if need.kind == Kind::Extension {
            self.give_up_extension(&need);
        }
        self.given_up.insert(need);
    }

    /// Nobody needs this any more: what was held of it goes, but for what stands in the bootstrap.
    pub fn forget(&mut self, need: &Need) {
        if need.origin == OriginId::STATIC {
            return;
        }
        self.given_up.remove(need);
        self.stats.forget(need);
        let mut ledger = self.ledger.borrow_mut();
        match need.kind {
            Kind::Cluster | Kind::Listener => return,
            Kind::Endpoints => _ = self.assignments.remove(need),
            Kind::Extension => _ = self.extensions.remove(need),
            Kind::Secret => {
                self.secrets.remove(need);
                self.watches.set(&Owner::Secret(need.clone()), Vec::new());
            }
            Kind::Runtime => {}
            Kind::Routes => {
                if self.routes.remove(need) {
                    self.publisher.remove_routes(&need.name);
                }
            }
        }
        ledger.of(need.kind).remove(&need.name);
    }

    pub fn cluster(&self, name: &str) -> Option<Arc<Cluster>> {
        self.clusters.get(name).map(|k| k.cluster.clone())
    }

    /// The version that warms, or is public, and the public one that still serves in its place.
    fn versions<'a>(&'a self, known: &'a KnownCluster) -> impl Iterator<Item = &'a Arc<Cluster>> {
        let public = self.publisher.next().clusters.get(&known.received.name);
        let former = public.filter(|public| !Arc::ptr_eq(public, &known.cluster));
        [&known.cluster].into_iter().chain(former)
    }

    /// What is due every second: replaced snapshots go, ejected hosts come back, routes of drained listeners are let go, and
    /// certificates that nobody renewed are told of.
    pub fn housekeep(&mut self) {
        self.publisher.drop_retired();
        self.expiry.check(self.publisher.next(), SystemTime::now());
        if self.runtime.borrow_mut().follow_links() {
            self.publish_runtime();
        }
        for cluster in self.publisher.next().clusters.values() {
            outlier::tick(cluster, RandomState::new().build_hasher().finish());
        }
        let now = Instant::now();
        let (drained, retiring) = std::mem::take(&mut self.retiring)
            .into_iter()
            .partition::<Vec<_>, _>(|(at, ..)| *at <= now);
        self.retiring = retiring;
        for (_, name, needs) in drained {
            let user = User::Listener(name);
            needs.iter().for_each(|need| self.interest.release(need, &user));
        }
    }

    /// Names of dynamic clusters or listeners that a source may remove.
    pub fn names_from(&self, kind: Kind) -> Vec<Arc<str>> {
        let clusters = self.clusters.iter().filter(|(_, k)| k.dynamic).map(|(name, _)| name);
        let listeners = self.listeners.iter().filter(|(_, k)| k.dynamic).map(|(name, _)| name);
        match kind {
            Kind::Cluster => clusters.cloned().collect(),
            Kind::Listener => listeners.cloned().collect(),
            Kind::Endpoints | Kind::Extension | Kind::Routes | Kind::Runtime | Kind::Secret => Vec::new(),
        }
    }
}

impl Arrival<'_> {
    fn need(&self, kind: Kind, name: &Arc<str>) -> Need {
        Need {
            kind,
            origin: self.origin,
            name: name.clone(),
        }
    }
}
