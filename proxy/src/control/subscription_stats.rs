//! Statistics of subscriptions, under Envoy's names: `cluster_manager.cds.`, `listener_manager.lds.`, `cluster.<name>.`,
//! `http.<stat_prefix>.rds.<route>.`, `sds.<secret>.`, `runtime.`, `extension_config_discovery.http_filter.<filter>.`

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use hashbrown::HashMap;

use super::interest::{Kind, Need};
use crate::{
    cluster::Cluster,
    config::Reference,
    stats::{CdsStat, ClusterStat, EcdsStat, EdsStat, Group, Prefix, RdsStat, SdsStat, Store, SubscriptionStat},
};

/// The groups of all subscriptions, each made when something is first asked or heard.
pub struct SubscriptionStats {
    store: Store,
    cds: Option<Group<CdsStat>>,
    lds: Option<Group<SubscriptionStat>>,
    rtds: Option<Group<SubscriptionStat>>,
    rds: HashMap<Arc<str>, Group<RdsStat>>,
    sds: HashMap<Arc<str>, Group<SdsStat>>,
    ecds: HashMap<Arc<str>, Group<EcdsStat>>,
    /// By the cluster's stat name.
    eds: HashMap<Arc<str>, Group<EdsStat>>,
}

/// What became of an attempt to hear of resources.
#[derive(Debug, Clone, Copy)]
pub enum Outcome<'a> {
    Accepted {
        version: &'a Arc<str>,
        /// From the update's arrival until it was dealt with; `None` for endpoints: ten thousand histograms would cost more than
        /// ten thousand clusters.
        took: Option<Duration>,
    },
    Rejected,
    /// The stream ended, or could not be opened.
    Failed,
    TimedOut,
}

/// Every subscription counts alike; each kind has a schema of its own.
macro_rules! count {
    ($group:expr, $stat:ident, $outcome:expr, $polled:expr) => {
        count!($group, $stat, $group, $stat, $outcome, $polled)
    };
    ($group:expr, $stat:ident, $rare:expr, $rare_stat:ident, $outcome:expr, $polled:expr) => {{
        match $outcome {
            Outcome::Accepted { version, took } => {
                $group.inc($stat::UpdateSuccess);
                $group.set($stat::Version, crate::config::hash(version.as_bytes()));
                $rare.set($rare_stat::UpdateTime, since_epoch());
                $rare.set_text($rare_stat::VersionText, version.clone());
                if let Some(took) = took {
                    $rare.record($rare_stat::UpdateDuration, took.as_millis() as u64);
                }
            }
            Outcome::Rejected => $rare.inc($rare_stat::UpdateRejected),
            Outcome::Failed => $group.inc($stat::UpdateFailure),
            Outcome::TimedOut => $rare.inc($rare_stat::InitFetchTimeout),
        }
        // On a stream every outcome is followed by an attempt; the first is counted at the subscription.
        if !$polled {
            $group.inc($stat::UpdateAttempt);
        }
    }};
}

