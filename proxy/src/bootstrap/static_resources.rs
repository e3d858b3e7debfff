//! `static_resources`: parsed like any other resource, and checked against each other.

use std::{cell::RefCell, sync::Arc};

use hashbrown::{HashMap, HashSet};

use super::{Bootstrap, KIND, Received};
use crate::{
    cluster::Discovery,
    config::{
        Context, Dependencies, Rejection, Rejections,
        at::Scope,
        cluster::{self, ParsedCluster},
        listener,
        secret::{self, Secret, SecretType},
        source::SecretReference,
        tracing, wire,
    },
    listener::Listener,
    trace::Tracer,
};

/// Numbers of `static_resources` in a bootstrap, and of its lists.
const STATIC_RESOURCES: u32 = 2;
const LISTENERS: u32 = 1;
const CLUSTERS: u32 = 2;
const SECRETS: u32 = 3;

/// What a bootstrap holds of resources, each with the bytes that it came in.
#[derive(Debug, Default)]
pub struct StaticResources {
    pub listeners: Vec<(Received, Listener)>,
    pub clusters: Vec<(Received, ParsedCluster)>,
    pub secrets: Vec<(Received, Secret)>,
    /// Of the bootstrap itself, which needs its cluster.
    pub tracer: Option<Arc<Tracer>>,
    tracer_needs: Dependencies,
}

impl Bootstrap {
    /// Parses the static resources.
    ///
    /// # Errors
    /// All that is wrong with them: each resource's first problem, then what they say of each other that is not so.
    pub fn static_resources(&self, context: &mut Context) -> Result<StaticResources, Rejections> {
        let mut rejections = Vec::new();
        let mut parsed = StaticResources::default();
        for bytes in self.resources(SECRETS) {
            match secret::parse(&bytes, context) {
                Ok(secret) => parsed
                    .secrets
                    .push((Received::new(Arc::clone(&secret.name), bytes), secret)),
                Err(rejection) => rejections.push(rejection),
            }
        }
        for bytes in self.resources(CLUSTERS) {
            match cluster::parse(&bytes, false, context) {
                Ok(cluster) => {
                    let name = Arc::clone(&cluster.cluster.name);
                    parsed.clusters.push((Received::new(name, bytes), cluster));
                }
                Err(rejection) => rejections.push(rejection),
            }
        }
        for bytes in self.resources(LISTENERS) {
            match listener::parse(&bytes, context) {
                Ok(listener) => {
                    parsed.add_listener(Received::new(Arc::clone(&listener.name), bytes), listener, context)
                }
                Err(rejection) => rejections.push(rejection),
            }
        }
        if let Some(any) = &self.tracer {
            let scope = Scope::new(KIND, "", context);
            match tracing::tracer(Some(any), &scope.root().field("tracing.http.typed_config")) {
                Ok(tracer) => parsed.tracer = tracer,
                Err(rejection) => rejections.push(rejection),
            }
            parsed.tracer_needs = scope.finish(context);
        }
        // What is missing may be among what was rejected: only a complete set is checked against itself.
        if rejections.is_empty() {
            parsed.build_contexts(&mut rejections);
            let scope = Scope::new(KIND, "", context);
            parsed.check(self, &scope, &mut rejections);
        }
        if rejections.is_empty() {
            Ok(parsed)
        } else {
            Err(Rejections(rejections))
        }
    }

    /// The bytes of one list's entries. `static_resources` may stand in the bootstrap in several parts.
    fn resources(&self, list: u32) -> impl Iterator<Item = bytes::Bytes> {
        let whole = &self.received.bytes;
        wire::repeated(whole, STATIC_RESOURCES)
            .flat_map(move |part| wire::repeated(part, list))
            .map(|entry| whole.slice_ref(entry))
    }
}

