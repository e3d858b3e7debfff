//! A group's storage: everything in it is made when it is first written, so an untouched group is one small allocation.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};

use super::cells::{Cell, Table};
use super::families::{Chain, Key, Leaf};
use super::histogram::{Histogram, HistogramSnapshot};
use super::prefix::Prefix;
use super::schema::{Kind, Schema, Spec};
use super::store::House;
use super::{lock, thread};

pub(super) struct Core {
    /// As in the house, read at every write: one pointer less to follow.
    threads: usize,
    pub(super) schema: &'static Schema,
    pub(super) prefix: Prefix,
    pub(super) house: Arc<House>,
    per_thread: OnceLock<Table>,
    shared: OnceLock<Table>,
    histograms: OnceLock<Box<[OnceLock<Box<Histogram>>]>>,
    rare: OnceLock<Box<Rare>>,
}

/// What few groups have.
struct Rare {
    /// What every per-thread counter of every row was at the last reset, which may not write other threads' cells.
    reset_at: OnceLock<Box<[AtomicU64]>>,
    families: Box<[OnceLock<Box<Chain>>]>,
    texts: Box<[Mutex<Option<Arc<str>>>]>,
}

/// One thing to show.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum At {
    /// The stat at this index of the schema.
    Stat(u16),
    /// A per-thread stat's cell of one thread.
    Thread { stat: u16, row: u16 },
    /// A family's counter.
    Leaf { family: u16, leaf: Leaf },
}

impl Core {
    pub(super) fn new(house: Arc<House>, schema: &'static Schema, prefix: Prefix) -> Self {
        Self {
            threads: house.threads,
            schema,
            prefix,
            house,
            per_thread: OnceLock::new(),
            shared: OnceLock::new(),
            histograms: OnceLock::new(),
            rare: OnceLock::new(),
        }
    }

    /// The rows of per-thread storage: the threads' own, and one for the threads without an index.
    fn rows(&self) -> usize {
        self.threads + 1
    }

    /// This thread's cell of per-thread stat `index` of `stats`, and whether this thread alone writes it.
    #[inline]
    pub(super) fn own_cell(&self, stats: usize, index: usize) -> (Cell<'_>, bool) {
        let (row, alone) = thread::row(self.threads);
        let table = self.per_thread.get_or_init(|| Table::new(self.rows(), stats));
        (table.cell(row, stats, index), alone)
    }

