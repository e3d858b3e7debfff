//! Role-based access control: whether a request or a connection may pass. Pure, traced for `explain`, and the same for the
//! HTTP filter and the network filter.
//!
//! `condition` is what policies are made of. Source: Envoy's `config.rbac.v3.RBAC`.

use std::sync::Arc;

pub mod condition;
#[cfg(test)]
mod tests;

pub use condition::{Condition, Facts};

/// `envoy.config.rbac.v3.RBAC`, parsed.
#[derive(Debug)]
pub struct Rules {
    pub action: Action,
    /// By name, in its order, in which they are tried.
    pub policies: Box<[(Arc<str>, Policy)]>,
}

/// What a matched policy means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Allow,
    Deny,
    /// Everything passes; whether a policy matched is told to access logs.
    Log,
}

/// Matches where one of the permissions and one of the principals does.
#[derive(Debug)]
pub struct Policy {
    pub permissions: Box<[Condition]>,
    pub principals: Box<[Condition]>,
}

/// The decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision<'r> {
    pub allowed: bool,
    /// The first policy that matched.
    pub matched: Option<&'r Arc<str>>,
}

/// Records the steps of a decision. The unit type records nothing and costs nothing.
pub trait Trace {
    /// `failed`: the part of the policy that does not hold; `None`: the policy matches.
    fn policy(&mut self, _name: &str, _failed: Option<&'static str>) {}
}

impl Trace for () {}

/// Decides by the first policy that matches.
pub fn decide<'r>(rules: &'r Rules, facts: &Facts<'_>, trace: &mut impl Trace) -> Decision<'r> {
    let mut matched = None;
    for (name, policy) in &rules.policies {
        let failed = policy.first_failure(facts);
        trace.policy(name, failed);
        if failed.is_none() {
            matched = Some(name);
            break;
        }
    }
    let allowed = match rules.action {
        Action::Allow => matched.is_some(),
        Action::Deny => matched.is_none(),
        Action::Log => true,
    };
    Decision { allowed, matched }
}

impl Policy {
    fn first_failure(&self, facts: &Facts<'_>) -> Option<&'static str> {
        let any = |conditions: &[Condition]| conditions.iter().any(|condition| condition.holds(facts));
        if !any(&self.permissions) {
            return Some("permissions");
        }
        (!any(&self.principals)).then_some("principals")
    }
}

impl Decision<'_> {
    /// Envoy's details of a denial.
    pub fn details(&self) -> String {
        format!(
            "rbac_access_denied_matched_policy[{}]",
            self.matched.map_or("none", |name| name)
        )
        // Envoy keeps details in one word, as logs are split at spaces.
        .replace(|c: char| c.is_ascii_whitespace(), "_")
    }

    /// As shadow rules tell it in dynamic metadata.
    pub fn engine_result(&self) -> &'static str {
        if self.allowed { "allowed" } else { "denied" }
    }
}
