//! Access logs that go to a gRPC service.

use std::{sync::Arc, time::Duration};

use http::HeaderName;
use xds_api::{
    Message,
    envoy::extensions::access_loggers::grpc::v3::{
        CommonGrpcAccessLogConfig, HttpGrpcAccessLogConfig, TcpGrpcAccessLogConfig,
    },
};

use crate::{
    access_log::{
        Sink,
        grpc::{GrpcLog, HttpShape, LogService, Shape},
    },
    config::{at::At, extension::Extension, rejection::Rejection, source, wire},
    upstream::call::grpc::Destination,
};

/// Envoy's defaults.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
const BUFFER_SIZE: u32 = 16 * 1024;

pub(super) fn http(extension: &Extension, at: &At) -> Result<Sink, Rejection> {
    let pb: HttpGrpcAccessLogConfig = extension.message(at)?;
    let names = |names: &[String], field| logged(names, field, at);
    let shape = HttpShape {
        request_headers: names(
            &pb.additional_request_headers_to_log,
            "additional_request_headers_to_log",
        )?,
        response_headers: names(
            &pb.additional_response_headers_to_log,
            "additional_response_headers_to_log",
        )?,
        response_trailers: names(
            &pb.additional_response_trailers_to_log,
            "additional_response_trailers_to_log",
        )?,
    };
    let common = at.required("common_config", pb.common_config.as_deref())?;
    sink(Shape::Http(shape), common, &at.field("common_config"))
}

pub(super) fn tcp(extension: &Extension, at: &At) -> Result<Sink, Rejection> {
    let pb: TcpGrpcAccessLogConfig = extension.message(at)?;
    let common = at.required("common_config", pb.common_config.as_deref())?;
    sink(Shape::Tcp, common, &at.field("common_config"))
}

fn sink(shape: Shape, pb: &CommonGrpcAccessLogConfig, at: &At) -> Result<Sink, Rejection> {
    let service = at.required("grpc_service", pb.grpc_service.as_deref())?;
    let at_service = at.field("grpc_service");
    let service = source::grpc_service(service, &at_service)?;
    let destination = Destination::new(&service).ok_or_else(|| {
        at_service
            .reject("google_grpc is not served; name a cluster in envoy_grpc, and an authority that a header can hold")
    })?;
    at.not_honoured(
        "filter_state_objects_to_log",
        !pb.filter_state_objects_to_log.is_empty(),
    );
    at.not_honoured("custom_tags", !pb.custom_tags.is_empty());
    at.not_honoured("grpc_stream_retry_policy", pb.grpc_stream_retry_policy.is_some());
    let interval = at.duration("buffer_flush_interval", pb.buffer_flush_interval.as_ref())?;
    Ok(Sink::Grpc(Box::new(GrpcLog {
        shape,
        service: Arc::new(LogService::new(
            wire::hash(&pb.encode_to_vec()),
            destination,
            pb.log_name.as_str().into(),
            interval.unwrap_or(FLUSH_INTERVAL),
            pb.buffer_size_bytes.unwrap_or(BUFFER_SIZE) as usize,
        )),
    })))
}

/// Names of fields, pseudo-headers too.
fn logged(names: &[String], field: &'static str, at: &At) -> Result<Vec<Box<str>>, Rejection> {
    let mut wanted = Vec::with_capacity(names.len());
    for (i, name) in names.iter().enumerate() {
        let at = at.item(field, i);
        let name = name.to_ascii_lowercase();
        if HeaderName::try_from(name.strip_prefix(':').unwrap_or(&name)).is_err() {
            return Err(at.reject(format_args!("{name:?} is no name of a header")));
        }
        wanted.push(name.into());
    }
    Ok(wanted)
}
