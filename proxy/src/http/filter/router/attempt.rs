//! One try at the upstream: choose an endpoint, get a connection, send the request, await the response head.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Instant,
};

use http::HeaderValue;

use super::{
    Plan,
    deadline::{Deadlines, Expired},
    replay::Replay,
};
use crate::{
    cluster::{Endpoint, balance, outlier},
    failure::ResetReason,
    http::{
        codec::CodecError,
        message::{Frame, Incoming, ResponseHead},
        stream::Stream,
        tracing::{self, Ended},
    },
    route::{self, retry::AttemptResult},
    stats::{ClusterStat, RouteStat},
    tls::UpstreamTransport,
    upstream::{
        Exchange,
        connect::ConnectOptions,
        permit::{Permit, Resource},
        pool::PoolKey,
        reset::UpstreamReset,
    },
};

/// Bytes queued towards one side before the other side is read no further.
pub(super) const HIGH_WATERMARK_BYTES: usize = 256 * 1024;

pub(super) struct Attempt<'a, 's> {
    pub(super) plan: &'a Plan,
    pub(super) stream: &'a mut Stream<'s>,
    pub(super) replay: &'a mut Replay,
    pub(super) tried: &'a [Arc<Endpoint>],
}

/// How an attempt ended.
pub(super) enum Outcome {
    /// The final head, whether the response ends with it, and the exchange that carries the rest.
    Head(ResponseHead, bool, Box<Exchange>),
    Failed(AttemptFailure),
    /// The client went away.
    Downstream(CodecError),
}

/// Why there is no response head.
#[derive(Debug)]
pub(super) enum AttemptFailure {
    NoHealthyEndpoint,
    Reset {
        reason: ResetReason,
        /// `%UPSTREAM_TRANSPORT_FAILURE_REASON%`.
        transport: Option<Box<str>>,
        sentence: String,
    },
    TimedOut(Expired),
}

impl Outcome {
    /// The outcome in the terms of `retry_on`.
    pub(super) fn for_retry(&self) -> AttemptResult<'_> {
        match self {
            Self::Head(head, ..) => AttemptResult::Head(head),
            Self::Failed(AttemptFailure::Reset { reason, .. }) => AttemptResult::Reset(*reason),
            Self::Failed(AttemptFailure::TimedOut(Expired::PerTry | Expired::PerTryIdle)) => {
                AttemptResult::PerTryTimeout
            }
            Self::Failed(AttemptFailure::TimedOut(Expired::MaxUpstreamStreamDuration)) => {
                AttemptResult::Reset(ResetReason::LocalReset)
            }
            Self::Failed(_) | Self::Downstream(_) => AttemptResult::Final,
        }
    }
}

impl Attempt<'_, '_> {
    pub(super) async fn run(mut self, deadlines: &mut Deadlines<'_>) -> Outcome {
        let Some(endpoint) = self.choose() else {
            self.plan.cluster.state.stats.inc(ClusterStat::UpstreamCxNoneHealthy);
            return Outcome::Failed(AttemptFailure::NoHealthyEndpoint);
        };
        self.stream.info.upstream.endpoint = Some(endpoint.clone());
        route::host_from_endpoint(self.stream, self.plan.action(), &endpoint);
        if self.stream.manager.scheme_match_upstream {
            let tls = matches!(endpoint.transport, UpstreamTransport::Tls(_));
            self.stream.request.scheme = HeaderValue::from_static(if tls { "https" } else { "http" });
        }
        tracing::attempt(self.stream);
        // Nothing was waited for before the first.
        let info = &self.stream.info;
        let now = if info.upstream.attempts == 1 {
            info.start
        } else {
            Instant::now()
        };
        deadlines.active(now);
        // What follows a WebSocket's head is the tunnel's: the request is complete, for its deadlines, without it.
        if self.stream.request_done || self.stream.request.is_websocket() {
            deadlines.request_complete(now);
            deadlines.attempt_started(now);
        }
        let outcome = match self.start(&endpoint, deadlines).await {
            Ok(exchange) => self.await_head(exchange, deadlines).await,
            Err(outcome) => outcome,
        };
        self.report(&endpoint, &outcome);
        self.trace(&outcome);
        outcome
    }

