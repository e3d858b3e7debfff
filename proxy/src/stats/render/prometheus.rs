//! `/stats/prometheus`: counters, gauges, histograms; in each, metrics by name, and in each of those, stats by name.
//!
//! A first pass over all groups sorts stats by metric, remembering only where each is; a second reads and writes them.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use super::CHUNK_BYTES;
use super::number::general;
use super::query::{Buckets, Query};
use super::series::{Order, Place as Shown, Walk};
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
    found: Found,
    /// Sorted, once everything was found; written from the end.
    to_write: Option<Vec<Metric>>,
    labelled: Vec<Arc<Labelled>>,
    /// The metric with labels that is being written, and what is left of its series, the last one first.
    labelled_left: Option<(Arc<Labelled>, Vec<Arc<Series>>)>,
}

/// The metrics of a first pass.
#[derive(Default)]
struct Found {
    metrics: Vec<Metric>,
    /// Where in `metrics`, by kind and dotted name.
    by_dotted: HashMap<Kind, HashMap<String, usize>>,
    /// The same by kind and name as shown: names that differ only in what Prometheus does not allow are one metric, where
    /// Envoy tells such a metric's type twice.
    by_name: HashMap<(Kind, String), usize>,
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
            found: Found::default(),
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
        let mut bounds = Bounds::default();
        while out.len() < CHUNK_BYTES
            && let Some(series) = left.pop()
        {
            let labels = labels(series.labels.pairs());
            match metric.kind() {
                Kind::Histogram => write_histogram(&name, &labels, &series.histogram(), query, &mut bounds, &mut out),
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
            let mut dotted = String::new();
            for series in self.walk.some(settings, query, kinds) {
                let Shown::Group { group, at } = series.place else {
                    continue;
                };
                dotted.clear();
                settings.tags.extract(&series.name).push_rest(&mut dotted);
                self.found.metric(series.kind, &dotted).places.push(Place {
                    group: group as u32,
                    at,
                });
            }
            return;
        }
        let rank = |kind: Kind| kinds.iter().position(|k| *k == kind);
        let mut metrics = std::mem::take(&mut self.found).metrics;
        metrics.sort_by(|a, b| {
            rank(a.kind)
                .cmp(&rank(b.kind))
                .then_with(|| Order::Tokens.compare(&a.dotted, &b.dotted))
                .reverse()
        });
        self.to_write = Some(metrics);
    }
}

impl Found {
    fn metric(&mut self, kind: Kind, dotted: &str) -> &mut Metric {
        let known = self.by_dotted.entry(kind).or_default();
        if let Some(&at) = known.get(dotted) {
            return &mut self.metrics[at];
        }
        let name = metric_name(dotted);
        let at = *self.by_name.entry((kind, name.clone())).or_insert(self.metrics.len());
        known.insert(dotted.to_owned(), at);
        if at == self.metrics.len() {
            self.metrics.push(Metric {
                kind,
                name,
                dotted: dotted.to_owned(),
                places: Vec::new(),
                written: 0,
            });
        }
        &mut self.metrics[at]
    }
}

impl Metric {
    fn write(&mut self, groups: &[Arc<Core>], settings: &Settings, query: &Query, out: &mut String) {
        let name = &self.name;
        if self.written == 0 {
            write_type(name, type_of(self.kind, query), out);
        }
        let (mut full, mut labels, mut bounds) = (String::new(), String::new(), Bounds::default());
        for place in &self.places[self.written..] {
            let core = &groups[place.group as usize];
            full.clear();
            core.push_name(&place.at, &mut full);
            labels.clear();
            for (name, value) in settings.tags.extract(&full).tags {
                push_label(name, value, &mut labels);
            }
            let index = if let At::Stat(index) = place.at {
                usize::from(index)
            } else {
                0
            };
            match self.kind {
                Kind::Counter | Kind::Gauge => write_value(name, &labels, core.value(&place.at), out),
                Kind::TextReadout => {
                    push_label("text_value", &core.text(index).unwrap_or_default(), &mut labels);
                    write_value(name, &labels, 0, out);
                }
                Kind::Histogram => write_histogram(name, &labels, &core.histogram(index), query, &mut bounds, out),
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
    write_sample(&[name], &[labels], value, out);
}

/// A line: what it is called and what stands in braces, each in pieces.
fn write_sample(name: &[&str], labels: &[&str], value: impl std::fmt::Display, out: &mut String) {
    name.iter().for_each(|piece| out.push_str(piece));
    out.push('{');
    labels.iter().for_each(|piece| out.push_str(piece));
    let _ = writeln!(out, "}} {value}");
}

fn labels<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut all = String::new();
    pairs.for_each(|(name, value)| push_label(name, value, &mut all));
    all
}

fn push_label(name: &str, value: &str, labels: &mut String) {
    if !labels.is_empty() {
        labels.push(',');
    }
    labels.push_str(name);
    labels.push_str("=\"");
    let mut rest = value;
    while let Some(at) = rest.find(['\\', '\n', '"']) {
        let (plain, special) = rest.split_at(at);
        labels.push_str(plain);
        labels.push_str(match special.as_bytes()[0] {
            b'\n' => "\\n",
            b'"' => "\\\"",
            _ => "\\\\",
        });
        rest = &special[1..];
    }
    labels.push_str(rest);
    labels.push('"');
}

/// The bounds of the histogram that was last written, as `le` shows them: the next one's are mostly the same.
#[derive(Default)]
struct Bounds {
    of: Option<Arc<[f64]>>,
    shown: Vec<String>,
}

impl Bounds {
    fn show(&mut self, bounds: &Arc<[f64]>) -> &[String] {
        if self.of.as_ref() != Some(bounds) {
            self.shown = bounds.iter().map(|bound| format!("le=\"{bound}\"")).collect();
            self.of = Some(bounds.clone());
        }
        &self.shown
    }
}

fn write_histogram(
    name: &str,
    labels: &str,
    histogram: &HistogramSnapshot,
    query: &Query,
    bounds: &mut Bounds,
    out: &mut String,
) {
    let comma = if labels.is_empty() { "" } else { "," };
    if query.histogram_buckets == Some(Buckets::Summary) {
        for percent in PERCENTILES {
            let value = histogram.percentile(&histogram.interval, percent);
            let value = value.map_or_else(|| "nan".to_owned(), |value| value.to_string());
            let quantile = general(percent / 100.0);
            write_sample(&[name], &[labels, comma, "quantile=\"", &quantile, "\""], value, out);
        }
        write_sample(&[name, "_sum"], &[labels], histogram.interval_sum, out);
        write_sample(
            &[name, "_count"],
            &[labels],
            histogram.interval.iter().sum::<u64>(),
            out,
        );
        return;
    }
    let mut below = 0;
    for (bound, count) in bounds.show(&histogram.bounds).iter().zip(&histogram.counts) {
        below += count;
        write_sample(&[name, "_bucket"], &[labels, comma, bound], below, out);
    }
    let count = histogram.count();
    write_sample(&[name, "_bucket"], &[labels, comma, "le=\"+Inf\""], count, out);
    write_sample(&[name, "_sum"], &[labels], histogram.sum, out);
    write_sample(&[name, "_count"], &[labels], count, out);
}
