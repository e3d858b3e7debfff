//! `envoy.extensions.filters.http.rbac.v3.RBAC`: lets pass what its rules allow.

use http::StatusCode;

use super::{super::local_reply::LocalReply, HttpFilter, Step};
use crate::{
    http::stream::Stream,
    rbac::{self, Decision, Facts, Rules},
    route::per_filter::{PerRoute, PerRouteConfig},
    stats::{Group, RbacShadowStat, RbacStat},
};

/// The filter, or what a route puts in its place.
#[derive(Debug)]
pub struct Rbac {
    /// `None`: everything passes.
    pub rules: Option<Rules>,
    /// Only told of, in statistics and metadata.
    pub shadow_rules: Option<Rules>,
    pub keys: MetadataKeys,
    pub shadow_keys: MetadataKeys,
    /// `None` on a route, whose decisions the filter counts.
    pub stats: Option<Stats>,
}

/// Under which a decision is told in metadata.
#[derive(Debug)]
pub struct MetadataKeys {
    pub policy: Box<str>,
    pub result: Box<str>,
}

#[derive(Debug)]
pub struct Stats {
    pub rules: Group<RbacStat>,
    pub shadow: Group<RbacShadowStat>,
}

/// Where decisions are told.
const NAMESPACE: &str = "envoy.filters.http.rbac";
/// Where rules that only log write whether to log.
const COMMON: &str = "envoy.common";
const ACCESS_LOG_HINT: &str = "access_log_hint";

pub fn run(filter: &HttpFilter, own: &Rbac, stream: &mut Stream<'_>) -> Step {
    let said = match stream.per_route(&filter.name) {
        Some(PerRoute::Config(PerRouteConfig::Rbac(said))) => Some(said.clone()),
        _ => None,
    };
    let rbac = match &said {
        Some(Some(said)) => said,
        Some(None) => return Step::Continue,
        None => own,
    };
    if let Some(rules) = &rbac.shadow_rules {
        let decision = rbac::decide(rules, &facts(stream), &mut ());
        if let Some(stats) = &own.stats {
            stats.shadow.inc(match decision.allowed {
                true => RbacShadowStat::ShadowAllowed,
                false => RbacShadowStat::ShadowDenied,
            });
        }
        tell(stream, &rbac.shadow_keys, decision);
    }
    let Some(rules) = &rbac.rules else {
        return Step::Continue;
    };
    let decision = rbac::decide(rules, &facts(stream), &mut ());
    tell(stream, &rbac.keys, decision);
    if let Some(log) = decision.log {
        stream.info.set_metadata(COMMON, ACCESS_LOG_HINT, log.into());
    }
    if let Some(stats) = &own.stats {
        stats.rules.inc(match decision.allowed {
            true => RbacStat::Allowed,
            false => RbacStat::Denied,
        });
    }
    if decision.allowed {
        return Step::Continue;
    }
    let mut reply = LocalReply::new(StatusCode::FORBIDDEN, "RBAC: access denied", "");
    reply.details = decision.details().into();
    reply.sentence = Some(match decision.matched {
        Some(policy) => format!("RBAC filter {:?} denies: policy {policy:?} matches", &*filter.name),
        None => format!(
            "RBAC filter {:?} denies: none of its policies allows the request",
            &*filter.name
        ),
    });
    Step::Reply(Box::new(reply))
}

fn tell(stream: &mut Stream<'_>, keys: &MetadataKeys, decision: Decision<'_>) {
    let info = &mut stream.info;
    if let Some(policy) = decision.matched {
        info.set_metadata(NAMESPACE, &keys.policy, (&**policy).into());
    }
    info.set_metadata(NAMESPACE, &keys.result, decision.engine_result().into());
}

fn facts<'s>(stream: &'s Stream<'_>) -> Facts<'s> {
    let info = &stream.info;
    Facts {
        request: Some(&stream.request),
        connection: &info.connection,
        remote: &info.remote_address,
        dynamic_metadata: info.dynamic_metadata.as_deref(),
        route_metadata: info
            .route
            .as_deref()
            .and_then(|route| route.metadata.as_deref()?.as_object()),
        has_route: info.route.is_some(),
    }
}
