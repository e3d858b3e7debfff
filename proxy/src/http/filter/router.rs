//! The router: the last filter. Picks route, cluster and endpoint, and drives the upstream exchange.
//!
//! `attempt` makes one try at the upstream, `relay` carries bodies both ways, `replay` keeps the request for another try,
//! `deadline` is the stream's one timer, `count` is the statistics, `reply` words what the client is told when no upstream answers.

use std::{future::Future, pin::pin, rc::Rc, sync::Arc, task::Poll, time::Instant};

use http::{HeaderMap, HeaderName, HeaderValue};

mod attempt;
mod count;
mod deadline;
pub mod mirror;
mod relay;
mod replay;
mod reply;

use self::{
    attempt::{Attempt, AttemptFailure, Outcome},
    count::Answered,
    deadline::{Deadlines, Expired},
    replay::Replay,
};
use super::super::{
    cached_route::CachedRoute,
    codec::CodecError,
    local_reply::LocalReply,
    message::ResponseHead,
    response,
    stream::{Stream, StreamEnd},
    tracing::{self, Ended},
};
use crate::{
    cluster::{Cluster, Endpoint},
    failure::ResponseFlags,
    route::{
        self, Action, Route, RouteAction, VirtualHost,
        action::RetryOn,
        retry::{AttemptResult, RetryDecision, RetryState},
        timeout::Timeouts,
    },
    snapshot::Snapshot,
    stats::{ClusterStat, Group, HttpStat, RouteStat},
    upstream::{Exchange, LocalCluster},
};

/// `envoy.extensions.filters.http.router.v3.Router`, parsed.
#[derive(Debug, Clone, Default)]
pub struct Router {
    /// Do not add `x-envoy-*` headers to requests and responses.
    pub suppress_envoy_headers: bool,
    /// Each attempt is a span of its own.
    pub start_child_span: bool,
    pub respect_expected_rq_timeout: bool,
    pub suppress_grpc_request_failure_code_stats: bool,
    /// Statistics by response code, cluster and zone. Envoy's default: true.
    pub dynamic_stats: bool,
    /// Names of headers that must be valid: an invalid `x-envoy-*` value is answered 400.
    pub strict_check_headers: Vec<HeaderName>,
}

const IS_TIMEOUT_RETRY: HeaderName = HeaderName::from_static("x-envoy-is-timeout-retry");

impl Router {
    /// The first of `strict_check_headers` that the request has with a value that it cannot have.
    fn invalid_header<'a>(&'a self, headers: &'a HeaderMap) -> Option<(&'a HeaderName, &'a HeaderValue)> {
        self.strict_check_headers.iter().find_map(|name| {
            let value = headers.get(name)?;
            let text = value.to_str().unwrap_or_default();
            let valid = match name.as_str() {
                "x-envoy-retry-on" => RetryOn::are_known(text, false),
                "x-envoy-retry-grpc-on" => RetryOn::are_known(text, true),
                _ => text.parse::<u64>().is_ok(),
            };
            (!valid).then_some((name, value))
        })
    }
}

/// What was decided for a request before its first attempt; no attempt changes it.
pub struct Plan {
    pub virtual_host: Arc<VirtualHost>,
    pub route: Arc<Route>,
    pub cluster: Arc<Cluster>,
    pub local: Rc<LocalCluster>,
    /// Index of the chosen weighted cluster, whose header edits apply.
    pub weighted: Option<usize>,
    pub timeouts: Timeouts,
    /// Under which the request counts besides its cluster.
    pub virtual_cluster: Option<Group<RouteStat>>,
}

impl Plan {
    pub fn action(&self) -> &RouteAction {
        match &self.route.action {
            Action::Route(action) => action,
            // A plan is made from a forwarding route only.
            _ => unreachable!("a plan holds a forwarding route"),
        }
    }
}

/// Routes the request and answers it.
pub async fn run(router: &Router, stream: &mut Stream<'_>) -> StreamEnd {
    let snapshot = stream.worker.snapshot();
    let plan = match plan(router, stream, &snapshot) {
        Ok(plan) => plan,
        Err(reply) => {
            drop(snapshot);
            return stream.reply(*reply).await;
        }
    };
    // Attempts may last: they must not pin a snapshot that has been replaced.
    drop(snapshot);
    if let Some(spans) = &mut stream.spans {
        spans.start_child_span = router.start_child_span;
    }
    forward(router, stream, &plan).await
}

