//! `HttpConnectionManager`.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;
use xds_api::envoy::{config::core::v3 as core, extensions::filters::network::http_connection_manager::v3 as pb};

use super::{
    access_log, address,
    at::At,
    dependencies::Reference,
    extension::{self, Category, Extension},
    http_filter, http_options,
    rejection::Rejection,
    route, source, tracing, wire,
};
use crate::{
    cluster::HeaderCase,
    http::{
        CodecType, EscapedSlashes, Http1Server, HttpConnectionManager, InternalAddress, RouteSource, ServerHeader,
        UnderscoreAction, codec::limits, filter::FilterKind,
    },
    stats::Prefix,
};

mod identity;
mod local_reply;

/// Envoy's defaults.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
const DELAYED_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
const SERVER_NAME: HeaderValue = HeaderValue::from_static("envoy");

pub(crate) fn parse(extension: &Extension, at: &At) -> Result<HttpConnectionManager, Rejection> {
    let pb = extension.decode(xds_api::decode_http_connection_manager, at)?;
    unsupported(&pb, at)?;
    let common_default = core::HttpProtocolOptions::default();
    let common = pb.common_http_protocol_options.as_ref().unwrap_or(&common_default);
    let at_common = at.field("common_http_protocol_options");
    let stat_prefix: Arc<str> = at.non_empty("stat_prefix", &pb.stat_prefix)?.into();
    let filters = http_filter::parse(&pb.http_filters, &stat_prefix, at)?;
    let identity = identity::parse(&pb, at)?;
    let http1_default = core::Http1ProtocolOptions::default();
    let http1 = pb.http_protocol_options.as_deref().unwrap_or(&http1_default);
    let at_http1 = at.field("http_protocol_options");
    Ok(HttpConnectionManager {
        stats: at.stats(Prefix::http(Arc::clone(&stat_prefix))),
        stat_prefix,
        listener_stats: None,
        codec: codec(pb.codec_type, at)?,
        routes: routes(&pb, at)?,
        suppress_envoy_headers: filters.iter().any(|filter| match &filter.kind {
            FilterKind::Router(router) => router.suppress_envoy_headers,
            _ => false,
        }),
        filters,
        access_log: access_log::parse(&pb.access_log, "access_log", at)?,
        access_log_on_new_request: pb.flush_access_log_on_new_request
            || pb
                .access_log_options
                .as_ref()
                .is_some_and(|o| o.flush_access_log_on_new_request),
        http1: Http1Server {
            accept_http_10: http1.accept_http_10,
            default_host_for_http_10: match http1.default_host_for_http_10.as_str() {
                "" => None,
                host => Some(at_http1.header_value("default_host_for_http_10", host)?),
            },
            header_case: match pb.http_protocol_options.as_deref() {
                Some(options) => http_options::header_case(options, &at_http1)?,
                None => HeaderCase::Lower,
            },
            enable_trailers: http1.enable_trailers,
            allow_chunked_length: http1.allow_chunked_length,
            allow_absolute_url: http1.allow_absolute_url.unwrap_or(true),
        },
        http2: http_options::http2(
            pb.http2_protocol_options.as_deref(),
            &at.field("http2_protocol_options"),
        )?,
        max_request_headers_kb: pb.max_request_headers_kb.unwrap_or(limits::MAX_HEADERS_KB),
        max_headers_count: common.max_headers_count.unwrap_or(limits::MAX_HEADERS_COUNT),
        headers_with_underscores: underscores(common, &at_common)?,
        idle_timeout: at_common.timeout("idle_timeout", common.idle_timeout.as_ref(), Some(IDLE_TIMEOUT))?,
        max_connection_duration: at_common.timeout(
            "max_connection_duration",
            common.max_connection_duration.as_ref(),
            None,
        )?,
        max_requests_per_connection: common.max_requests_per_connection.unwrap_or(0),
        max_stream_duration: at_common.timeout("max_stream_duration", common.max_stream_duration.as_ref(), None)?,
        stream_idle_timeout: at.timeout(
            "stream_idle_timeout",
            pb.stream_idle_timeout.as_ref(),
            Some(STREAM_IDLE_TIMEOUT),
        )?,
        request_timeout: at.timeout("request_timeout", pb.request_timeout.as_ref(), None)?,
        request_headers_timeout: at.timeout("request_headers_timeout", pb.request_headers_timeout.as_ref(), None)?,
        drain_timeout: at
            .duration("drain_timeout", pb.drain_timeout.as_ref())?
            .unwrap_or(DRAIN_TIMEOUT),
        delayed_close_timeout: at.timeout(
            "delayed_close_timeout",
            pb.delayed_close_timeout.as_ref(),
            Some(DELAYED_CLOSE_TIMEOUT),
        )?,
        server_name: match pb.server_name.as_str() {
            "" => SERVER_NAME,
            name => at.header_value("server_name", name)?,
        },
        server_header: server_header(pb.server_header_transformation, at)?,
        use_remote_address: pb.use_remote_address.unwrap_or(false),
        xff_num_trusted_hops: pb.xff_num_trusted_hops,
        skip_xff_append: pb.skip_xff_append,
        internal_address: match pb.internal_address_config.as_deref() {
            Some(config) => InternalAddress {
                unix_sockets: config.unix_sockets,
                cidr_ranges: address::cidrs(&config.cidr_ranges, "internal_address_config.cidr_ranges", at)?,
            },
            None => InternalAddress::default(),
        },
        via: match pb.via.as_str() {
            "" => None,
            via => Some(at.header_value("via", via)?),
        },
        generate_request_id: pb.generate_request_id.unwrap_or(true),
        preserve_external_request_id: pb.preserve_external_request_id,
        always_set_request_id_in_response: pb.always_set_request_id_in_response,
        request_id: identity.request_id,
        forward_client_cert: identity.forward,
        set_client_cert: identity.set,
        proxy_100_continue: pb.proxy_100_continue,
        normalize_path: pb.normalize_path.unwrap_or(false),
        merge_slashes: pb.merge_slashes,
        escaped_slashes: escaped_slashes(pb.path_with_escaped_slashes_action, at)?,
        strip_matching_host_port: pb.strip_matching_host_port,
        strip_any_host_port: strip_any_host_port(&pb, at)?,
        strip_trailing_host_dot: pb.strip_trailing_host_dot,
        upgrades: upgrades(&pb.upgrade_configs, at)?,
        represent_ipv4_remote_address_as_ipv4_mapped_ipv6: pb.represent_ipv4_remote_address_as_ipv4_mapped_ipv6,
        append_x_forwarded_port: pb.append_x_forwarded_port,
        scheme_to_overwrite: scheme_to_overwrite(pb.scheme_header_transformation.as_deref(), at)?,
        scheme_match_upstream: pb
            .scheme_header_transformation
            .as_deref()
            .is_some_and(|s| s.match_upstream),
        stream_error_on_invalid_http_message: stream_error(&pb, http1),
        local_reply: local_reply::parse(pb.local_reply_config.as_deref(), &at.field("local_reply_config"))?,
        tracing: tracing::parse(pb.tracing.as_deref(), &at.field("tracing"))?,
        hash: wire::hash(&extension.bytes),
    })
}

