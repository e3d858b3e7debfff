//! Which protocol a cluster speaks: `HttpProtocolOptions`, or the fields of the cluster that it replaced.

use std::time::Duration;

use http::HeaderName;
use xds_api::{
    envoy::{
        config::{cluster::v3 as pb, core::v3 as core},
        extensions::upstreams::{http::v3 as http_pb, tcp::v3::TcpProtocolOptions},
    },
    pb::Any,
};

use super::super::{
    at::At,
    extension::{self, Category, Kind},
    http_filter, http_options,
    rejection::Rejection,
};
use crate::cluster::UpstreamProtocol;
use crate::http::codec::limits;

/// Envoy's default: pooled connections close after an hour without a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

pub(super) struct Protocol {
    pub(super) protocol: UpstreamProtocol,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) tcp_idle_timeout: Option<Duration>,
    pub(super) max_connection_duration: Option<Duration>,
    pub(super) max_stream_duration: Option<Duration>,
    pub(super) max_requests_per_connection: u32,
    pub(super) max_response_headers_kb: u32,
    pub(super) max_headers_count: u32,
    pub(super) auto_sni: bool,
    pub(super) auto_san_validation: bool,
    pub(super) auto_sni_header: Option<HeaderName>,
}

/// What may stand in `typed_extension_protocol_options`.
enum Options {
    Http(Box<http_pb::HttpProtocolOptions>),
    Tcp(TcpProtocolOptions),
}

const OPTIONS: &[Kind<Options>] = &[
    Kind {
        type_name: "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        parse: |extension, at| {
            extension
                .decode(xds_api::decode_http_protocol_options, at)
                .map(Options::Http)
        },
    },
    Kind {
        type_name: "envoy.extensions.upstreams.tcp.v3.TcpProtocolOptions",
        parse: |extension, at| extension.message(at).map(Options::Tcp),
    },
];

pub(super) fn parse(pb: &pb::Cluster, at: &At) -> Result<Protocol, Rejection> {
    let (mut http, mut tcp_idle) = (None, None);
    for (key, any) in &pb.typed_extension_protocol_options {
        let at = at.entry("typed_extension_protocol_options", key);
        match options(any, &at)? {
            Options::Http(options) => http = Some(typed(&options, &at)?),
            Options::Tcp(options) => {
                tcp_idle = Some(at.timeout("idle_timeout", options.idle_timeout.as_ref(), None)?)
            }
        }
    }
    let mut protocol = match http {
        Some(protocol) => protocol,
        None => deprecated(pb, at)?,
    };
    if let (Some(max), 0) = (pb.max_requests_per_connection, protocol.max_requests_per_connection) {
        protocol.max_requests_per_connection = max;
    }
    protocol.tcp_idle_timeout = tcp_idle.unwrap_or(Some(IDLE_TIMEOUT));
    Ok(protocol)
}

fn options(any: &Any, at: &At) -> Result<Options, Rejection> {
    extension::dispatch(Category::UpstreamOptions, Some(any), false, OPTIONS, at)?
        .ok_or_else(|| at.reject("names no protocol options"))
}

fn typed(pb: &http_pb::HttpProtocolOptions, at: &At) -> Result<Protocol, Rejection> {
    use http_pb::http_protocol_options::{UpstreamProtocolOptions as U, explicit_http_config::ProtocolConfig as P};
    let protocol = match &pb.upstream_protocol_options {
        None => {
            return Err(
                at.reject("names no protocol: set explicit_http_config, use_downstream_protocol_config or auto_config")
            );
        }
        Some(U::ExplicitHttpConfig(explicit)) => {
            let at = at.field("explicit_http_config");
            match &explicit.protocol_config {
                None => return Err(at.reject("is empty: set http_protocol_options or http2_protocol_options")),
                Some(P::HttpProtocolOptions(http1)) => {
                    let at = at.field("http_protocol_options");
                    UpstreamProtocol::Http1(http_options::http1(Some(http1), &at)?)
                }
                Some(P::Http2ProtocolOptions(http2)) => {
                    let at = at.field("http2_protocol_options");
                    UpstreamProtocol::Http2(http_options::http2(Some(http2), &at)?)
                }
                Some(P::Http3ProtocolOptions(_)) => {
                    return Err(at
                        .field("http3_protocol_options")
                        .reject("HTTP/3 is not supported by Pillion"));
                }
            }
        }
        Some(U::UseDownstreamProtocolConfig(config)) => {
            let at = at.field("use_downstream_protocol_config");
            at.not_honoured("http3_protocol_options", config.http3_protocol_options.is_some());
            UpstreamProtocol::UseDownstream {
                http1: http_options::http1(
                    config.http_protocol_options.as_deref(),
                    &at.field("http_protocol_options"),
                )?,
                http2: http_options::http2(
                    config.http2_protocol_options.as_deref(),
                    &at.field("http2_protocol_options"),
                )?,
            }
        }
        Some(U::AutoConfig(config)) => {
            let at = at.field("auto_config");
            at.not_honoured("http3_protocol_options", config.http3_protocol_options.is_some());
            UpstreamProtocol::Auto {
                http1: http_options::http1(
                    config.http_protocol_options.as_deref(),
                    &at.field("http_protocol_options"),
                )?,
                http2: http_options::http2(
                    config.http2_protocol_options.as_deref(),
                    &at.field("http2_protocol_options"),
                )?,
            }
        }
    };
    http_filter::upstream(&pb.http_filters, at)?;
    at.not_honoured("outlier_detection", pb.outlier_detection.is_some());
    at.not_honoured("request_mirror_policies", !pb.request_mirror_policies.is_empty());
    at.not_honoured("hash_policy", !pb.hash_policy.is_empty());
    at.not_honoured("retry_policy", pb.retry_policy.is_some());
    at.not_honoured("header_validation_config", pb.header_validation_config.is_some());
    with_common(
        protocol,
        pb.common_http_protocol_options.as_ref(),
        pb.upstream_http_protocol_options.as_deref(),
        at,
    )
}

