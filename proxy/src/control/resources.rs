//! All resources that the proxy knows, and when each is warm enough to be public.
//!
//! A cluster waits for its endpoints and secrets, a listener for its routes and secrets; the version before stays public
//! meanwhile. Endpoints, routes and secrets go straight to whoever uses them.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    rc::Rc,
    sync::Arc,
};

use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use tokio::sync::Notify;

use super::publisher::Publisher;
use crate::{
    bootstrap::Received,
    cluster::{Cluster, dns, endpoint_set, outlier},
    config::{
        self, Context, Rejection,
        cluster::ParsedCluster,
        endpoint::LoadAssignment,
        secret::{Secret, SecretType},
        source::SecretReference,
        tls::Material,
    },
    listener::Listener,
    tls::UpstreamTransport,
};

/// Resources by kind and name, and the publisher that makes warm ones public.
pub struct Resources {
    pub publisher: Publisher,
    pub context: Context,
    clusters: HashMap<Arc<str>, KnownCluster>,
    listeners: HashMap<Arc<str>, KnownListener>,
    routes: HashSet<Arc<str>>,
    assignments: HashMap<Arc<str>, Arc<LoadAssignment>>,
    secrets: HashMap<(Arc<str>, SecretType), (Secret, Material)>,
    /// Names for which nobody waits any more: their fetch timed out.
    given_up: HashSet<Arc<str>>,
    /// Told when a DNS cluster was resolved for the first time.
    pub resolved: Rc<Notify>,
}

struct KnownCluster {
    received: Received,
    dynamic: bool,
    cluster: Arc<Cluster>,
    /// `service_name` of an EDS cluster.
    endpoints: Option<Arc<str>>,
    secrets: Vec<SecretReference>,
    public: bool,
}

struct KnownListener {
    received: Received,
    dynamic: bool,
    /// Until it is public.
    warming: Option<Listener>,
    routes: Vec<Arc<str>>,
    secrets: Vec<SecretReference>,
}

/// What new resources need besides themselves, to be subscribed before the update is acknowledged.
#[derive(Debug, Default)]
pub struct Wanted {
    pub endpoints: Vec<Arc<str>>,
    pub routes: Vec<Arc<str>>,
    pub secrets: Vec<Arc<str>>,
}

impl Resources {
    pub fn new(publisher: Publisher, context: Context) -> Self {
        Self {
            publisher,
            context,
            clusters: HashMap::new(),
            listeners: HashMap::new(),
            routes: HashSet::new(),
            assignments: HashMap::new(),
            secrets: HashMap::new(),
            given_up: HashSet::new(),
            resolved: Rc::default(),
        }
    }

    /// Takes a cluster; an equal one changes nothing.
    ///
    /// # Errors
    /// Why it is not taken; the last good version stays.
    pub fn take_cluster(&mut self, body: &Bytes, wanted: &mut Wanted) -> Result<(), Rejection> {
        let parsed = config::cluster::parse(body, true, &mut self.context)?;
        let received = Received::new(parsed.cluster.name.clone(), Bytes::copy_from_slice(body));
        self.add_cluster(received, parsed, true, wanted);
        Ok(())
    }

    /// Adds a parsed cluster.
    pub fn add_cluster(&mut self, received: Received, parsed: ParsedCluster, dynamic: bool, wanted: &mut Wanted) {
        let name = received.name.clone();
        let known = self.clusters.get(&name);
        if known.is_some_and(|k| k.received.hash == received.hash) {
            return;
        }
        let state = known.map(|k| k.cluster.state.clone());
        let endpoints = parsed
            .dependencies
            .endpoints
            .as_ref()
            .map(|reference| reference.name.clone());
        let secrets = parsed.dependencies.secrets.clone();
        let mut parsed = parsed;
        let inline = parsed.assignment.take();
        let state = state.unwrap_or_else(|| parsed.cluster.state.clone());
        let cluster = Arc::new(parsed.adopt(state));
        if let Some(assignment) = inline {
            endpoint_set::apply(&cluster, &assignment);
        }
        if let Some((config, logical)) = cluster.dns() {
            let resolving = dns::run(Arc::downgrade(&cluster), config.clone(), logical, self.resolved.clone());
            tokio::task::spawn_local(resolving);
        }
        if let Some(service) = &endpoints {
            wanted.endpoints.push(service.clone());
            // The assignment that is held serves the new version too, until another comes.
            if let Some(assignment) = self.assignments.get(service) {
                endpoint_set::apply(&cluster, assignment);
            }
        }
        wanted
            .secrets
            .extend(secrets.iter().filter(|s| s.source.is_some()).map(|s| s.name.clone()));
        self.clusters.insert(
            name,
            KnownCluster {
                received,
                dynamic,
                cluster,
                endpoints,
                secrets,
                public: false,
            },
        );
    }

