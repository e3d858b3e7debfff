//! `/stats/prometheus`: counters, gauges, histograms; in each, metrics by name, and in each of those, stats by name.
//!
//! A first pass over all groups sorts stats by metric, remembering only where each is; a second reads and writes them.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use super::CHUNK_BYTES;
use super::number::general;
use super::query::{Buckets, Query};
use super::series::{Order, Place as Found, Walk};
use crate::stats::config::Settings;
use crate::stats::core::{At, Core};
use crate::stats::histogram::{HistogramSnapshot, PERCENTILES};
use crate::stats::labelled::{Labelled, Series};
use crate::stats::schema::Kind;
use crate::stats::store::Store;
use crate::stats::tags;

/// Stats of this namespace are shown without the `envoy_` that others get; Istio's telemetry lives there.
const CUSTOM_NAMESPACE: &str = "istiocustom.";

/// What is written before every other metric's name.
const NAMESPACE: &str = "envoy_";

pub(super) struct Prometheus {
    walk: Walk,
    /// By kind and name as shown: names that differ only in what Prometheus does not allow are one metric, where Envoy
    /// tells such a metric's type twice.
    found: HashMap<(Kind, String), Metric>,
    /// Sorted, once everything was found; written from the end.
    to_write: Option<Vec<Metric>>,
    labelled: Vec<Arc<Labelled>>,
    /// The metric with labels that is being written, and what is left of its series, the last one first.
    labelled_left: Option<(Arc<Labelled>, Vec<Arc<Series>>)>,
}

struct Place {
    group: u32,
    at: At,
}

struct Metric {
    kind: Kind,
    name: String,
    /// The dotted name without tags, by which metrics are sorted.
    dotted: String,
    places: Vec<Place>,
    /// How many places are written.
    written: usize,
}

impl Prometheus {
    pub(super) fn new(groups: Vec<Arc<Core>>, labelled: Vec<Arc<Labelled>>) -> Self {
        Self {
            walk: Walk::new(groups, Vec::new(), Order::Tokens),
            found: HashMap::new(),
            to_write: None,
            labelled,
            labelled_left: None,
        }
    }

    pub(super) fn chunk(&mut self, settings: &Settings, query: &Query) -> Option<String> {
        let Some(to_write) = &mut self.to_write else {
            self.gather(settings, query);
            return Some(String::new());
        };
        let mut out = String::new();
        while out.len() < CHUNK_BYTES {
            let Some(metric) = to_write.last_mut() else { break };
            metric.write(&self.walk.groups, settings, query, &mut out);
            if metric.written == metric.places.len() {
                to_write.pop();
            }
        }
        if !out.is_empty() {
            return Some(out);
        }
        self.chunk_labelled(settings, query)
    }

    fn chunk_labelled(&mut self, settings: &Settings, query: &Query) -> Option<String> {
        let mut out = String::new();
        let (metric, mut left) = match self.labelled_left.take() {
            Some(begun) => begun,
            None => {
                let metric = self.labelled.pop()?;
                let mut series = metric.series();
                series.retain(|series| {
                    let name = series.labels.full_name(metric.name());
                    query.admits_name(&name) && settings.admits(&name)
                });
                series.reverse();
                if !series.is_empty() {
                    write_type(&metric_name(metric.name()), type_of(metric.kind(), query), &mut out);
                }
                (metric, series)
            }
        };
        let name = metric_name(metric.name());
        while out.len() < CHUNK_BYTES
            && let Some(series) = left.pop()
        {
            let labels = labels(series.labels.pairs());
            match metric.kind() {
                Kind::Histogram => write_histogram(&name, &labels, &series.histogram(), query, &mut out),
                _ => write_value(&name, &labels, series.value(), &mut out),
            }
        }
        if !left.is_empty() {
            self.labelled_left = Some((metric, left));
        }
        Some(out)
    }

    fn gather(&mut self, settings: &Settings, query: &Query) {
        let kinds: &[Kind] = if query.text_readouts {
            &[Kind::Counter, Kind::Gauge, Kind::TextReadout, Kind::Histogram]
        } else {
            &[Kind::Counter, Kind::Gauge, Kind::Histogram]
        };
        if !self.walk.is_done() {
            for series in self.walk.some(settings, query, kinds) {
                let dotted = settings.tags.extract(&series.name).rest();
                let name = metric_name(&dotted);
                let Found::Group { group, at } = series.place else {
                    continue;
                };
                let place = Place {
                    group: group as u32,
                    at,
                };
                let metric = self.found.entry((series.kind, name.clone())).or_insert_with(|| Metric {
                    kind: series.kind,
                    name,
                    dotted,
                    places: Vec::new(),
                    written: 0,
                });
                metric.places.push(place);
            }
            return;
        }
        let rank = |kind: Kind| kinds.iter().position(|k| *k == kind);
        let mut metrics: Vec<Metric> = std::mem::take(&mut self.found).into_values().collect();
        metrics.sort_by(|a, b| {
            rank(a.kind)
                .cmp(&rank(b.kind))
                .then_with(|| Order::Tokens.compare(&a.dotted, &b.dotted))
                .reverse()
        });
        self.to_write = Some(metrics);
    }
}