fn deprecated(pb: &pb::Cluster, at: &At) -> Result<Protocol, Rejection> {
    use pb::cluster::ClusterProtocolSelection as S;
    let http1 = || http_options::http1(pb.http_protocol_options.as_deref(), &at.field("http_protocol_options"));
    let http2 = || {
        http_options::http2(
            pb.http2_protocol_options.as_deref(),
            &at.field("http2_protocol_options"),
        )
    };
    let protocol = match at.enumeration("protocol_selection", pb.protocol_selection)? {
        S::UseDownstreamProtocol => UpstreamProtocol::UseDownstream {
            http1: http1()?,
            http2: http2()?,
        },
        S::UseConfiguredProtocol if pb.http2_protocol_options.is_some() && pb.http_protocol_options.is_some() => {
            return Err(at
                .field("http_protocol_options")
                .reject("stands beside http2_protocol_options, and only one of them can be spoken; keep one"));
        }
        S::UseConfiguredProtocol if pb.http2_protocol_options.is_some() => UpstreamProtocol::Http2(http2()?),
        S::UseConfiguredProtocol => UpstreamProtocol::Http1(http1()?),
    };
    with_common(
        protocol,
        pb.common_http_protocol_options.as_ref(),
        pb.upstream_http_protocol_options.as_deref(),
        at,
    )
}

fn with_common(
    protocol: UpstreamProtocol,
    common: Option<&core::HttpProtocolOptions>,
    upstream: Option<&core::UpstreamHttpProtocolOptions>,
    at: &At,
) -> Result<Protocol, Rejection> {
    let default = core::HttpProtocolOptions::default();
    let common = common.unwrap_or(&default);
    let at_common = at.field("common_http_protocol_options");
    let at_upstream = at.field("upstream_http_protocol_options");
    at_common.not_honoured(
        "max_connection_duration_jitter",
        common.max_connection_duration_jitter.is_some(),
    );
    Ok(Protocol {
        protocol,
        idle_timeout: at_common.timeout("idle_timeout", common.idle_timeout.as_ref(), Some(IDLE_TIMEOUT))?,
        tcp_idle_timeout: None,
        max_connection_duration: at_common.timeout(
            "max_connection_duration",
            common.max_connection_duration.as_ref(),
            None,
        )?,
        max_stream_duration: at_common.timeout("max_stream_duration", common.max_stream_duration.as_ref(), None)?,
        max_requests_per_connection: common.max_requests_per_connection.unwrap_or(0),
        max_response_headers_kb: common
            .max_response_headers_kb
            .unwrap_or(limits::MAX_RESPONSE_HEADERS_KB),
        max_headers_count: common.max_headers_count.unwrap_or(limits::MAX_HEADERS_COUNT),
        auto_sni: upstream.is_some_and(|u| u.auto_sni),
        auto_san_validation: upstream.is_some_and(|u| u.auto_san_validation),
        auto_sni_header: match upstream.map_or("", |u| &u.override_auto_sni_header) {
            "" => None,
            name => Some(at_upstream.header_name("override_auto_sni_header", name)?),
        },
    })
}
