//! Network filters: an enum, run in order on a connection before the one that takes it (HTTP or TCP).
//!
//! A filter has three moments: `opened` tells it of the new connection, before the terminal filter hears of it; `data`
//! shows it what the client sent, before the terminal filter reads it; `ended` tells it what became of the connection.
//! The terminal filter does not wait for data: the TCP proxy connects, and carries what its upstream says, meanwhile.

use std::{rc::Rc, sync::Arc};

use bytes::BytesMut;

pub mod istio_stats;
pub mod rbac;
pub mod sni_cluster;

use crate::{
    istio::{exchange::MetadataExchange, stats::IstioStats},
    listener::FilterChain,
    stream_info::{ConnectionInfo, StreamInfo},
    worker::Worker,
};

/// One filter of a filter chain, parsed.
#[derive(Debug)]
pub struct NetworkFilter {
    pub name: Arc<str>,
    pub kind: NetworkFilterKind,
}

#[derive(Debug)]
pub enum NetworkFilterKind {
    Rbac(Box<rbac::NetworkRbac>),
    SniCluster,
    IstioStats(IstioStats),
    MetadataExchange(MetadataExchange),
}

/// What a filter says to a moment of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Continue,
    /// Like [`Self::Continue`], and the filter needs to see no more data.
    Done,
    /// The filters after it, and the terminal one, see nothing until more data came.
    Hold,
    /// The connection ends at once, without an answer.
    Close,
}

/// What filters may look at.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    pub connection: &'a ConnectionInfo,
    pub worker: &'a Worker,
}

/// The filters of one connection, for as long as one of them wants to see its data.
pub struct Running {
    chain: Arc<FilterChain>,
    connection: Rc<ConnectionInfo>,
    worker: Rc<Worker>,
    /// By filter: it wants to see no more.
    done: Box<[bool]>,
    /// What came from the client and has not passed yet. A filter may take from it what is its own.
    held: BytesMut,
}

/// A filter closed the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

/// Tells the filters of a new connection; what is returned is to see its data.
///
/// # Errors
/// [`Closed`], where the connection is to end before the terminal filter hears of it.
pub fn open(
    chain: &Arc<FilterChain>,
    connection: &Rc<ConnectionInfo>,
    worker: &Rc<Worker>,
) -> Result<Option<Box<Running>>, Closed> {
    let filters = &chain.network_filters;
    if filters.is_empty() {
        return Ok(None);
    }
    let facts = Facts { connection, worker };
    let mut done = vec![false; filters.len()];
    for (filter, done) in filters.iter().zip(&mut done) {
        match filter.opened(facts) {
            Step::Close => return Err(Closed),
            step => *done = step == Step::Done,
        }
    }
    if done.iter().all(|done| *done) {
        return Ok(None);
    }
    Ok(Some(Box::new(Running {
        chain: chain.clone(),
        connection: connection.clone(),
        worker: worker.clone(),
        done: done.into(),
        held: BytesMut::new(),
    })))
}

/// The connection is over: what filters count of it.
pub fn ended(chain: &FilterChain, info: &mut StreamInfo, worker: &Worker) {
    for filter in &chain.network_filters {
        filter.ended(info, worker);
    }
}

impl Running {
    /// Shows the filters what came; `end`: nothing more will. What passed is put in `passed`.
    ///
    /// # Errors
    /// [`Closed`], where the connection is to end at once.
    pub fn data(&mut self, came: &[u8], end: bool, passed: &mut BytesMut) -> Result<(), Closed> {
        self.held.extend_from_slice(came);
        let facts = Facts {
            connection: &self.connection,
            worker: &self.worker,
        };
        for (filter, done) in self.chain.network_filters.iter().zip(&mut self.done) {
            if *done {
                continue;
            }
            match filter.data(&mut self.held, end, facts) {
                Step::Continue => {}
                Step::Done => *done = true,
                Step::Hold => return Ok(()),
                Step::Close => {
                    let mut state = self.connection.state.borrow_mut();
                    let state = state.get_or_insert_default();
                    state.withheld += self.held.len() as u64;
                    state.closed = true;
                    return Err(Closed);
                }
            }
        }
        passed.unsplit(self.held.split());
        Ok(())
    }

    /// Whether no filter wants to see more.
    pub fn is_done(&self) -> bool {
        self.held.is_empty() && self.done.iter().all(|done| *done)
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Running({:?}, {:?})", self.chain.network_filters, self.done)
    }
}

impl NetworkFilter {
    fn opened(&self, facts: Facts<'_>) -> Step {
        match &self.kind {
            NetworkFilterKind::Rbac(_) => Step::Continue,
            NetworkFilterKind::SniCluster => sni_cluster::opened(facts),
            // One counts, the other works below the filters.
            NetworkFilterKind::IstioStats(_) | NetworkFilterKind::MetadataExchange(_) => Step::Done,
        }
    }

    fn data(&self, _held: &mut BytesMut, _end: bool, facts: Facts<'_>) -> Step {
        match &self.kind {
            NetworkFilterKind::Rbac(own) => rbac::data(own, facts),
            NetworkFilterKind::SniCluster
            | NetworkFilterKind::IstioStats(_)
            | NetworkFilterKind::MetadataExchange(_) => Step::Done,
        }
    }

    fn ended(&self, info: &mut StreamInfo, worker: &Worker) {
        match &self.kind {
            NetworkFilterKind::IstioStats(filter) => istio_stats::ended(filter, info, worker),
            NetworkFilterKind::Rbac(_) | NetworkFilterKind::SniCluster | NetworkFilterKind::MetadataExchange(_) => {}
        }
    }
}
