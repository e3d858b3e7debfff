//! HTTP filters of connection managers and clusters. [`FILTERS`] is the one place where a filter becomes known.

use xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as pb;

use super::{
    at::At,
    extension::{self, Category, Extension, Kind},
    rejection::Rejection,
};
use crate::http::filter::{HttpFilter, router::Router};

/// A filter that is known.
enum Parsed {
    Filter(HttpFilter),
    /// Changes how a response is encoded, never what is let through: left out.
    Skipped(&'static str),
}

const FILTERS: &[Kind<Parsed>] = &[
    Kind {
        type_name: "envoy.extensions.filters.http.router.v3.Router",
        parse: |extension, at| router(extension, at).map(|router| Parsed::Filter(HttpFilter::Router(router))),
    },
    Kind {
        type_name: "envoy.extensions.filters.http.compressor.v3.Compressor",
        parse: |_, _| Ok(Parsed::Skipped("responses are not compressed")),
    },
];

pub(crate) fn parse(pbs: &[pb::HttpFilter], at: &At) -> Result<Vec<HttpFilter>, Rejection> {
    let mut filters = Vec::with_capacity(pbs.len());
    // Of the filters that are known: those that were optional and are not may leave nothing.
    let mut last_answers = None;
    for (i, filter) in pbs.iter().enumerate() {
        let last = i + 1 == pbs.len();
        let at = at.item("http_filters", i);
        let name = at.non_empty("name", &filter.name)?;
        let parsed = extension::dispatch(
            Category::HttpFilter,
            config(filter, &at)?,
            filter.is_optional,
            FILTERS,
            &at.field("typed_config"),
        )?;
        match parsed {
            Some(Parsed::Filter(filter)) if answers(&filter) && !last => {
                return Err(at.reject(format_args!(
                    "{name:?} answers every request; nothing can come after it"
                )));
            }
            Some(Parsed::Filter(filter)) => {
                last_answers = Some(answers(&filter));
                filters.push(filter);
            }
            Some(Parsed::Skipped(why)) => {
                last_answers = Some(false);
                at.note(why);
            }
            None => {}
        }
    }
    if last_answers == Some(false) {
        let at = at.item("http_filters", pbs.len() - 1);
        return Err(at.reject("the last filter must answer the request: envoy.filters.http.router is missing"));
    }
    Ok(filters)
}

/// Whether nothing may come after the filter, because no request passes it.
fn answers(filter: &HttpFilter) -> bool {
    match filter {
        HttpFilter::Router(_) => true,
    }
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
            "the filter {:?} comes by discovery (ECDS), which Pillion does not support yet",
            filter.name
        ))),
    }
}

fn router(extension: &Extension, at: &At) -> Result<Router, Rejection> {
    let pb = extension.decode(xds_api::decode_router, at)?;
    upstream(&pb.upstream_http_filters, at)?;
    at.not_honoured("upstream_log", !pb.upstream_log.is_empty());
    at.not_honoured("start_child_span", pb.start_child_span);
    let mut strict_check_headers = Vec::with_capacity(pb.strict_check_headers.len());
    for (i, name) in pb.strict_check_headers.iter().enumerate() {
        let at = at.item("strict_check_headers", i);
        strict_check_headers.push(at.header_name("", name)?);
    }
    Ok(Router {
        suppress_envoy_headers: pb.suppress_envoy_headers,
        respect_expected_rq_timeout: pb.respect_expected_rq_timeout,
        suppress_grpc_request_failure_code_stats: pb.suppress_grpc_request_failure_code_stats,
        dynamic_stats: pb.dynamic_stats.unwrap_or(true),
        strict_check_headers,
    })
}