    pub fn remove_cluster(&mut self, name: &str) {
        if self.clusters.get(name).is_some_and(|k| k.dynamic) {
            self.clusters.remove(name);
            self.publisher.remove_cluster(name);
        }
    }

    /// Takes the endpoints of the clusters that ask for them.
    ///
    /// # Errors
    /// Why they are not taken; the last good ones stay.
    pub fn take_assignment(&mut self, body: &Bytes) -> Result<(), Rejection> {
        let assignment = Arc::new(config::endpoint::parse(body, &mut self.context)?);
        let service = assignment.cluster_name.clone();
        for known in self
            .clusters
            .values()
            .filter(|k| k.endpoints.as_ref() == Some(&service))
        {
            endpoint_set::apply(&known.cluster, &assignment);
        }
        self.assignments.insert(service, assignment);
        Ok(())
    }

    /// Takes a listener; an equal one changes nothing.
    ///
    /// # Errors
    /// Why it is not taken; the last good version stays.
    pub fn take_listener(&mut self, body: &Bytes, wanted: &mut Wanted) -> Result<(), Rejection> {
        let listener = config::listener::parse(body, &mut self.context)?;
        let known = |name: &str| self.clusters.contains_key(name);
        listener.dependencies.check_clusters(known)?;
        let received = Received::new(listener.name.clone(), Bytes::copy_from_slice(body));
        self.add_listener(received, listener, true, wanted);
        Ok(())
    }

    /// Adds a parsed listener.
    pub fn add_listener(&mut self, received: Received, listener: Listener, dynamic: bool, wanted: &mut Wanted) {
        let name = received.name.clone();
        if self
            .listeners
            .get(&name)
            .is_some_and(|k| k.received.hash == received.hash)
        {
            return;
        }
        let routes: Vec<Arc<str>> = listener.dependencies.routes.iter().map(|r| r.name.clone()).collect();
        let secrets = listener.dependencies.secrets.clone();
        wanted.routes.extend(routes.iter().cloned());
        wanted
            .secrets
            .extend(secrets.iter().filter(|s| s.source.is_some()).map(|s| s.name.clone()));
        self.listeners.insert(
            name,
            KnownListener {
                received,
                dynamic,
                warming: Some(listener),
                routes,
                secrets,
            },
        );
    }

    pub fn remove_listener(&mut self, name: &str) {
        if self.listeners.get(name).is_some_and(|k| k.dynamic) {
            self.listeners.remove(name);
            self.publisher.remove_listener(name);
        }
    }

    /// Takes a route configuration.
    ///
    /// # Errors
    /// Why it is not taken; the last good version stays.
    pub fn take_routes(&mut self, body: &Bytes) -> Result<(), Rejection> {
        let parsed = config::route::parse(body, &mut self.context)?;
        let routes = Arc::new(parsed.routes);
        self.routes.insert(routes.name.clone());
        self.publisher.set_routes(routes);
        Ok(())
    }

    /// Takes a secret and rebuilds every TLS context that it belongs to.
    ///
    /// # Errors
    /// Why it is not taken; the last good version stays.
    pub fn take_secret(&mut self, body: &Bytes) -> Result<(), Rejection> {
        let secret = config::secret::parse(body, &mut self.context)?;
        self.add_secret(secret)
    }

    /// Adds a parsed secret.
    ///
    /// # Errors
    /// Where its material cannot be used.
    pub fn add_secret(&mut self, secret: Secret) -> Result<(), Rejection> {
        let material = secret.load()?;
        let name = secret.name.clone();
        let key = (name.clone(), secret.secret_type());
        if self
            .secrets
            .get(&key)
            .is_some_and(|(known, _)| known.hash == secret.hash)
        {
            return Ok(());
        }
        self.secrets.insert(key, (secret, material));
        let uses = |secrets: &[SecretReference]| secrets.iter().any(|s| s.name == name);
        for known in self.clusters.values().filter(|k| uses(&k.secrets)) {
            self.build_upstream(&known.cluster)?;
        }
        let snapshot = self.publisher.next();
        for known in self.listeners.values().filter(|k| uses(&k.secrets)) {
            let public = snapshot.listeners.get(&known.received.name).map(|l| &**l);
            for listener in known.warming.iter().chain(public) {
                self.build_downstream(listener)?;
            }
        }
        Ok(())
    }

    /// Nobody waits for this any more (`initial_fetch_timeout`).
    pub fn give_up(&mut self, name: &Arc<str>) {
        self.given_up.insert(name.clone());
    }