    pub(super) fn shared_cell(&self, index: usize) -> Cell<'_> {
        let stats = self.schema.shared.len();
        self.shared.get_or_init(|| Table::new(1, stats)).cell(0, stats, index)
    }

    pub(super) fn record(&self, histogram: usize, value: u64) {
        let all = self
            .histograms
            .get_or_init(|| self.schema.histograms.iter().map(|_| OnceLock::new()).collect());
        let one = all[histogram].get_or_init(|| {
            let bounds = self.house.bounds(&self.name_of(self.schema.histograms[histogram].name));
            Box::new(Histogram::new(bounds, self.rows()))
        });
        one.record(self.threads, value);
    }

    pub(super) fn count_leaf(&self, family: usize, key: Key<'_>, n: u64) {
        let (row, alone) = thread::row(self.threads);
        let chain = self.rare().families[row].get_or_init(Box::default);
        // A schema has a handful of families.
        chain.counter(family as u16, key).add(n, alone);
    }

    pub(super) fn set_text(&self, text: usize, value: Arc<str>) {
        *lock(&self.rare().texts[text]) = Some(value);
    }

    fn rare(&self) -> &Rare {
        self.rare.get_or_init(|| {
            Box::new(Rare {
                reset_at: OnceLock::new(),
                families: (0..self.rows()).map(|_| OnceLock::new()).collect(),
                texts: self.schema.texts.iter().map(|_| Mutex::default()).collect(),
            })
        })
    }

    fn name_of(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.prefix)
    }

    /// A counter's or gauge's value, over all threads or one row's own, and whether it was ever written.
    pub(super) fn scalar(&self, index: usize, row: Option<usize>) -> (u64, bool) {
        if let Some(shared) = index.checked_sub(self.schema.first_shared()) {
            let cell = self
                .shared
                .get()
                .and_then(|table| table.peek(0, self.schema.shared.len(), shared));
            return cell.map_or((0, false), |cell| (cell.value(), cell.used()));
        }
        let stats = self.schema.per_thread.len();
        let Some(table) = self.per_thread.get() else {
            return (0, false);
        };
        let reset_at = self.rare.get().and_then(|rare| rare.reset_at.get());
        let (mut sum, mut used) = (0u64, false);
        for row in row.map_or_else(|| 0..self.rows(), |row| row..row + 1) {
            let Some(cell) = table.peek(row, stats, index) else {
                continue;
            };
            let before = reset_at.map_or(0, |at| at[row * stats + index].load(Relaxed));
            sum = sum.wrapping_add(cell.value().wrapping_sub(before));
            used |= cell.used();
        }
        match self.schema.per_thread[index].kind {
            // Another thread's decrement may be seen before the increment that it undoes.
            Kind::Gauge => (sum.cast_signed().max(0).cast_unsigned(), used),
            _ => (sum, used),
        }
    }

    /// The value at `at` of a counter or gauge.
    pub(super) fn value(&self, at: &At) -> u64 {
        match at {
            At::Stat(index) => self.scalar(usize::from(*index), None).0,
            At::Thread { stat, row } => self.scalar(usize::from(*stat), Some(usize::from(*row))).0,
            At::Leaf { family, leaf } => self
                .chains()
                .filter(|c| c.is(*family, leaf.key()))
                .fold(0, |sum, c| sum.wrapping_add(c.value())),
        }
    }

    fn chains(&self) -> impl Iterator<Item = &super::families::Counter> {
        let families = self.rare.get().map_or(&[][..], |rare| &rare.families);
        families.iter().filter_map(OnceLock::get).flat_map(|chain| chain.iter())
    }

    fn made_histogram(&self, index: usize) -> Option<&Histogram> {
        Some(
            self.histograms
                .get()?
                .get(index - self.schema.first_histogram())?
                .get()?,
        )
    }

    /// The histogram at schema index `index`, empty if nothing was recorded.
    pub(super) fn histogram(&self, index: usize) -> HistogramSnapshot {
        self.made_histogram(index).map_or_else(
            || {
                let name = self.schema.spec(index).map_or("", |spec| spec.name);
                HistogramSnapshot::empty(self.house.bounds(&self.name_of(name)))
            },
            Histogram::snapshot,
        )
    }

    /// The text at schema index `index`, if one was ever set.
    pub(super) fn text(&self, index: usize) -> Option<Arc<str>> {
        lock(self.rare.get()?.texts.get(index - self.schema.first_text())?).clone()
    }

    pub(super) fn flush_histograms(&self) {
        let made = self
            .histograms
            .get()
            .into_iter()
            .flat_map(|all| all.iter().filter_map(OnceLock::get));
        made.for_each(|histogram| histogram.flush());
    }

    /// Counters go back to zero; gauges, histograms and marks of use stay, as in Envoy.
    pub(super) fn reset_counters(&self) {
        let (per_thread, shared) = (self.schema.per_thread, self.schema.shared);
        if let Some(table) = self.per_thread.get() {
            let stats = per_thread.len();
            let zeros = || (0..self.rows() * stats).map(|_| AtomicU64::new(0)).collect();
            for (at, before) in self.rare().reset_at.get_or_init(zeros).iter().enumerate() {
                if per_thread[at % stats].kind == Kind::Counter
                    && let Some(cell) = table.peek(at / stats, stats, at % stats)
                {
                    before.store(cell.value(), Relaxed);
                }
            }
        }
        if let Some(table) = self.shared.get() {
            let counters = shared.iter().enumerate().filter(|(_, spec)| spec.kind == Kind::Counter);
            counters
                .filter_map(|(index, _)| table.peek(0, shared.len(), index))
                .for_each(|cell| cell.reset());
        }
        self.chains().for_each(super::families::Counter::reset);
    }

    /// Calls `show` with everything that Envoy would list: its place, its kind, and whether it was ever written.
    pub(super) fn visit(&self, mut show: impl FnMut(At, Kind, bool)) {
        let schema = self.schema;
        let scalars = schema.per_thread.iter().chain(schema.shared);
        for (index, spec) in scalars.enumerate() {
            let (_, used) = self.scalar(index, None);
            if used || !(spec.lazy || self.is_deferred(spec)) {
                show(At::Stat(index as u16), spec.kind, used);
            }
            if spec.per_worker {
                self.visit_threads(index as u16, spec, &mut show);
            }
        }
        for (offset, spec) in schema.histograms.iter().enumerate() {
            let index = schema.first_histogram() + offset;
            let used = self.made_histogram(index).is_some();
            if used || !(spec.lazy || self.is_deferred(spec)) {
                show(At::Stat(index as u16), Kind::Histogram, used);
            }
        }
        for offset in 0..schema.texts.len() {
            let index = schema.first_text() + offset;
            if self.text(index).is_some() {
                show(At::Stat(index as u16), Kind::TextReadout, true);
            }
        }
        let leaves: BTreeMap<_, ()> = self.chains().map(|c| ((c.family, c.leaf.clone()), ())).collect();
        for ((family, leaf), ()) in leaves {
            show(At::Leaf { family, leaf }, Kind::Counter, true);
        }
    }

    /// Whether an unwritten stat waits for traffic, of which there was none.
    fn is_deferred(&self, spec: &Spec) -> bool {
        self.house.settings.deferred_creation
            && self.per_thread.get().is_none()
            && self.schema.deferred.iter().any(|start| spec.name.starts_with(start))
    }

    /// A stat per worker. The control thread's own row shows only where it serves (the admin listener).
    fn visit_threads(&self, stat: u16, spec: &Spec, show: &mut impl FnMut(At, Kind, bool)) {
        for row in 0..self.threads {
            let used = self.scalar(usize::from(stat), Some(row)).1;
            if used || row != thread::CONTROL {
                show(At::Thread { stat, row: row as u16 }, spec.kind, used);
            }
        }
    }

    /// Appends the name at `at`, prefix and all.
    pub(super) fn push_name(&self, at: &At, out: &mut String) {
        use std::fmt::Write;
        let name = |index: u16| self.schema.spec(usize::from(index)).map_or("", |spec| spec.name);
        self.prefix.push_to(out);
        // Writing to a String cannot fail, hence the `let _` below.
        match at {
            At::Stat(index) => out.push_str(name(*index)),
            At::Thread { stat, row } => {
                let _ = match usize::from(*row).checked_sub(thread::CONTROL + 1) {
                    Some(worker) => write!(out, "worker_{worker}."),
                    None => write!(out, "main_thread."),
                };
                out.push_str(name(*stat));
            }
            At::Leaf { family, leaf } => {
                out.push_str(self.schema.families[usize::from(*family)]);
                let _ = match leaf {
                    Leaf::Code(code) => write!(out, "{code}"),
                    Leaf::Name(name) => write!(out, "{name}"),
                };
            }
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.house.forget(&self.prefix, self.schema);
    }
}
