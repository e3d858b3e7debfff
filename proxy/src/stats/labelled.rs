//! Metrics whose labels come with each request, such as Istio's `istio_requests_total`.
//!
//! A label set is interned once; its owner keeps the handle (per connection, per route and peer) and counts through it
//! without looking labels up. Past the cap all further label sets share one series whose every label is `overflow`, so
//! that a flood of peers cannot exhaust memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use super::cells::Table;
use super::histogram::{Histogram, HistogramSnapshot};
use super::store::{House, Store};
use super::{lock, thread};

/// What the labels of the shared series say.
pub const OVERFLOW: &str = "overflow";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelledKind {
    Counter,
    Histogram,
}

/// One metric and its series.
pub struct Labelled {
    house: Arc<House>,
    name: String,
    kind: LabelledKind,
    label_names: Box<[&'static str]>,
    cap: usize,
    series: Mutex<HashMap<Labels, Arc<Series>>>,
}

/// A value for each label name.
type Labels = Box<[Arc<str>]>;

/// One label set's cells.
pub struct Series {
    house: Arc<House>,
    pub(super) labels: Labels,
    count: Table,
    histogram: OnceLock<Histogram>,
    bounds: Arc<[f64]>,
}

impl Store {
    /// A metric with labels, living as long as the store. `name` is dotted; one that starts with `istiocustom.` is shown
    /// without the `envoy_` prefix. `cap` is how many label sets are told apart.
    pub fn labelled(&self, name: &str, kind: LabelledKind, label_names: &[&'static str], cap: usize) -> Arc<Labelled> {
        let house = self.house();
        let labelled = Arc::new(Labelled {
            house: house.clone(),
            name: name.to_owned(),
            kind,
            label_names: label_names.into(),
            cap,
            series: Mutex::default(),
        });
        self.keep(&labelled);
        labelled
    }
}

impl Labelled {
    /// The series of these label values (one for each name), made at first use.
    pub fn with(&self, values: &[&str]) -> Arc<Series> {
        debug_assert_eq!(values.len(), self.label_names.len(), "{}", self.name);
        let key: Labels = values.iter().map(|value| Arc::from(*value)).collect();
        let mut series = lock(&self.series);
        if let Some(known) = series.get(&key) {
            return known.clone();
        }
        let key = if series.len() < self.cap {
            key
        } else {
            values.iter().map(|_| Arc::from(OVERFLOW)).collect()
        };
        let make = || {
            Arc::new(Series::new(
                self.house.clone(),
                key.clone(),
                self.house.bounds(&self.name),
            ))
        };
        series.entry(key.clone()).or_insert_with(make).clone()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn kind(&self) -> LabelledKind {
        self.kind
    }

    pub(super) fn label_names(&self) -> &[&'static str] {
        &self.label_names
    }

    /// All series, in the order of their labels.
    pub(super) fn series(&self) -> Vec<Arc<Series>> {
        let mut all: Vec<_> = lock(&self.series).values().cloned().collect();
        all.sort_by(|a, b| a.labels.cmp(&b.labels));
        all
    }
}

impl Series {
    fn new(house: Arc<House>, labels: Labels, bounds: Arc<[f64]>) -> Self {
        let count = Table::new(house.threads + 1, 1);
        Self {
            house,
            labels,
            count,
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

    /// Records a value, for histograms.
    pub fn record(&self, value: u64) {
        let histogram = self
            .histogram
            .get_or_init(|| Histogram::new(self.bounds.clone(), self.house.threads + 1));
        histogram.record(self.house.threads, value);
    }

    /// What was counted, by all threads.
    pub fn value(&self) -> u64 {
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
}
