//! What is counted of requests that go upstream: by the cluster, by the virtual cluster and the route where those have
//! statistics, by canary and zone; Envoy's names.

use std::{cell::RefCell, fmt::Write, time::Duration};

use http::{HeaderMap, HeaderName, StatusCode};

use super::Plan;
use crate::{
    http::{message::ResponseHead, stream::Stream},
    stats::{ClusterStat, Group, RouteStat},
    upstream::answers::{self, Origin},
};

const CANARY: HeaderName = HeaderName::from_static("x-envoy-upstream-canary");
const INTERNAL: HeaderName = HeaderName::from_static("x-envoy-internal");

impl Plan {
    /// The virtual cluster's statistics, then the route's.
    fn counted(&self) -> impl Iterator<Item = &Group<RouteStat>> {
        self.virtual_cluster.iter().chain(&self.route.stats)
    }

    /// Counts one, where the cluster's counter of the same name is another's business.
    pub(super) fn count(&self, stat: RouteStat) {
        self.counted().for_each(|stats| stats.inc(stat));
    }
}

/// Under what an answer counts besides its cluster.
#[derive(Clone, Copy)]
pub(super) struct Answered {
    origin: &'static Origin,
    canary: bool,
}

/// A final answer of the upstream.
pub(super) fn answered(stream: &Stream<'_>, plan: &Plan, head: &ResponseHead) -> Answered {
    let counted = Answered {
        origin: origin(stream),
        canary: is_canary(stream, head),
    };
    charge(stream, plan, head.status, counted);
    counted
}

/// Whether the answer says that a canary gave it, or the endpoint is one.
fn is_canary(stream: &Stream<'_>, head: &ResponseHead) -> bool {
    let host = stream.info.upstream.endpoint.as_ref();
    is_true(&head.headers, &CANARY) || host.is_some_and(|host| host.config.canary)
}

/// The answer that we give in the upstream's place.
pub(super) fn failed(stream: &Stream<'_>, plan: &Plan, status: StatusCode) {
    let canary = stream
        .info
        .upstream
        .endpoint
        .as_ref()
        .is_some_and(|host| host.config.canary);
    let origin = origin(stream);
    charge(stream, plan, status, Answered { origin, canary });
}

/// An answer that the client does not see, because it is asked again.
pub(super) fn retried(plan: &Plan, status: StatusCode) {
    answers::RETRY.count(&plan.cluster.state.stats, status.as_u16());
}

fn charge(stream: &Stream<'_>, plan: &Plan, status: StatusCode, counted: Answered) {
    let (stats, code) = (&plan.cluster.state.stats, status.as_u16());
    answers::ALL.count(stats, code);
    counted.origin.count(stats, code);
    if counted.canary {
        answers::CANARY.count(stats, code);
    }
    zones(stream, |zones| {
        const CLASSES: [&str; 6] = ["0xx", "1xx", "2xx", "3xx", "4xx", "5xx"];
        let class = CLASSES.get(usize::from(code / 100)).unwrap_or(&CLASSES[5]);
        for end in ["completed", class, status.as_str()] {
            with_name(zones, end, |name| stats.inc_name(ClusterStat::Zone, name));
        }
    });
    let class = match code / 100 {
        1 => RouteStat::UpstreamRq1xx,
        2 => RouteStat::UpstreamRq2xx,
        3 => RouteStat::UpstreamRq3xx,
        4 => RouteStat::UpstreamRq4xx,
        _ => RouteStat::UpstreamRq5xx,
    };
    for stats in plan.counted() {
        stats.inc(RouteStat::UpstreamRqCompleted);
        stats.inc(class);
        stats.inc_code(RouteStat::UpstreamRqCode, code);
    }
}

impl Answered {
    /// How long the upstream took, from the end of the request to the end of the response.
    pub(super) fn time(self, plan: &Plan, taken: Duration) {
        let (stats, taken) = (&plan.cluster.state.stats, taken.as_millis() as u64);
        let canary = self.canary.then_some(&answers::CANARY);
        let times = [Some(&answers::ALL), Some(self.origin), canary];
        times
            .into_iter()
            .flatten()
            .filter_map(|origin| origin.time)
            .for_each(|time| stats.record(time, taken));
        plan.counted()
            .for_each(|stats| stats.record(RouteStat::UpstreamRqTime, taken));
    }
}

fn origin(stream: &Stream<'_>) -> &'static Origin {
    match is_true(&stream.request.headers, &INTERNAL) {
        true => &answers::INTERNAL,
        false => &answers::EXTERNAL,
    }
}

fn is_true(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get(name).is_some_and(|value| value == "true")
}

/// Our zone and the endpoint's, where both are known.
fn zones(stream: &Stream<'_>, with: impl FnOnce((&str, &str))) {
    let own = &stream.worker.shared.node.zone;
    let host = stream.info.upstream.endpoint.as_ref().map_or("", |e| &e.locality.zone);
    if !own.is_empty() && !host.is_empty() {
        with((own, host));
    }
}

/// `<from>.<to>.upstream_rq_<end>`, in a buffer that the thread keeps.
fn with_name((from, to): (&str, &str), end: &str, with: impl FnOnce(&str)) {
    thread_local! {
        static NAME: RefCell<String> = const { RefCell::new(String::new()) };
    }
    NAME.with_borrow_mut(|name| {
        name.clear();
        // Writing to a String cannot fail.
        let _ = write!(name, "{from}.{to}.upstream_rq_{end}");
        with(name);
    });
}
