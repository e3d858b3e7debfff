//! `envoy.extensions.filters.http.rbac.v3.RBAC`: lets pass what its rules allow.

use http::StatusCode;

use super::{super::local_reply::LocalReply, HttpFilter, Step};
use crate::{
    failure::ResponseFlags,
    http::stream::Stream,
    rbac::{self, Action, Facts, Rules},
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
    /// Keys of the shadow rules' metadata.
    pub shadow_policy_key: Box<str>,
    pub shadow_result_key: Box<str>,
    /// `None` on a route, whose decisions the filter counts.
    pub stats: Option<Stats>,
}

#[derive(Debug)]
pub struct Stats {
    pub rules: Group<RbacStat>,
    pub shadow: Group<RbacShadowStat>,
}

/// Where both filters write what shadow rules said.
pub const NAMESPACE: &str = "envoy.filters.http.rbac";
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
        if let Some(policy) = decision.matched {
            stream
                .info
                .set_metadata(NAMESPACE, &rbac.shadow_policy_key, (&**policy).into());
        }
        let result = decision.engine_result().into();
        stream.info.set_metadata(NAMESPACE, &rbac.shadow_result_key, result);
    }
    let Some(rules) = &rbac.rules else {
        return Step::Continue;
    };
    let decision = rbac::decide(rules, &facts(stream), &mut ());
    if rules.action == Action::Log {
        let matched = decision.matched.is_some().into();
        stream.info.set_metadata(COMMON, ACCESS_LOG_HINT, matched);
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
    let mut reply = LocalReply::new(StatusCode::FORBIDDEN, "RBAC: access denied", "")
        .with_flags(ResponseFlags::UNAUTHORIZED_EXTERNAL_SERVICE);
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
