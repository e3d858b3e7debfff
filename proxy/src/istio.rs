//! What Istio adds to Envoy: who the peer is (`peer`), told in HTTP headers and before the bytes of a TCP connection
//! (`exchange`), and the metrics that carry both ends' facts (`stats`).
//!
//! The filters themselves stand with Envoy's, under `http/filter` and `network`; here is what they share. [`Local`] is a
//! worker's part: what was decoded once and is met again.

use std::{cell::RefCell, rc::Rc};

use hashbrown::HashMap;
use http::HeaderValue;

pub mod exchange;
pub mod expression;
pub mod peer;
pub mod stats;

use crate::{
    cluster::{Cluster, Endpoint},
    metadata::Metadata,
    worker::Node,
};
use peer::Peer;

/// Distinct peers that a worker keeps decoded; past it the memory starts anew.
const MAX_PEERS: usize = 1024;

/// One worker's memory of peers and label sets, made when first asked.
#[derive(Default)]
pub struct Local {
    /// By the header's value; `None`: it is no workload's.
    by_header: Peers,
    /// By what an endpoint's metadata says.
    by_endpoint: Peers,
    /// By the bytes of a TCP exchange.
    by_struct: Peers,
    next_peer: std::cell::Cell<u64>,
    pub series: stats::Memory,
}

type Peers = RefCell<HashMap<Box<[u8]>, Option<Rc<Peer>>, foldhash::fast::RandomState>>;

impl Local {
    /// The peer that wrote this `x-envoy-peer-metadata`.
    pub fn from_header(&self, value: &HeaderValue) -> Option<Rc<Peer>> {
        self.known(&self.by_header, value.as_bytes(), Peer::from_base64)
    }

    /// The peer that wrote these bytes of a Struct.
    pub fn from_struct(&self, bytes: &[u8]) -> Option<Rc<Peer>> {
        self.known(&self.by_struct, bytes, Peer::from_struct)
    }

    /// What the control plane says of an endpoint: `workload;namespace;service;revision;cluster`.
    pub fn from_endpoint(&self, endpoint: &Endpoint) -> Option<Rc<Peer>> {
        let metadata = endpoint.config.metadata.as_deref()?;
        let text = metadata.get("istio")?.get("workload")?.as_str()?;
        self.known(&self.by_endpoint, text.as_bytes(), |_| Peer::from_endpoint(text))
    }

    fn known(&self, peers: &Peers, key: &[u8], decode: impl Fn(&[u8]) -> Option<Peer>) -> Option<Rc<Peer>> {
        if let Some(known) = peers.borrow().get(key) {
            return known.clone();
        }
        let peer = decode(key).map(|peer| self.numbered(peer));
        let mut peers = peers.borrow_mut();
        if peers.len() >= MAX_PEERS {
            peers.clear();
        }
        peers.insert(key.into(), peer.clone());
        peer
    }

    fn numbered(&self, mut peer: Peer) -> Rc<Peer> {
        self.next_peer.set(self.next_peer.get() + 1);
        peer.number = self.next_peer.get();
        Rc::new(peer)
    }
}

/// This proxy's own workload.
pub fn own(node: &Node) -> Peer {
    Peer::from_metadata(&node.metadata)
}

/// What Istio says of a cluster under `key`.
pub fn of_cluster<'a>(cluster: &'a Cluster, key: &str) -> Option<&'a Metadata> {
    cluster.metadata.as_deref()?.get("istio")?.get(key)
}
