//! The walk that every format shares: groups in order, their stats selected and sorted.

use std::cmp::Ordering;
use std::sync::Arc;

use super::GROUPS_PER_CHUNK;
use super::query::Query;
use crate::stats::config::Settings;
use crate::stats::core::{At, Core};
use crate::stats::histogram::HistogramSnapshot;
use crate::stats::labelled::{self, Labelled};
use crate::stats::prefix::Prefix;
use crate::stats::schema::Kind;

/// Where metrics with labels stand among the groups: their names all begin so.
const LABELLED: &str = "istiocustom.";
/// Series with labels taken for one chunk; their names are long.
const LABELLED_PER_CHUNK: usize = 128;
/// Bytes of room for a stat's name after its group's; longer ones are moved.
const OWN_NAME: usize = 48;

/// What names are compared by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// The text, as `/stats` sorts.
    Text,
    /// Dot-separated tokens, as Prometheus output is sorted: `a` before `a-b`.
    Tokens,
}

/// One stat to show.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) place: Place,
}

/// Where a stat is found.
pub(super) enum Place {
    Group {
        /// Which of the walk's groups.
        group: usize,
        at: At,
    },
    Labelled(Arc<labelled::Series>),
}

/// All groups, and how far a pass over them has come.
pub(super) struct Walk {
    pub(super) groups: Vec<Arc<Core>>,
    order: Order,
    next: usize,
    /// Metrics with labels come before this group.
    after_labelled: usize,
    labelled: Vec<Arc<Labelled>>,
    /// What is left of their series in this pass, the last one first.
    left: Option<Vec<Series>>,
}

impl Order {
    fn key(self, byte: u8) -> u8 {
        if self == Self::Tokens && byte == b'.' { 0 } else { byte }
    }

    pub(super) fn compare(self, a: &str, b: &str) -> Ordering {
        match a.bytes().zip(b.bytes()).find(|(a, b)| a != b) {
            Some((a, b)) => self.key(a).cmp(&self.key(b)),
            None => a.len().cmp(&b.len()),
        }
    }

    fn compare_prefixes(self, a: &Prefix, b: &Prefix) -> Ordering {
        a.bytes()
            .map(|byte| self.key(byte))
            .cmp(b.bytes().map(|byte| self.key(byte)))
    }
}

impl Walk {
    /// `groups` come sorted by text from the store.
    pub(super) fn new(mut groups: Vec<Arc<Core>>, labelled: Vec<Arc<Labelled>>, order: Order) -> Self {
        if order != Order::Text {
            groups.sort_by(|a, b| order.compare_prefixes(&a.prefix, &b.prefix));
        }
        let key = |byte: u8| order.key(byte);
        let before = |core: &Arc<Core>| core.prefix.bytes().map(key).lt(LABELLED.bytes().map(key));
        Self {
            after_labelled: groups.partition_point(before),
            groups,
            order,
            next: 0,
            labelled,
            left: None,
        }
    }

    pub(super) fn restart(&mut self) {
        self.next = 0;
        self.left = None;
    }

    pub(super) fn is_done(&self) -> bool {
        self.next >= self.groups.len() && self.labelled_done()
    }

    fn labelled_done(&self) -> bool {
        self.labelled.is_empty() || self.left.as_ref().is_some_and(Vec::is_empty)
    }

    /// The next stats of the given kinds, in order, from a handful of groups.
    pub(super) fn some(&mut self, settings: &Settings, query: &Query, kinds: &[Kind]) -> Vec<Series> {
        let mut until = self.groups.len().min(self.next + GROUPS_PER_CHUNK);
        if !self.labelled_done() {
            if self.next >= self.after_labelled {
                return self.some_labelled(settings, query, kinds);
            }
            until = until.min(self.after_labelled);
        }
        let mut all = Vec::new();
        while self.next < until {
            let from = all.len();
            let run = self.run();
            let shared = self.groups[run.start].prefix.len();
            for group in run {
                self.select(group, settings, query, kinds, &mut all);
            }
            all[from..].sort_by(|a, b| self.order.compare(&a.name[shared..], &b.name[shared..]));
        }
        all
    }

    fn some_labelled(&mut self, settings: &Settings, query: &Query, kinds: &[Kind]) -> Vec<Series> {
        let (labelled, order) = (&self.labelled, self.order);
        let left = self.left.get_or_insert_with(|| {
            let metrics = labelled.iter().filter(|metric| kinds.contains(&metric.kind()));
            let mut all: Vec<_> = metrics
                .filter(|metric| query.admits(metric.kind(), true))
                .flat_map(|metric| {
                    let series = metric.series().into_iter();
                    series.map(|series| (metric.kind(), series.labels.full_name(metric.name()), series))
                })
                .filter(|(_, name, _)| query.admits_name(name) && settings.admits(name))
                .map(|(kind, name, series)| Series {
                    name,
                    kind,
                    place: Place::Labelled(series),
                })
                .collect();
            all.sort_by(|a, b| order.compare(&b.name, &a.name));
            all
        });
        let from = left.len().saturating_sub(LABELLED_PER_CHUNK);
        let mut some = left.split_off(from);
        some.reverse();
        some
    }

    /// The value of a counter or gauge.
    pub(super) fn value(&self, series: &Series) -> u64 {
        match &series.place {
            Place::Group { group, at } => self.groups[*group].value(at),
            Place::Labelled(series) => series.value(),
        }
    }

    pub(super) fn histogram(&self, series: &Series) -> HistogramSnapshot {
        match &series.place {
            Place::Group { group, at } => self.groups[*group].histogram(index(at)),
            Place::Labelled(series) => series.histogram(),
        }
    }

    pub(super) fn text(&self, series: &Series) -> Arc<str> {
        match &series.place {
            Place::Group { group, at } => self.groups[*group].text(index(at)).unwrap_or_default(),
            Place::Labelled(_) => "".into(),
        }
    }

    /// The next groups whose names may interleave: one group and those that lie within it. What follows sorts after
    /// every name in them, so each run is sorted by itself.
    fn run(&mut self) -> std::ops::Range<usize> {
        let start = self.next;
        let outer = &self.groups[start].prefix;
        self.next = start + 1;
        while self.next < self.groups.len() && self.groups[self.next].prefix.is_within(outer) {
            self.next += 1;
        }
        start..self.next
    }

    fn select(&self, group: usize, settings: &Settings, query: &Query, kinds: &[Kind], all: &mut Vec<Series>) {
        let core = &self.groups[group];
        core.visit(|at, kind, used| {
            if !kinds.contains(&kind) || !query.admits(kind, used) {
                return;
            }
            let mut name = String::with_capacity(core.prefix.len() + OWN_NAME);
            core.push_name(&at, &mut name);
            if query.admits_name(&name) && settings.admits(&name) {
                let place = Place::Group { group, at };
                all.push(Series { name, kind, place });
            }
        });
    }
}

/// The stat's place in its schema; histograms and texts are no part of a family.
fn index(at: &At) -> usize {
    match at {
        At::Stat(index) => usize::from(*index),
        At::Thread { .. } | At::Leaf { .. } => 0,
    }
}
