//! What Istio's metrics are told of a TCP connection while it lives.

use std::{future::Future, pin::Pin, task::Context, time::Duration};

use tokio::time::Sleep;

use crate::{
    istio::{exchange::Learned, stats::IstioStats},
    listener::FilterChain,
    network::{NetworkFilterKind, istio_stats},
    stream_info::StreamInfo,
    worker::Worker,
};

/// What metadata exchange tells of both ends, where it is configured.
pub(super) struct Peers {
    pub(super) client: Option<Learned>,
    pub(super) server: Option<Learned>,
}

impl Peers {
    /// Tells `info` what was learned.
    pub(super) fn tell(&self, info: &mut StreamInfo, worker: &Worker) {
        let of = |learned: &Option<Learned>| {
            let bytes = learned.as_ref()?.get()?.as_ref()?;
            worker.istio().from_struct(bytes)
        };
        if info.downstream_peer.is_none() {
            info.downstream_peer = of(&self.client);
        }
        if info.upstream.peer.is_none() {
            info.upstream.peer = of(&self.server);
        }
    }

    fn settled(&self) -> bool {
        let settled = |learned: &Option<Learned>| learned.as_ref().is_none_or(|learned| learned.get().is_some());
        settled(&self.client) && settled(&self.server)
    }
}

/// The reports that are due every `tcp_reporting_duration`.
pub(super) struct Reports<'a> {
    filters: Vec<&'a IstioStats>,
    next: Option<Pin<Box<Sleep>>>,
    every: Duration,
}

impl<'a> Reports<'a> {
    pub(super) fn new(chain: &'a FilterChain) -> Self {
        let filters = chain.network_filters.iter().filter_map(|filter| match &filter.kind {
            NetworkFilterKind::IstioStats(filter) => Some(filter),
            _ => None,
        });
        let filters: Vec<_> = filters.collect();
        let every = filters.iter().filter_map(|filter| filter.tcp_reporting_duration).min();
        Self {
            filters,
            next: every.map(|every| Box::pin(tokio::time::sleep(every))),
            every: every.unwrap_or_default(),
        }
    }

    /// Whether a report is due; the task is woken for the next one.
    pub(super) fn poll_due(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(next) = &mut self.next else { return false };
        if next.as_mut().poll(cx).is_pending() {
            return false;
        }
        next.as_mut().reset(tokio::time::Instant::now() + self.every);
        // Registers for the next; it cannot be due at once.
        let _ = next.as_mut().poll(cx);
        true
    }

    /// Counts the connection under what is known of its ends. Before that is settled it would count as unknown.
    pub(super) fn report(&self, peers: &Peers, info: &mut StreamInfo, worker: &Worker) {
        if peers.settled() {
            for filter in &self.filters {
                istio_stats::report(filter, info, worker);
            }
        }
    }
}
