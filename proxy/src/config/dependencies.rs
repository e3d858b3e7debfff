//! What a resource needs before it may serve: warming waits for it, subscriptions are made from it.

use std::sync::Arc;

use super::{
    rejection::Rejection,
    secret::SecretType,
    source::{ConfigSource, SecretReference},
};
use crate::http::filter::discovered::Discovered;

/// Names that one listener or cluster refers to.
#[derive(Debug, Clone, Default)]
pub struct Dependencies {
    /// Route configurations (RDS) of a listener.
    pub routes: Vec<Reference>,
    /// Secrets (SDS) of a listener's or a cluster's TLS contexts, and static ones by name.
    pub secrets: Vec<SecretReference>,
    /// The `ClusterLoadAssignment` (EDS) of a cluster.
    pub endpoints: Option<Reference>,
    /// Configs of filters (ECDS) of a listener.
    pub extensions: Vec<ExtensionReference>,
    /// Secrets that must stand in the bootstrap, because no source was given for them.
    pub static_secrets: Vec<RequiredSecret>,
    /// Clusters over which config comes: static ones, and not of type EDS.
    pub backing: Vec<RequiredCluster>,
    /// Clusters without which the resource is rejected (`validate_clusters`).
    pub clusters: Vec<RequiredCluster>,
}

/// A resource by name, and who serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub name: Arc<str>,
    pub source: Arc<ConfigSource>,
    /// Whose statistics count it: the connection manager's `stat_prefix`; empty for endpoints.
    pub stat_prefix: Arc<str>,
}

/// The config of a filter, and where it goes.
#[derive(Debug, Clone)]
pub struct ExtensionReference {
    pub reference: Reference,
    pub place: Arc<Discovered>,
    /// The listener is not warm before it comes.
    pub waits: bool,
}

/// A cluster that a resource names in a place where Envoy checks that it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredCluster {
    pub name: Arc<str>,
    /// What to answer where it does not exist.
    pub rejection: Rejection,
}

/// A static secret that a TLS context names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredSecret {
    pub name: Arc<str>,
    pub kind: SecretType,
    /// What to answer where it does not exist.
    pub rejection: Rejection,
}

impl Dependencies {
    /// # Errors
    /// The rejection of the first required cluster that `known` does not know.
    pub fn check_clusters(&self, known: impl Fn(&str) -> bool) -> Result<(), Rejection> {
        missing(&self.clusters, known)
    }

    /// `known`: whether the bootstrap has a static cluster of this name that is not of type EDS.
    ///
    /// # Errors
    /// The rejection of the first cluster over which config cannot come.
    pub fn check_backing(&self, known: impl Fn(&str) -> bool) -> Result<(), Rejection> {
        missing(&self.backing, known)
    }

    /// # Errors
    /// The rejection of the first static secret that `known` does not know.
    pub fn check_static_secrets(&self, known: impl Fn(&str, SecretType) -> bool) -> Result<(), Rejection> {
        let missing = self
            .static_secrets
            .iter()
            .find(|secret| !known(&secret.name, secret.kind));
        missing.map_or(Ok(()), |secret| Err(secret.rejection.clone()))
    }

    pub(crate) fn add_route(&mut self, reference: Reference) {
        if !self.routes.contains(&reference) {
            self.routes.push(reference);
        }
    }

    pub(crate) fn add_secret(&mut self, reference: SecretReference) {
        if !self.secrets.contains(&reference) {
            self.secrets.push(reference);
        }
    }

    /// Once by name: a route table of ten thousand routes names few clusters.
    pub(crate) fn require_cluster(&mut self, name: &str, rejection: impl FnOnce() -> Rejection) {
        require(&mut self.clusters, name, rejection);
    }

    pub(crate) fn require_backing(&mut self, name: &str, rejection: impl FnOnce() -> Rejection) {
        require(&mut self.backing, name, rejection);
    }
}

fn missing(clusters: &[RequiredCluster], known: impl Fn(&str) -> bool) -> Result<(), Rejection> {
    let missing = clusters.iter().find(|cluster| !known(&cluster.name));
    missing.map_or(Ok(()), |cluster| Err(cluster.rejection.clone()))
}

fn require(clusters: &mut Vec<RequiredCluster>, name: &str, rejection: impl FnOnce() -> Rejection) {
    if clusters.iter().all(|cluster| &*cluster.name != name) {
        clusters.push(RequiredCluster {
            name: name.into(),
            rejection: rejection(),
        });
    }
}
