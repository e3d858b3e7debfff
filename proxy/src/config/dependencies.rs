//! What a resource needs before it may serve: warming waits for it, subscriptions are made from it.

use std::sync::Arc;

use super::{
    rejection::Rejection,
    source::{ConfigSource, SecretReference},
};

/// Names that one listener or cluster refers to.
#[derive(Debug, Clone, Default)]
pub struct Dependencies {
    /// Route configurations (RDS) of a listener.
    pub routes: Vec<Reference>,
    /// Secrets (SDS) of a listener's or a cluster's TLS contexts, and static ones by name.
    pub secrets: Vec<SecretReference>,
    /// The `ClusterLoadAssignment` (EDS) of a cluster.
    pub endpoints: Option<Reference>,
    /// Clusters without which the resource is rejected (`validate_clusters`).
    pub clusters: Vec<RequiredCluster>,
}

/// A resource by name, and who serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub name: Arc<str>,
    pub source: Arc<ConfigSource>,
}

/// A cluster that a resource names in a place where Envoy checks that it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredCluster {
    pub name: Arc<str>,
    /// What to answer where it does not exist.
    pub rejection: Rejection,
}

impl Dependencies {
    /// # Errors
    /// The rejection of the first required cluster that `known` does not know.
    pub fn check_clusters(&self, known: impl Fn(&str) -> bool) -> Result<(), Rejection> {
        match self.clusters.iter().find(|cluster| !known(&cluster.name)) {
            Some(missing) => Err(missing.rejection.clone()),
            None => Ok(()),
        }
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
        if self.clusters.iter().all(|cluster| &*cluster.name != name) {
            self.clusters.push(RequiredCluster {
                name: name.into(),
                rejection: rejection(),
            });
        }
    }
}