impl SubscriptionStats {
    pub fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            cds: None,
            lds: None,
            rtds: None,
            rds: HashMap::new(),
            sds: HashMap::new(),
            ecds: HashMap::new(),
            eds: HashMap::new(),
        }
    }

    fn cds(&mut self) -> &Group<CdsStat> {
        let make = || self.store.group(Prefix::root("cluster_manager.cds."));
        self.cds.get_or_insert_with(make)
    }

    fn lds(&mut self) -> &Group<SubscriptionStat> {
        let make = || self.store.group(Prefix::root("listener_manager.lds."));
        self.lds.get_or_insert_with(make)
    }

    fn rtds(&mut self) -> &Group<SubscriptionStat> {
        let make = || self.store.group(Prefix::root("runtime."));
        self.rtds.get_or_insert_with(make)
    }

    /// The statistics of a route configuration stand under the connection manager that named it first.
    pub fn name_routes(&mut self, reference: &Reference) {
        let Self { store, rds, .. } = self;
        rds.entry_ref(&reference.name).or_insert_with(|| {
            let name = format!("{}.rds.{}", reference.stat_prefix, reference.name);
            store.group(Prefix::new("http.", name, "."))
        });
    }

    /// Counts an attempt: the first of a stream, each of a poll. `clusters`: those whose endpoints are needed.
    pub fn start<'a>(&mut self, need: &Need, clusters: impl Iterator<Item = &'a Cluster>) {
        match need.kind {
            Kind::Cluster => self.cds().inc(CdsStat::UpdateAttempt),
            Kind::Listener => self.lds().inc(SubscriptionStat::UpdateAttempt),
            Kind::Endpoints => clusters.for_each(|c| c.state.stats.inc(ClusterStat::UpdateAttempt)),
            Kind::Routes => {
                if let Some(group) = self.rds.get(&need.name) {
                    group.inc(RdsStat::UpdateAttempt);
                }
            }
            Kind::Extension => self.extension(&need.name).inc(EcdsStat::UpdateAttempt),
            Kind::Runtime => self.rtds().inc(SubscriptionStat::UpdateAttempt),
            Kind::Secret => self.secret(&need.name).inc(SdsStat::UpdateAttempt),
        }
    }

    /// `polled`: attempts are counted by [`Self::start`] each.
    pub fn count<'a>(
        &mut self,
        need: &Need,
        outcome: Outcome<'_>,
        polled: bool,
        clusters: impl Iterator<Item = &'a Cluster>,
    ) {
        match need.kind {
            Kind::Cluster => count!(self.cds(), CdsStat, outcome, polled),
            Kind::Listener => count!(self.lds(), SubscriptionStat, outcome, polled),
            Kind::Extension => {
                let group = self.extension(&need.name);
                if matches!(outcome, Outcome::Rejected | Outcome::TimedOut) {
                    group.inc(EcdsStat::ConfigFail);
                }
                count!(group, EcdsStat, outcome, polled);
            }
            Kind::Runtime => count!(self.rtds(), SubscriptionStat, outcome, polled),
            Kind::Routes => {
                if let Some(group) = self.rds.get(&need.name) {
                    count!(group, RdsStat, outcome, polled);
                }
            }
            Kind::Secret => {
                let group = self.secret(&need.name);
                count!(group, SdsStat, outcome, polled);
            }
            Kind::Endpoints => {
                for cluster in clusters {
                    let group = &cluster.state.stats;
                    let Self { store, eds, .. } = &mut *self;
                    let name = &cluster.stat_name;
                    let rare = eds
                        .entry_ref(name)
                        .or_insert_with(|| store.group(Prefix::cluster(name.clone())));
                    count!(group, ClusterStat, rare, EdsStat, outcome, polled);
                }
            }
        }
    }

    /// A new key or certificate from files was not usable.
    pub fn rotation_failed(&mut self, name: &Arc<str>) {
        self.secret(name).inc(SdsStat::KeyRotationFailed);
    }

    /// A cluster is gone: its group of the same name goes with it.
    pub fn forget_cluster(&mut self, cluster: &Cluster) {
        self.eds.remove(&cluster.stat_name);
    }

    pub fn forget(&mut self, need: &Need) {
        match need.kind {
            Kind::Routes => _ = self.rds.remove(&need.name),
            Kind::Secret => _ = self.sds.remove(&need.name),
            Kind::Extension => _ = self.ecds.remove(&need.name),
            Kind::Cluster | Kind::Listener | Kind::Endpoints | Kind::Runtime => {}
        }
    }

    /// Of the config of a filter.
    pub fn extension(&mut self, name: &Arc<str>) -> &Group<EcdsStat> {
        let Self { store, ecds, .. } = self;
        ecds.entry_ref(name).or_insert_with(|| {
            store.group(Prefix::new(
                "extension_config_discovery.http_filter.",
                name.clone(),
                ".",
            ))
        })
    }

    fn secret(&mut self, name: &Arc<str>) -> &Group<SdsStat> {
        let Self { store, sds, .. } = self;
        sds.entry_ref(name)
            .or_insert_with(|| store.group(Prefix::new("sds.", name.clone(), ".")))
    }
}

/// Milliseconds, as `update_time` counts them.
fn since_epoch() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
