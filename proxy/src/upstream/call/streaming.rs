//! One exchange of the proxy's own, from the choice of an endpoint to the end of the answer.

use std::{
    future::poll_fn,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use http::{HeaderName, HeaderValue, StatusCode};

use super::{CallFailure, Cause};
use crate::{
    cluster::{Cluster, Endpoint, Priority, balance, outlier},
    failure::ResetReason,
    http::{
        codec::CodecError,
        message::{Frame, Incoming, RequestHead, ResponseHead},
    },
    stats::{AsyncClientStat, ClusterStat},
    tls::UpstreamTransport,
    upstream::{
        Exchange, answers,
        connect::ConnectOptions,
        permit::{Permit, Resource},
        pool::PoolKey,
        reset::UpstreamReset,
    },
    worker::Worker,
};

const INTERNAL: HeaderName = HeaderName::from_static("x-envoy-internal");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A request whose body and answer pass bit by bit. Dropping it before its end resets the stream.
pub struct Streaming {
    worker: Rc<Worker>,
    cluster: Arc<Cluster>,
    endpoint: Arc<Endpoint>,
    exchange: Exchange,
    /// When the request's last byte was handed over; `None`: more may come.
    sent: Option<Instant>,
    /// An answer, or a failure in its place, was counted.
    answered: bool,
    /// The answer is complete.
    ended: bool,
}

impl Streaming {
    /// Sends `head` to an endpoint of the cluster; `end`: it has no body. The fields that tell a request of the proxy's own
    /// (`x-envoy-internal`, `x-forwarded-for`) are added.
    ///
    /// # Errors
    /// Where nothing could be sent.
    pub async fn open(
        worker: &Rc<Worker>,
        cluster: &str,
        mut head: RequestHead,
        end: bool,
    ) -> Result<Self, CallFailure> {
        let Some(cluster) = worker.snapshot().clusters.get(cluster).cloned() else {
            return Err(CallFailure {
                cause: Cause::NoCluster,
                sentence: format!("cluster {cluster:?} is not known"),
            });
        };
        worker.call_stats().inc(AsyncClientStat::RqTotal);
        head.headers.insert(INTERNAL, HeaderValue::from_static("true"));
        let own = worker.shared.own_address.map(|own| own.to_string());
        if let Some(own) = own.and_then(|own| HeaderValue::try_from(own).ok()) {
            head.headers.append(FORWARDED_FOR, own);
        }
        let Some(endpoint) = choose(worker, &cluster) else {
            cluster.state.stats.inc(ClusterStat::UpstreamCxNoneHealthy);
            count(&cluster, StatusCode::SERVICE_UNAVAILABLE);
            return Err(CallFailure {
                cause: Cause::NoHealthyEndpoint,
                sentence: format!("cluster {}: no endpoint can take the request", cluster.name),
            });
        };
        if let UpstreamTransport::Tls(_) = endpoint.transport {
            head.scheme = HeaderValue::from_static("https");
        }
        match exchange(worker, &cluster, &endpoint, &head, end).await {
            Ok(exchange) => Ok(Self {
                worker: worker.clone(),
                cluster,
                endpoint,
                exchange,
                sent: end.then(Instant::now),
                answered: false,
                ended: false,
            }),
            Err(reset) => Err(no_answer(worker, &cluster, &endpoint, reset)),
        }
    }

    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// Queues a piece of the body; trailers end it by themselves.
    ///
    /// # Errors
    /// The stream is gone.
    pub fn send(&mut self, frame: Frame, end: bool) -> Result<(), CallFailure> {
        if end || matches!(frame, Frame::Trailers(_)) {
            self.sent = Some(Instant::now());
        }
        let sent = self.exchange.send_frame(frame, end);
        sent.map_err(|e| self.broke(&e))
    }

    /// Bytes queued and not written: where they grow, the peer is too slow.
    pub fn queued(&self) -> usize {
        self.exchange.queued()
    }

    /// Writes what is queued. An error is told by [`Self::poll_head`] too, where there is no answer.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallFailure>> {
        let flushed = ready!(self.exchange.poll_flush(cx));
        Poll::Ready(flushed.map_err(|e| self.broke(&e)))
    }

    /// The final head, and whether the answer ends with it; writes what is queued meanwhile.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(ResponseHead, bool), CallFailure>> {
        // A server may answer and close before it has read the request: look for its answer before giving up.
        let flushed = self.exchange.poll_flush(cx);
        loop {
            match self.exchange.poll_head(cx) {
                Poll::Ready(Ok((head, _))) if head.status.is_informational() => {}
                Poll::Ready(Ok((head, end))) => {
                    self.answered(head.status);
                    if end {
                        self.complete();
                    }
                    return Poll::Ready(Ok((head, end)));
                }
                Poll::Ready(Err(e)) => return Poll::Ready(Err(self.broke(&e))),
                Poll::Pending => break,
            }
        }
        match flushed {
            Poll::Ready(Err(e)) => Poll::Ready(Err(self.broke(&e))),
            _ => Poll::Pending,
        }
    }

    /// The next piece of the answer's body, `None` at its end; writes what is queued meanwhile.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, CallFailure>> {
        if self.ended {
            return Poll::Ready(Ok(None));
        }
        // The end of an answer may come before the request's: what cannot be written then is nobody's loss.
        let _ = self.exchange.poll_flush(cx);
        match ready!(self.exchange.poll_body(cx)) {
            Ok(Incoming::Frame(frame)) => {
                if matches!(frame, Frame::Trailers(_)) {
                    self.complete();
                }
                Poll::Ready(Ok(Some(frame)))
            }
            Ok(Incoming::End) => {
                self.complete();
                Poll::Ready(Ok(None))
            }
            Err(e) => Poll::Ready(Err(self.broke(&e))),
        }
    }

    /// # Errors
    /// No head came.
    pub async fn head(&mut self) -> Result<(ResponseHead, bool), CallFailure> {
        poll_fn(|cx| self.poll_head(cx)).await
    }

    /// # Errors
    /// The answer was cut.
    pub async fn frame(&mut self) -> Result<Option<Frame>, CallFailure> {
        poll_fn(|cx| self.poll_frame(cx)).await
    }

    pub(super) fn too_large(&self, limit: usize) -> CallFailure {
        CallFailure {
            cause: Cause::TooLarge,
            sentence: format!(
                "cluster {}: the answer of {} has more than {limit} bytes",
                self.cluster.name, self.endpoint.address
            ),
        }
    }

    fn answered(&mut self, status: StatusCode) {
        self.answered = true;
        count(&self.cluster, status);
        let counters = &self.endpoint.state.counters;
        let ok = !status.is_server_error();
        let counter = if ok { &counters.rq_success } else { &counters.rq_error };
        counter.fetch_add(1, Ordering::Relaxed);
        let seen = outlier::Seen::Status(status);
        outlier::report(&self.cluster, &self.endpoint, seen, self.worker.random());
    }

    fn complete(&mut self) {
        self.ended = true;
        let taken = self.sent.map_or(0, |sent| sent.elapsed().as_millis() as u64);
        let times = [&answers::ALL, &answers::INTERNAL].into_iter().filter_map(|o| o.time);
        times.for_each(|time| self.cluster.state.stats.record(time, taken));
    }

    fn broke(&mut self, error: &CodecError) -> CallFailure {
        let reset = UpstreamReset::of_codec(error, &self.endpoint);
        if std::mem::replace(&mut self.answered, true) {
            return CallFailure {
                cause: Cause::Reset(reset.reason),
                sentence: format!("the answer was cut: {}", reset.sentence),
            };
        }
        no_answer(&self.worker, &self.cluster, &self.endpoint, reset)
    }
}