fn unsupported(pb: &pb::HttpConnectionManager, at: &At) -> Result<(), Rejection> {
    for (field, category, extensions) in [
        (
            "original_ip_detection_extensions",
            Category::OriginalIpDetection,
            &pb.original_ip_detection_extensions,
        ),
        (
            "early_header_mutation_extensions",
            Category::EarlyHeaderMutation,
            &pb.early_header_mutation_extensions,
        ),
    ] {
        for (i, extension) in extensions.iter().enumerate() {
            let at = at.item(field, i);
            let any = extension.typed_config.as_ref();
            extension::dispatch::<()>(category, any, false, &[], &at.field("typed_config"))?;
        }
    }
    // These change whom a request is taken to come from, or what filters see of it.
    for (field, set) in [
        ("forward_client_cert_matcher", pb.forward_client_cert_matcher.is_some()),
        (
            "typed_header_validation_config",
            pb.typed_header_validation_config.is_some(),
        ),
    ] {
        at.unsupported(field, set)?;
    }
    for (field, set) in [
        ("path_normalization_options", pb.path_normalization_options.is_some()),
        ("proxy_status_config", pb.proxy_status_config.is_some()),
        ("add_user_agent", pb.add_user_agent == Some(true)),
        ("access_log_flush_interval", pb.access_log_flush_interval.is_some()),
        ("append_local_overload", pb.append_local_overload),
        ("forward_proto_config", pb.forward_proto_config.is_some()),
        ("stream_flush_timeout", pb.stream_flush_timeout.is_some()),
        ("drain_timeout_jitter", pb.drain_timeout_jitter.is_some()),
        ("http3_protocol_options", pb.http3_protocol_options.is_some()),
    ] {
        at.not_honoured(field, set);
    }
    Ok(())
}

fn routes(pb: &pb::HttpConnectionManager, at: &At) -> Result<RouteSource, Rejection> {
    use pb::http_connection_manager::RouteSpecifier as R;
    match &pb.route_specifier {
        None => Err(at.reject("has no routes: set rds, route_config or scoped_routes")),
        Some(R::RouteConfig(config)) => {
            // Inline routes change only together with the connection manager, whose hash stands for both.
            let routes = route::configuration(config, 0, true, &at.field("route_config"))?;
            Ok(RouteSource::Inline(Arc::new(routes)))
        }
        Some(R::Rds(rds)) => {
            let at = at.field("rds");
            let source = at.required("config_source", rds.config_source.as_deref())?;
            let source = Arc::new(source::parse(source, &at.field("config_source"))?);
            let name: Arc<str> = at.non_empty("route_config_name", &rds.route_config_name)?.into();
            at.depend(|dependencies| {
                dependencies.add_route(Reference {
                    name: Arc::clone(&name),
                    source,
                    stat_prefix: pb.stat_prefix.as_str().into(),
                });
            });
            Ok(RouteSource::Rds(name))
        }
        Some(R::ScopedRoutes(scoped)) => {
            let scoped = route::scope::scoped_routes(scoped, &pb.stat_prefix, &at.field("scoped_routes"))?;
            Ok(RouteSource::Scoped(Box::new(scoped)))
        }
    }
}

