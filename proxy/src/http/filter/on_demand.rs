//! `envoy.filters.http.on_demand`: a request without a route waits for the virtual host (VHDS) or the routes of its scope
//! (SRDS) to be fetched, and begins anew with them.

use tokio::sync::oneshot;

use super::{Step, router};
use crate::{
    control::demand::{Demand, Wanted},
    http::{
        RouteSource,
        cached_route::{self, CachedRoute},
        stream::Stream,
    },
    route::scope::ScopeSource,
};

pub async fn run(stream: &mut Stream<'_>) -> Step {
    if !matches!(stream.cached_route, CachedRoute::None) || stream.kept.asked_on_demand {
        return Step::Continue;
    }
    let Some(wanted) = wanted(stream) else {
        return Step::Continue;
    };
    stream.kept.asked_on_demand = true;
    let (answer, answered) = oneshot::channel();
    // The control thread ends last.
    let _ = stream.worker.shared.demands.send(Demand { wanted, answer });
    match router::wait_before(stream, answered).await {
        Ok(Ok(true)) => Step::Again,
        // It does not exist, or nobody answers any more.
        Ok(Ok(false) | Err(_)) => Step::Continue,
        Err(end) => Step::End(end),
    }
}

/// What to fetch so that the request may have a route.
fn wanted(stream: &Stream<'_>) -> Option<Wanted> {
    if let Some(routes) = stream.info.route_configuration.as_ref().filter(|routes| routes.vhds) {
        return Some(Wanted::VirtualHost {
            routes: routes.name.clone(),
            host: stream.request.authority_str().to_ascii_lowercase().into(),
        });
    }
    let RouteSource::Scoped(scoped) = &stream.manager.routes else {
        return None;
    };
    let ScopeSource::Srds(source) = &scoped.source else {
        return None;
    };
    let snapshot = stream.worker.snapshot();
    let scope = cached_route::scope(scoped, &stream.request, &snapshot)?;
    // With routes there is nothing more to fetch.
    stream.info.route_configuration.is_none().then(|| Wanted::Scope {
        source: source.specifier.clone(),
        scope: scope.name.clone(),
    })
}
