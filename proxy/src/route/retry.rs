//! Whether an attempt is made again, and after how long. Pure: random numbers and counts are passed in.
//!
//! Source: Envoy's docs, "Router", `x-envoy-retry-on`, `x-envoy-retry-grpc-on`, and `RetryPolicy`.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, StatusCode};
use xds_client::grpc::GRPC_STATUS;

use super::{RetryPolicy, action::RetryOn, matcher::HeaderMatcher};
use crate::{
    cluster::{Cluster, ClusterState, Priority, RetryBudget},
    failure::ResetReason,
    http::message::{RequestHead, ResponseHead},
    stats::ClusterStat,
    upstream::permit::{Permit, Resource},
};

const RETRY_ON: HeaderName = HeaderName::from_static("x-envoy-retry-on");
const RETRY_GRPC_ON: HeaderName = HeaderName::from_static("x-envoy-retry-grpc-on");
const MAX_RETRIES: HeaderName = HeaderName::from_static("x-envoy-max-retries");
const RETRIABLE_STATUS_CODES: HeaderName = HeaderName::from_static("x-envoy-retriable-status-codes");
const RETRIABLE_HEADER_NAMES: HeaderName = HeaderName::from_static("x-envoy-retriable-header-names");
const RATE_LIMITED: HeaderName = HeaderName::from_static("x-envoy-ratelimited");

macro_rules! conditions {
    ($($bit:literal $name:ident $text:literal;)*) => {
        impl RetryOn {
            $(pub const $name: Self = Self(1 << $bit);)*
            const TABLE: &'static [(&'static str, Self)] = &[$(($text, Self::$name)),*];
        }
    };
}

conditions! {
    0 SERVER_ERROR "5xx";
    1 GATEWAY_ERROR "gateway-error";
    2 RESET "reset";
    3 RESET_BEFORE_REQUEST "reset-before-request";
    4 CONNECT_FAILURE "connect-failure";
    5 ENVOY_RATE_LIMITED "envoy-ratelimited";
    6 RETRIABLE_4XX "retriable-4xx";
    7 REFUSED_STREAM "refused-stream";
    8 RETRIABLE_STATUS_CODES "retriable-status-codes";
    9 RETRIABLE_HEADERS "retriable-headers";
    10 HTTP3_POST_CONNECT_FAILURE "http3-post-connect-failure";
    11 GRPC_CANCELLED "cancelled";
    12 GRPC_DEADLINE_EXCEEDED "deadline-exceeded";
    13 GRPC_INTERNAL "internal";
    14 GRPC_RESOURCE_EXHAUSTED "resource-exhausted";
    15 GRPC_UNAVAILABLE "unavailable";
}

impl RetryOn {
    /// Parses a comma-separated list; names that are not known are skipped, as Envoy does.
    pub fn parse(list: &str) -> Self {
        let known = |name: &str| {
            Self::TABLE
                .iter()
                .find(|(text, _)| *text == name)
                .map_or(0, |(_, c)| c.0)
        };
        Self(list.split(',').fold(0, |set, name| set | known(name.trim())))
    }

    /// The conditions that gRPC has, which a header of their own asks for.
    const GRPC: Self = Self(
        Self::GRPC_CANCELLED.0
            | Self::GRPC_DEADLINE_EXCEEDED.0
            | Self::GRPC_INTERNAL.0
            | Self::GRPC_RESOURCE_EXHAUSTED.0
            | Self::GRPC_UNAVAILABLE.0,
    );

    /// [`Self::parse`] of `x-envoy-retry-grpc-on`, or of `x-envoy-retry-on`.
    fn asked(list: &str, grpc: bool) -> Self {
        let all = Self::parse(list).0;
        Self(if grpc { all & Self::GRPC.0 } else { all & !Self::GRPC.0 })
    }