fn codec(value: i32, at: &At) -> Result<CodecType, Rejection> {
    use pb::http_connection_manager::CodecType as C;
    match at.enumeration("codec_type", value)? {
        C::Auto => Ok(CodecType::Auto),
        C::Http1 => Ok(CodecType::Http1),
        C::Http2 => Ok(CodecType::Http2),
        C::Http3 => Err(at.field("codec_type").reject("HTTP3 is not supported by Pillion")),
    }
}

fn underscores(common: &core::HttpProtocolOptions, at: &At) -> Result<UnderscoreAction, Rejection> {
    use core::http_protocol_options::HeadersWithUnderscoresAction as A;
    at.not_honoured(
        "max_connection_duration_jitter",
        common.max_connection_duration_jitter.is_some(),
    );
    Ok(
        match at.enumeration(
            "headers_with_underscores_action",
            common.headers_with_underscores_action,
        )? {
            A::Allow => UnderscoreAction::Allow,
            A::RejectRequest => UnderscoreAction::RejectRequest,
            A::DropHeader => UnderscoreAction::DropHeader,
        },
    )
}

fn server_header(value: i32, at: &At) -> Result<ServerHeader, Rejection> {
    use pb::http_connection_manager::ServerHeaderTransformation as S;
    Ok(match at.enumeration("server_header_transformation", value)? {
        S::Overwrite => ServerHeader::Overwrite,
        S::AppendIfAbsent => ServerHeader::AppendIfAbsent,
        S::PassThrough => ServerHeader::PassThrough,
    })
}

fn escaped_slashes(value: i32, at: &At) -> Result<EscapedSlashes, Rejection> {
    use pb::http_connection_manager::PathWithEscapedSlashesAction as P;
    Ok(match at.enumeration("path_with_escaped_slashes_action", value)? {
        P::ImplementationSpecificDefault | P::KeepUnchanged => EscapedSlashes::KeepUnchanged,
        P::RejectRequest => EscapedSlashes::RejectRequest,
        P::UnescapeAndRedirect => EscapedSlashes::UnescapeAndRedirect,
        P::UnescapeAndForward => EscapedSlashes::UnescapeAndForward,
    })
}

fn strip_any_host_port(pb: &pb::HttpConnectionManager, at: &At) -> Result<bool, Rejection> {
    use pb::http_connection_manager::StripPortMode::StripAnyHostPort;
    let any = matches!(pb.strip_port_mode, Some(StripAnyHostPort(true)));
    if any && pb.strip_matching_host_port {
        return Err(at
            .field("strip_any_host_port")
            .reject("stands beside strip_matching_host_port; keep one"));
    }
    Ok(any)
}

fn upgrades(pbs: &[pb::http_connection_manager::UpgradeConfig], at: &At) -> Result<Vec<(Box<str>, bool)>, Rejection> {
    let mut upgrades: Vec<(Box<str>, bool)> = Vec::with_capacity(pbs.len());
    for (i, upgrade) in pbs.iter().enumerate() {
        let at = at.item("upgrade_configs", i);
        let kind: Box<str> = upgrade.upgrade_type.to_ascii_lowercase().into();
        if upgrades.iter().any(|(known, _)| *known == kind) {
            return Err(at
                .field("upgrade_type")
                .reject(format_args!("{kind:?} stands here twice")));
        }
        // A filter chain of its own may hold guards of its own.
        at.unsupported("filters", !upgrade.filters.is_empty())?;
        upgrades.push((kind, upgrade.enabled.unwrap_or(true)));
    }
    Ok(upgrades)
}

fn scheme_to_overwrite(
    pb: Option<&core::SchemeHeaderTransformation>,
    at: &At,
) -> Result<Option<HeaderValue>, Rejection> {
    use core::scheme_header_transformation::Transformation::SchemeToOverwrite;
    match pb.and_then(|pb| pb.transformation.as_ref()) {
        None => Ok(None),
        Some(SchemeToOverwrite(scheme)) if scheme == "http" || scheme == "https" => Ok(Some(
            at.header_value("scheme_header_transformation.scheme_to_overwrite", scheme)?,
        )),
        Some(SchemeToOverwrite(scheme)) => Err(at
            .field("scheme_header_transformation.scheme_to_overwrite")
            .reject(format_args!("{scheme:?} is neither http nor https"))),
    }
}

/// The codec's own setting goes before the connection manager's.
fn stream_error(pb: &pb::HttpConnectionManager, http1: &core::Http1ProtocolOptions) -> bool {
    http1
        .override_stream_error_on_invalid_http_message
        .or(pb.stream_error_on_invalid_http_message)
        .unwrap_or(false)
}
