//! `outlier_detection`, with Envoy's defaults filled in.

use std::{sync::Arc, time::Duration};

use xds_api::envoy::config::cluster::v3 as pb;

use super::super::{at::At, rejection::Rejection};
use crate::{
    cluster::OutlierDetection,
    stats::{ClusterPart, Prefix},
};

/// Envoy's defaults.
const INTERVAL: Duration = Duration::from_secs(10);
const BASE_EJECTION_TIME: Duration = Duration::from_secs(30);
/// Or the base, where that is longer.
const MAX_EJECTION_TIME: Duration = Duration::from_secs(300);
const MAX_EJECTION_PERCENT: u32 = 10;
const CONSECUTIVE: u32 = 5;
const SUCCESS_RATE_MINIMUM_HOSTS: u32 = 5;
const SUCCESS_RATE_REQUEST_VOLUME: u32 = 100;
const SUCCESS_RATE_STDEV_FACTOR: u32 = 1900;
const FAILURE_PERCENTAGE_THRESHOLD: u32 = 85;
const FAILURE_PERCENTAGE_MINIMUM_HOSTS: u32 = 5;
const FAILURE_PERCENTAGE_REQUEST_VOLUME: u32 = 50;
const ALWAYS: u32 = 100;

pub(super) fn parse(pb: &pb::OutlierDetection, stat_name: &Arc<str>, at: &At) -> Result<OutlierDetection, Rejection> {
    let base_ejection_time = at
        .duration("base_ejection_time", pb.base_ejection_time.as_ref())?
        .unwrap_or(BASE_EJECTION_TIME);
    let max_ejection_time = at
        .duration("max_ejection_time", pb.max_ejection_time.as_ref())?
        .unwrap_or_else(|| MAX_EJECTION_TIME.max(base_ejection_time));
    if max_ejection_time < base_ejection_time {
        return Err(at
            .field("max_ejection_time")
            .reject("is shorter than base_ejection_time"));
    }
    at.not_honoured("monitors", !pb.monitors.is_empty());
    at.not_honoured("detect_degraded_hosts", pb.detect_degraded_hosts == Some(true));
    Ok(OutlierDetection {
        consecutive_5xx: pb.consecutive_5xx.unwrap_or(CONSECUTIVE),
        enforcing_consecutive_5xx: pb.enforcing_consecutive_5xx.unwrap_or(ALWAYS),
        consecutive_gateway_failure: pb.consecutive_gateway_failure.unwrap_or(CONSECUTIVE),
        enforcing_consecutive_gateway_failure: pb.enforcing_consecutive_gateway_failure.unwrap_or(0),
        consecutive_local_origin_failure: pb.consecutive_local_origin_failure.unwrap_or(CONSECUTIVE),
        enforcing_consecutive_local_origin_failure: pb.enforcing_consecutive_local_origin_failure.unwrap_or(ALWAYS),
        split_external_local_origin_errors: pb.split_external_local_origin_errors,
        interval: at.duration("interval", pb.interval.as_ref())?.unwrap_or(INTERVAL),
        base_ejection_time,
        max_ejection_time,
        max_ejection_time_jitter: at
            .duration("max_ejection_time_jitter", pb.max_ejection_time_jitter.as_ref())?
            .unwrap_or_default(),
        max_ejection_percent: pb.max_ejection_percent.unwrap_or(MAX_EJECTION_PERCENT),
        always_eject_one_host: pb.always_eject_one_host.unwrap_or(false),
        enforcing_success_rate: pb.enforcing_success_rate.unwrap_or(ALWAYS),
        enforcing_local_origin_success_rate: pb.enforcing_local_origin_success_rate.unwrap_or(ALWAYS),
        success_rate_minimum_hosts: pb.success_rate_minimum_hosts.unwrap_or(SUCCESS_RATE_MINIMUM_HOSTS),
        success_rate_request_volume: pb.success_rate_request_volume.unwrap_or(SUCCESS_RATE_REQUEST_VOLUME),
        success_rate_stdev_factor: pb.success_rate_stdev_factor.unwrap_or(SUCCESS_RATE_STDEV_FACTOR),
        enforcing_failure_percentage: pb.enforcing_failure_percentage.unwrap_or(0),
        enforcing_failure_percentage_local_origin: pb.enforcing_failure_percentage_local_origin.unwrap_or(0),
        failure_percentage_threshold: pb.failure_percentage_threshold.unwrap_or(FAILURE_PERCENTAGE_THRESHOLD),
        failure_percentage_minimum_hosts: pb
            .failure_percentage_minimum_hosts
            .unwrap_or(FAILURE_PERCENTAGE_MINIMUM_HOSTS),
        failure_percentage_request_volume: pb
            .failure_percentage_request_volume
            .unwrap_or(FAILURE_PERCENTAGE_REQUEST_VOLUME),
        stats: at.stats(Prefix::cluster_part(
            Arc::clone(stat_name),
            ClusterPart::OutlierDetection,
        )),
        successful_active_health_check_uneject_host: pb.successful_active_health_check_uneject_host.unwrap_or(true),
    })
}
