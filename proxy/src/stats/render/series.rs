//! The walk that every format shares: groups in order, their stats selected and sorted.

use std::cmp::Ordering;
use std::sync::Arc;

use super::GROUPS_PER_CHUNK;
use super::query::Query;
use crate::stats::config::Settings;
use crate::stats::core::{At, Core};
use crate::stats::prefix::Prefix;
use crate::stats::schema::Kind;

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
    /// Which of the walk's groups.
    pub(super) group: usize,
    pub(super) at: At,
}

/// All groups, and how far a pass over them has come.
pub(super) struct Walk {
    pub(super) groups: Vec<Arc<Core>>,
    order: Order,
    next: usize,
}

impl Order {
    fn key(self, byte: u8) -> u8 {
        if self == Self::Tokens && byte == b'.' { 0 } else { byte }
    }

    pub(super) fn compare(self, a: &str, b: &str) -> Ordering {
        a.bytes()
            .map(|byte| self.key(byte))
            .cmp(b.bytes().map(|byte| self.key(byte)))
    }

    fn compare_prefixes(self, a: &Prefix, b: &Prefix) -> Ordering {
        a.bytes()
            .map(|byte| self.key(byte))
            .cmp(b.bytes().map(|byte| self.key(byte)))
    }
}

impl Walk {
    /// `groups` come sorted by text from the store.
    pub(super) fn new(mut groups: Vec<Arc<Core>>, order: Order) -> Self {
        if order != Order::Text {
            groups.sort_by(|a, b| order.compare_prefixes(&a.prefix, &b.prefix));
        }
        Self { groups, order, next: 0 }
    }

    pub(super) fn restart(&mut self) {
        self.next = 0;
    }

    pub(super) fn is_done(&self) -> bool {
        self.next >= self.groups.len()
    }

    /// The next stats of the given kinds, in order, from a handful of groups.
    pub(super) fn some(&mut self, settings: &Settings, query: &Query, kinds: &[Kind]) -> Vec<Series> {
        let mut all = Vec::new();
        let until = self.next + GROUPS_PER_CHUNK;
        while self.next < until && !self.is_done() {
            let from = all.len();
            let run = self.run();
            for group in run {
                self.select(group, settings, query, kinds, &mut all);
            }
            all[from..].sort_by(|a, b| self.order.compare(&a.name, &b.name));
        }
        all
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
            let mut name = String::new();
            core.push_name(&at, &mut name);
            if query.admits_name(&name) && settings.admits(&name) {
                all.push(Series { name, kind, group, at });
            }
        });
    }
}
