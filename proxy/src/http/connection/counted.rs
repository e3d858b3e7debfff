//! What a connection manager counts of a connection, from the moment that its filter chain is known: a failed TLS handshake
//! is a connection too.

use std::{cell::Cell, sync::Arc, time::Instant};

use super::super::HttpConnectionManager;
use crate::stats::HttpStat;

/// Counts the connection's end when it is dropped.
pub struct Counted {
    manager: Arc<HttpConnectionManager>,
    tls: bool,
    since: Instant,
    by_peer: Cell<bool>,
}

impl Counted {
    pub fn new(manager: &Arc<HttpConnectionManager>, tls: bool) -> Self {
        let stats = &manager.stats;
        stats.inc(HttpStat::DownstreamCxTotal);
        stats.gauge_add(HttpStat::DownstreamCxActive, 1);
        if tls {
            stats.inc(HttpStat::DownstreamCxSslTotal);
            stats.gauge_add(HttpStat::DownstreamCxSslActive, 1);
        }
        Self {
            manager: manager.clone(),
            tls,
            since: Instant::now(),
            by_peer: Cell::new(false),
        }
    }

    /// The client ended it.
    pub fn ended_by_peer(&self) {
        self.by_peer.set(true);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let stats = &self.manager.stats;
        stats.gauge_add(HttpStat::DownstreamCxActive, -1);
        if self.tls {
            stats.gauge_add(HttpStat::DownstreamCxSslActive, -1);
        }
        stats.inc(HttpStat::DownstreamCxDestroy);
        stats.inc(match self.by_peer.get() {
            true => HttpStat::DownstreamCxDestroyRemote,
            false => HttpStat::DownstreamCxDestroyLocal,
        });
        stats.record(HttpStat::DownstreamCxLengthMs, self.since.elapsed().as_millis() as u64);
    }
}
