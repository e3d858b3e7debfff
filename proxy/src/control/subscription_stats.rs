//! Statistics of subscriptions, under Envoy's names: `cluster_manager.cds.`, `listener_manager.lds.`, `cluster.<name>.`,
//! `http.<stat_prefix>.rds.<route>.`, `http.<stat_prefix>.rds.vhds.<route>.`, `http.<stat_prefix>.scoped_rds.<name>.`,
//! `sds.<secret>.`, `runtime.`, `extension_config_discovery.http_filter.<filter>.`

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use hashbrown::HashMap;

use super::{
    interest::{Kind, Need},
    origin::OriginId,
};
use crate::{
    cluster::Cluster,
    config::Reference,
    stats::{
        CdsStat, ClusterStat, ControlPlaneStat, EcdsStat, EdsStat, Group, Prefix, RdsStat, SdsStat, SrdsStat, Store,
        SubscriptionStat, VhdsStat,
    },
};

/// The groups of all subscriptions, each made when something is first asked or heard.
pub struct SubscriptionStats {
    store: Store,
    cds: Option<Group<CdsStat>>,
    lds: Option<Group<SubscriptionStat>>,
    /// With the connection manager's prefix.
    rds: HashMap<Arc<str>, (Arc<str>, Group<RdsStat>)>,
    /// By route configuration.
    vhds: HashMap<Arc<str>, Group<VhdsStat>>,
    /// With what stands between `http.` and their names.
    srds: HashMap<OriginId, (String, Group<SrdsStat>)>,
    rtds: Option<Group<SubscriptionStat>>,
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
            vhds: HashMap::new(),
            srds: HashMap::new(),
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
            (
                reference.stat_prefix.clone(),
                store.group(Prefix::new("http.", name, ".")),
            )
        });
    }

    /// Those of a route configuration's virtual hosts stand under the same connection manager.
    pub fn name_virtual_hosts(&mut self, routes: &Arc<str>) {
        let Self { store, rds, vhds, .. } = self;
        let Some((stat_prefix, _)) = rds.get(routes) else {
            return;
        };
        vhds.entry_ref(routes)
            .or_insert_with(|| store.group(Prefix::new("http.", virtual_hosts(stat_prefix, routes), ".")));
    }

    /// Virtual hosts changed.
    pub fn reload_virtual_hosts(&self, routes: &str) {
        if let Some(group) = self.vhds.get(routes) {
            group.inc(VhdsStat::ConfigReload);
        }
    }

    pub fn forget_virtual_hosts(&mut self, routes: &str) {
        self.vhds.remove(routes);
    }

    pub fn virtual_hosts_control_plane(&self, routes: &str) -> Group<ControlPlaneStat> {
        let stat_prefix = self.rds.get(routes).map_or("", |(prefix, _)| prefix);
        let name = virtual_hosts(stat_prefix, routes);
        self.store.group(Prefix::new("http.", name, ".control_plane."))
    }

    /// The statistics of scopes stand under the connection manager that named their source first.
    pub fn name_scopes(&mut self, origin: OriginId, stat_prefix: &str, name: &str) {
        let Self { store, srds, .. } = self;
        srds.entry(origin).or_insert_with(|| {
            let name = format!("{stat_prefix}.scoped_rds.{name}");
            let group = store.group(Prefix::new("http.", name.as_str(), "."));
            (name, group)
        });
    }

    /// Scopes changed.
    pub fn reload_scopes(&self, origin: OriginId) {
        if let Some((_, group)) = self.srds.get(&origin) {
            group.inc(SrdsStat::ConfigReload);
            group.set(SrdsStat::ConfigReloadTimeMs, since_epoch());
        }
    }

    pub fn count_scopes(&self, origin: OriginId, all: usize, active: usize, on_demand: usize) {
        if let Some((_, group)) = self.srds.get(&origin) {
            group.set(SrdsStat::AllScopes, all as u64);
            group.set(SrdsStat::ActiveScopes, active as u64);
            group.set(SrdsStat::OnDemandScopes, on_demand as u64);
        }
    }

    pub fn scopes_control_plane(&self, origin: OriginId) -> Group<ControlPlaneStat> {
        let name = self.srds.get(&origin).map_or("", |(name, _)| name);
        self.store.group(Prefix::new("http.", name, ".control_plane."))
    }

    /// Counts an attempt: the first of a stream, each of a poll. `clusters`: those whose endpoints are needed.
    pub fn start<'a>(&mut self, need: &Need, clusters: impl Iterator<Item = &'a Cluster>) {
        match need.kind {
            Kind::Cluster => self.cds().inc(CdsStat::UpdateAttempt),
            Kind::Listener => self.lds().inc(SubscriptionStat::UpdateAttempt),
            Kind::Endpoints => clusters.for_each(|c| c.state.stats.inc(ClusterStat::UpdateAttempt)),
            Kind::Routes => {
                if let Some((_, group)) = self.rds.get(&need.name) {
                    group.inc(RdsStat::UpdateAttempt);
                }
            }
            Kind::Scopes => {
                if let Some((_, group)) = self.srds.get(&need.origin) {
                    group.inc(SrdsStat::UpdateAttempt);
                }
            }
            Kind::VirtualHosts => {
                if let Some(group) = self.virtual_hosts(need) {
                    group.inc(VhdsStat::UpdateAttempt);
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
                if let Some((_, group)) = self.rds.get(&need.name) {
                    count!(group, RdsStat, outcome, polled);
                }
            }
            Kind::Scopes => {
                if let Some((_, group)) = self.srds.get(&need.origin) {
                    count!(group, SrdsStat, outcome, polled);
                }
            }
            Kind::VirtualHosts => {
                if let Some(group) = self.virtual_hosts(need) {
                    count!(group, VhdsStat, outcome, polled);
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
            Kind::Scopes => _ = self.srds.remove(&need.origin),
            Kind::Secret => _ = self.sds.remove(&need.name),
            Kind::Extension => _ = self.ecds.remove(&need.name),
            Kind::Cluster | Kind::Listener | Kind::Endpoints | Kind::Runtime | Kind::VirtualHosts => {}
        }
    }

    fn virtual_hosts(&self, need: &Need) -> Option<&Group<VhdsStat>> {
        self.vhds.get(need.virtual_host()?.0)
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

/// What stands after `http.` in the names of a route configuration's VHDS statistics; `rds` too, as in Envoy.
fn virtual_hosts(stat_prefix: &str, routes: &str) -> String {
    format!("{stat_prefix}.rds.vhds.{routes}")
}

/// Milliseconds, as `update_time` counts them.
fn since_epoch() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
