//! `/stats`: texts, then counters and gauges together, then histograms, each sorted by name.

use std::fmt::Write;
use std::sync::Arc;

use super::CHUNK_BYTES;
use super::number::general;
use super::query::{Buckets, Query};
use super::series::{Order, Series, Walk};
use crate::stats::config::Settings;
use crate::stats::core::Core;
use crate::stats::histogram::{HistogramSnapshot, PERCENTILES};
use crate::stats::labelled::Labelled;
use crate::stats::schema::Kind;

/// The kinds of each pass over the groups.
pub(super) const PASSES: [&[Kind]; 3] = [&[Kind::TextReadout], &[Kind::Counter, Kind::Gauge], &[Kind::Histogram]];

pub(super) struct Text {
    walk: Walk,
    pass: usize,
}

impl Text {
    pub(super) fn new(groups: Vec<Arc<Core>>, labelled: Vec<Arc<Labelled>>) -> Self {
        Self {
            walk: Walk::new(groups, labelled, Order::Text),
            pass: 0,
        }
    }

    pub(super) fn chunk(&mut self, settings: &Settings, query: &Query) -> Option<String> {
        let kinds = PASSES.get(self.pass)?;
        let mut out = String::new();
        while !self.walk.is_done() && out.len() < CHUNK_BYTES {
            let some = self.walk.some(settings, query, kinds);
            let empty = some.is_empty();
            some.iter().for_each(|series| line(series, &self.walk, query, &mut out));
            // Unmatched groups cost time too.
            if empty {
                break;
            }
        }
        if self.walk.is_done() {
            self.walk.restart();
            self.pass += 1;
        }
        Some(out)
    }
}

fn line(series: &Series, walk: &Walk, query: &Query, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = match series.kind {
        Kind::Counter | Kind::Gauge => writeln!(out, "{}: {}", series.name, walk.value(series)),
        Kind::TextReadout => writeln!(out, "{}: \"{}\"", series.name, walk.text(series)),
        Kind::Histogram => {
            let histogram = walk.histogram(series);
            if histogram.count() == 0 {
                writeln!(out, "{}: No recorded values", series.name)
            } else if query.histogram_buckets == Some(Buckets::Detailed) {
                let (totals, interval) = (
                    ranges(&histogram, &histogram.counts),
                    ranges(&histogram, &histogram.interval),
                );
                writeln!(
                    out,
                    "{}:\n  totals={totals}\n  intervals={interval}\n  summary={}",
                    series.name,
                    summary(&histogram)
                )
            } else {
                writeln!(out, "{}: {}", series.name, body(&histogram, query.histogram_buckets))
            }
        }
    };
}

fn body(histogram: &HistogramSnapshot, buckets: Option<Buckets>) -> String {
    let cumulative = match buckets {
        Some(Buckets::Cumulative) => true,
        Some(Buckets::Disjoint) => false,
        Some(Buckets::Detailed | Buckets::Summary) | None => return summary(histogram),
    };
    let columns = per_bucket(histogram, cumulative);
    let shown = histogram.bounds.iter().zip(columns);
    let shown: Vec<String> = shown
        .map(|(&b, (interval, all))| format!("B{}({interval},{all})", general(b)))
        .collect();
    shown.join(" ")
}

/// `P50(interval,all)` and so on; `nan` where the interval saw nothing.
fn summary(histogram: &HistogramSnapshot) -> String {
    let show = |value: Option<f64>| value.map_or_else(|| "nan".to_owned(), |value| value.to_string());
    let shown: Vec<String> = PERCENTILES
        .iter()
        .map(|&percent| {
            let interval = show(histogram.percentile(&histogram.interval, percent));
            let all = show(histogram.percentile(&histogram.counts, percent));
            format!("P{percent}({interval},{all})")
        })
        .collect();
    shown.join(" ")
}

/// `lower,width:count` of each bucket that holds something.
fn ranges(histogram: &HistogramSnapshot, counts: &[u64]) -> String {
    let shown: Vec<String> = filled(histogram, counts)
        .map(|(lower, width, count)| format!("{},{}:{count}", general(lower), general(width)))
        .collect();
    shown.join(", ")
}

/// Lower bound, width and count of each bucket that holds something; the last bucket has no width.
pub(super) fn filled(histogram: &HistogramSnapshot, counts: &[u64]) -> impl Iterator<Item = (f64, f64, u64)> {
    let bounds = &histogram.bounds;
    let lower = move |bucket: usize| bucket.checked_sub(1).map_or(0.0, |below| bounds[below]);
    counts
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
        .map(move |(bucket, &count)| {
            let upper = bounds.get(bucket).copied().unwrap_or_else(|| lower(bucket));
            (lower(bucket), upper - lower(bucket), count)
        })
}

/// Interval and whole counts of each bucket with a bound, each bucket's own or with all below it.
pub(super) fn per_bucket(histogram: &HistogramSnapshot, cumulative: bool) -> Vec<(u64, u64)> {
    let (mut interval_sum, mut sum) = (0, 0);
    (0..histogram.bounds.len())
        .map(|bucket| {
            let own = (
                histogram.interval.get(bucket).copied().unwrap_or_default(),
                histogram.counts[bucket],
            );
            if !cumulative {
                return own;
            }
            interval_sum += own.0;
            sum += own.1;
            (interval_sum, sum)
        })
        .collect()
}
