//! `envoy.extensions.filters.network.rbac.v3.RBAC`: lets connections pass that its rules allow, as soon as they say something.

use super::{Facts, Step};
use crate::{
    http::filter::rbac::{MetadataKeys, Stats},
    rbac::{self, Decision, Rules},
    stats::{RbacShadowStat, RbacStat},
};

#[derive(Debug)]
pub struct NetworkRbac {
    /// `None`: everything passes.
    pub rules: Option<Rules>,
    /// Only told of, in statistics and metadata.
    pub shadow_rules: Option<Rules>,
    /// Of the shadow rules; what the others say is not told.
    pub shadow_keys: MetadataKeys,
    /// Decide again whenever more comes, not only at first.
    pub continuous: bool,
    pub stats: Stats,
}

/// Where shadow rules write what they said.
const NAMESPACE: &str = "envoy.filters.network.rbac";
/// Where rules that only log write whether to log.
const COMMON: &str = "envoy.common";
const ACCESS_LOG_HINT: &str = "access_log_hint";

pub fn data(rbac: &NetworkRbac, facts: Facts<'_>) -> Step {
    let connection = facts.connection;
    if let Some(rules) = &rbac.shadow_rules {
        let decision = decide(rules, facts);
        rbac.stats.shadow.inc(match decision.allowed {
            true => RbacShadowStat::ShadowAllowed,
            false => RbacShadowStat::ShadowDenied,
        });
        let mut state = connection.state.borrow_mut();
        let state = state.get_or_insert_default();
        if let Some(policy) = decision.matched {
            state.set_metadata(NAMESPACE, &rbac.shadow_keys.policy, (&**policy).into());
        }
        state.set_metadata(NAMESPACE, &rbac.shadow_keys.result, decision.engine_result().into());
    }
    if let Some(rules) = &rbac.rules {
        let decision = decide(rules, facts);
        let mut state = connection.state.borrow_mut();
        if let Some(log) = decision.log {
            let state = state.get_or_insert_default();
            state.set_metadata(COMMON, ACCESS_LOG_HINT, log.into());
        }
        if !decision.allowed {
            rbac.stats.rules.inc(RbacStat::Denied);
            let state = state.get_or_insert_default();
            state.termination_details = Some(decision.details().into());
            return Step::Close;
        }
        rbac.stats.rules.inc(RbacStat::Allowed);
    }
    match rbac.continuous {
        true => Step::Continue,
        false => Step::Done,
    }
}

fn decide<'r>(rules: &'r Rules, facts: Facts<'_>) -> Decision<'r> {
    let connection = facts.connection;
    let state = connection.state.borrow();
    let facts = rbac::Facts {
        request: None,
        connection,
        remote: &connection.remote_address,
        dynamic_metadata: state.as_ref().map(|state| &state.dynamic_metadata),
        route_metadata: None,
        has_route: false,
    };
    rbac::decide(rules, &facts, &mut ())
}
