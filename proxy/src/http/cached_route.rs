//! The route of a request: chosen before the filters see it, and again where one of them clears it.

use std::sync::Arc;

use http::{HeaderName, Method, StatusCode};

use super::{RouteSource, local_reply::LocalReply, message::RequestHead, stream::Stream};
use crate::{
    cluster::Cluster,
    route::{
        self, RouteConfiguration, RouteFacts, Selection,
        scope::{Scope, ScopeRoutes, ScopeSource, ScopedRoutes},
        select::ChosenTarget,
    },
    snapshot::Snapshot,
    stats::HttpStat,
};

/// Whom `x-envoy-*` headers may be believed.
const INTERNAL: HeaderName = HeaderName::from_static("x-envoy-internal");

/// What was chosen; virtual host and route themselves stand in the stream's info.
#[derive(Debug, Clone, Default)]
pub enum CachedRoute {
    /// No virtual host, or no route of it, takes the request.
    #[default]
    None,
    /// The virtual host demands TLS.
    TlsRedirect,
    Route {
        /// `None`: the route does not forward, or its cluster is named by a header that the request does not have.
        target: Option<ChosenTarget>,
    },
}

/// Chooses the route of a request that has just been admitted.
///
/// # Errors
/// The answer to an upgrade that the route does not allow.
pub fn choose(stream: &mut Stream<'_>) -> Result<(), Box<LocalReply>> {
    refresh(stream);
    let Some(kind) = upgrade(&stream.request) else {
        return Ok(());
    };
    let CachedRoute::Route { .. } = &stream.cached_route else {
        return Ok(());
    };
    let own = stream.info.route.as_ref().and_then(|route| route.forward());
    if route::upgrade_allowed(kind, own.map_or(&[][..], |a| &a.upgrades), &stream.manager.upgrades) {
        return Ok(());
    }
    stream.manager.stats.inc(HttpStat::DownstreamRqWsOnNonWsRoute);
    tell_cluster(stream);
    // Envoy ends the whole connection, also one that carries other streams.
    stream.down.leave();
    Err(Box::new(LocalReply::new(StatusCode::FORBIDDEN, "", "upgrade_failed")))
}

/// Where no router comes to it, logs still tell of the cluster that the route would have gone to.
pub fn tell_cluster(stream: &mut Stream<'_>) {
    if let CachedRoute::Route { target: Some(target) } = &stream.cached_route {
        let snapshot = stream.worker.snapshot();
        stream.info.upstream.cluster = snapshot.clusters.get(&*target.cluster).cloned();
    }
}

/// Chooses the route by what the request says now.
pub fn refresh(stream: &mut Stream<'_>) {
    let snapshot = stream.worker.snapshot();
    stream.info.virtual_host = None;
    stream.info.route = None;
    stream.cached_route = CachedRoute::None;
    stream.kept.cluster = None;
    let Some(config) = route_configuration(stream, &snapshot) else {
        return;
    };
    // Removed from requests from outside before a route can match on them.
    if !config.internal_only_headers.is_empty() && !stream.request.headers.contains_key(INTERNAL) {
        for name in &config.internal_only_headers {
            stream.request.headers.remove(name);
        }
    }
    let facts = RouteFacts {
        request: &stream.request,
        tls: stream.info.connection.tls.as_deref(),
        random: stream.worker.random(),
        runtime: &snapshot.runtime,
        dynamic_metadata: stream.info.dynamic_metadata.as_deref(),
    };
    stream.cached_route = match route::select(&config, &facts, &mut ()) {
        Selection::Route(virtual_host, route) => {
            stream.info.virtual_host = Some(virtual_host.clone());
            stream.info.route = Some(route.clone());
            CachedRoute::Route {
                target: route.forward().and_then(|action| route::target(action, &facts)),
            }
        }
        Selection::TlsRedirect => CachedRoute::TlsRedirect,
        Selection::None => CachedRoute::None,
    };
    stream.info.route_configuration = Some(config);
}

/// The cluster that the request will go to as things stand, looked up once for all filters.
pub fn cluster<'s>(stream: &'s mut Stream<'_>) -> Option<&'s Arc<Cluster>> {
    if stream.kept.cluster.is_none() {
        let CachedRoute::Route { target: Some(target) } = &stream.cached_route else {
            return None;
        };
        let snapshot = stream.worker.snapshot();
        stream.kept.cluster = snapshot.clusters.get(&*target.cluster).cloned();
    }
    stream.kept.cluster.as_ref()
}

/// What the connection is to become, as `upgrade_type` names it.
fn upgrade(request: &RequestHead) -> Option<&[u8]> {
    let connect = (request.method == Method::CONNECT).then_some(Method::CONNECT.as_str().as_bytes());
    request.upgrade.as_ref().map(http::HeaderValue::as_bytes).or(connect)
}

fn route_configuration(stream: &Stream<'_>, snapshot: &Snapshot) -> Option<Arc<RouteConfiguration>> {
    match &stream.manager.routes {
        RouteSource::Inline(config) => Some(config.clone()),
        RouteSource::Rds(name) => snapshot.routes.get(name).cloned(),
        RouteSource::Scoped(scoped) => match &scope(scoped, &stream.request, snapshot)?.routes {
            ScopeRoutes::Inline(config) => Some(config.clone()),
            ScopeRoutes::Named { name, .. } => snapshot.routes.get(name).cloned(),
        },
    }
}

/// The scope of a request.
pub fn scope<'a>(scoped: &'a ScopedRoutes, request: &RequestHead, snapshot: &'a Snapshot) -> Option<&'a Arc<Scope>> {
    let scopes = match &scoped.source {
        ScopeSource::Inline(scopes) => scopes,
        ScopeSource::Srds(source) => snapshot.scopes.get(&source.specifier)?,
    };
    scopes.select(&scoped.key, request, &mut ())
}
