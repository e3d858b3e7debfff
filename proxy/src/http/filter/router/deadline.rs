//! The deadlines of one stream, behind one timer.

use std::{
    cell::Cell,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use crate::{route::timeout::Timeouts, timer::Timer};

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expired {
    /// The route's `timeout`.
    Global,
    PerTry,
    PerTryIdle,
    /// `stream_idle_timeout` or the route's `idle_timeout`.
    Idle,
    MaxStreamDuration,
    /// The cluster's `max_stream_duration`, or `x-envoy-upstream-stream-duration-ms`.
    MaxUpstreamStreamDuration,
    /// The connection manager's `request_timeout`: the request has not been read in full.
    Request,
}

impl Expired {
    /// Whether the upstream took too long, rather than the client or the stream as a whole.
    pub(super) fn is_upstreams(self) -> bool {
        matches!(self, Self::Global | Self::PerTry | Self::PerTryIdle)
    }
}

pub(super) struct Deadlines<'a> {
    timer: Timer,
    /// Where the timer came from and goes back to.
    kept: Option<&'a Cell<Timer>>,
    global: Option<Duration>,
    per_try: Option<Duration>,
    per_try_idle: Option<Duration>,
    idle: Option<Duration>,
    global_at: Option<Instant>,
    per_try_at: Option<Instant>,
    max_stream_at: Option<Instant>,
    max_upstream_stream: Option<Duration>,
    max_upstream_stream_at: Option<Instant>,
    request_at: Option<Instant>,
    last_activity: Instant,
}

impl<'a> Deadlines<'a> {
    /// `now`: when the stream began. `kept`: the connection's timer, where its requests come one after another.
    pub(super) fn new(timeouts: &Timeouts, now: Instant, kept: Option<&'a Cell<Timer>>) -> Self {
        Self {
            timer: kept.map(Cell::take).unwrap_or_default(),
            kept,
            global: timeouts.global,
            per_try: timeouts.per_try,
            per_try_idle: timeouts.per_try_idle,
            idle: timeouts.idle,
            global_at: None,
            per_try_at: None,
            max_stream_at: timeouts.max_stream.map(|d| now + d),
            max_upstream_stream: timeouts.max_upstream_stream.filter(|d| !d.is_zero()),
            max_upstream_stream_at: None,
            request_at: timeouts.request.map(|d| now + d),
            last_activity: now,
        }
    }

    /// The request has been read to its end: the route's timeout runs from here (Envoy: "timeout" of a route).
    pub(super) fn request_complete(&mut self, now: Instant) {
        self.request_at = None;
        if self.global_at.is_none() {
            self.global_at = self.global.map(|d| now + d);
        }
    }

    /// An attempt begins, or the request became complete during one: the per-try timeout runs from here.
    pub(super) fn attempt_started(&mut self, now: Instant) {
        self.per_try_at = self.per_try.map(|d| now + d);
    }

    /// An attempt's head is on its way.
    pub(super) fn stream_opened(&mut self, now: Instant) {
        self.max_upstream_stream_at = self.max_upstream_stream.map(|d| now + d);
    }

    /// An attempt ended without an answer, and another may follow.
    pub(super) fn attempt_failed(&mut self) {
        self.per_try_at = None;
        self.max_upstream_stream_at = None;
    }

    /// The response head has arrived: the attempt can no longer time out.
    pub(super) fn attempt_answered(&mut self) {
        self.per_try_at = None;
        self.per_try = None;
    }

    /// The stream became a tunnel: the route's timeout no longer applies.
    pub(super) fn tunnelled(&mut self) {
        self.global = None;
        self.global_at = None;
    }

    /// Bytes moved in either direction.
    pub(super) fn active(&mut self, now: Instant) {
        self.last_activity = now;
    }

    fn next(&self) -> Option<(Instant, Expired)> {
        let idle = self.idle.map(|d| (self.last_activity + d, Expired::Idle));
        let per_try_idle = self.per_try_idle.map(|d| (self.last_activity + d, Expired::PerTryIdle));
        let fixed = [
            self.global_at.map(|at| (at, Expired::Global)),
            self.per_try_at.map(|at| (at, Expired::PerTry)),
            self.max_stream_at.map(|at| (at, Expired::MaxStreamDuration)),
            self.max_upstream_stream_at
                .map(|at| (at, Expired::MaxUpstreamStreamDuration)),
            self.request_at.map(|at| (at, Expired::Request)),
        ];
        fixed
            .into_iter()
            .chain([idle, per_try_idle])
            .flatten()
            .min_by_key(|(at, _)| *at)
    }

    /// Ready with the first limit that has passed; otherwise the task wakes when the next one does.
    pub(super) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<Expired> {
        let Some((at, which)) = self.next() else {
            return Poll::Pending;
        };
        self.timer.poll(at, cx).map(|()| which)
    }
}

impl Drop for Deadlines<'_> {
    fn drop(&mut self) {
        if let Some(kept) = self.kept {
            kept.set(std::mem::take(&mut self.timer));
        }
    }
}
