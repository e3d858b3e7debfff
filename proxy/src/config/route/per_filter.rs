//! `typed_per_filter_config`: what a route or virtual host says to a filter. Each filter that has such config adds its kind here.

use std::{collections::BTreeMap, sync::Arc};

use xds_api::{Message, pb::Any};

use super::super::{
    at::At,
    cors,
    extension::{self, Category, Extension, Kind},
    fault, jwt_authn, rbac,
    rejection::Rejection,
};
use crate::route::per_filter::{PerFilter, PerRoute, PerRouteConfig};

const FILTER_CONFIG: &str = "envoy.config.route.v3.FilterConfig";

/// [`FILTER_CONFIG`], which only stands in an `Any` and so has no generated type.
#[derive(prost::Message)]
struct FilterConfig {
    #[prost(message, optional, tag = "1")]
    config: Option<Any>,
    #[prost(bool, tag = "2")]
    is_optional: bool,
    #[prost(bool, tag = "3")]
    disabled: bool,
}

const KINDS: &[Kind<PerRouteConfig>] = &[
    Kind {
        type_name: "envoy.extensions.filters.http.compressor.v3.CompressorPerRoute",
        parse: |_, _| Ok(PerRouteConfig::Inert),
    },
    Kind {
        type_name: "envoy.extensions.filters.http.cors.v3.CorsPolicy",
        parse: |extension, at| Ok(PerRouteConfig::Cors(Arc::new(cors::per_route(extension, at)?))),
    },
    Kind {
        type_name: "envoy.extensions.filters.http.fault.v3.HTTPFault",
        parse: |extension, at| fault::parse(extension, at).map(PerRouteConfig::Fault),
    },
    Kind {
        type_name: "envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig",
        parse: |extension, at| jwt_authn::per_route(extension, at).map(PerRouteConfig::JwtAuthn),
    },
    Kind {
        type_name: "envoy.extensions.filters.http.rbac.v3.RBACPerRoute",
        parse: |extension, at| Ok(PerRouteConfig::Rbac(rbac::per_route(extension, at)?.map(Arc::new))),
    },
];

/// Refuses config for filters that are not known, unless it is marked optional.
pub(crate) fn parse(configs: &BTreeMap<String, Any>, at: &At) -> Result<PerFilter, Rejection> {
    let mut said = Vec::with_capacity(configs.len());
    for (name, any) in configs {
        let at = at.entry("typed_per_filter_config", name);
        if let Some(one) = one(any, &at)? {
            said.push((name.as_str().into(), one));
        }
    }
    Ok(PerFilter(said.into()))
}

fn one(any: &Any, at: &At) -> Result<Option<PerRoute>, Rejection> {
    if xds_api::any::type_name(&any.type_url) != FILTER_CONFIG {
        let config = extension::dispatch(Category::PerRouteConfig, Some(any), false, KINDS, at)?;
        return Ok(config.map(PerRoute::Config));
    }
    let wrapper: FilterConfig = Extension::open(any, at)?.decode(|bytes| Message::decode(bytes), at)?;
    let inner = wrapper.config.as_ref().filter(|config| !config.type_url.is_empty());
    match inner {
        Some(inner) if !wrapper.disabled => {
            let at = at.field("config");
            let config = extension::dispatch(Category::PerRouteConfig, Some(inner), wrapper.is_optional, KINDS, &at)?;
            Ok(config.map(PerRoute::Config))
        }
        // Without a config it only switches the filter on or off.
        _ => Ok(Some(PerRoute::Switch {
            disabled: wrapper.disabled,
        })),
    }
}
