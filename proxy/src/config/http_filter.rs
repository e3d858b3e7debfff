//! HTTP filters of connection managers and clusters. [`FILTERS`] is the one place where a filter becomes known.
//! `discovered` is for those whose config comes by itself.

use std::sync::Arc;

use xds_api::envoy::extensions::filters::{
    http::on_demand::v3 as on_demand, network::http_connection_manager::v3 as pb,
};

use super::{
    at::At,
    extension::{self, Category, Extension, Kind},
    fault, istio, jwt_authn, rbac,
    rejection::Rejection,
};
use crate::{
    http::filter::{
        FilterKind, HttpFilter,
        cors::Cors,
        fault::Fault,
        grpc_stats::{GrpcStats, Methods, Service},
        router::Router,
    },
    stats::Prefix,
};

mod discovered;

pub use discovered::{ExtensionConfig, parse_extension};

/// One known filter. Its statistics lie under those of its connection manager, whose `stat_prefix` it is given.
struct Known {
    type_name: &'static str,
    parse: fn(&Extension, &Arc<str>, &At) -> Result<FilterKind, Rejection>,
}

/// Every filter that is known; adding one is adding a line here.
const FILTERS: &[Known] = &[
    Known {
        type_name: "envoy.extensions.filters.http.router.v3.Router",
        parse: |extension, _, at| router(extension, at).map(FilterKind::Router),
    },
    Known {
        type_name: "envoy.extensions.filters.http.rbac.v3.RBAC",
        parse: |extension, stat_prefix, at| {
            rbac::http(extension, stat_prefix, at).map(|rbac| FilterKind::Rbac(Box::new(rbac)))
        },
    },
    Known {
        type_name: "envoy.extensions.filters.http.compressor.v3.Compressor",
        parse: |_, _, at| {
            // Changes how a response is encoded, never what is let through.
            at.note("responses are not compressed");
            Ok(FilterKind::Inert)
        },
    },
    Known {
        type_name: "envoy.extensions.filters.http.on_demand.v3.OnDemand",
        parse: |extension, _, at| {
            let pb: on_demand::OnDemand = extension.message(at)?;
            // A route to a cluster that is fetched on demand would be answered 503.
            at.unsupported("odcds", pb.odcds.is_some())?;
            Ok(FilterKind::OnDemand)
        },
    },
    Known {
        // Does nothing but where a route has a policy for it.
        type_name: "envoy.extensions.filters.http.cors.v3.Cors",
        parse: |_, stat_prefix, at| {
            let stats = at.stats(Prefix::http_filter(stat_prefix.clone(), "cors."));
            Ok(FilterKind::Cors(Cors { stats }))
        },
    },
    Known {
        type_name: "envoy.extensions.filters.http.fault.v3.HTTPFault",
        parse: |extension, stat_prefix, at| {
            let settings = fault::parse(extension, at)?;
            let stats = at.stats(Prefix::http_filter(stat_prefix.clone(), "fault."));
            Ok(FilterKind::Fault(Fault { settings, stats }))
        },
    },
    Known {
        type_name: "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        parse: |extension, stat_prefix, at| {
            jwt_authn::parse(extension, stat_prefix, at).map(|jwt| FilterKind::JwtAuthn(Box::new(jwt)))
        },
    },
    Known {
        type_name: "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
        parse: |extension, _, at| grpc_stats(extension, at).map(FilterKind::GrpcStats),
    },
    Known {
        type_name: "io.istio.http.peer_metadata.Config",
        parse: |extension, _, at| istio::peer_metadata(extension, at).map(FilterKind::PeerMetadata),
    },
    Known {
        type_name: "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig",
        parse: |extension, _, at| istio::alpn(extension, at).map(FilterKind::Alpn),
    },
    Known {
        type_name: "stats.PluginConfig",
        parse: |extension, _, at| istio::stats(extension, at).map(FilterKind::IstioStats),
    },
];

pub(crate) fn parse(pbs: &[pb::HttpFilter], stat_prefix: &Arc<str>, at: &At) -> Result<Vec<HttpFilter>, Rejection> {
    let mut filters = Vec::with_capacity(pbs.len());
    // Of the filters that are known: those that were optional and are not may leave nothing.
    let mut last_is_terminal = None;
    for (i, filter) in pbs.iter().enumerate() {
        let last = i + 1 == pbs.len();
        let at = at.item("http_filters", i);
        let name = at.non_empty("name", &filter.name)?;
        let parsed = match &filter.config_type {
            Some(pb::http_filter::ConfigType::ConfigDiscovery(source)) => {
                let at = at.field("config_discovery");
                Some(discovered::parse(name, source, last, stat_prefix, &at)?)
            }
            _ => parse_kind(
                config(filter, &at)?,
                filter.is_optional,
                stat_prefix,
                &at.field("typed_config"),
            )?,
        };
        let Some(kind) = parsed else { continue };
        if kind.is_terminal() && !last {
            return Err(at.reject(format_args!(
                "{name:?} answers every request; nothing can come after it"
            )));
        }
        if kind.is_terminal() && filter.disabled {
            return Err(at
                .field("disabled")
                .reject("the filter that answers the request cannot be switched off"));
        }
        last_is_terminal = Some(kind.is_terminal());
        // What does nothing anywhere has no place in the path of requests.
        if !matches!(kind, FilterKind::Inert) {
            filters.push(HttpFilter {
                name: name.into(),
                disabled: filter.disabled,
                kind,
            });
        }
    }
    if last_is_terminal == Some(false) {
        let at = at.item("http_filters", pbs.len() - 1);
        return Err(at.reject("the last filter must answer the request: envoy.filters.http.router is missing"));
    }
    Ok(filters)
}