/// Everything that is decided before an endpoint is chosen.
fn plan(router: &Router, stream: &mut Stream<'_>, snapshot: &Snapshot) -> Result<Plan, Box<LocalReply>> {
    let stats = &stream.manager.stats;
    stats.inc(HttpStat::RqTotal);
    let info = &stream.info;
    let (virtual_host, route, target) = match (&stream.cached_route, &info.virtual_host, &info.route) {
        (CachedRoute::Route { target }, Some(host), Some(route)) => (host.clone(), route.clone(), target.clone()),
        (CachedRoute::TlsRedirect, ..) => {
            stats.inc(HttpStat::RqDirectResponse);
            return Err(Box::new(reply::tls_redirect(&stream.request)));
        }
        _ => {
            stats.inc(HttpStat::NoRoute);
            return Err(Box::new(reply::no_route()));
        }
    };
    let action = match &route.action {
        Action::Route(action) => action,
        Action::Redirect(redirect) => {
            // Envoy counts every answer that a route gives by itself as one.
            stats.inc(HttpStat::RqDirectResponse);
            let location = route::redirect::location(redirect, &route.matches, &stream.request);
            return Err(Box::new(reply::redirect(redirect.code, location)));
        }
        Action::DirectResponse(direct) => {
            stats.inc(HttpStat::RqDirectResponse);
            return Err(Box::new(reply::direct_response(direct, &stream.request)));
        }
        Action::NonForwarding => return Err(Box::new(reply::no_route())),
    };
    let Some(cluster) = target
        .as_ref()
        .and_then(|t| snapshot.clusters.get(&*t.cluster))
        .cloned()
    else {
        stats.inc(HttpStat::NoCluster);
        let name = target.map_or_else(|| Arc::from(""), |t| t.cluster);
        return Err(Box::new(reply::no_cluster(action.cluster_not_found, &name)));
    };
    stream.info.upstream.cluster = Some(cluster.clone());
    let virtual_cluster = virtual_host.virtual_cluster(&stream.request).cloned();
    let weighted = target.and_then(|t| t.weighted);
    stream.weighted = weighted;
    if let Some((name, value)) = router.invalid_header(&stream.request.headers) {
        return Err(Box::new(reply::invalid_header(name, value)));
    }
    let mut timeouts =
        route::timeout::effective(action, &mut stream.request, router, stream.manager.stream_idle_timeout);
    timeouts.max_stream = timeouts.max_stream.or(stream.manager.max_stream_duration);
    timeouts.max_upstream_stream = timeouts.max_upstream_stream.or(cluster.max_stream_duration);
    timeouts.request = stream.manager.request_timeout;
    let local = stream.worker.local_cluster(&cluster);
    Ok(Plan {
        virtual_host,
        route,
        cluster,
        local,
        weighted,
        timeouts,
        virtual_cluster,
    })
}

/// Tries the upstream until an answer is good enough, and relays it.
async fn forward(router: &Router, stream: &mut Stream<'_>, plan: &Plan) -> StreamEnd {
    let action = plan.action();
    if let Some(unconditional) = plan.cluster.drops(stream.worker.random()) {
        return stream.reply(reply::dropped(unconditional)).await;
    }
    let mut retry = RetryState::new(action.retry.as_deref(), &mut stream.request, plan.action().priority);
    route::finalize_request(stream, &plan.virtual_host, &plan.route, plan.weighted, router);
    mirror::begin(stream, plan);
    let mut replay = Replay::new(
        retry
            .is_some()
            .then(|| replay_limit(plan, stream.info.connection.buffer_limit)),
    );
    let deadlines = &mut Deadlines::new(&plan.timeouts, stream.info.start, stream.timer);
    let mut tried: Vec<Arc<Endpoint>> = Vec::new();
    loop {
        stream.info.upstream.attempts += 1;
        let attempt = Attempt {
            plan,
            stream,
            replay: &mut replay,
            tried: &tried,
        };
        let outcome = attempt.run(deadlines).await;
        if let Some(endpoint) = &stream.info.upstream.endpoint
            && retry.is_some()
        {
            tried.push(endpoint.clone());
        }
        if matches!(&outcome, Outcome::Failed(AttemptFailure::TimedOut(Expired::PerTry))) {
            plan.cluster.state.stats.inc(ClusterStat::UpstreamRqPerTryTimeout);
        }
        let decision = match &mut retry {
            Some(state) if replay.is_whole() => {
                state.decide(&outcome.for_retry(), &plan.cluster, stream.worker.random())
            }
            _ => RetryDecision::No,
        };
        match decision {
            RetryDecision::Retry(back_off) => {
                plan.cluster.state.stats.inc(ClusterStat::UpstreamRqRetry);
                plan.count(RouteStat::UpstreamRqRetry);
                if let Outcome::Head(head, _, exchange) = &outcome {
                    tracing::attempt_over(stream, Ended::Abandoned, Some(head));
                    count::retried(plan, head.status);
                    stream.info.bytes.add_upstream(exchange.wire_bytes());
                }
                if plan.virtual_host.include_is_timeout_retry_header {
                    let timed_out = matches!(outcome.for_retry(), AttemptResult::PerTryTimeout);
                    let value = HeaderValue::from_static(if timed_out { "true" } else { "false" });
                    stream.request.headers.insert(IS_TIMEOUT_RETRY, value);
                }
                drop(outcome);
                deadlines.attempt_failed();
                let pause = tokio::time::sleep(back_off);
                if let Err(end) = wait(stream, deadlines, plan.timeouts.alternative_response, pause).await {
                    return end;
                }
                continue;
            }
            RetryDecision::LimitExceeded => {
                plan.cluster.state.stats.inc(ClusterStat::UpstreamRqRetryLimitExceeded);
                plan.count(RouteStat::UpstreamRqRetryLimitExceeded);
                stream.info.flags.insert(ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED);
            }
            RetryDecision::Overflow => {
                plan.count(RouteStat::UpstreamRqRetryOverflow);
                stream.info.flags.insert(ResponseFlags::UPSTREAM_OVERFLOW);
            }
            RetryDecision::No => {}
        }
        return match outcome {
            Outcome::Head(head, end, mut exchange) => {
                if retry.is_some() && stream.info.upstream.attempts > 1 && !head.status.is_server_error() {
                    plan.cluster.state.stats.inc(ClusterStat::UpstreamRqRetrySuccess);
                    plan.count(RouteStat::UpstreamRqRetrySuccess);
                }
                if stream.request.is_websocket() && reply::is_no_handshake(head.status) {
                    count::answered(stream, plan, &head);
                    return stream.reply(reply::no_handshake(head)).await;
                }
                let counted = accept(router, stream, plan, head);
                respond(stream, plan, counted, end, &mut exchange, deadlines).await
            }
            Outcome::Failed(failure) => {
                // What our own limits end is not the upstream's answer.
                let ours = matches!(&failure, AttemptFailure::TimedOut(expired) if !expired.is_upstreams());
                let mut reply = reply::upstream_failure(stream, plan, failure);
                if !ours {
                    count::failed(stream, plan, reply.status);
                }
                response::count_attempts(stream, &mut reply.headers);
                stream.reply(reply).await
            }
            Outcome::Downstream(error) => stream.downstream_failed(&error).await,
        };
    }
}