impl StaticResources {
    /// Of two listeners with one name the second is an update, as in Envoy.
    fn add_listener(&mut self, received: Received, listener: Listener, context: &mut Context) {
        match self.listeners.iter_mut().find(|(known, _)| known.name == received.name) {
            None => self.listeners.push((received, listener)),
            Some(known) => {
                let scope = Scope::new(KIND, "", context);
                let root = scope.root();
                let at = root.field("static_resources.listeners");
                at.note(format_args!(
                    "two are named {:?}; the second replaces the first",
                    received.name
                ));
                scope.finish(context);
                *known = (received, listener);
            }
        }
    }

    /// Builds the TLS contexts that wait for no control plane.
    fn build_contexts(&self, rejections: &mut Vec<Rejection>) {
        let unusable = RefCell::new(Vec::new());
        let secrets = |reference: &SecretReference, kind: SecretType| {
            let mut known = self.secrets.iter().map(|(_, secret)| secret);
            let secret =
                known.find(|s| reference.source.is_none() && s.name == reference.name && s.secret_type() == kind)?;
            secret
                .load()
                .map_err(|rejection| unusable.borrow_mut().push(rejection))
                .ok()
        };
        for (_, cluster) in &self.clusters {
            let contexts = cluster.cluster.transport.tls_contexts();
            rejections.extend(contexts.filter_map(|tls| tls.build(&secrets).err()));
        }
        for (_, listener) in &self.listeners {
            let contexts = listener.chains().filter_map(|chain| chain.tls.as_ref());
            rejections.extend(contexts.filter_map(|tls| tls.build(&secrets).err()));
        }
        rejections.extend(unusable.into_inner());
    }

    fn check(&self, bootstrap: &Bootstrap, scope: &Scope, rejections: &mut Vec<Rejection>) {
        let root = scope.root();
        let at = root.field("static_resources");
        let mut clusters = HashMap::<&str, &ParsedCluster>::new();
        for (i, (received, cluster)) in self.clusters.iter().enumerate() {
            if clusters.insert(&received.name, cluster).is_some() {
                let at = at.item("clusters", i);
                rejections.push(at.reject(format_args!("there is another cluster {:?}", received.name)));
            }
        }
        let mut secrets = HashSet::<(&str, SecretType)>::new();
        for (i, (received, secret)) in self.secrets.iter().enumerate() {
            if !secrets.insert((&*received.name, secret.secret_type())) {
                let at = at.item("secrets", i);
                rejections.push(at.reject(format_args!("there is another secret {:?} of its kind", received.name)));
            }
        }
        if let Some(local) = bootstrap
            .local_cluster
            .as_deref()
            .filter(|name| !clusters.contains_key(name))
        {
            let at = root.field("cluster_manager.local_cluster_name");
            rejections.push(at.reject(format_args!("there is no cluster {local:?} in static_resources")));
        }
        for (i, (received, listener)) in self.listeners.iter().enumerate() {
            for (other, earlier) in &self.listeners[..i] {
                if let Some(address) = listener::conflict(listener, earlier) {
                    let at = at.item("listeners", i);
                    rejections.push(at.reject(format_args!(
                        "listener {:?} has the address {address} of listener {:?}",
                        received.name, other.name
                    )));
                }
            }
        }
        let backing = |name: &str| {
            let cluster = clusters.get(name);
            cluster.is_some_and(|c| !matches!(c.cluster.discovery, Discovery::Eds { .. }))
        };
        let mut check = |dependencies: &Dependencies| {
            let results = [
                dependencies.check_clusters(|name| clusters.contains_key(name)),
                dependencies.check_backing(backing),
                dependencies.check_static_secrets(|name, kind| secrets.contains(&(name, kind))),
            ];
            rejections.extend(results.into_iter().filter_map(Result::err));
        };
        check(&bootstrap.dependencies);
        check(&self.tracer_needs);
        self.clusters
            .iter()
            .for_each(|(_, cluster)| check(&cluster.dependencies));
        self.listeners
            .iter()
            .for_each(|(_, listener)| check(&listener.dependencies));
    }
}
