//! What is asked for, and what is counted of it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::Resources;
use crate::{
    cluster::Cluster,
    config::source::{ConfigSource, SourceSpecifier},
    control::{
        interest::{Kind, Need, User},
        subscription_stats::Outcome,
    },
};

impl Resources {
    pub(super) fn want(&mut self, kind: Kind, name: &Arc<str>, source: &ConfigSource, user: &User) -> Need {
        let origin = self.origins.id(source);
        let need = Need {
            kind,
            origin,
            name: name.clone(),
        };
        if kind == Kind::Secret {
            let mut ledger = self.ledger.borrow_mut();
            let record = ledger.secrets.entry(name.clone()).or_default();
            record.wanted_since.get_or_insert_with(SystemTime::now);
        }
        let timeout = source.initial_fetch_timeout.unwrap_or(Duration::ZERO);
        self.interest.want(need.clone(), user.clone(), timeout);
        need
    }

    /// Counts what became of a subscription.
    pub fn count(&mut self, need: &Need, outcome: Outcome<'_>) {
        let polled = matches!(self.origins.get(need.origin), Some(SourceSpecifier::Rest(_)));
        let clusters = clusters_of(self, need);
        let clusters = clusters.iter().map(|cluster| &**cluster);
        self.stats.count(need, outcome, polled, clusters);
    }

    /// Counts a new subscription, or another request of a poll. A file is counted as it is read.
    pub fn count_start(&mut self, need: &Need) {
        if matches!(self.origins.get(need.origin), Some(SourceSpecifier::File { .. })) {
            return;
        }
        let clusters = clusters_of(self, need);
        self.stats.start(need, clusters.iter().map(|cluster| &**cluster));
    }
}

/// The clusters whose endpoints are needed.
fn clusters_of(resources: &Resources, need: &Need) -> Vec<Arc<Cluster>> {
    let users = resources.interest.users(need).iter();
    let clusters = users.filter_map(|user| match user {
        User::Cluster(name) => resources.clusters.get(name).map(|known| known.cluster.clone()),
        User::Bootstrap | User::Listener(_) => None,
    });
    clusters.collect()
}
