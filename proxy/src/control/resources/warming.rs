//! When resources become public.

use std::sync::Arc;

use super::{KnownCluster, Resources};
use crate::{
    cluster::endpoint_set,
    control::interest::{Kind, Need, User},
    tls::UpstreamTls,
};

impl Resources {
    /// Makes public what has become warm, in the order in which it is needed.
    pub fn publish(&mut self) {
        let warming = self.warming_clusters.iter().filter_map(|name| self.clusters.get(name));
        let warm: Vec<_> = warming
            .filter(|known| self.is_warm(known))
            .map(|known| known.cluster.clone())
            .collect();
        for cluster in warm {
            // The last secret to arrive has built what waited for it.
            let missing = |tls: &Arc<UpstreamTls>| tls.context.load().is_none();
            if cluster.transport.tls_contexts().any(missing)
                && let Err(rejection) = self.build_upstream(&cluster, None)
            {
                tracing::error!("{rejection}");
            }
            self.expiry.changed();
            self.warming_clusters.remove(&cluster.name);
            if let Some(known) = self.clusters.get_mut(&cluster.name) {
                let user = User::Cluster(cluster.name.clone());
                for need in std::mem::take(&mut known.former) {
                    self.interest.release(&need, &user);
                }
            }
            if let Some(record) = self.ledger.borrow_mut().clusters.get_mut(&cluster.name) {
                record.activate();
            }
            endpoint_set::replace(&cluster);
            self.publisher.set_cluster(cluster);
        }
        let warming = self.warming_listeners.iter();
        let ready: Vec<Arc<str>> = warming.filter(|name| self.is_ready(name)).cloned().collect();
        for name in ready {
            self.warming_listeners.remove(&name);
            let Some(known) = self.listeners.get_mut(&name) else {
                continue;
            };
            self.expiry.changed();
            let former = std::mem::take(&mut known.former);
            let Some(listener) = known.warming.take() else { continue };
            if let Err(rejection) = self.build_downstream(&listener, None) {
                tracing::error!("{rejection}");
            }
            if let Err(e) = self.publisher.set_listener(listener) {
                tracing::error!("{e}");
            }
            if let Some(record) = self.ledger.borrow_mut().listeners.get_mut(&name) {
                record.activate();
            }
            self.retire(name, former);
        }
        self.publisher.publish();
    }

    /// Whether no cluster is warming.
    pub fn clusters_are_warm(&self) -> bool {
        self.warming_clusters.is_empty()
    }

    pub fn listeners_are_warm(&self) -> bool {
        self.warming_listeners.is_empty()
    }

    fn is_warm(&self, known: &KnownCluster) -> bool {
        let resolved = known.cluster.dns().is_none() || known.cluster.endpoints.load().version > 0;
        resolved && known.needs.iter().all(|need| self.is_met(need))
    }

    fn is_ready(&self, name: &Arc<str>) -> bool {
        let known = self.listeners.get(name);
        known.is_some_and(|known| known.needs.iter().all(|need| self.is_met(need)))
    }

    pub(super) fn is_met(&self, need: &Need) -> bool {
        let held = match need.kind {
            Kind::Endpoints => self.assignments.contains_key(need),
            Kind::Routes => self.routes.contains(need),
            Kind::Secret => self.secrets.contains_key(need),
            Kind::Extension => self.holds_extension(need),
            Kind::Runtime => self.held_layers.contains(need),
            Kind::Cluster | Kind::Listener => true,
        };
        held || self.given_up.contains(need)
    }
}
