//! Deadlines of all subscriptions in one ordered set. Only resources with a TTL and first fetches with a timeout are
//! in it: under Istio, which has neither, it is empty.

use super::Name;
use std::collections::BTreeSet;
use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deadline {
    Fetch,
    Ttl,
}

#[derive(Debug, Default)]
pub(super) struct Deadlines(BTreeSet<(Instant, usize, Deadline, Name)>);

impl Deadlines {
    pub(super) fn set(&mut self, at: Instant, type_index: usize, deadline: Deadline, name: Name) -> Instant {
        self.0.insert((at, type_index, deadline, name));
        at
    }

    pub(super) fn clear(&mut self, at: Instant, type_index: usize, deadline: Deadline, name: &Name) {
        self.0.remove(&(at, type_index, deadline, name.clone()));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, ..)| *at)
    }

    /// Takes what is due; what falls due together comes out type by type.
    pub(super) fn take_until(&mut self, now: Instant) -> Vec<(usize, Deadline, Name)> {
        let mut due = Vec::new();
        while self.next().is_some_and(|at| at <= now) {
            due.extend(
                self.0
                    .pop_first()
                    .map(|(_, type_index, deadline, name)| (type_index, deadline, name)),
            );
        }
        due
    }
}
