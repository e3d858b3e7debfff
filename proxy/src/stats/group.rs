//! The handle that an owner of stats holds and writes through.

use std::marker::PhantomData;
use std::sync::Arc;

use super::core::{At, Core};
use super::families::Key;
use super::histogram::HistogramSnapshot;
use super::schema::{Kind, Scope};

/// The stats of one scope: one cluster, one listener, one connection manager.
///
/// Cloning shares it. When its last handle is dropped its stats leave the store.
/// All writes are lock-free; those of per-thread stats are a plain load and store.
#[derive(Clone)]
pub struct Group<S: Scope> {
    core: Arc<Core>,
    scope: PhantomData<fn(S)>,
}

impl<S: Scope> std::fmt::Debug for Group<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Group({})", self.core.prefix)
    }
}

impl<S: Scope> Group<S> {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            scope: PhantomData,
        }
    }

    /// The scope's full name, ending with a dot.
    pub fn prefix(&self) -> String {
        self.core.prefix.to_string()
    }

    /// Counts one.
    #[inline]
    pub fn inc(&self, counter: S) {
        self.add(counter, 1);
    }

    /// Counts `n`.
    #[inline]
    pub fn add(&self, counter: S, n: u64) {
        self.check(counter, Kind::Counter);
        let (index, own) = (counter.index(), S::SCHEMA.per_thread.len());
        if index < own {
            let (cell, alone) = self.core.own_cell(own, index);
            if alone { cell.add_alone(n) } else { cell.add(n) }
        } else {
            let cell = self.core.shared_cell(index - own);
            cell.add(n);
            cell.mark();
        }
    }

    /// Moves a gauge by `n`; what one thread adds another may take away.
    #[inline]
    pub fn gauge_add(&self, gauge: S, n: i64) {
        self.check(gauge, Kind::Gauge);
        let (index, own) = (gauge.index(), S::SCHEMA.per_thread.len());
        let n = n.cast_unsigned();
        if index < own {
            let (cell, alone) = self.core.own_cell(own, index);
            if alone {
                cell.add_alone(n)
            } else {
                cell.add(n)
            }
            cell.mark();
        } else {
            let cell = self.core.shared_cell(index - own);
            cell.add(n);
            cell.mark();
        }
    }

    /// Sets a gauge of the schema's `shared` part; gauges that threads move have no one value to set.
    pub fn set(&self, gauge: S, value: u64) {
        self.check(gauge, Kind::Gauge);
        let own = S::SCHEMA.per_thread.len();
        debug_assert!(gauge.index() >= own, "{} is moved, not set", self.name(gauge));
        if let Some(index) = gauge.index().checked_sub(own) {
            let cell = self.core.shared_cell(index);
            cell.set(value);
            cell.mark();
        }
    }

    /// Records a value in a histogram, in the unit of its name (`_ms`: milliseconds).
    pub fn record(&self, histogram: S, value: u64) {
        self.check(histogram, Kind::Histogram);
        self.core.record(histogram.index() - S::SCHEMA.first_histogram(), value);
    }

    /// Sets a text readout.
    pub fn set_text(&self, text: S, value: impl Into<Arc<str>>) {
        self.check(text, Kind::TextReadout);
        self.core.set_text(text.index() - S::SCHEMA.first_text(), value.into());
    }

    /// Counts one under a family's stem and a number: `upstream_rq_` + 200.
    pub fn inc_code(&self, family: S, code: u16) {
        self.core.count_leaf(self.family(family), Key::Code(code), 1);
    }

    /// Counts one under a family's stem and a name: `ssl.ciphers.` + `TLS_AES_128_GCM_SHA256`. Names stay for as long
    /// as the group does: they must come from a closed set, never from a peer's bytes.
    pub fn inc_name(&self, family: S, name: &str) {
        self.core.count_leaf(self.family(family), Key::Name(name), 1);
    }

    /// A counter's or gauge's value, summed over all threads.
    pub fn value(&self, stat: S) -> u64 {
        debug_assert!(
            stat.index() < S::SCHEMA.first_histogram(),
            "{} has no single value",
            self.name(stat)
        );
        self.core.value(&At::Stat(stat.index() as u16))
    }

    /// What a histogram holds.
    pub fn histogram(&self, histogram: S) -> HistogramSnapshot {
        self.check(histogram, Kind::Histogram);
        self.core.histogram(histogram.index())
    }

    fn family(&self, family: S) -> usize {
        debug_assert!(
            family.index() >= S::SCHEMA.first_family(),
            "{} is not a family",
            self.name(family)
        );
        family.index() - S::SCHEMA.first_family()
    }

    fn name(&self, stat: S) -> &'static str {
        S::SCHEMA.spec(stat.index()).map_or("a family", |spec| spec.name)
    }

    /// In debug builds, that the stat is of the kind that is written.
    #[inline]
    fn check(&self, stat: S, kind: Kind) {
        debug_assert_eq!(
            S::SCHEMA.spec(stat.index()).map(|spec| spec.kind),
            Some(kind),
            "{}",
            self.name(stat)
        );
    }
}
