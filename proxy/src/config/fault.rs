//! `HTTPFault`.

use std::sync::Arc;

use http::StatusCode;
use xds_api::envoy::{extensions::filters::http::fault::v3 as pb, r#type::v3 as ty};

use super::{at::At, extension::Extension, matcher, metadata, rejection::Rejection};
use crate::{
    http::filter::fault::{Abort, Answer, Delay, FaultSettings, RuntimeKeys},
    route::matcher::RuntimeFraction,
};

pub(super) fn parse(extension: &Extension, at: &At) -> Result<Arc<FaultSettings>, Rejection> {
    let pb = extension.decode(xds_api::decode_fault, at)?;
    at.not_honoured("response_rate_limit", pb.response_rate_limit.is_some());
    Ok(Arc::new(FaultSettings {
        delay: delay(&pb, &at.field("delay"))?,
        abort: abort(&pb, &at.field("abort"))?,
        upstream_cluster: pb.upstream_cluster.as_str().into(),
        headers: matcher::headers(&pb.headers, "headers", at)?,
        downstream_nodes: pb.downstream_nodes.iter().map(|node| node.as_str().into()).collect(),
        max_active_faults: pb.max_active_faults,
        runtime: RuntimeKeys {
            delay_duration: key(&pb.delay_duration_runtime, "fault.http.delay.fixed_duration_ms"),
            abort_http_status: key(&pb.abort_http_status_runtime, "fault.http.abort.http_status"),
            abort_grpc_status: key(&pb.abort_grpc_status_runtime, "fault.http.abort.grpc_status"),
            max_active_faults: key(&pb.max_active_faults_runtime, "fault.http.max_active_faults"),
        },
        metadata: pb.filter_metadata.as_ref().map(metadata::object).map(Box::new),
    }))
}

fn delay(pb: &pb::HttpFault, at: &At) -> Result<Option<Delay>, Rejection> {
    use xds_api::envoy::extensions::filters::common::fault::v3::fault_delay::FaultDelaySecifier as S;
    let Some(delay) = &pb.delay else { return Ok(None) };
    let key = key(&pb.delay_percent_runtime, "fault.http.delay.fixed_delay_percent");
    Ok(Some(Delay {
        percentage: fraction(delay.percentage.as_ref(), key, at)?,
        fixed: match &delay.fault_delay_secifier {
            Some(S::FixedDelay(fixed)) => at.duration("fixed_delay", Some(fixed))?,
            Some(S::HeaderDelay(_)) => None,
            None => return Err(at.reject("says not how long: set fixed_delay or header_delay")),
        },
    }))
}

fn abort(pb: &pb::HttpFault, at: &At) -> Result<Option<Abort>, Rejection> {
    use pb::fault_abort::ErrorType as E;
    let Some(abort) = &pb.abort else { return Ok(None) };
    let key = key(&pb.abort_percent_runtime, "fault.http.abort.abort_percent");
    Ok(Some(Abort {
        percentage: fraction(abort.percentage.as_ref(), key, at)?,
        with: match &abort.error_type {
            Some(E::HttpStatus(status)) => {
                let status = u16::try_from(*status).ok().and_then(|s| StatusCode::from_u16(s).ok());
                Some(Answer::Http(
                    status.ok_or_else(|| at.field("http_status").reject("is no HTTP status"))?,
                ))
            }
            Some(E::GrpcStatus(status)) => Some(Answer::Grpc(*status)),
            Some(E::HeaderAbort(_)) => None,
            None => return Err(at.reject("says not how: set http_status, grpc_status or header_abort")),
        },
        body: (!abort.response_body.is_empty()).then(|| abort.response_body.as_str().into()),
    }))
}

/// Without a percentage no request has the fault.
fn fraction(pb: Option<&ty::FractionalPercent>, runtime_key: Box<str>, at: &At) -> Result<RuntimeFraction, Rejection> {
    Ok(RuntimeFraction {
        runtime_key,
        default_millionths: match pb {
            Some(percentage) => at.millionths("percentage", percentage)?,
            None => 0,
        },
    })
}

fn key(given: &str, default: &str) -> Box<str> {
    if given.is_empty() { default } else { given }.into()
}