/// Awaits something for a filter before the router, while the client may leave or a limit of the stream may pass.
pub async fn wait_before<T>(stream: &mut Stream<'_>, future: impl Future<Output = T>) -> Result<T, StreamEnd> {
    let manager = stream.manager;
    let timeouts = Timeouts {
        idle: manager.stream_idle_timeout,
        max_stream: manager.max_stream_duration,
        request: manager.request_timeout.filter(|_| !stream.request_done),
        ..Timeouts::default()
    };
    let mut deadlines = Deadlines::new(&timeouts, stream.info.start, stream.timer);
    wait(stream, &mut deadlines, false, future).await
}

/// Awaits something that no upstream sends. `alternative`: a timeout is answered with 204.
async fn wait<T>(
    stream: &mut Stream<'_>,
    deadlines: &mut Deadlines<'_>,
    alternative: bool,
    future: impl Future<Output = T>,
) -> Result<T, StreamEnd> {
    enum Woken<T> {
        Done(T),
        Closed(CodecError),
        Expired(Expired),
    }
    let mut future = pin!(future);
    let woken = std::future::poll_fn(|cx| {
        if let Poll::Ready(done) = future.as_mut().poll(cx) {
            return Poll::Ready(Woken::Done(done));
        }
        if stream.request_done
            && let Poll::Ready(error) = stream.down.poll_closed(cx)
        {
            return Poll::Ready(Woken::Closed(error));
        }
        deadlines.poll_expired(cx).map(Woken::Expired)
    })
    .await;
    match woken {
        Woken::Done(done) => Ok(done),
        Woken::Closed(error) => Err(stream.downstream_failed(&error).await),
        Woken::Expired(expired) => {
            let reply = reply::timed_out(expired, stream.request_done, alternative);
            Err(stream.reply(reply).await)
        }
    }
}

/// Takes the upstream's head over as the response.
fn accept(router: &Router, stream: &mut Stream<'_>, plan: &Plan, mut head: ResponseHead) -> Answered {
    stream.info.response_code = Some(head.status.as_u16());
    stream.info.response_code_details.get_or_insert("via_upstream".into());
    response::from_upstream(stream, &mut head, plan.weighted, router.suppress_envoy_headers);
    let counted = count::answered(stream, plan, &head);
    stream.response = Some(head);
    counted
}

/// Passes on the response that was taken over.
async fn respond(
    stream: &mut Stream<'_>,
    plan: &Plan,
    counted: Answered,
    end: bool,
    exchange: &mut Exchange,
    deadlines: &mut Deadlines<'_>,
) -> StreamEnd {
    let ended = relay::run(stream, plan, end, exchange, deadlines).await;
    if stream.request_done {
        let since = stream.info.times.last_downstream_rx.unwrap_or(stream.info.start);
        let until = stream.info.times.last_upstream_rx.unwrap_or_else(Instant::now);
        counted.time(plan, until.saturating_duration_since(since));
    }
    ended
}

/// The request can be sent again while its body fits the smallest buffer limit that applies.
fn replay_limit(plan: &Plan, connection_limit: u32) -> usize {
    let limit = plan
        .route
        .per_request_buffer_limit
        .or(plan.virtual_host.per_request_buffer_limit);
    limit.unwrap_or(connection_limit) as usize
}
