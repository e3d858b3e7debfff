//! Metrics whose labels come with each request, such as Istio's `istio_requests_total`.
//!
//! A label set is interned once; its owner keeps the handle (per connection, per route and peer) and counts through it
//! without looking labels up. Past the cap all further label sets share one series whose every label is `overflow`, so
//! that a flood of peers cannot exhaust memory.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};

use hashbrown::{Equivalent, HashMap};

use super::cells::Table;
use super::histogram::{Histogram, HistogramSnapshot};
use super::schema::Kind;
use super::store::{House, Store};
use super::{lock, thread};

/// What the labels of the shared series say.
pub const OVERFLOW: &str = "overflow";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelledKind {
    Counter,
    /// Shown from [`Labelled::show`] on.
    Gauge,
    Histogram,
}

/// One metric and its series. Two series of one metric may have different labels.
pub struct Labelled {
    house: Arc<House>,
    name: String,
    kind: LabelledKind,
    cap: usize,
    shown: AtomicBool,
    series: Mutex<HashMap<Arc<LabelSet>, Arc<Series>>>,
}

/// Labels and their values, in the order in which they are shown.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LabelSet(Box<[(Arc<str>, Arc<str>)]>);

/// The same, not interned.
struct Wanted<'a>(&'a [(&'a str, &'a str)]);

/// Every label set and every text in one is held once, however many metrics have it.
#[derive(Default)]
pub(super) struct Interned {
    texts: HashSet<Arc<str>>,
    sets: HashMap<Arc<LabelSet>, ()>,
}

/// One label set's cells.
pub struct Series {
    house: Arc<House>,
    pub(super) labels: Arc<LabelSet>,
    count: Table,
    /// What was counted at the last reset.
    reset_at: AtomicU64,
    histogram: OnceLock<Histogram>,
    bounds: Arc<[f64]>,
}

impl Store {
    /// The metric of this name, made at first use and living as long as the store. `name` is dotted; one that starts
    /// with `istiocustom.` is shown without the `envoy_` prefix. `cap` is how many label sets are told apart.
    pub fn labelled(&self, name: &str, kind: LabelledKind, cap: usize) -> Arc<Labelled> {
        let house = self.house();
        let mut all = lock(&house.labelled);
        if let Some(known) = all.iter().find(|metric| metric.name == name) {
            return known.clone();
        }
        let labelled = Arc::new(Labelled {
            house: house.clone(),
            name: name.to_owned(),
            kind,
            cap,
            shown: AtomicBool::new(kind != LabelledKind::Gauge),
            series: Mutex::default(),
        });
        all.push(labelled.clone());
        labelled
    }
}

impl Labelled {
    /// The series of these labels, made at first use.
    pub fn with(&self, labels: &[(&str, &str)]) -> Arc<Series> {
        let mut series = lock(&self.series);
        if let Some(known) = series.get(&Wanted(labels)) {
            return known.clone();
        }
        let overflow: Vec<_>;
        let labels = if series.len() < self.cap {
            labels
        } else {
            overflow = labels.iter().map(|(name, _)| (*name, OVERFLOW)).collect();
            &overflow
        };
        if let Some(known) = series.get(&Wanted(labels)) {
            return known.clone();
        }
        let key = lock(&self.house.interned).set(labels);
        let made = Arc::new(Series::new(
            self.house.clone(),
            key.clone(),
            self.house.bounds(&self.name),
        ));
        series.insert(key, made.clone());
        made
    }

    /// Lets a gauge show.
    pub fn show(&self) {
        self.shown.store(true, Relaxed);
    }

    /// All series that there are.
    pub(super) fn all(&self) -> Vec<Arc<Series>> {
        lock(&self.series).values().cloned().collect()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn kind(&self) -> Kind {
        match self.kind {
            LabelledKind::Counter => Kind::Counter,
            LabelledKind::Gauge => Kind::Gauge,
            LabelledKind::Histogram => Kind::Histogram,
        }
    }

    /// All series to show, in the order of their labels.
    pub(super) fn series(&self) -> Vec<Arc<Series>> {
        if !self.shown.load(Relaxed) {
            return Vec::new();
        }
        let mut all = self.all();
        all.sort_by(|a, b| a.labels.cmp(&b.labels));
        all
    }
}

impl Series {
    fn new(house: Arc<House>, labels: Arc<LabelSet>, bounds: Arc<[f64]>) -> Self {
        let count = Table::new(house.threads + 1, 1);
        Self {
            house,
            labels,
            count,
            reset_at: AtomicU64::new(0),
            histogram: OnceLock::new(),
            bounds,
        }
    }

    /// Counts `n`.
    pub fn add(&self, n: u64) {
        let (row, alone) = thread::row(self.house.threads);
        let cell = self.count.cell(row, 1, 0);
        if alone { cell.add_alone(n) } else { cell.add(n) }
    }

    /// Sets a gauge, for all threads.
    pub fn set(&self, value: u64) {
        self.count.cell(self.house.threads, 1, 0).set(value);
    }

    /// Records a value, for histograms.
    pub fn record(&self, value: u64) {
        let histogram = self
            .histogram
            .get_or_init(|| Histogram::new(self.bounds.clone(), self.house.threads + 1));
        histogram.record(self.house.threads, value);
    }

    /// What was counted, by all threads.
    pub fn value(&self) -> u64 {
        self.total().wrapping_sub(self.reset_at.load(Relaxed))
    }

    fn total(&self) -> u64 {
        (0..=self.house.threads)
            .filter_map(|row| self.count.peek(row, 1, 0))
            .map(|cell| cell.value())
            .sum()
    }

    /// What was recorded, by all threads.
    pub fn histogram(&self) -> HistogramSnapshot {
        self.histogram
            .get()
            .map_or_else(|| HistogramSnapshot::empty(self.bounds.clone()), Histogram::snapshot)
    }

    pub(super) fn reset(&self) {
        self.reset_at.store(self.total(), Relaxed);
    }

    pub(super) fn flush(&self) {
        if let Some(histogram) = self.histogram.get() {
            histogram.flush();
        }
    }
}

impl std::fmt::Debug for Series {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Series({})", self.labels.full_name(""))
    }
}

impl LabelSet {
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The full name in Envoy's form: the metric's, then each label and its value; what is empty leaves no dot.
    pub(super) fn full_name(&self, metric: &str) -> String {
        let parts = self.pairs().flat_map(|(name, value)| [name, value]);
        parts
            .filter(|part| !part.is_empty())
            .fold(metric.to_owned(), |name, part| name + "." + part)
    }
}

impl Interned {
    fn set(&mut self, labels: &[(&str, &str)]) -> Arc<LabelSet> {
        if let Some((known, ())) = self.sets.get_key_value(&Wanted(labels)) {
            return known.clone();
        }
        let pairs = labels.iter().map(|(name, value)| (self.text(name), self.text(value)));
        let set = Arc::new(LabelSet(pairs.collect()));
        self.sets.insert(set.clone(), ());
        set
    }

    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let new: Arc<str> = text.into();
        self.texts.insert(new.clone());
        new
    }
}

impl std::hash::Hash for LabelSet {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.pairs().for_each(|pair| pair.hash(state));
    }
}

impl std::hash::Hash for Wanted<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.iter().for_each(|pair| pair.hash(state));
    }
}

impl Equivalent<Arc<LabelSet>> for Wanted<'_> {
    fn equivalent(&self, key: &Arc<LabelSet>) -> bool {
        key.pairs().eq(self.0.iter().copied())
    }
}
