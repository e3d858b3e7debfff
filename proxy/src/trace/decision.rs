//! The decision whether a request is traced, a pure function of the config, the request and the runtime.
//!
//! The first eight digits of `x-request-id` are the random number, so that all proxies on a request's way decide alike; its
//! fifteenth character tells the next proxy what this one decided. As Envoy's connection manager and `UuidRequestIdConfig`.

use serde_json::{Map, Value};

use crate::http::RequestId;

/// Why a request is traced, or that it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    NotTraceable,
    Sampling,
    /// `x-envoy-force-trace`.
    ServiceForced,
    /// `x-client-trace-id`.
    ClientForced,
}

impl Reason {
    pub fn is_traced(self) -> bool {
        self != Self::NotTraceable
    }

    fn digit(self) -> u8 {
        match self {
            Self::NotTraceable => b'4',
            Self::Sampling => b'9',
            Self::ServiceForced => b'a',
            Self::ClientForced => b'b',
        }
    }
}

/// Shares of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// Of those with `x-client-trace-id`.
    pub client: Fraction,
    /// Of those that nobody forces.
    pub random: Fraction,
    /// Of those that would be traced.
    pub overall: Fraction,
}

/// `FractionalPercent`. Which requests fall into it depends on the denominator, not only on the share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fraction {
    pub numerator: u64,
    pub denominator: u64,
}

const HUNDRED: u64 = 100;
/// The random number in a request id counts in these.
const TEN_THOUSAND: u64 = 10_000;
const MILLION: u64 = 1_000_000;

impl Fraction {
    pub const ALL: Self = Self {
        numerator: HUNDRED,
        denominator: HUNDRED,
    };

    /// What the runtime says under `key`, else this: an integer is a percentage, an object a fraction.
    fn holds(self, runtime: &Map<String, Value>, key: &str, random: u64) -> bool {
        let fraction = match runtime.get(key) {
            None => self,
            Some(Value::Object(fraction)) => told(fraction).unwrap_or(self),
            Some(percent) => match integer(percent) {
                Some(percent) => Self {
                    numerator: percent,
                    denominator: HUNDRED,
                },
                None => self,
            },
        };
        random % fraction.denominator < fraction.numerator
    }
}

fn told(fraction: &Map<String, Value>) -> Option<Fraction> {
    Some(Fraction {
        numerator: fraction.get("numerator").map_or(Some(0), integer)?,
        denominator: match fraction.get("denominator").and_then(Value::as_str) {
            None | Some("HUNDRED") => HUNDRED,
            Some("TEN_THOUSAND") => TEN_THOUSAND,
            Some("MILLION") => MILLION,
            Some(_) => return None,
        },
    })
}

/// JSON of a control plane may have written it as a float.
pub(super) fn integer(value: &Value) -> Option<u64> {
    let whole = |n: f64| (n >= 0.0 && n.fract() == 0.0).then_some(n as u64);
    value.as_u64().or_else(|| value.as_f64().and_then(whole))
}

/// What the decision looks at.
pub struct Facts<'a> {
    pub sampling: &'a Sampling,
    pub settings: RequestId,
    /// `x-request-id`, where there is one.
    pub request_id: Option<&'a [u8]>,
    pub has_client_trace_id: bool,
    pub has_force_trace: bool,
    pub runtime: &'a Map<String, Value>,
    pub random: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    pub reason: Reason,
    /// Must be written into the request id.
    pub digit: Option<u8>,
}

/// Where a request id holds the decision.
pub const DIGIT_AT: usize = 14;
const UUID_LENGTH: usize = 36;

pub fn decide(facts: &Facts<'_>) -> Decision {
    if !facts.settings.use_for_trace_sampling {
        return Decision {
            reason: Reason::Sampling,
            digit: None,
        };
    }
    let Some(id) = facts.request_id else {
        return Decision::NO;
    };
    let Some(number) = number(id) else {
        return Decision::NO;
    };
    let random = number % TEN_THOUSAND;
    let Sampling {
        client,
        random: share,
        overall,
    } = facts.sampling;
    let known = packed(id, facts.settings);
    let mut reason = known;
    if reason == Reason::NotTraceable {
        if facts.has_client_trace_id && client.holds(facts.runtime, "tracing.client_enabled", facts.random) {
            reason = Reason::ClientForced;
        } else if facts.has_force_trace {
            reason = Reason::ServiceForced;
        } else if share.holds(facts.runtime, "tracing.random_sampling", random) {
            reason = Reason::Sampling;
        }
    }
    if reason.is_traced() && !overall.holds(facts.runtime, "tracing.global_enabled", random) {
        reason = Reason::NotTraceable;
    }
    Decision {
        reason,
        digit: (reason != known)
            .then_some(reason)
            .and_then(|r| digit(id, facts.settings, r)),
    }
}

impl Decision {
    const NO: Self = Self {
        reason: Reason::NotTraceable,
        digit: None,
    };
}

/// What an earlier proxy decided.
fn packed(id: &[u8], settings: RequestId) -> Reason {
    if !settings.pack_trace_reason || id.len() != UUID_LENGTH {
        return Reason::NotTraceable;
    }
    let reasons = [Reason::Sampling, Reason::ServiceForced, Reason::ClientForced];
    let told = reasons.into_iter().find(|reason| reason.digit() == id[DIGIT_AT]);
    told.unwrap_or(Reason::NotTraceable)
}

/// What to write at [`DIGIT_AT`] so that the id tells `reason`; `None`: it tells that already, or can tell nothing.
pub fn digit(id: &[u8], settings: RequestId, reason: Reason) -> Option<u8> {
    let wanted = Some(reason.digit()).filter(|_| settings.pack_trace_reason && id.len() == UUID_LENGTH);
    wanted.filter(|digit| id[DIGIT_AT] != *digit)
}

/// The first eight characters, in hexadecimal.
fn number(id: &[u8]) -> Option<u64> {
    const DIGITS: usize = 8;
    super::context::hex(id.get(..DIGITS)?)
}

#[cfg(test)]
#[path = "decision/tests.rs"]
mod tests;