fn choose(worker: &Rc<Worker>, cluster: &Arc<Cluster>) -> Option<Arc<Endpoint>> {
    let facts = balance::Facts {
        hash: None,
        avoid: &[],
        max_attempts: 1,
        original_destination: None,
        random: &mut || worker.random(),
    };
    let local = worker.local_cluster(cluster);
    balance::choose(cluster, &mut local.balancer.borrow_mut(), facts, &mut ())
}

/// A connection with the head on it.
async fn exchange(
    worker: &Rc<Worker>,
    cluster: &Arc<Cluster>,
    endpoint: &Arc<Endpoint>,
    head: &RequestHead,
    end: bool,
) -> Result<Exchange, UpstreamReset> {
    let name: Arc<str> = crate::http::admission::host_without_port(head.authority_str()).into();
    let options = ConnectOptions {
        sni: cluster.auto_sni.then(|| name.clone()),
        verify_name: cluster.auto_san_validation.then_some(name),
        alpn: None,
    };
    let key = PoolKey::new(cluster, endpoint, head.protocol, options);
    let pool = worker.local_cluster(cluster).pool(key, endpoint);
    let priority = Priority::Default;
    let lease = pool.acquire(cluster, endpoint, priority, &worker.shared).await;
    let lease = lease.map_err(|failure| UpstreamReset::of_acquire(failure, cluster))?;
    let Some(permit) = Permit::take(&cluster.state, priority, Resource::Request) else {
        pool.give_back_unused(lease, cluster);
        return Err(UpstreamReset::overflow(Resource::Request, cluster));
    };
    cluster.state.stats.inc(ClusterStat::UpstreamRqTotal);
    endpoint.state.counters.rq_total.fetch_add(1, Ordering::Relaxed);
    let started = Exchange::start(lease, pool, cluster, endpoint, permit, head, end);
    started.map_err(|e| UpstreamReset::of_codec(&e, endpoint))
}

fn count(cluster: &Cluster, status: StatusCode) {
    for origin in [&answers::ALL, &answers::INTERNAL] {
        origin.count(&cluster.state.stats, status.as_u16());
    }
}

/// Counts the answer that a client would have got.
fn no_answer(worker: &Worker, cluster: &Cluster, endpoint: &Endpoint, reset: UpstreamReset) -> CallFailure {
    count(
        cluster,
        match reset.reason {
            ResetReason::ProtocolError => StatusCode::BAD_GATEWAY,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        },
    );
    endpoint.state.counters.rq_error.fetch_add(1, Ordering::Relaxed);
    let seen = outlier::Seen::Reset(reset.reason);
    outlier::report(cluster, endpoint, seen, worker.random());
    CallFailure {
        cause: Cause::Reset(reset.reason),
        sentence: reset.sentence,
    }
}

/// `started`: what a call had reached when its time was over.
pub(super) fn timed_out(worker: &Worker, cluster: &str, started: Option<&Streaming>, timeout: Duration) -> CallFailure {
    if let Some(known) = worker.snapshot().clusters.get(cluster) {
        known.state.stats.inc(ClusterStat::UpstreamRqTimeout);
        if !started.is_some_and(|s| s.answered) {
            count(known, StatusCode::GATEWAY_TIMEOUT);
        }
    }
    if let Some(started) = started {
        let counters = &started.endpoint.state.counters;
        counters.rq_timeout.fetch_add(1, Ordering::Relaxed);
        counters.rq_error.fetch_add(1, Ordering::Relaxed);
        let seen = outlier::Seen::Timeout;
        outlier::report(&started.cluster, &started.endpoint, seen, worker.random());
    }
    CallFailure {
        cause: Cause::Timeout,
        sentence: format!("cluster {cluster}: no whole answer within {timeout:?}"),
    }
}