    /// Whether the header's list holds nothing but conditions that are known there.
    pub fn are_known(list: &str, grpc: bool) -> bool {
        list.split(',').all(|name| !Self::asked(name, grpc).is_empty())
    }

    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn has(self, condition: Self) -> bool {
        self.0 & condition.0 != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// How an attempt ended, as retries see it.
#[derive(Debug, Clone, Copy)]
pub enum AttemptResult<'a> {
    Head(&'a ResponseHead),
    Reset(ResetReason),
    PerTryTimeout,
    /// Nothing that a retry could mend.
    Final,
}

#[derive(Debug)]
pub enum RetryDecision {
    No,
    /// After this long.
    Retry(Duration),
    /// It would be retried, but `num_retries` is used up.
    LimitExceeded,
    /// It would be retried, but the retry breaker or budget is used up.
    Overflow,
}

/// The retries of one request.
#[derive(Debug)]
pub struct RetryState {
    on: RetryOn,
    remaining: u32,
    done: u32,
    status_codes: Vec<StatusCode>,
    headers: Vec<Arc<HeaderMatcher>>,
    header_names: Vec<HeaderName>,
    back_off_base: Duration,
    back_off_max: Duration,
    rate_limited: Option<super::action::RateLimitedBackOff>,
    priority: Priority,
    /// Held from the decision to retry until the attempt's end.
    permit: Option<Permit>,
}

/// Envoy's defaults where only headers ask for retries.
const DEFAULT_BACK_OFF: Duration = Duration::from_millis(25);
const DEFAULT_MAX_FACTOR: u32 = 10;

impl RetryState {
    /// The retries that policy and request headers ask for, if any. Takes the headers out of the request.
    pub fn new(policy: Option<&RetryPolicy>, request: &mut RequestHead, priority: Priority) -> Option<Self> {
        // Mostly false, and cheaper to find out than by a look-up of each.
        let told = request.has_headers_with("x-envoy-ret") || request.has_headers_with("x-envoy-max-");
        let mut take = |name: HeaderName| {
            let value = if told { request.headers.remove(name) } else { None };
            value.and_then(|v| v.to_str().ok().map(str::to_owned))
        };
        let on_header = take(RETRY_ON);
        let grpc_header = take(RETRY_GRPC_ON);
        let max_header = take(MAX_RETRIES).and_then(|v| v.parse::<u32>().ok());
        let codes_header = take(RETRIABLE_STATUS_CODES);
        let names_header = take(RETRIABLE_HEADER_NAMES);
        let asked = |list: &Option<String>, grpc| {
            list.as_deref()
                .map_or(RetryOn::default(), |list| RetryOn::asked(list, grpc))
        };
        let asked = asked(&on_header, false).union(asked(&grpc_header, true));
        let on = policy.map(|p| p.retry_on).unwrap_or_default().union(asked);
        if on.is_empty() {
            return None;
        }
        // `retriable_request_headers`: the policy applies only to requests that match one of them.
        if policy.is_some_and(|p| {
            !p.retriable_request_headers.is_empty() && !p.retriable_request_headers.iter().any(|m| m.matches(request))
        }) {
            return None;
        }
        let mut status_codes = policy.map(|p| p.retriable_status_codes.clone()).unwrap_or_default();
        status_codes.extend(
            codes_header
                .iter()
                .flat_map(|list| list.split(','))
                .filter_map(|c| c.trim().parse::<StatusCode>().ok()),
        );
        let names = names_header.iter().flat_map(|list| list.split(','));
        let header_names = names.filter_map(|n| n.trim().parse().ok()).collect();
        let back_off_base = policy.map_or(DEFAULT_BACK_OFF, |p| p.back_off_base);
        Some(Self {
            on,
            remaining: max_header.or(policy.map(|p| p.num_retries)).unwrap_or(1),
            done: 0,
            status_codes,
            headers: policy.map(|p| p.retriable_headers.clone()).unwrap_or_default(),
            header_names,
            back_off_base,
            back_off_max: policy.map_or(back_off_base * DEFAULT_MAX_FACTOR, |p| p.back_off_max),
            rate_limited: policy.and_then(|p| p.rate_limited_back_off.clone()),
            priority,
            permit: None,
        })
    }

    /// Decides about the attempt that just ended.
    pub fn decide(&mut self, result: &AttemptResult<'_>, cluster: &Cluster, random: u64) -> RetryDecision {
        self.permit = None;
        if !self.wanted(result) {
            return RetryDecision::No;
        }
        if self.remaining == 0 {
            return RetryDecision::LimitExceeded;
        }
        self.permit = permit(&cluster.state, self.priority);
        if self.permit.is_none() {
            return RetryDecision::Overflow;
        }
        self.remaining -= 1;
        self.done += 1;
        let limited = match result {
            AttemptResult::Head(head) => self.rate_limited_wait(head),
            _ => None,
        };
        match limited {
            Some(wait) => {
                cluster.state.stats.inc(ClusterStat::UpstreamRqRetryBackoffRatelimited);
                RetryDecision::Retry(wait)
            }
            None => {
                cluster.state.stats.inc(ClusterStat::UpstreamRqRetryBackoffExponential);
                RetryDecision::Retry(self.back_off(random))
            }
        }
    }

    /// Full jitter over an exponentially growing interval: Envoy's `JitteredExponentialBackOffStrategy`.
    fn back_off(&self, random: u64) -> Duration {
        /// Beyond this many doublings every configured maximum is reached.
        const MAX_DOUBLINGS: u32 = 20;
        let doublings = (self.done - 1).min(MAX_DOUBLINGS);
        let interval = self.back_off_base.saturating_mul(1 << doublings).min(self.back_off_max);
        let millis = interval.as_millis().max(1) as u64;
        Duration::from_millis(random % millis)
    }

    fn rate_limited_wait(&self, head: &ResponseHead) -> Option<Duration> {
        let config = self.rate_limited.as_ref()?;
        config.reset_headers.iter().find_map(|(name, is_timestamp)| {
            let seconds: u64 = head.headers.get(name)?.to_str().ok()?.parse().ok()?;
            let wait = if *is_timestamp {
                let now = std::time::SystemTime::now()
                    .duration_since(std::time::UNIX_EPOCH)
                    .ok()?
                    .as_secs();
                seconds.checked_sub(now)?
            } else {
                seconds
            };
            let wait = Duration::from_secs(wait);
            (wait <= config.max_interval).then_some(wait)
        })
    }

    fn wanted(&self, result: &AttemptResult<'_>) -> bool {
        match result {
            AttemptResult::Head(head) => self.wants_head(head),
            AttemptResult::Reset(reason) => self.wants_reset(*reason),
            AttemptResult::PerTryTimeout => {
                self.on.has(RetryOn::SERVER_ERROR)
                    || self.on.has(RetryOn::GATEWAY_ERROR)
                    || self.on.has(RetryOn::RESET)
                    || self.wants_code(StatusCode::GATEWAY_TIMEOUT)
            }
            AttemptResult::Final => false,
        }
    }

    fn wants_code(&self, status: StatusCode) -> bool {
        self.on.has(RetryOn::RETRIABLE_STATUS_CODES) && self.status_codes.contains(&status)
    }

    fn wants_head(&self, head: &ResponseHead) -> bool {
        let code = head.status.as_u16();
        let limited = head.headers.contains_key(RATE_LIMITED);
        // A rate-limited answer is retried only where the policy says so, whatever its status.
        if limited {
            return self.on.has(RetryOn::ENVOY_RATE_LIMITED);
        }
        let by_status = (self.on.has(RetryOn::SERVER_ERROR) && head.status.is_server_error())
            || (self.on.has(RetryOn::GATEWAY_ERROR) && matches!(code, 502..=504))
            || (self.on.has(RetryOn::RETRIABLE_4XX) && code == StatusCode::CONFLICT.as_u16())
            || self.wants_code(head.status);
        let by_header = self.on.has(RetryOn::RETRIABLE_HEADERS)
            && (self.headers.iter().any(|m| m.matches_headers(&head.headers))
                || self.header_names.iter().any(|n| head.headers.contains_key(n)));
        by_status || by_header || self.wants_grpc(head)
    }

    fn wants_grpc(&self, head: &ResponseHead) -> bool {
        let status = head
            .headers
            .get(GRPC_STATUS)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.parse::<u32>().ok());
        let condition = match status {
            Some(1) => RetryOn::GRPC_CANCELLED,
            Some(4) => RetryOn::GRPC_DEADLINE_EXCEEDED,
            Some(8) => RetryOn::GRPC_RESOURCE_EXHAUSTED,
            Some(13) => RetryOn::GRPC_INTERNAL,
            Some(14) => RetryOn::GRPC_UNAVAILABLE,
            _ => return false,
        };
        self.on.has(condition)
    }

    fn wants_reset(&self, reason: ResetReason) -> bool {
        // The proxy's own breaker is not a fault that another attempt could mend.
        if reason == ResetReason::Overflow {
            return false;
        }
        let connect = matches!(reason, ResetReason::ConnectFailure | ResetReason::ConnectTimeout);
        self.on.has(RetryOn::RESET)
            || self.on.has(RetryOn::SERVER_ERROR)
            || self.on.has(RetryOn::GATEWAY_ERROR)
            || (self.on.has(RetryOn::CONNECT_FAILURE) && connect)
            || (self.on.has(RetryOn::RESET_BEFORE_REQUEST) && connect)
            || (self.on.has(RetryOn::REFUSED_STREAM) && reason == ResetReason::RemoteRefused)
    }
}

/// A place for a retry: under the retry budget where one is configured, else under `max_retries`.
fn permit(cluster: &Arc<ClusterState>, priority: Priority) -> Option<Permit> {
    let breaker = cluster.breaker(priority);
    let Some(budget) = breaker.retry_budget.load_full() else {
        return Permit::take(cluster, priority, Resource::Retry);
    };
    let active = breaker.requests.now() + breaker.pending.now();
    if breaker.retries.now() < budget.allowed(active) {
        return Some(Permit::force(cluster, priority, Resource::Retry));
    }
    cluster.stats.inc(ClusterStat::UpstreamRqRetryOverflow);
    None
}

impl RetryBudget {
    /// Retries that may be in flight beside `active` requests.
    pub fn allowed(&self, active: u32) -> u32 {
        const PERCENT: f64 = 100.0;
        let share = (self.percent / PERCENT * f64::from(active)) as u32;
        share.max(self.min_retry_concurrency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_conditions_are_skipped() {
        let on = RetryOn::parse("5xx, nonsense,connect-failure");
        assert!(on.has(RetryOn::SERVER_ERROR) && on.has(RetryOn::CONNECT_FAILURE) && !on.has(RetryOn::RESET));
        assert!(RetryOn::parse("").is_empty());
    }

    #[test]
    fn a_budget_has_a_floor() {
        let budget = RetryBudget {
            percent: 20.0,
            min_retry_concurrency: 3,
        };
        assert_eq!((budget.allowed(0), budget.allowed(100)), (3, 20));
    }
}
