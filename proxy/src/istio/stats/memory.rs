//! What a worker remembers of label sets.

use std::{
    cell::{OnceCell, RefCell},
    rc::Rc,
};

use hashbrown::HashMap;

use super::{HttpSeries, MessageSeries, TcpSeries, labels::Key};
use crate::{
    istio::{self, peer::Peer},
    worker::Node,
};

/// Combinations kept per kind; past it the memory starts anew.
const MAX_KNOWN: usize = 4096;

/// The series that this worker's requests and connections were counted in.
#[derive(Default)]
pub struct Memory {
    pub(super) http: Known<HttpSeries>,
    pub(super) messages: Known<MessageSeries>,
    pub(super) tcp: Known<TcpSeries>,
    pub(super) hasher: foldhash::fast::RandomState,
    own: OnceCell<Peer>,
}

/// Series by what their labels hang on.
pub(super) struct Known<S>(RefCell<HashMap<Key, Rc<S>, foldhash::fast::RandomState>>);

impl Memory {
    /// This proxy's workload.
    pub(super) fn own(&self, node: &Node) -> &Peer {
        self.own.get_or_init(|| istio::own(node))
    }
}

impl<S> Default for Known<S> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<S> Known<S> {
    pub(super) fn get(&self, key: &Key) -> Option<Rc<S>> {
        self.0.borrow().get(key).cloned()
    }

    pub(super) fn put(&self, key: Key, series: S) -> Rc<S> {
        let series = Rc::new(series);
        let mut known = self.0.borrow_mut();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(key, series.clone());
        series
    }
}
