//! Role-based access control: rules, and the filters that keep to them, HTTP and network.

use std::sync::Arc;

use xds_api::envoy::config::rbac::v3 as pb;

mod condition;

use super::{at::At, extension::Extension, rejection::Rejection};
use crate::{
    http::filter::rbac::{Rbac, Stats},
    network::rbac::NetworkRbac,
    rbac::{Action, Condition, Policy, Rules},
    stats::Prefix,
};

/// `envoy.extensions.filters.http.rbac.v3.RBAC`; `stat_prefix`: the connection manager's.
pub(super) fn http(extension: &Extension, stat_prefix: &str, at: &At) -> Result<Rbac, Rejection> {
    let pb = extension.decode(xds_api::decode_rbac, at)?;
    http_rules(&pb, Some(stat_prefix), at)
}

/// What a route says to the filter; `None`: it lets everything pass.
pub(super) fn per_route(extension: &Extension, at: &At) -> Result<Option<Rbac>, Rejection> {
    let pb: xds_api::envoy::extensions::filters::http::rbac::v3::RbacPerRoute = extension.message(at)?;
    match &pb.rbac {
        Some(rbac) => http_rules(rbac, None, &at.field("rbac")).map(Some),
        None => Ok(None),
    }
}

/// Without a `stat_prefix` the filter's own statistics count.
fn http_rules(
    pb: &xds_api::envoy::extensions::filters::http::rbac::v3::Rbac,
    stat_prefix: Option<&str>,
    at: &At,
) -> Result<Rbac, Rejection> {
    matchers(pb.matcher.is_some(), pb.shadow_matcher.is_some(), at)?;
    at.not_honoured("track_per_rule_stats", pb.track_per_rule_stats);
    let shadow = &pb.shadow_rules_stat_prefix;
    let filter = |tail: &str| stat_prefix.map(|prefix| Prefix::new("http.", format!("{prefix}.rbac.{tail}"), ""));
    let stats = filter(&pb.rules_stat_prefix).zip(filter(shadow));
    Ok(Rbac {
        rules: optional(pb.rules.as_deref(), "rules", at)?,
        shadow_rules: optional(pb.shadow_rules.as_deref(), "shadow_rules", at)?,
        shadow_policy_key: format!("{shadow}shadow_effective_policy_id").into(),
        shadow_result_key: format!("{shadow}shadow_engine_result").into(),
        stats: stats.map(|(rules, shadow)| Stats {
            rules: at.stats(rules),
            shadow: at.stats(shadow),
        }),
    })
}

/// `envoy.extensions.filters.network.rbac.v3.RBAC`.
pub(super) fn network(extension: &Extension, at: &At) -> Result<NetworkRbac, Rejection> {
    use xds_api::envoy::extensions::filters::network::rbac::v3::rbac::EnforcementType;
    let pb = extension.decode(xds_api::decode_network_rbac, at)?;
    matchers(pb.matcher.is_some(), pb.shadow_matcher.is_some(), at)?;
    at.not_honoured("delay_deny", pb.delay_deny.is_some());
    let rules = network_rules(pb.rules.as_deref(), "rules", at)?;
    let shadow_rules = network_rules(pb.shadow_rules.as_deref(), "shadow_rules", at)?;
    let prefix: Arc<str> = format!("{}rbac.", pb.stat_prefix).into();
    let shadow = &pb.shadow_rules_stat_prefix;
    Ok(NetworkRbac {
        rules,
        shadow_rules,
        shadow_policy_key: format!("{shadow}shadow_effective_policy_id").into(),
        shadow_result_key: format!("{shadow}shadow_engine_result").into(),
        continuous: at.enumeration::<EnforcementType>("enforcement_type", pb.enforcement_type)?
            == EnforcementType::Continuous,
        stats: Stats {
            rules: at.stats(Prefix::new("", prefix.clone(), "")),
            shadow: at.stats(Prefix::new("", format!("{prefix}{shadow}"), "")),
        },
    })
}

/// Rules as a tree of the generic matching API.
fn matchers(rules: bool, shadow: bool, at: &At) -> Result<(), Rejection> {
    for (field, set) in [("matcher", rules), ("shadow_matcher", shadow)] {
        if set {
            return Err(at.field(field).reject(
                "a matcher tree for RBAC is not known to Pillion, and what it guards would be open without it",
            ));
        }
    }
    Ok(())
}

fn optional(pb: Option<&pb::Rbac>, field: &'static str, at: &At) -> Result<Option<Rules>, Rejection> {
    pb.map(|pb| rules(pb, &at.field(field))).transpose()
}

/// A connection has no headers: rules on them are a mistake, which Envoy refuses.
fn network_rules(pb: Option<&pb::Rbac>, field: &'static str, at: &At) -> Result<Option<Rules>, Rejection> {
    let rules = optional(pb, field, at)?;
    for (name, policy) in rules.iter().flat_map(|rules| &rules.policies) {
        let mut conditions = policy.permissions.iter().chain(&policy.principals);
        if conditions.any(Condition::reads_headers) {
            let at = at.field(field);
            return Err(at
                .entry("policies", name)
                .reject("asks for a header, which connections do not have"));
        }
    }
    Ok(rules)
}

fn rules(pb: &pb::Rbac, at: &At) -> Result<Rules, Rejection> {
    // Audit loggers write lines and let nothing through.
    at.not_honoured("audit_logging_options", pb.audit_logging_options.is_some());
    let mut policies = Vec::with_capacity(pb.policies.len());
    for (name, policy) in &pb.policies {
        let at = at.entry("policies", name);
        at.unsupported("condition", policy.condition.is_some())?;
        at.unsupported("checked_condition", policy.checked_condition.is_some())?;
        let policy = Policy {
            permissions: condition::permissions(&policy.permissions, "permissions", &at)?,
            principals: condition::principals(&policy.principals, "principals", &at)?,
        };
        policies.push((Arc::from(name.as_str()), policy));
    }
    Ok(Rules {
        action: match at.enumeration::<pb::rbac::Action>("action", pb.action)? {
            pb::rbac::Action::Allow => Action::Allow,
            pb::rbac::Action::Deny => Action::Deny,
            pb::rbac::Action::Log => Action::Log,
        },
        policies: policies.into(),
    })
}
