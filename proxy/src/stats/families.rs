//! Counters whose names end with what happened: a response code, a cipher.
//!
//! Each thread has a chain of its own, grown at the end and searched from the start: an owner sees few leaves, the
//! frequent ones come first, and nothing locks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// Leaves a chunk holds; a healthy cluster has one or two codes, each under two stems.
const LEAVES: usize = 4;

/// The end of a counter's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Leaf {
    Code(u16),
    Name(Arc<str>),
}

/// What is looked for, without allocating.
#[derive(Clone, Copy)]
pub(super) enum Key<'a> {
    Code(u16),
    Name(&'a str),
}

pub(super) struct Counter {
    pub(super) family: u16,
    pub(super) leaf: Leaf,
    count: AtomicU64,
    /// What `count` was at the last reset: a reset may not write a cell that another thread owns.
    reset_at: AtomicU64,
}

#[derive(Default)]
pub(super) struct Chain {
    counters: [OnceLock<Counter>; LEAVES],
    next: OnceLock<Box<Self>>,
}

impl Leaf {
    pub(super) fn key(&self) -> Key<'_> {
        match self {
            Self::Code(code) => Key::Code(*code),
            Self::Name(name) => Key::Name(name),
        }
    }
}

impl Counter {
    fn new(family: u16, key: Key<'_>) -> Self {
        let leaf = match key {
            Key::Code(code) => Leaf::Code(code),
            Key::Name(name) => Leaf::Name(name.into()),
        };
        Self {
            family,
            leaf,
            count: AtomicU64::new(0),
            reset_at: AtomicU64::new(0),
        }
    }

    pub(super) fn is(&self, family: u16, key: Key<'_>) -> bool {
        self.family == family
            && match (&self.leaf, key) {
                (Leaf::Code(own), Key::Code(code)) => *own == code,
                (Leaf::Name(own), Key::Name(name)) => **own == *name,
                _ => false,
            }
    }

    pub(super) fn add(&self, n: u64, alone: bool) {
        if alone {
            self.count.store(self.count.load(Relaxed).wrapping_add(n), Relaxed);
        } else {
            self.count.fetch_add(n, Relaxed);
        }
    }

    pub(super) fn value(&self) -> u64 {
        self.count.load(Relaxed).wrapping_sub(self.reset_at.load(Relaxed))
    }

    pub(super) fn reset(&self) {
        self.reset_at.store(self.count.load(Relaxed), Relaxed);
    }
}

impl Chain {
    /// The counter of `key`, appended if it is new.
    pub(super) fn counter(&self, family: u16, key: Key<'_>) -> &Counter {
        let mut chain = self;
        loop {
            for place in &chain.counters {
                // On the row that several threads share another may win this place: then its counter is compared too.
                let counter = place.get_or_init(|| Counter::new(family, key));
                if counter.is(family, key) {
                    return counter;
                }
            }
            chain = chain.next.get_or_init(Box::default);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Counter> {
        std::iter::successors(Some(self), |chain| chain.next.get().map(|next| &**next))
            .flat_map(|chain| chain.counters.iter().map_while(OnceLock::get))
    }
}
