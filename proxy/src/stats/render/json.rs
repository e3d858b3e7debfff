//! `/stats?format=json`: the order of the text, histograms in one object at the end.

use std::fmt::Write;
use std::sync::Arc;

use super::CHUNK_BYTES;
use super::number::shortest;
use super::query::{Buckets, Query};
use super::series::{Order, Series, Walk};
use super::text::{PASSES, filled, per_bucket};
use crate::stats::config::Settings;
use crate::stats::core::Core;
use crate::stats::histogram::{HistogramSnapshot, PERCENTILES};
use crate::stats::labelled::Labelled;
use crate::stats::schema::Kind;

pub(super) struct Json {
    walk: Walk,
    pass: usize,
    started: bool,
    /// Something stands before what comes next in `stats`.
    follows: bool,
    /// The histograms' object is open.
    in_histograms: bool,
}

impl Json {
    pub(super) fn new(groups: Vec<Arc<Core>>, labelled: Vec<Arc<Labelled>>) -> Self {
        Self {
            walk: Walk::new(groups, labelled, Order::Text),
            pass: 0,
            started: false,
            follows: false,
            in_histograms: false,
        }
    }

    pub(super) fn chunk(&mut self, settings: &Settings, query: &Query) -> Option<String> {
        let mut out = String::new();
        let Some(kinds) = PASSES.get(self.pass) else {
            if !self.started {
                return None;
            }
            self.started = false;
            if self.in_histograms {
                out.push_str(if is_bare(query) { "]}" } else { "]}}" });
            }
            out.push_str("]}");
            return Some(out);
        };
        if !self.started {
            self.started = true;
            out.push_str("{\"stats\":[");
        }
        while !self.walk.is_done() && out.len() < CHUNK_BYTES {
            let some = self.walk.some(settings, query, kinds);
            let empty = some.is_empty();
            some.iter().for_each(|series| self.element(series, query, &mut out));
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

    fn element(&mut self, series: &Series, query: &Query, out: &mut String) {
        if std::mem::replace(&mut self.follows, true) {
            out.push(',');
        }
        let name = serde_json::Value::from(&*series.name);
        // Writing to a String cannot fail.
        let _ = match series.kind {
            Kind::Counter | Kind::Gauge => write!(out, "{{\"name\":{name},\"value\":{}}}", self.walk.value(series)),
            Kind::TextReadout => {
                let text = serde_json::Value::from(&*self.walk.text(series));
                write!(out, "{{\"name\":{name},\"value\":{text}}}")
            }
            Kind::Histogram => {
                if !std::mem::replace(&mut self.in_histograms, true) {
                    open(query, out);
                }
                let histogram = self.walk.histogram(series);
                write!(
                    out,
                    "{{\"name\":{name},{}}}",
                    fields(&histogram, query.histogram_buckets)
                )
            }
        };
    }
}

/// Bucket lists stand in an array of their own; percentiles in an object that first names the percents.
fn is_bare(query: &Query) -> bool {
    matches!(query.histogram_buckets, Some(Buckets::Cumulative | Buckets::Disjoint))
}

fn open(query: &Query, out: &mut String) {
    let percents: Vec<String> = PERCENTILES.iter().map(f64::to_string).collect();
    let percents = percents.join(",");
    // Writing to a String cannot fail.
    let _ = match query.histogram_buckets {
        Some(Buckets::Cumulative | Buckets::Disjoint) => write!(out, "{{\"histograms\":["),
        Some(Buckets::Detailed) => {
            write!(
                out,
                "{{\"histograms\":{{\"supported_percentiles\":[{percents}],\"details\":["
            )
        }
        Some(Buckets::Summary) | None => {
            write!(
                out,
                "{{\"histograms\":{{\"supported_quantiles\":[{percents}],\"computed_quantiles\":["
            )
        }
    };
}

fn fields(histogram: &HistogramSnapshot, buckets: Option<Buckets>) -> String {
    match buckets {
        Some(Buckets::Cumulative | Buckets::Disjoint) => {
            let columns = per_bucket(histogram, buckets == Some(Buckets::Cumulative));
            let shown = histogram.bounds.iter().zip(columns).map(|(&bound, (interval, all))| {
                format!(
                    "{{\"upper_bound\":{},\"interval\":{interval},\"cumulative\":{all}}}",
                    shortest(bound)
                )
            });
            format!("\"buckets\":[{}]", shown.collect::<Vec<_>>().join(","))
        }
        Some(Buckets::Detailed) => {
            let (totals, intervals) = (
                ranges(histogram, &histogram.counts),
                ranges(histogram, &histogram.interval),
            );
            format!(
                "\"totals\":[{totals}],\"intervals\":[{intervals}],\"percentiles\":[{}]",
                percentiles(histogram)
            )
        }
        Some(Buckets::Summary) | None => format!("\"values\":[{}]", percentiles(histogram)),
    }
}

fn percentiles(histogram: &HistogramSnapshot) -> String {
    let show = |value: Option<f64>| value.map_or_else(|| "null".to_owned(), shortest);
    let shown = PERCENTILES.iter().map(|&percent| {
        let all = show(histogram.percentile(&histogram.counts, percent));
        let interval = show(histogram.percentile(&histogram.interval, percent));
        format!("{{\"cumulative\":{all},\"interval\":{interval}}}")
    });
    shown.collect::<Vec<_>>().join(",")
}

fn ranges(histogram: &HistogramSnapshot, counts: &[u64]) -> String {
    let shown = filled(histogram, counts).map(|(lower, width, count)| {
        format!(
            "{{\"lower_bound\":{},\"width\":{},\"count\":{count}}}",
            shortest(lower),
            shortest(width)
        )
    });
    shown.collect::<Vec<_>>().join(",")
}
