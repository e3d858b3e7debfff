//! `ScopedRouteConfiguration`, and what a connection manager says of scopes.

use std::sync::Arc;

use xds_api::envoy::{config::route::v3 as pb, extensions::filters::network::http_connection_manager::v3 as manager};

use super::{
    super::{
        Context,
        at::{At, Scope as AtScope},
        dependencies::ScopeReference,
        matcher,
        rejection::Rejection,
        source,
    },
    configuration,
};
use crate::route::scope::{
    Extract, FragmentBuilder, Scope, ScopeKey, ScopeKeyBuilder, ScopeRoutes, ScopeSource, ScopedRoutes, Scopes,
};

const KIND: &str = "scoped route configuration";
/// The message of such a resource.
const TYPE: &str = "envoy.config.route.v3.ScopedRouteConfiguration";

/// A scope of its own (SRDS).
///
/// # Errors
/// The first thing in it that cannot be honoured.
pub fn parse(bytes: &[u8], context: &mut Context) -> Result<Scope, Rejection> {
    let pb = xds_api::decode_scoped_route_configuration(bytes)
        .map_err(|e| AtScope::new(KIND, "", context).root().reject(e))?;
    let scope = AtScope::new(KIND, &pb.name, context);
    let at = scope.root();
    at.conform(TYPE, bytes)?;
    let routes = at.non_empty("route_configuration_name", &pb.route_configuration_name)?;
    at.not_honoured("route_configuration", pb.route_configuration.is_some());
    let parsed = Scope {
        name: pb.name.as_str().into(),
        key: key(&pb),
        routes: ScopeRoutes::Named {
            name: routes.into(),
            on_demand: pb.on_demand,
        },
    };
    scope.finish(context);
    Ok(parsed)
}

fn key(pb: &pb::ScopedRouteConfiguration) -> ScopeKey {
    use pb::scoped_route_configuration::key::fragment::Type as T;
    let fragments = pb.key.iter().flat_map(|key| &key.fragments);
    // One without a type does not get past the API's own constraints.
    let text = |T::StringKey(text): &T| text.as_str().into();
    fragments
        .filter_map(|fragment| fragment.r#type.as_ref().map(text))
        .collect()
}

/// `scoped_routes` of a connection manager. `stat_prefix`: the manager's.
pub(crate) fn scoped_routes(pb: &manager::ScopedRoutes, stat_prefix: &str, at: &At) -> Result<ScopedRoutes, Rejection> {
    use manager::scoped_routes::ConfigSpecifier as C;
    let name: Arc<str> = pb.name.as_str().into();
    let source = match &pb.config_specifier {
        None => return Err(at.reject("has no scopes: set scoped_route_configurations_list or scoped_rds")),
        Some(C::ScopedRouteConfigurationsList(list)) => {
            let at = at.field("scoped_route_configurations_list");
            ScopeSource::Inline(Arc::new(inline(list, &at)?))
        }
        Some(C::ScopedRds(srds)) => {
            let at_srds = at.field("scoped_rds");
            at_srds.unsupported("srds_resources_locator", !srds.srds_resources_locator.is_empty())?;
            let scopes = at_srds.required("scoped_rds_config_source", srds.scoped_rds_config_source.as_deref())?;
            let scopes = Arc::new(source::parse(scopes, &at_srds.field("scoped_rds_config_source"))?);
            let routes = at.required("rds_config_source", pb.rds_config_source.as_deref())?;
            let routes = Arc::new(source::parse(routes, &at.field("rds_config_source"))?);
            at.depend(|dependencies| {
                dependencies.add_scopes(ScopeReference {
                    name: Arc::clone(&name),
                    source: Arc::clone(&scopes),
                    routes,
                    stat_prefix: stat_prefix.into(),
                });
            });
            ScopeSource::Srds(scopes)
        }
    };
    let builder = at.required("scope_key_builder", pb.scope_key_builder.as_deref())?;
    Ok(ScopedRoutes {
        name,
        key: key_builder(builder, &at.field("scope_key_builder"))?,
        source,
    })
}

/// Scopes that stand in the connection manager, with their routes.
fn inline(list: &manager::ScopedRouteConfigurationsList, at: &At) -> Result<Scopes, Rejection> {
    let mut scopes = Scopes::default();
    for (i, pb) in list.scoped_route_configurations.iter().enumerate() {
        let at = at.item("scoped_route_configurations", i);
        if !pb.route_configuration_name.is_empty() {
            let at = at.field("route_configuration_name");
            return Err(at.reject("cannot stand in an inline scope; set route_configuration, or use scoped_rds"));
        }
        let routes = at.required("route_configuration", pb.route_configuration.as_deref())?;
        let routes = configuration(routes, 0, true, &at.field("route_configuration"))?;
        let scope = Scope {
            name: pb.name.as_str().into(),
            key: key(pb),
            routes: ScopeRoutes::Inline(Arc::new(routes)),
        };
        if let Err(first) = scopes.insert(Arc::new(scope)) {
            return Err(at
                .field("key")
                .reject(format_args!("is also the key of scope {:?}", first.name)));
        }
    }
    Ok(scopes)
}

fn key_builder(pb: &manager::scoped_routes::ScopeKeyBuilder, at: &At) -> Result<ScopeKeyBuilder, Rejection> {
    use manager::scoped_routes::scope_key_builder::fragment_builder::{Type as T, header_value_extractor as extractor};
    let mut fragments = Vec::with_capacity(pb.fragments.len());
    for (i, fragment) in pb.fragments.iter().enumerate() {
        let at = at.item("fragments", i);
        let at = at.field("header_value_extractor");
        let Some(T::HeaderValueExtractor(pb)) = &fragment.r#type else {
            return Err(at.reject("is required and not set"));
        };
        let extract = match &pb.extract_type {
            None => return Err(at.reject("says nothing of what to take: set index or element")),
            Some(extractor::ExtractType::Index(index)) if *index > 0 && pb.element_separator.is_empty() => {
                return Err(at.field("index").reject("can only be 0 without an element_separator"));
            }
            Some(extractor::ExtractType::Index(index)) => Extract::Index(*index as usize),
            Some(extractor::ExtractType::Element(element)) => Extract::Element {
                separator: element.separator.as_str().into(),
                key: element.key.as_str().into(),
            },
        };
        fragments.push(FragmentBuilder {
            header: matcher::header_field("name", &pb.name, &at)?,
            element_separator: pb.element_separator.as_str().into(),
            extract,
        });
    }
    Ok(ScopeKeyBuilder(fragments.into()))
}
