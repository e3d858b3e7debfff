//! `typed_per_filter_config`: what a route, its virtual host, its route configuration or a weighted cluster says to an
//! HTTP filter.

use std::sync::Arc;

use super::{Route, RouteConfiguration, VirtualHost, action::Target};
use crate::http::filter::{cors::CorsPolicy, fault::FaultSettings, jwt_authn::PerRouteJwt, rbac::Rbac};

/// What one level says to the filters, by filter name. Few entries: searched in order.
#[derive(Debug, Default)]
pub struct PerFilter(pub Box<[(Box<str>, PerRoute)]>);

/// What one level says to one filter.
#[derive(Debug)]
pub enum PerRoute {
    /// `FilterConfig` without a config: on or off.
    Switch {
        disabled: bool,
    },
    Config(PerRouteConfig),
}

/// The config of one filter for one route.
#[derive(Debug)]
pub enum PerRouteConfig {
    /// For a filter whose work Pillion leaves out.
    Inert,
    Cors(Arc<CorsPolicy>),
    Fault(Arc<FaultSettings>),
    JwtAuthn(PerRouteJwt),
    /// `None`: everything passes.
    Rbac(Option<Arc<Rbac>>),
}

impl PerRoute {
    /// `None`: the filter's own setting stands. A config of its own switches a filter on.
    pub fn disabled(&self) -> Option<bool> {
        match self {
            Self::Switch { disabled } => Some(*disabled),
            Self::Config(_) => Some(false),
        }
    }
}

impl PerFilter {
    pub fn get(&self, filter: &str) -> Option<&PerRoute> {
        self.0.iter().find(|(name, _)| **name == *filter).map(|(_, said)| said)
    }
}

/// The most specific thing said to `filter`: by the weighted cluster, the route, the virtual host, the configuration.
pub fn most_specific<'a>(
    filter: &str,
    weighted: Option<usize>,
    route: &'a Route,
    virtual_host: Option<&'a VirtualHost>,
    configuration: Option<&'a RouteConfiguration>,
) -> Option<&'a PerRoute> {
    let weighted = weighted.and_then(|i| match &route.forward()?.target {
        Target::Weighted(set) => set.clusters[i].per_filter.get(filter),
        _ => None,
    });
    weighted
        .or_else(|| route.per_filter.get(filter))
        .or_else(|| virtual_host?.per_filter.get(filter))
        .or_else(|| configuration?.per_filter.get(filter))
}
