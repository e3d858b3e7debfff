//! Role-based access control: rules, and the filters that keep to them, HTTP and network.

use std::{borrow::Cow, sync::Arc};

use xds_api::{envoy::config::rbac::v3 as pb, xds::r#type::matcher::v3 as xds};

mod condition;
mod matchers;

use super::{at::At, extension::Extension, rejection::Rejection};
use crate::{
    http::filter::rbac::{MetadataKeys, Rbac, Stats},
    network::rbac::NetworkRbac,
    rbac::{Action, Policy, Rules},
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
    at.not_honoured("track_per_rule_stats", pb.track_per_rule_stats);
    let (enforced, shadow) = (&pb.rules_stat_prefix, &pb.shadow_rules_stat_prefix);
    let scope =
        |own: &str| stat_prefix.map(|prefix| Prefix::new("http.", format!("{prefix}.rbac.{}", dotted(own)), ""));
    let stats = scope(enforced).zip(scope(shadow));
    Ok(Rbac {
        rules: optional(pb.rules.as_deref(), pb.matcher.as_deref(), ENFORCED, at)?,
        shadow_rules: optional(pb.shadow_rules.as_deref(), pb.shadow_matcher.as_deref(), SHADOW, at)?,
        keys: keys(enforced, "enforced"),
        shadow_keys: keys(shadow, "shadow"),
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
    at.not_honoured("delay_deny", pb.delay_deny.is_some());
    let rules = connection_rules(pb.rules.as_deref(), pb.matcher.as_deref(), ENFORCED, at)?;
    let shadow_rules = connection_rules(pb.shadow_rules.as_deref(), pb.shadow_matcher.as_deref(), SHADOW, at)?;
    let prefix: Arc<str> = format!("{}rbac.", pb.stat_prefix).into();
    let shadow = &pb.shadow_rules_stat_prefix;
    Ok(NetworkRbac {
        rules,
        shadow_rules,
        shadow_keys: keys(shadow, "shadow"),
        continuous: at.enumeration::<EnforcementType>("enforcement_type", pb.enforcement_type)?
            == EnforcementType::Continuous,
        stats: Stats {
            rules: at.stats(Prefix::new("", prefix.clone(), "")),
            shadow: at.stats(Prefix::new("", format!("{prefix}{}", dotted(shadow)), "")),
        },
    })
}

/// A prefix of statistics' names.
fn dotted(prefix: &str) -> Cow<'_, str> {
    match prefix {
        "" => Cow::Borrowed(prefix),
        whole if whole.ends_with('.') => Cow::Borrowed(whole),
        part => Cow::Owned(format!("{part}.")),
    }
}

fn keys(prefix: &str, mode: &str) -> MetadataKeys {
    MetadataKeys {
        policy: format!("{prefix}{mode}_effective_policy_id").into(),
        result: format!("{prefix}{mode}_engine_result").into(),
    }
}

/// The rules of one field; a matcher of the generic API takes their place where both are set, as in Envoy.
fn optional(
    rules: Option<&pb::Rbac>,
    matcher: Option<&xds::Matcher>,
    fields: [&'static str; 2],
    at: &At,
) -> Result<Option<Rules>, Rejection> {
    let [rules_field, matcher_field] = fields;
    match (rules, matcher) {
        (_, Some(matcher)) => matchers::parse(matcher, &at.field(matcher_field)).map(Some),
        (Some(rules), None) => self::rules(rules, &at.field(rules_field)).map(Some),
        (None, None) => Ok(None),
    }
}

const ENFORCED: [&str; 2] = ["rules", "matcher"];
const SHADOW: [&str; 2] = ["shadow_rules", "shadow_matcher"];

/// A connection has no headers: rules on them are a mistake, which Envoy refuses.
fn connection_rules(
    rules: Option<&pb::Rbac>,
    matcher: Option<&xds::Matcher>,
    fields: [&'static str; 2],
    at: &At,
) -> Result<Option<Rules>, Rejection> {
    let rules = optional(rules, matcher, fields, at)?;
    for (name, condition) in rules.iter().flat_map(Rules::conditions) {
        if condition.reads_headers() {
            return Err(at.field(fields[0]).reject(format_args!(
                "{name:?} asks for a header, which connections do not have"
            )));
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
    Ok(Rules::Policies {
        action: action(pb.action, at)?,
        policies: policies.into(),
    })
}

fn action(pb: i32, at: &At) -> Result<Action, Rejection> {
    Ok(match at.enumeration::<pb::rbac::Action>("action", pb)? {
        pb::rbac::Action::Allow => Action::Allow,
        pb::rbac::Action::Deny => Action::Deny,
        pb::rbac::Action::Log => Action::Log,
    })
}