fn parse_kind(
    any: Option<&xds_api::pb::Any>,
    optional: bool,
    stat_prefix: &Arc<str>,
    at: &At,
) -> Result<Option<FilterKind>, Rejection> {
    let known = extension::find(
        Category::HttpFilter,
        any,
        optional,
        FILTERS,
        |known| known.type_name,
        at,
    )?;
    known
        .map(|(extension, known)| (known.parse)(&extension, stat_prefix, at))
        .transpose()
}

fn is_known(type_name: &str) -> bool {
    FILTERS.iter().any(|kind| kind.type_name == type_name)
}

/// Filters that a cluster runs on its side. Only the codec that ends them does nothing but what happens anyway.
pub(crate) fn upstream(pbs: &[pb::HttpFilter], at: &At) -> Result<(), Rejection> {
    const UPSTREAM_FILTERS: &[Kind<()>] = &[Kind {
        type_name: "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
        parse: |_, _| Ok(()),
    }];
    for (i, filter) in pbs.iter().enumerate() {
        let at = at.item("http_filters", i);
        let any = config(filter, &at)?;
        let at = at.field("typed_config");
        extension::dispatch(Category::HttpFilter, any, filter.is_optional, UPSTREAM_FILTERS, &at)?;
    }
    Ok(())
}

fn config<'p>(filter: &'p pb::HttpFilter, at: &At) -> Result<Option<&'p xds_api::pb::Any>, Rejection> {
    use pb::http_filter::ConfigType as C;
    match &filter.config_type {
        None => Ok(None),
        Some(C::TypedConfig(any)) => Ok(Some(any)),
        Some(C::ConfigDiscovery(_)) => Err(at.field("config_discovery").reject(format_args!(
            "the filter {:?} comes by discovery (ECDS), which Pillion does not support here",
            filter.name
        ))),
    }
}

fn grpc_stats(extension: &Extension, at: &At) -> Result<GrpcStats, Rejection> {
    use xds_api::envoy::extensions::filters::http::grpc_stats::v3::{
        FilterConfig, filter_config::PerMethodStatSpecifier,
    };
    let pb: FilterConfig = extension.message(at)?;
    at.not_honoured(
        "replace_dots_in_grpc_service_name",
        pb.replace_dots_in_grpc_service_name,
    );
    Ok(GrpcStats {
        emit_filter_state: pb.emit_filter_state,
        upstream_stats: pb.enable_upstream_stats,
        methods: match &pb.per_method_stat_specifier {
            Some(PerMethodStatSpecifier::StatsForAllMethods(true)) => Methods::All,
            Some(PerMethodStatSpecifier::IndividualMethodStatsAllowlist(list)) => {
                let service = |service: &xds_api::envoy::config::core::v3::grpc_method_list::Service| {
                    let methods = service.method_names.iter().map(|method| method.as_str().into());
                    Service {
                        name: service.name.as_str().into(),
                        methods: methods.collect(),
                    }
                };
                Methods::Listed(list.services.iter().map(service).collect())
            }
            Some(PerMethodStatSpecifier::StatsForAllMethods(false)) | None => Methods::None,
        },
    })
}

fn router(extension: &Extension, at: &At) -> Result<Router, Rejection> {
    let pb = extension.decode(xds_api::decode_router, at)?;
    upstream(&pb.upstream_http_filters, at)?;
    at.not_honoured("upstream_log", !pb.upstream_log.is_empty());
    let mut strict_check_headers = Vec::with_capacity(pb.strict_check_headers.len());
    for (i, name) in pb.strict_check_headers.iter().enumerate() {
        let at = at.item("strict_check_headers", i);
        strict_check_headers.push(at.header_name("", name)?);
    }
    Ok(Router {
        suppress_envoy_headers: pb.suppress_envoy_headers,
        start_child_span: pb.start_child_span,
        respect_expected_rq_timeout: pb.respect_expected_rq_timeout,
        suppress_grpc_request_failure_code_stats: pb.suppress_grpc_request_failure_code_stats,
        dynamic_stats: pb.dynamic_stats.unwrap_or(true),
        strict_check_headers,
    })
}