    /// Makes public what has become warm, in the order in which it is needed.
    pub fn publish(&mut self) {
        let mut warm = Vec::new();
        for known in self.clusters.values().filter(|k| !k.public) {
            if let Err(rejection) = self.build_upstream(&known.cluster) {
                tracing::error!("{rejection}");
            }
            if self.is_warm(known) {
                warm.push(known.cluster.clone());
            }
        }
        for cluster in warm {
            if let Some(known) = self.clusters.get_mut(&cluster.name) {
                known.public = true;
            }
            self.publisher.set_cluster(cluster);
        }
        let ready: Vec<Arc<str>> = self
            .listeners
            .iter()
            .filter(|(_, k)| self.is_ready(k))
            .map(|(name, _)| name.clone())
            .collect();
        for name in ready {
            let Some(listener) = self.listeners.get_mut(&name).and_then(|k| k.warming.take()) else {
                continue;
            };
            if let Err(rejection) = self.build_downstream(&listener) {
                tracing::error!("{rejection}");
            }
            if let Err(e) = self.publisher.set_listener(listener) {
                tracing::error!("{e}");
            }
        }
        let warming = self.clusters.values().filter(|k| !k.public).count();
        let waiting = self.listeners.values().filter(|k| k.warming.is_some()).count();
        self.publisher.set_warming(warming, waiting);
        self.publisher.publish();
    }

    pub fn cluster(&self, name: &str) -> Option<Arc<Cluster>> {
        self.clusters.get(name).map(|k| k.cluster.clone())
    }

    /// What is due every second: replaced snapshots go, ejected hosts come back.
    pub fn housekeep(&mut self) {
        self.publisher.drop_retired();
        for known in self.clusters.values() {
            outlier::tick(&known.cluster, RandomState::new().build_hasher().finish());
        }
    }

    /// Whether no cluster is warming.
    pub fn clusters_are_warm(&self) -> bool {
        self.clusters.values().all(|k| k.public)
    }

    pub fn listeners_are_warm(&self) -> bool {
        self.listeners.values().all(|k| k.warming.is_none())
    }

    /// What was received of clusters and listeners: (resource, dynamic, warming).
    pub fn received_clusters(&self) -> impl Iterator<Item = (&Received, bool, bool)> {
        self.clusters.values().map(|k| (&k.received, k.dynamic, !k.public))
    }

    pub fn received_listeners(&self) -> impl Iterator<Item = (&Received, bool, bool)> {
        self.listeners
            .values()
            .map(|k| (&k.received, k.dynamic, k.warming.is_some()))
    }

    fn is_warm(&self, known: &KnownCluster) -> bool {
        let endpoints = |name: &Arc<str>| self.assignments.contains_key(name) || self.given_up.contains(name);
        let resolved = known.cluster.dns().is_none() || known.cluster.state.endpoints.load().version > 0;
        resolved && known.endpoints.as_ref().is_none_or(endpoints) && self.has_secrets(&known.secrets)
    }

    fn is_ready(&self, known: &KnownListener) -> bool {
        let routes = |name: &Arc<str>| self.routes.contains(name) || self.given_up.contains(name);
        known.warming.is_some() && known.routes.iter().all(routes) && self.has_secrets(&known.secrets)
    }

    fn has_secrets(&self, secrets: &[SecretReference]) -> bool {
        let held = |name: &Arc<str>| self.secrets.keys().any(|(held, _)| held == name);
        secrets.iter().all(|s| held(&s.name) || self.given_up.contains(&s.name))
    }

    fn build_upstream(&self, cluster: &Cluster) -> Result<(), Rejection> {
        let transports = cluster
            .transport
            .matches
            .iter()
            .map(|m| &m.transport)
            .chain([&cluster.transport.default]);
        for transport in transports {
            let UpstreamTransport::Tls(tls) = transport else {
                continue;
            };
            if let Some(context) = tls.config.build(&|reference, kind| self.material(reference, kind))? {
                tls.context.store(Some(Arc::new(context)));
            }
        }
        Ok(())
    }

    fn build_downstream(&self, listener: &Listener) -> Result<(), Rejection> {
        for tls in listener.chains().filter_map(|chain| chain.tls.as_ref()) {
            if let Some(context) = tls.config.build(&|reference, kind| self.material(reference, kind))? {
                tls.context.store(Some(Arc::new(context)));
            }
        }
        Ok(())
    }

    fn material(&self, reference: &SecretReference, kind: SecretType) -> Option<Material> {
        self.secrets
            .get(&(reference.name.clone(), kind))
            .map(|(_, material)| material.clone())
    }
}
