//! Where groups are found again: by name for their owners, in order for a scrape.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use super::config::{Settings, StatsConfig};
use super::core::Core;
use super::group::Group;
use super::labelled::{Interned, Labelled};
use super::lock;
use super::prefix::Prefix;
use super::schema::{Kind, Schema, Scope};

/// All stats of the process. Cloning shares it.
#[derive(Clone)]
pub struct Store(Arc<House>);

/// What the store and its groups share.
pub(super) struct House {
    /// Rows that threads own: the control thread's and the workers'.
    pub(super) threads: usize,
    pub(super) settings: Settings,
    groups: Mutex<BTreeMap<Key, Weak<Core>>>,
    pub(super) labelled: Mutex<Vec<Arc<Labelled>>>,
    pub(super) interned: Mutex<Interned>,
    warnings: Vec<String>,
}

/// Groups in the order of their names; the schema tells apart groups that share one (`ClusterStat` and `EdsStat`).
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    prefix: Prefix,
    schema: &'static str,
}

impl Store {
    /// A store for `threads` indexed threads: the control thread and the workers (see [`super::set_thread_index`]).
    pub fn new(threads: usize, config: StatsConfig) -> Self {
        let (settings, warnings) = Settings::new(config);
        Self(Arc::new(House {
            threads,
            settings,
            groups: Mutex::default(),
            labelled: Mutex::default(),
            interned: Mutex::default(),
            warnings,
        }))
    }

    /// What of the config was skipped, and why; for the log.
    pub fn warnings(&self) -> &[String] {
        &self.0.warnings
    }

    /// The group of this name, the one that lives if there is one: several owners of a name share its stats, as
    /// connection managers with one `stat_prefix` do in Envoy.
    pub fn group<S: Scope>(&self, prefix: Prefix) -> Group<S> {
        let mut groups = lock(&self.0.groups);
        let key = Key {
            prefix,
            schema: S::SCHEMA.id,
        };
        if let Some(core) = groups.get(&key).and_then(Weak::upgrade) {
            return Group::new(core);
        }
        let core = Arc::new(Core::new(self.0.clone(), S::SCHEMA, key.prefix.clone()));
        groups.insert(key, Arc::downgrade(&core));
        Group::new(core)
    }

    /// Whether a stat of this full name exists (`stats_matcher`).
    pub fn admits(&self, name: &str) -> bool {
        self.0.settings.admits(name)
    }

    /// Takes every counter back to zero (`POST /reset_counters`).
    pub fn reset_counters(&self) {
        self.groups().iter().for_each(|core| core.reset_counters());
        let counters = |metric: &&Arc<Labelled>| metric.kind() == Kind::Counter;
        for metric in self.all_labelled().iter().filter(counters) {
            metric.all().iter().for_each(|series| series.reset());
        }
    }

    /// Ends the interval of every histogram; to be called each `stats_flush_interval` (Envoy's default: 5 s).
    pub fn flush_histograms(&self) {
        self.groups().iter().for_each(|core| core.flush_histograms());
        for metric in self.all_labelled() {
            metric.all().iter().for_each(|series| series.flush());
        }
    }

    pub(super) fn all_labelled(&self) -> Vec<Arc<Labelled>> {
        lock(&self.0.labelled).clone()
    }

    pub(super) fn house(&self) -> &Arc<House> {
        &self.0
    }

    /// Every living group, in the order of names.
    pub(super) fn groups(&self) -> Vec<Arc<Core>> {
        lock(&self.0.groups).values().filter_map(Weak::upgrade).collect()
    }
}

impl House {
    pub(super) fn bounds(&self, name: &str) -> Arc<[f64]> {
        self.settings.bounds(name)
    }

    /// Takes a dropped group out, unless a new one of its name is there already.
    pub(super) fn forget(&self, prefix: &Prefix, schema: &'static Schema) {
        let mut groups = lock(&self.groups);
        let key = Key {
            prefix: prefix.clone(),
            schema: schema.id,
        };
        if groups.get(&key).is_some_and(|core| core.strong_count() == 0) {
            groups.remove(&key);
        }
    }
}
