//! Role-based access control: whether a request or a connection may pass. Pure, traced for `explain`, and the same for the
//! HTTP filter and the network filter.
//!
//! `condition` is what policies are made of. Source: Envoy's `config.rbac.v3.RBAC`.

use std::sync::Arc;

pub mod condition;
#[cfg(test)]
mod tests;

pub use condition::{Condition, Facts, Input};

/// What decides.
#[derive(Debug)]
pub enum Rules {
    /// `envoy.config.rbac.v3.RBAC`.
    Policies {
        action: Action,
        /// By name, in its order, in which they are tried.
        policies: Box<[(Arc<str>, Policy)]>,
    },
    /// A list of the generic matching API.
    Matchers {
        /// In the order in which they are tried.
        matchers: Box<[(Condition, NamedAction)]>,
        /// Where none matches; `None`: nothing is allowed.
        otherwise: Option<NamedAction>,
        /// Whether one of the actions is [`Action::Log`].
        logs: bool,
    },
}

/// What a matcher says, and by which name it is told.
#[derive(Debug)]
pub struct NamedAction {
    pub name: Arc<str>,
    pub action: Action,
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
    /// The first policy that matched, or the action.
    pub matched: Option<&'r Arc<str>>,
    /// Whether to log, where rules are asked for that.
    pub log: Option<bool>,
}

/// Records the steps of a decision. The unit type records nothing and costs nothing.
pub trait Trace {
    /// `failed`: the part of the policy that does not hold; `None`: the policy matches.
    fn policy(&mut self, _name: &str, _failed: Option<&'static str>) {}
}

impl Trace for () {}

/// Decides by the first policy or matcher that matches.
pub fn decide<'r>(rules: &'r Rules, facts: &Facts<'_>, trace: &mut impl Trace) -> Decision<'r> {
    match rules {
        Rules::Policies { action, policies } => by_policies(*action, policies, facts, trace),
        Rules::Matchers {
            matchers,
            otherwise,
            logs,
        } => {
            let action = by_matchers(matchers, otherwise.as_ref(), facts, trace);
            Decision {
                allowed: action.is_some_and(|named| named.action != Action::Deny),
                matched: action.map(|named| &named.name),
                log: logs.then_some(action.is_some_and(|named| named.action == Action::Log)),
            }
        }
    }
}

fn by_policies<'r>(
    action: Action,
    policies: &'r [(Arc<str>, Policy)],
    facts: &Facts<'_>,
    trace: &mut impl Trace,
) -> Decision<'r> {
    let mut matched = None;
    for (name, policy) in policies {
        let failed = policy.first_failure(facts);
        trace.policy(name, failed);
        if failed.is_none() {
            matched = Some(name);
            break;
        }
    }
    Decision {
        allowed: match action {
            Action::Allow => matched.is_some(),
            Action::Deny => matched.is_none(),
            Action::Log => true,
        },
        matched,
        log: (action == Action::Log).then_some(matched.is_some()),
    }
}

/// Once a matcher cannot be evaluated nothing after it counts, and nothing is allowed.
fn by_matchers<'r>(
    matchers: &'r [(Condition, NamedAction)],
    otherwise: Option<&'r NamedAction>,
    facts: &Facts<'_>,
    trace: &mut impl Trace,
) -> Option<&'r NamedAction> {
    for (condition, named) in matchers {
        let known = condition.known(facts);
        let failed = match known {
            Some(true) => None,
            Some(false) => Some("predicate"),
            None => Some("input"),
        };
        trace.policy(&named.name, failed);
        if known? {
            return Some(named);
        }
    }
    otherwise
}

impl Rules {
    /// Every condition, by the name of its policy or action.
    pub fn conditions(&self) -> Vec<(&Arc<str>, &Condition)> {
        match self {
            Self::Policies { policies, .. } => {
                let each = policies.iter();
                each.flat_map(|(name, policy)| {
                    let both = policy.permissions.iter().chain(&policy.principals);
                    both.map(move |condition| (name, condition))
                })
                .collect()
            }
            Self::Matchers { matchers, .. } => {
                let each = matchers.iter();
                each.map(|(condition, named)| (&named.name, condition)).collect()
            }
        }
    }
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