impl Metric {
    fn write(&mut self, groups: &[Arc<Core>], settings: &Settings, query: &Query, out: &mut String) {
        let name = &self.name;
        if self.written == 0 {
            write_type(name, type_of(self.kind, query), out);
        }
        for place in &self.places[self.written..] {
            let core = &groups[place.group as usize];
            let mut full = String::new();
            core.push_name(&place.at, &mut full);
            let labels = labels(settings.tags.extract(&full).tags.iter().copied());
            let index = if let At::Stat(index) = place.at {
                usize::from(index)
            } else {
                0
            };
            match self.kind {
                Kind::Counter | Kind::Gauge => write_value(name, &labels, core.value(&place.at), out),
                Kind::TextReadout => {
                    let text = core.text(index).unwrap_or_default();
                    let labels = join(&labels, &label("text_value", &text));
                    write_value(name, &labels, 0, out);
                }
                Kind::Histogram => write_histogram(name, &labels, &core.histogram(index), query, out),
            }
            self.written += 1;
            if out.len() >= CHUNK_BYTES {
                break;
            }
        }
    }
}

fn type_of(kind: Kind, query: &Query) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge | Kind::TextReadout => "gauge",
        Kind::Histogram if query.histogram_buckets == Some(Buckets::Summary) => "summary",
        Kind::Histogram => "histogram",
    }
}

impl Store {
    /// What a stat of this full name is called in Prometheus output: `envoy_cluster_upstream_rq_total{envoy_cluster_name="a"}`.
    pub fn prometheus_name(&self, name: &str) -> String {
        let tagged = self.house().settings.tags.extract(name);
        format!(
            "{}{{{}}}",
            metric_name(&tagged.rest()),
            labels(tagged.tags.iter().copied())
        )
    }
}

/// `cluster.upstream_rq_total` as `envoy_cluster_upstream_rq_total`.
fn metric_name(name: &str) -> String {
    match name.strip_prefix(CUSTOM_NAMESPACE) {
        Some(custom) => tags::label(custom),
        None => format!("{NAMESPACE}{}", tags::label(name)),
    }
}

// Writing to a String cannot fail, hence the `let _` below.

fn write_type(name: &str, kind: &str, out: &mut String) {
    let _ = writeln!(out, "# TYPE {name} {kind}");
}

fn write_value(name: &str, labels: &str, value: u64, out: &mut String) {
    let _ = writeln!(out, "{name}{{{labels}}} {value}");
}

fn labels<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    pairs.fold(String::new(), |all, (name, value)| join(&all, &label(name, value)))
}

fn label(name: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"");
    format!("{name}=\"{value}\"")
}

fn join(labels: &str, more: &str) -> String {
    if labels.is_empty() {
        more.to_owned()
    } else {
        format!("{labels},{more}")
    }
}

fn write_histogram(name: &str, labels: &str, histogram: &HistogramSnapshot, query: &Query, out: &mut String) {
    if query.histogram_buckets == Some(Buckets::Summary) {
        for percent in PERCENTILES {
            let value = histogram.percentile(&histogram.interval, percent);
            let value = value.map_or_else(|| "nan".to_owned(), |value| value.to_string());
            let labels = join(labels, &label("quantile", &general(percent / 100.0)));
            let _ = writeln!(out, "{name}{{{labels}}} {value}");
        }
        write_value(&format!("{name}_sum"), labels, histogram.interval_sum, out);
        write_value(&format!("{name}_count"), labels, histogram.interval.iter().sum(), out);
        return;
    }
    let mut below = 0;
    for (bound, count) in histogram.bounds.iter().zip(&histogram.counts) {
        below += count;
        let labels = join(labels, &label("le", &bound.to_string()));
        let _ = writeln!(out, "{name}_bucket{{{labels}}} {below}");
    }
    let count = histogram.count();
    let _ = writeln!(out, "{name}_bucket{{{}}} {count}", join(labels, "le=\"+Inf\""));
    write_value(&format!("{name}_sum"), labels, histogram.sum, out);
    write_value(&format!("{name}_count"), labels, count, out);
}
