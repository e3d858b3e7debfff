//! Histograms of fixed buckets: 8 bytes a bucket and thread, nothing to merge or to keep up.
//!
//! Envoy counts in a log-linear histogram (90 buckets a decade) and derives from it both its percentiles and the classic
//! Prometheus buckets. Here only the latter exist, so Prometheus output is exact while the percentiles of `/stats` are
//! interpolated inside a bucket: P50 of values around 30 ms may read 25 to 50.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};

use super::lock;
use super::thread;

/// Envoy's default upper bounds (`HistogramSettingsImpl::defaultBuckets`), milliseconds for times.
pub const DEFAULT_BOUNDS: [f64; 19] = [
    0.5, 1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0, 30000.0, 60000.0, 300000.0,
    600000.0, 1800000.0, 3600000.0,
];

/// The percentiles that `/stats` shows, in percent.
pub const PERCENTILES: [f64; 10] = [0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 100.0];

/// One thread's part of a histogram: a cell per bucket, the bucket above the last bound, the sum.
type Row = Box<[AtomicU64]>;

/// A histogram that has been written to.
pub(super) struct Histogram {
    bounds: Arc<[f64]>,
    rows: Box<[OnceLock<Row>]>,
    /// What the last two flushes saw; Envoy's "interval" is what lies between them.
    flushed: Mutex<Flushed>,
}

#[derive(Default)]
struct Flushed {
    /// Buckets and sum, as `cells` gives them.
    seen: Vec<u64>,
    interval: Vec<u64>,
}

/// A histogram's counts at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramSnapshot {
    /// Upper bounds, ascending.
    pub bounds: Arc<[f64]>,
    /// Values per bucket, not cumulative; the last counts what is above every bound.
    pub counts: Vec<u64>,
    /// Values per bucket between the last two flushes; empty if none.
    pub interval: Vec<u64>,
    /// The sum of the interval's values.
    pub interval_sum: u64,
    /// The sum of all values.
    pub sum: u64,
}

impl Histogram {
    pub(super) fn new(bounds: Arc<[f64]>, rows: usize) -> Self {
        Self {
            bounds,
            rows: (0..rows).map(|_| OnceLock::new()).collect(),
            flushed: Mutex::default(),
        }
    }

    pub(super) fn record(&self, threads: usize, value: u64) {
        let (row, alone) = thread::row(threads);
        let cells = self.rows[row].get_or_init(|| (0..self.bounds.len() + 2).map(|_| AtomicU64::new(0)).collect());
        let bucket = self.bounds.partition_point(|&bound| bound < value as f64);
        let sum = self.bounds.len() + 1;
        for (cell, n) in [(&cells[bucket], 1), (&cells[sum], value)] {
            if alone {
                cell.store(cell.load(Relaxed).wrapping_add(n), Relaxed);
            } else {
                cell.fetch_add(n, Relaxed);
            }
        }
    }

    fn cells(&self) -> Vec<u64> {
        let mut cells = vec![0u64; self.bounds.len() + 2];
        for row in self.rows.iter().filter_map(OnceLock::get) {
            for (total, cell) in cells.iter_mut().zip(row) {
                *total = total.wrapping_add(cell.load(Relaxed));
            }
        }
        cells
    }

    pub(super) fn snapshot(&self) -> HistogramSnapshot {
        let mut counts = self.cells();
        let sum = counts.pop().unwrap_or_default();
        let mut interval = lock(&self.flushed).interval.clone();
        let interval_sum = interval.pop().unwrap_or_default();
        HistogramSnapshot {
            bounds: self.bounds.clone(),
            counts,
            interval,
            interval_sum,
            sum,
        }
    }

    /// Ends an interval: what came since the last call becomes what `/stats` shows as the interval.
    pub(super) fn flush(&self) {
        let mut counts = self.cells();
        counts.pop();
        let mut flushed = lock(&self.flushed);
        flushed.seen.resize(counts.len(), 0);
        let interval: Vec<u64> = counts
            .iter()
            .zip(&flushed.seen)
            .map(|(now, seen)| now.wrapping_sub(*seen))
            .collect();
        let moved = interval.iter().any(|&n| n != 0);
        flushed.interval = if moved { interval } else { Vec::new() };
        flushed.seen = counts;
    }
}

impl HistogramSnapshot {
    /// A histogram that nothing was recorded in.
    pub(super) fn empty(bounds: Arc<[f64]>) -> Self {
        let counts = vec![0; bounds.len() + 1];
        Self {
            bounds,
            counts,
            interval: Vec::new(),
            interval_sum: 0,
            sum: 0,
        }
    }

    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The value below which `percent` of `counts` (these or the interval's) lie, interpolated inside its bucket; `None`
    /// if there are none. What is above the last bound counts as the last bound.
    pub fn percentile(&self, counts: &[u64], percent: f64) -> Option<f64> {
        let total: u64 = counts.iter().sum();
        if total == 0 {
            return None;
        }
        let rank = percent / 100.0 * total as f64;
        let mut below = 0u64;
        let mut lower = 0.0;
        for (bucket, &count) in counts.iter().enumerate() {
            let upper = self.bounds.get(bucket).copied().unwrap_or(lower);
            if count > 0 && (below + count) as f64 >= rank {
                return Some(lower + (upper - lower) * ((rank - below as f64) / count as f64).clamp(0.0, 1.0));
            }
            below += count;
            lower = upper;
        }
        Some(lower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[u64]) -> Histogram {
        let histogram = Histogram::new(DEFAULT_BOUNDS.into(), 1);
        values.iter().for_each(|&value| histogram.record(0, value));
        histogram
    }

    #[test]
    fn a_value_on_a_bound_belongs_to_its_bucket() {
        let snapshot = of(&[0, 1, 1, 5, 6, 3_600_000, 3_600_001]).snapshot();
        assert_eq!(snapshot.counts[..4], [1, 2, 1, 1]);
        assert_eq!(snapshot.counts[18..], [1, 1]);
        assert_eq!((snapshot.count(), snapshot.sum), (7, 7_200_014));
    }

    #[test]
    fn percentiles_lie_in_the_bucket_of_their_value() {
        let snapshot = of(&[30; 100]).snapshot();
        for percent in PERCENTILES {
            let value = snapshot.percentile(&snapshot.counts, percent).unwrap();
            assert!((25.0..=50.0).contains(&value), "P{percent} = {value}");
        }
        assert_eq!(snapshot.percentile(&[], 50.0), None);
        let beyond = of(&[9_000_000]).snapshot();
        assert_eq!(beyond.percentile(&beyond.counts, 100.0), Some(3_600_000.0));
    }

    #[test]
    fn an_interval_is_what_came_between_two_flushes() {
        let histogram = of(&[1, 1]);
        histogram.flush();
        assert_eq!(histogram.snapshot().interval[1], 2);
        histogram.record(0, 1);
        histogram.flush();
        assert_eq!(histogram.snapshot().interval[1], 1);
        histogram.flush();
        assert!(histogram.snapshot().interval.is_empty());
        assert_eq!(histogram.snapshot().count(), 3);
    }
}
