//! `envoy.extensions.filters.http.fault.v3.HTTPFault`: delays requests and answers some in the upstream's place, to see how
//! clients bear it.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, StatusCode};
use serde_json::{Map, Value};

use super::{super::cached_route::CachedRoute, super::local_reply::LocalReply, HttpFilter, Step, router};
use crate::{
    failure::ResponseFlags,
    http::{message::RequestHead, stream::Stream},
    route::{
        RouteFacts,
        matcher::{HeaderMatcher, RuntimeFraction},
        per_filter::{PerRoute, PerRouteConfig},
    },
    stats::{FaultStat, Group},
};

/// The filter: its own faults, unless a route has others.
#[derive(Debug)]
pub struct Fault {
    pub settings: Arc<FaultSettings>,
    pub stats: Group<FaultStat>,
}

/// `HTTPFault`, parsed.
#[derive(Debug)]
pub struct FaultSettings {
    pub delay: Option<Delay>,
    pub abort: Option<Abort>,
    /// Only requests to this cluster; empty: all.
    pub upstream_cluster: Box<str>,
    pub headers: Vec<HeaderMatcher>,
    /// Only requests of these `x-envoy-downstream-service-node`s; empty: all.
    pub downstream_nodes: Box<[Box<str>]>,
    /// `None`: no limit.
    pub max_active_faults: Option<u32>,
    pub runtime: RuntimeKeys,
    /// Told in dynamic metadata when a fault is injected.
    pub metadata: Option<Box<Map<String, Value>>>,
}

/// Where the runtime may override a setting.
#[derive(Debug)]
pub struct RuntimeKeys {
    /// Milliseconds.
    pub delay_duration: Box<str>,
    pub abort_http_status: Box<str>,
    pub abort_grpc_status: Box<str>,
    pub max_active_faults: Box<str>,
}

#[derive(Debug)]
pub struct Delay {
    pub percentage: RuntimeFraction,
    /// `None`: the request's headers tell.
    pub fixed: Option<Duration>,
}

#[derive(Debug)]
pub struct Abort {
    pub percentage: RuntimeFraction,
    /// `None`: the request's headers tell.
    pub with: Option<Answer>,
    pub body: Option<Box<str>>,
}

/// A status of HTTP, or one of gRPC.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    Http(StatusCode),
    Grpc(u32),
}

/// A fault in progress counts until the stream ends.
#[derive(Debug)]
pub struct Active(Group<FaultStat>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.gauge_add(FaultStat::ActiveFaults, -1);
    }
}

const NODE: HeaderName = HeaderName::from_static("x-envoy-downstream-service-node");
const DELAY_MS: HeaderName = HeaderName::from_static("x-envoy-fault-delay-request");
const DELAY_PERCENTAGE: HeaderName = HeaderName::from_static("x-envoy-fault-delay-request-percentage");
const ABORT_STATUS: HeaderName = HeaderName::from_static("x-envoy-fault-abort-request");
const ABORT_GRPC_STATUS: HeaderName = HeaderName::from_static("x-envoy-fault-abort-grpc-request");
const ABORT_PERCENTAGE: HeaderName = HeaderName::from_static("x-envoy-fault-abort-request-percentage");
/// Statuses that headers and the runtime may name.
const STATUSES: std::ops::Range<u64> = 200..600;

pub async fn run(filter: &HttpFilter, own: &Fault, stream: &mut Stream<'_>) -> Step {
    let said = match stream.per_route(&filter.name) {
        Some(PerRoute::Config(PerRouteConfig::Fault(said))) => Some(said.clone()),
        _ => None,
    };
    let settings = said.as_deref().unwrap_or(&own.settings);
    // Every sidecar of Istio has the filter, and almost none a fault.
    let idle = settings.delay.is_none() && settings.abort.is_none();
    if idle || !settings.concerns(stream) {
        return Step::Continue;
    }
    if let Some(delay) = settings.delay(stream)
        && own.begin(settings, stream)
    {
        own.stats.inc(FaultStat::DelaysInjected);
        stream.info.flags.insert(ResponseFlags::DELAY_INJECTED);
        settings.tell(filter, stream);
        if let Err(end) = Box::pin(router::wait_before(stream, tokio::time::sleep(delay))).await {
            return Step::End(end);
        }
    }
    let Some(with) = settings.abort(stream) else {
        return Step::Continue;
    };
    if !own.begin(settings, stream) {
        return Step::Continue;
    }
    own.stats.inc(FaultStat::AbortsInjected);
    settings.tell(filter, stream);
    let (status, grpc_status) = match with {
        Answer::Http(status) => (status, None),
        Answer::Grpc(status) => (StatusCode::OK, Some(status)),
    };
    let body = settings.abort.as_ref().and_then(|abort| abort.body.as_deref());
    let body = body.unwrap_or("fault filter abort").to_owned();
    let mut reply = LocalReply::new(status, body, "fault_filter_abort").with_flags(ResponseFlags::FAULT_INJECTED);
    reply.grpc_status = grpc_status;
    reply.sentence = Some(format!(
        "fault filter {:?} aborts the request by its config",
        &*filter.name
    ));
    Step::Reply(Box::new(reply))
}

