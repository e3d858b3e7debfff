//! `envoy.extensions.filters.http.cors.v3.Cors`: answers preflight requests, and tells browsers what a route's policy allows.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use smallvec::SmallVec;

use super::{super::local_reply::LocalReply, HttpFilter, Step};
use crate::{
    http::{message::ResponseHead, stream::Stream},
    matcher::StringMatcher,
    route::{
        RouteFacts,
        matcher::RuntimeFraction,
        per_filter::{PerRoute, PerRouteConfig},
    },
    stats::{CorsStat, Group},
};

/// The filter has no config of its own.
#[derive(Debug)]
pub struct Cors {
    pub stats: Group<CorsStat>,
}

/// `CorsPolicy`, parsed. Empty parts are not told.
#[derive(Debug, Default)]
pub struct CorsPolicy {
    pub allow_origin: Box<[StringMatcher]>,
    pub allow_methods: Option<HeaderValue>,
    pub allow_headers: Option<HeaderValue>,
    pub expose_headers: Option<HeaderValue>,
    pub max_age: Option<HeaderValue>,
    pub allow_credentials: Option<bool>,
    pub allow_private_network_access: Option<bool>,
    /// Envoy's default: true.
    pub forward_not_matching_preflights: Option<bool>,
    /// `None`: always.
    pub filter_enabled: Option<RuntimeFraction>,
    /// Only counted. `None`: never.
    pub shadow_enabled: Option<RuntimeFraction>,
}

/// What the response to an allowed origin is to say.
#[derive(Debug)]
pub struct Allowed {
    origin: HeaderValue,
    credentials: bool,
    expose: Option<HeaderValue>,
}

const PRIVATE_NETWORK_REQUEST: HeaderName = HeaderName::from_static("access-control-request-private-network");
const PRIVATE_NETWORK_ALLOWED: HeaderName = HeaderName::from_static("access-control-allow-private-network");
const TRUE: HeaderValue = HeaderValue::from_static("true");
/// Envoy's details of an answered preflight.
const DETAILS: &str = "cors_response";

/// The route's policy before its virtual host's: what the first leaves open the second may say.
type Policies = SmallVec<[Arc<CorsPolicy>; 2]>;

pub fn run(filter: &HttpFilter, own: &Cors, stream: &mut Stream<'_>) -> Step {
    let policies = policies(filter, stream);
    let Some(first) = policies.first() else {
        return Step::Continue;
    };
    let enabled = first
        .filter_enabled
        .as_ref()
        .is_none_or(|fraction| holds(fraction, stream));
    let shadow = !enabled
        && first
            .shadow_enabled
            .as_ref()
            .is_some_and(|fraction| holds(fraction, stream));
    if !enabled && !shadow {
        return Step::Continue;
    }
    let headers = &stream.request.headers;
    let Some(origin) = headers.get(header::ORIGIN).filter(|origin| !origin.is_empty()) else {
        return Step::Continue;
    };
    let preflight = stream.request.method == Method::OPTIONS
        && headers
            .get(header::ACCESS_CONTROL_REQUEST_METHOD)
            .is_some_and(|method| !method.is_empty());
    let matchers = said(&policies, |policy| {
        Some(&policy.allow_origin).filter(|list| !list.is_empty())
    });
    let allowed = matchers.is_some_and(|list| list.iter().any(|matcher| matcher.matches(origin.as_bytes())));
    own.stats.inc(match allowed {
        true => CorsStat::OriginValid,
        false => CorsStat::OriginInvalid,
    });
    if shadow {
        return Step::Continue;
    }
    if !allowed && (!preflight || forwards(&policies)) {
        return Step::Continue;
    }
    let told = Allowed {
        origin: origin.clone(),
        credentials: said(&policies, |policy| policy.allow_credentials).unwrap_or(false),
        expose: said(&policies, |policy| policy.expose_headers.clone()),
    };
    if !preflight {
        stream.kept.cors = Some(Box::new(told));
        return Step::Continue;
    }
    let mut reply = LocalReply::new(StatusCode::OK, "", DETAILS);
    told.tell(&mut reply.headers);
    if !allowed {
        reply.headers.remove(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        reply.headers.remove(header::ACCESS_CONTROL_EXPOSE_HEADERS);
    }
    for (name, value) in [
        (
            header::ACCESS_CONTROL_ALLOW_METHODS,
            said(&policies, |policy| policy.allow_methods.clone()),
        ),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            said(&policies, |policy| policy.allow_headers.clone()),
        ),
        (
            header::ACCESS_CONTROL_MAX_AGE,
            said(&policies, |policy| policy.max_age.clone()),
        ),
    ] {
        if let Some(value) = value {
            reply.headers.insert(name, value);
        }
    }
    let private = said(&policies, |policy| policy.allow_private_network_access).unwrap_or(false);
    let asked = headers.get(&PRIVATE_NETWORK_REQUEST).is_some_and(|v| v == TRUE);
    if allowed && private && asked {
        reply.headers.insert(PRIVATE_NETWORK_ALLOWED, TRUE);
    }
    Step::Reply(Box::new(reply))
}

pub fn encode(stream: &Stream<'_>, head: &mut ResponseHead) {
    if let Some(allowed) = &stream.kept.cors {
        allowed.tell(&mut head.headers);
    }
}

impl Allowed {
    fn tell(&self, headers: &mut HeaderMap) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone());
        if self.credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        if let Some(expose) = &self.expose {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }
}

/// What is said to the filter by its name; the `cors` fields of the route and its virtual host otherwise.
fn policies(filter: &HttpFilter, stream: &Stream<'_>) -> Policies {
    // Only a route that forwards has policies at all.
    let Some(route) = stream.info.route.as_deref().and_then(|route| route.forward()) else {
        return Policies::new();
    };
    if let Some(PerRoute::Config(PerRouteConfig::Cors(policy))) = stream.per_route(&filter.name) {
        return [policy.clone()].into_iter().collect();
    }
    let host = stream.info.virtual_host.as_deref().and_then(|host| host.cors.as_ref());
    [route.cors.as_ref(), host].into_iter().flatten().cloned().collect()
}

/// Whether preflights of other origins are the upstream's matter.
fn forwards(policies: &Policies) -> bool {
    said(policies, |policy| policy.forward_not_matching_preflights).unwrap_or(true)
}

fn said<'p, T>(policies: &'p Policies, part: impl Fn(&'p CorsPolicy) -> Option<T>) -> Option<T> {
    policies.iter().find_map(|policy| part(policy))
}

fn holds(fraction: &RuntimeFraction, stream: &Stream<'_>) -> bool {
    let snapshot = stream.worker.snapshot();
    fraction.holds(&RouteFacts {
        request: &stream.request,
        tls: None,
        random: stream.worker.random(),
        runtime: &snapshot.runtime,
        dynamic_metadata: None,
    })
}