    fn trace(&mut self, outcome: &Outcome) {
        let ended = match outcome {
            Outcome::Head(head, ..) => return tracing::answered(self.stream, head),
            Outcome::Failed(AttemptFailure::Reset { reason, .. }) => Ended::Reset(*reason),
            Outcome::Failed(AttemptFailure::TimedOut(Expired::PerTry)) => Ended::PerTryTimeout,
            Outcome::Failed(AttemptFailure::TimedOut(_) | AttemptFailure::NoHealthyEndpoint)
            | Outcome::Downstream(_) => Ended::Abandoned,
        };
        tracing::attempt_over(self.stream, ended, None);
    }

    fn choose(&mut self) -> Option<Arc<Endpoint>> {
        let worker = self.stream.worker;
        let facts = balance::Facts {
            hash: route::hash(self.plan.action(), self.stream),
            avoid: self.tried,
            max_attempts: self
                .plan
                .action()
                .retry
                .as_ref()
                .map_or(1, |r| r.host_selection_max_attempts),
            original_destination: balance::original_destination(
                &self.plan.cluster,
                &self.stream.info.connection,
                Some(&self.stream.request.headers),
            ),
            random: &mut || worker.random(),
        };
        balance::choose(
            &self.plan.cluster,
            &mut self.plan.local.balancer.borrow_mut(),
            facts,
            &mut (),
        )
    }

    /// A connection with the request's head on it.
    // An outcome is made once an attempt, and moved once.
    #[allow(clippy::result_large_err)]
    async fn start(
        &mut self,
        endpoint: &Arc<Endpoint>,
        deadlines: &mut Deadlines<'_>,
    ) -> Result<Box<Exchange>, Outcome> {
        let Plan { cluster, local, .. } = self.plan;
        let priority = self.plan.action().priority;
        let options = self.connect_options(endpoint);
        let key = PoolKey::new(cluster, endpoint, self.stream.request.protocol, options);
        let pool = local.pool(key, endpoint);
        let shared = &self.stream.worker.shared;
        let lease = {
            let terminates = self.plan.action().terminates(&self.stream.request.method);
            let mut acquire = pin!(async {
                if terminates {
                    // Rare, and large: no other request's future has room for it.
                    Box::pin(pool.connect_tunnel(cluster, endpoint, priority, shared)).await
                } else {
                    pool.acquire(cluster, endpoint, priority, shared).await
                }
            });
            let stream = &mut *self.stream;
            poll_fn(|cx| {
                if let Poll::Ready(lease) = acquire.as_mut().poll(cx) {
                    return Poll::Ready(
                        lease.map_err(|failure| Outcome::Failed(UpstreamReset::of_acquire(failure, cluster).into())),
                    );
                }
                if stream.request_done
                    && let Poll::Ready(error) = stream.down.poll_closed(cx)
                {
                    return Poll::Ready(Err(Outcome::Downstream(error)));
                }
                deadlines
                    .poll_expired(cx)
                    .map(|expired| Err(Outcome::Failed(AttemptFailure::TimedOut(expired))))
            })
            .await?
        };
        let Some(permit) = Permit::take(&cluster.state, priority, Resource::Request) else {
            // Closing it would make an overload pay a handshake for every request that it refuses.
            pool.give_back_unused(lease, cluster);
            return Err(Outcome::Failed(
                UpstreamReset::overflow(Resource::Request, cluster).into(),
            ));
        };
        cluster.state.stats.inc(ClusterStat::UpstreamRqTotal);
        self.plan.count(RouteStat::UpstreamRqTotal);
        endpoint.state.counters.rq_total.fetch_add(1, Ordering::Relaxed);
        let bodyless = self.stream.request_done && self.replay.frames().is_empty();
        let started = Exchange::start(lease, pool, cluster, endpoint, permit, &self.stream.request, bodyless);
        let mut exchange = Box::new(started.map_err(|e| Outcome::Failed(reset(&e, endpoint)))?);
        let upstream = &mut self.stream.info.upstream;
        if let Some(facts) = exchange.facts() {
            upstream.local_address.clone_from(&facts.local_address);
            upstream.protocol = facts.protocol;
            upstream.connection_id = facts.id;
            upstream.tls.clone_from(&facts.tls);
            self.stream.info.times.upstream_connect = Some(facts.connect);
        }
        let now = Instant::now();
        deadlines.stream_opened(now);
        self.stream.info.times.first_upstream_tx = Some(now);
        self.stream.info.times.last_upstream_tx = Some(now).filter(|_| self.stream.request_done);
        self.send_again(&mut exchange)
            .map_err(|e| Outcome::Failed(reset(&e, endpoint)))?;
        Ok(exchange)
    }

