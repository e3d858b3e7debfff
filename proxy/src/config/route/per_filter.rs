//! `typed_per_filter_config`: what a route or virtual host says to a filter. Each filter that has such config adds its kind here.

use std::collections::BTreeMap;

use xds_api::pb::Any;

use super::super::{
    at::At,
    extension::{self, Category, Extension, Kind},
    rejection::Rejection,
};

const FILTER_CONFIG: &str = "envoy.config.route.v3.FilterConfig";

/// [`FILTER_CONFIG`], which only stands in an `Any` and so has no generated type.
#[derive(prost::Message)]
struct FilterConfig {
    #[prost(message, optional, tag = "1")]
    config: Option<Any>,
    #[prost(bool, tag = "2")]
    is_optional: bool,
}

/// Per-route configs that are known; what they say has no effect yet.
const KINDS: &[Kind<()>] = &[Kind {
    type_name: "envoy.extensions.filters.http.compressor.v3.CompressorPerRoute",
    parse: |_, _| Ok(()),
}];

/// Refuses config for filters that are not known, unless it is marked optional.
pub(crate) fn check(configs: &BTreeMap<String, Any>, at: &At) -> Result<(), Rejection> {
    for (name, any) in configs {
        let at = at.entry("typed_per_filter_config", name);
        if xds_api::any::type_name(&any.type_url) == FILTER_CONFIG {
            let wrapper: FilterConfig = Extension::open(any, &at)?.message(&at)?;
            // Without a config it only switches a filter on or off, which the connection manager must know anyway.
            match wrapper.config.as_ref().filter(|config| !config.type_url.is_empty()) {
                None => {}
                Some(inner) => {
                    let at = at.field("config");
                    extension::dispatch(Category::PerRouteConfig, Some(inner), wrapper.is_optional, KINDS, &at)?;
                }
            }
        } else {
            extension::dispatch(Category::PerRouteConfig, Some(any), false, KINDS, &at)?;
        }
    }
    Ok(())
}
