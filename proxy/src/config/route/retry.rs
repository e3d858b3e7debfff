//! `RetryPolicy`.

use std::time::Duration;

use http::StatusCode;
use xds_api::envoy::{
    config::route::v3 as pb, extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig,
};

use super::super::{
    at::At,
    extension::{self, Category, Kind},
    matcher,
    rejection::Rejection,
};
use crate::route::{
    RetryPolicy,
    action::{RateLimitedBackOff, RetryOn},
};

/// Envoy's defaults.
const NUM_RETRIES: u32 = 1;
const BACK_OFF: Duration = Duration::from_millis(25);
/// The longest interval is this many times the first.
const BACK_OFF_FACTOR: u32 = 10;
const RATE_LIMITED_MAX: Duration = Duration::from_secs(300);

#[derive(Clone, Copy)]
enum HostPredicate {
    PreviousHosts,
    OmitCanary,
}

const HOST_PREDICATES: &[Kind<HostPredicate>] = &[
    Kind {
        type_name: "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
        parse: |_, _| Ok(HostPredicate::PreviousHosts),
    },
    Kind {
        type_name: "envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate",
        parse: |_, _| Ok(HostPredicate::OmitCanary),
    },
];

const PRIORITIES: &[Kind<u32>] = &[Kind {
    type_name: "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
    parse: |extension, at| {
        let pb: PreviousPrioritiesConfig = extension.message(at)?;
        match u32::try_from(pb.update_frequency) {
            Ok(frequency) if frequency > 0 => Ok(frequency),
            _ => Err(at.field("update_frequency").reject("must be more than 0")),
        }
    },
}];

pub(super) fn parse(pb: &pb::RetryPolicy, at: &At) -> Result<RetryPolicy, Rejection> {
    let (mut avoid_previous_hosts, mut omit_canary_hosts) = (false, false);
    for (i, predicate) in pb.retry_host_predicate.iter().enumerate() {
        use pb::retry_policy::retry_host_predicate::ConfigType::TypedConfig;
        let at = at.item("retry_host_predicate", i);
        let any = predicate.config_type.as_ref().map(|TypedConfig(any)| any);
        let at = at.field("typed_config");
        match extension::dispatch(Category::RetryHostPredicate, any, false, HOST_PREDICATES, &at)? {
            Some(HostPredicate::PreviousHosts) => avoid_previous_hosts = true,
            Some(HostPredicate::OmitCanary) => omit_canary_hosts = true,
            None => {}
        }
    }
    let previous_priorities_update = match pb.retry_priority.as_deref() {
        None => None,
        Some(priority) => {
            use pb::retry_policy::retry_priority::ConfigType::TypedConfig;
            let any = priority.config_type.as_ref().map(|TypedConfig(any)| any);
            let at = at.field("retry_priority.typed_config");
            extension::dispatch(Category::RetryPriority, any, false, PRIORITIES, &at)?
        }
    };
    at.not_honoured("retry_options_predicates", !pb.retry_options_predicates.is_empty());
    let (back_off_base, back_off_max) = back_off(pb.retry_back_off.as_ref(), &at.field("retry_back_off"))?;
    let mut retriable_status_codes = Vec::with_capacity(pb.retriable_status_codes.len());
    for (i, &code) in pb.retriable_status_codes.iter().enumerate() {
        // Envoy takes any number; what is no status code never matches.
        match u16::try_from(code)
            .ok()
            .and_then(|code| StatusCode::from_u16(code).ok())
        {
            Some(status) => retriable_status_codes.push(status),
            None => at
                .item("retriable_status_codes", i)
                .note(format_args!("{code} is no status code and never matches")),
        }
    }
    let shared = |headers: Vec<_>| headers.into_iter().map(std::sync::Arc::new).collect();
    Ok(RetryPolicy {
        retry_on: retry_on(&pb.retry_on, &at.field("retry_on")),
        num_retries: pb.num_retries.unwrap_or(NUM_RETRIES),
        per_try_timeout: at.timeout("per_try_timeout", pb.per_try_timeout.as_ref(), None)?,
        per_try_idle_timeout: at.timeout("per_try_idle_timeout", pb.per_try_idle_timeout.as_ref(), None)?,
        retriable_status_codes,
        retriable_headers: shared(matcher::headers(&pb.retriable_headers, "retriable_headers", at)?),
        retriable_request_headers: shared(matcher::headers(
            &pb.retriable_request_headers,
            "retriable_request_headers",
            at,
        )?),
        avoid_previous_hosts,
        omit_canary_hosts,
        host_selection_max_attempts: u32::try_from(pb.host_selection_retry_max_attempts.max(1)).unwrap_or(u32::MAX),
        previous_priorities_update,
        back_off_base,
        back_off_max,
        rate_limited_back_off: match pb.rate_limited_retry_back_off.as_deref() {
            Some(rate_limited) => Some(rate_limited_back_off(
                rate_limited,
                &at.field("rate_limited_retry_back_off"),
            )?),
            None => None,
        },
    })
}

/// Conditions that nobody knows are left out, as in Envoy.
fn retry_on(list: &str, at: &At) -> RetryOn {
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if RetryOn::parse(name).is_empty() {
            at.note(format_args!("{name:?} is no retry condition and has no effect"));
        }
    }
    RetryOn::parse(list)
}

fn back_off(pb: Option<&pb::retry_policy::RetryBackOff>, at: &At) -> Result<(Duration, Duration), Rejection> {
    let Some(pb) = pb else {
        return Ok((BACK_OFF, BACK_OFF * BACK_OFF_FACTOR));
    };
    let base = at.required("base_interval", pb.base_interval.as_ref())?;
    let base = at.duration("base_interval", Some(base))?.unwrap_or(BACK_OFF);
    // Shorter than a millisecond counts as one, as in Envoy.
    let base = base.max(Duration::from_millis(1));
    let max = at
        .duration("max_interval", pb.max_interval.as_ref())?
        .unwrap_or(base * BACK_OFF_FACTOR);
    if max < base {
        return Err(at.field("max_interval").reject("is shorter than base_interval"));
    }
    Ok((base, max))
}

fn rate_limited_back_off(
    pb: &pb::retry_policy::RateLimitedRetryBackOff,
    at: &At,
) -> Result<RateLimitedBackOff, Rejection> {
    use pb::retry_policy::ResetHeaderFormat as F;
    if pb.reset_headers.is_empty() {
        return Err(at.field("reset_headers").reject("must not be empty"));
    }
    let mut reset_headers = Vec::with_capacity(pb.reset_headers.len());
    for (i, header) in pb.reset_headers.iter().enumerate() {
        let at = at.item("reset_headers", i);
        let unix = at.enumeration::<F>("format", header.format)? == F::UnixTimestamp;
        reset_headers.push((at.header_name("name", &header.name)?, unix));
    }
    Ok(RateLimitedBackOff {
        reset_headers,
        max_interval: at
            .duration("max_interval", pb.max_interval.as_ref())?
            .unwrap_or(RATE_LIMITED_MAX),
    })
}