    /// Sends what an earlier attempt already read of the body.
    fn send_again(&self, exchange: &mut Exchange) -> Result<(), CodecError> {
        let frames = self.replay.frames();
        for (i, frame) in frames.iter().enumerate() {
            let last = self.stream.request_done && i + 1 == frames.len();
            exchange.send_frame(frame.clone(), last)?;
        }
        Ok(())
    }

    fn connect_options(&self, endpoint: &Endpoint) -> ConnectOptions {
        let cluster = &self.plan.cluster;
        let source = self.stream.info.connection.upstream_source;
        let alpn = match endpoint.transport {
            UpstreamTransport::Tls(_) => self.stream.kept.alpn.clone(),
            UpstreamTransport::Raw => None,
        };
        if !cluster.auto_sni && !cluster.auto_san_validation {
            return ConnectOptions {
                alpn,
                source,
                ..ConnectOptions::default()
            };
        }
        let host = crate::http::admission::host_without_port(self.stream.request.authority_str());
        let name: Arc<str> = host.into();
        ConnectOptions {
            sni: cluster.auto_sni.then(|| name.clone()),
            verify_name: cluster.auto_san_validation.then_some(name),
            alpn,
            source,
        }
    }

    /// Carries the request body up until the final response head has come down.
    async fn await_head(&mut self, mut exchange: Box<Exchange>, deadlines: &mut Deadlines<'_>) -> Outcome {
        let endpoint = self.stream.info.upstream.endpoint.clone();
        let (stream, replay) = (&mut *self.stream, &mut *self.replay);
        enum Event {
            Head(ResponseHead, bool),
            Upstream(CodecError),
            Downstream(CodecError),
            Expired(Expired),
        }
        // Envoy holds the first bytes of a WebSocket or CONNECT back until the upstream agrees: a server that refuses would take
        // them for another request.
        let held = stream.request.is_websocket() || stream.request.method == http::Method::CONNECT;
        exchange.round_over().await;
        let event = poll_fn(|cx| {
            if !held
                && let Poll::Ready(Err(error)) = poll_request_body(cx, stream, &mut exchange, Some(replay), deadlines)
            {
                return match error {
                    BodyError::Downstream(e) => {
                        // What came before the fault goes up, as it would have without it.
                        let _ = exchange.poll_flush(cx);
                        Poll::Ready(Event::Downstream(e))
                    }
                    BodyError::Upstream(e) => Poll::Ready(Event::Upstream(e)),
                };
            }
            // A server may answer and close before it has read the request: look for its answer before giving up.
            let flushed = exchange.poll_flush(cx);
            loop {
                match exchange.poll_head(cx) {
                    Poll::Ready(Ok((head, end))) if head.status.is_informational() && head.status != 101 => {
                        deadlines.active(Instant::now());
                        debug_assert!(!end, "an informational head does not end a response");
                        if let Err(e) = crate::http::response::forward_informational(stream, &head) {
                            return Poll::Ready(Event::Downstream(e));
                        }
                        if let Poll::Ready(Err(e)) = stream.down.poll_flush(cx) {
                            return Poll::Ready(Event::Downstream(e));
                        }
                    }
                    Poll::Ready(Ok((head, end))) => return Poll::Ready(Event::Head(head, end)),
                    Poll::Ready(Err(e)) => return Poll::Ready(Event::Upstream(e)),
                    Poll::Pending => break,
                }
            }
            if let Poll::Ready(Err(e)) = flushed {
                return Poll::Ready(Event::Upstream(e));
            }
            if (stream.request_done || held)
                && let Poll::Ready(e) = stream.down.poll_closed(cx)
            {
                return Poll::Ready(Event::Downstream(e));
            }
            deadlines.poll_expired(cx).map(Event::Expired)
        })
        .await;
        if !matches!(event, Event::Head(..)) {
            self.stream.info.bytes.add_upstream(exchange.wire_bytes());
        }
        match event {
            Event::Head(head, end) => {
                deadlines.attempt_answered();
                let now = Instant::now();
                deadlines.active(now);
                self.stream.info.times.first_upstream_rx = Some(now);
                Outcome::Head(head, end, exchange)
            }
            Event::Upstream(e) => Outcome::Failed(match &endpoint {
                Some(endpoint) => reset(&e, endpoint),
                None => AttemptFailure::NoHealthyEndpoint,
            }),
            Event::Downstream(e) => {
                exchange.written().await;
                Outcome::Downstream(e)
            }
            Event::Expired(expired) => Outcome::Failed(AttemptFailure::TimedOut(expired)),
        }
    }