impl Fault {
    /// Whether one more fault may be active. The stream's own counts once.
    fn begin(&self, settings: &FaultSettings, stream: &mut Stream<'_>) -> bool {
        if stream.kept.fault.is_some() {
            return true;
        }
        let given = u64::from(settings.max_active_faults.unwrap_or(u32::MAX));
        let most = runtime_number(&settings.runtime.max_active_faults, stream).unwrap_or(given);
        if self.stats.value(FaultStat::ActiveFaults) >= most {
            self.stats.inc(FaultStat::FaultsOverflow);
            return false;
        }
        self.stats.gauge_add(FaultStat::ActiveFaults, 1);
        stream.kept.fault = Some(Active(self.stats.clone()));
        true
    }
}

impl FaultSettings {
    /// Whether the request is one of those that faults are meant for.
    fn concerns(&self, stream: &Stream<'_>) -> bool {
        let request = &stream.request;
        let node = || text(request, &NODE);
        let cluster = || match &stream.cached_route {
            CachedRoute::Route { target: Some(target) } => Some(&*target.cluster),
            _ => None,
        };
        (self.upstream_cluster.is_empty() || cluster() == Some(&*self.upstream_cluster))
            && (self.downstream_nodes.is_empty() || self.downstream_nodes.iter().any(|n| Some(&**n) == node()))
            && self.headers.iter().all(|header| header.matches(request))
    }

    fn delay(&self, stream: &Stream<'_>) -> Option<Duration> {
        let delay = self.delay.as_ref()?;
        let request = &stream.request;
        let by_header = delay.fixed.is_none();
        let given = match delay.fixed {
            Some(fixed) => fixed,
            None => Duration::from_millis(number(request, &DELAY_MS)?),
        };
        let limit = by_header.then(|| number(request, &DELAY_PERCENTAGE)).flatten();
        if !holds(&delay.percentage, limit, stream) {
            return None;
        }
        let overridden = runtime_number(&self.runtime.delay_duration, stream).filter(|_| !by_header);
        let delay = overridden.map_or(given, Duration::from_millis);
        Some(delay).filter(|delay| !delay.is_zero())
    }

    fn abort(&self, stream: &Stream<'_>) -> Option<Answer> {
        let abort = self.abort.as_ref()?;
        let request = &stream.request;
        let status = |number: u64| {
            let known = Some(number).filter(|number| STATUSES.contains(number))?;
            StatusCode::from_u16(known as u16).ok()
        };
        let with = match abort.with {
            None => {
                let limit = number(request, &ABORT_PERCENTAGE);
                let http = number(request, &ABORT_STATUS).and_then(status).map(Answer::Http);
                let grpc = || number(request, &ABORT_GRPC_STATUS).map(|code| Answer::Grpc(code as u32));
                let with = http.or_else(grpc)?;
                return holds(&abort.percentage, limit, stream).then_some(with);
            }
            Some(Answer::Http(given)) => {
                let overridden = runtime_number(&self.runtime.abort_http_status, stream).and_then(status);
                Answer::Http(overridden.unwrap_or(given))
            }
            Some(Answer::Grpc(given)) => {
                let overridden = runtime_number(&self.runtime.abort_grpc_status, stream);
                Answer::Grpc(overridden.map_or(given, |code| code as u32))
            }
        };
        holds(&abort.percentage, None, stream).then_some(with)
    }

    /// Under the filter's own name, also where there is nothing more to tell.
    fn tell(&self, filter: &HttpFilter, stream: &mut Stream<'_>) {
        let all = stream.info.dynamic_metadata.get_or_insert_default();
        all.entry(&*filter.name).or_insert_with(|| Map::new().into());
        for (key, value) in self.metadata.iter().flat_map(|own| own.iter()) {
            stream.info.set_metadata(&filter.name, key, value.clone());
        }
    }
}

/// `limit`: a percentage that the request itself names, and that can only lessen the configured one.
fn holds(fraction: &RuntimeFraction, limit: Option<u64>, stream: &Stream<'_>) -> bool {
    /// Millionths in one percent.
    const PERCENT: u64 = 10_000;
    let snapshot = stream.worker.snapshot();
    let facts = RouteFacts {
        request: &stream.request,
        tls: None,
        random: stream.worker.random(),
        runtime: &snapshot.runtime,
        dynamic_metadata: None,
    };
    match limit {
        None => fraction.holds(&facts),
        Some(percent) => {
            let limit = u32::try_from(percent.saturating_mul(PERCENT)).unwrap_or(u32::MAX);
            let lessened = RuntimeFraction {
                runtime_key: "".into(),
                default_millionths: fraction.default_millionths.min(limit),
            };
            lessened.holds(&facts)
        }
    }
}

fn text<'r>(request: &'r RequestHead, name: &HeaderName) -> Option<&'r str> {
    request.headers.get(name)?.to_str().ok()
}

fn number(request: &RequestHead, name: &HeaderName) -> Option<u64> {
    text(request, name)?.parse().ok()
}

fn runtime_number(key: &str, stream: &Stream<'_>) -> Option<u64> {
    stream.worker.snapshot().runtime.get(key)?.as_u64()
}
