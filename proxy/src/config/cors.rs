//! `CorsPolicy`: of the filter by its name, and the older one of routes and virtual hosts. They differ in their field numbers.

use http::HeaderValue;
use xds_api::envoy::{config::route::v3 as route, extensions::filters::http::cors::v3 as pb};

use super::{at::At, extension::Extension, matcher, rejection::Rejection};
use crate::http::filter::cors::CorsPolicy;

pub(super) fn per_route(extension: &Extension, at: &At) -> Result<CorsPolicy, Rejection> {
    policy(&extension.message(at)?, at)
}

/// The `cors` field of a route or virtual host.
pub(super) fn legacy(pb: &route::CorsPolicy, at: &At) -> Result<CorsPolicy, Rejection> {
    use route::cors_policy::EnabledSpecifier::FilterEnabled;
    let same = pb::CorsPolicy {
        allow_origin_string_match: pb.allow_origin_string_match.clone(),
        allow_methods: pb.allow_methods.clone(),
        allow_headers: pb.allow_headers.clone(),
        expose_headers: pb.expose_headers.clone(),
        max_age: pb.max_age.clone(),
        allow_credentials: pb.allow_credentials,
        filter_enabled: pb.enabled_specifier.clone().map(|FilterEnabled(fraction)| fraction),
        shadow_enabled: pb.shadow_enabled.clone(),
        allow_private_network_access: pb.allow_private_network_access,
        forward_not_matching_preflights: pb.forward_not_matching_preflights,
    };
    policy(&same, at)
}

fn policy(pb: &pb::CorsPolicy, at: &At) -> Result<CorsPolicy, Rejection> {
    let origins = pb.allow_origin_string_match.iter().enumerate();
    let origins = origins.map(|(i, origin)| matcher::string(origin, &at.item("allow_origin_string_match", i)));
    let text = |field, text: &str| -> Result<Option<HeaderValue>, Rejection> {
        match text {
            "" => Ok(None),
            text => at.header_value(field, text).map(Some),
        }
    };
    let fraction = |field, fraction: Option<&_>| match fraction {
        Some(fraction) => matcher::runtime_fraction(fraction, &at.field(field)).map(Some),
        None => Ok(None),
    };
    Ok(CorsPolicy {
        allow_origin: origins.collect::<Result<_, _>>()?,
        allow_methods: text("allow_methods", &pb.allow_methods)?,
        allow_headers: text("allow_headers", &pb.allow_headers)?,
        expose_headers: text("expose_headers", &pb.expose_headers)?,
        max_age: text("max_age", &pb.max_age)?,
        allow_credentials: pb.allow_credentials,
        allow_private_network_access: pb.allow_private_network_access,
        forward_not_matching_preflights: pb.forward_not_matching_preflights,
        filter_enabled: fraction("filter_enabled", pb.filter_enabled.as_deref())?,
        shadow_enabled: fraction("shadow_enabled", pb.shadow_enabled.as_deref())?,
    })
}