    /// Tells outlier detection and the endpoint's counters how it went.
    fn report(&self, endpoint: &Endpoint, outcome: &Outcome) {
        let counters = &endpoint.state.counters;
        let seen = match outcome {
            Outcome::Head(head, ..) => {
                let ok = !head.status.is_server_error();
                let counter = if ok { &counters.rq_success } else { &counters.rq_error };
                counter.fetch_add(1, Ordering::Relaxed);
                outlier::Seen::Status(head.status)
            }
            Outcome::Failed(AttemptFailure::Reset { reason, .. }) => {
                counters.rq_error.fetch_add(1, Ordering::Relaxed);
                outlier::Seen::Reset(*reason)
            }
            Outcome::Failed(AttemptFailure::TimedOut(_)) => {
                counters.rq_timeout.fetch_add(1, Ordering::Relaxed);
                counters.rq_error.fetch_add(1, Ordering::Relaxed);
                outlier::Seen::Timeout
            }
            Outcome::Failed(AttemptFailure::NoHealthyEndpoint) | Outcome::Downstream(_) => return,
        };
        outlier::report(&self.plan.cluster, endpoint, seen, self.stream.worker.random());
    }
}

/// Which side failed while a request body was carried.
pub(super) enum BodyError {
    Downstream(CodecError),
    Upstream(CodecError),
}

/// Carries what there is of the request body; ready only with an error or when the body has ended.
pub(super) fn poll_request_body(
    cx: &mut std::task::Context<'_>,
    stream: &mut Stream<'_>,
    exchange: &mut Exchange,
    mut replay: Option<&mut Replay>,
    deadlines: &mut Deadlines<'_>,
) -> Poll<Result<(), BodyError>> {
    while !stream.request_done {
        if exchange.queued() >= HIGH_WATERMARK_BYTES {
            match exchange.poll_flush(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(e)) => return Poll::Ready(Err(BodyError::Upstream(e))),
                Poll::Pending => return Poll::Pending,
            }
        }
        let incoming = match stream.down.poll_body(cx) {
            Poll::Ready(Ok(incoming)) => incoming,
            Poll::Ready(Err(e)) => return Poll::Ready(Err(BodyError::Downstream(e))),
            Poll::Pending => return Poll::Pending,
        };
        let now = Instant::now();
        deadlines.active(now);
        let (frame, end) = match incoming {
            Incoming::Frame(frame) => {
                let end = matches!(frame, Frame::Trailers(_)) || stream.down.body_over();
                (frame, end)
            }
            Incoming::End => (Frame::Data(bytes::Bytes::new()), true),
        };
        if let Frame::Data(data) = &frame {
            stream.info.bytes.received += data.len() as u64;
            if let Some(grpc) = &mut stream.kept.grpc {
                grpc.request_data(data);
            }
        }
        if let Some(replay) = replay.as_deref_mut() {
            replay.push(&frame);
        }
        stream.kept.copies.push(&frame, end);
        if end {
            stream.request_done = true;
            stream.info.times.last_downstream_rx = Some(now);
            stream.info.times.last_upstream_tx = Some(now);
            deadlines.request_complete(now);
            deadlines.attempt_started(now);
        }
        if let Err(e) = exchange.send_frame(frame, end) {
            return Poll::Ready(Err(BodyError::Upstream(e)));
        }
    }
    Poll::Ready(Ok(()))
}

impl From<UpstreamReset> for AttemptFailure {
    fn from(reset: UpstreamReset) -> Self {
        Self::Reset {
            reason: reset.reason,
            transport: reset.transport,
            sentence: reset.sentence,
        }
    }
}

fn reset(error: &CodecError, endpoint: &Endpoint) -> AttemptFailure {
    UpstreamReset::of_codec(error, endpoint).into()
}
