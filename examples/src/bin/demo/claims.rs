//! What the demo claims in the end, and whether it holds.

use serde_json::{Value, json};

use crate::{facts::Facts, load::Tally, phase::Phase, script::Record, topology::SERVICE_ACCOUNTS};

/// So many requests decide a phase's split.
pub(crate) const DECISIVE: usize = 3_000;
/// How far a split may lie from its weights: 2 points, or so many standard errors where that is more.
const POINTS: f64 = 0.02;
const STANDARD_ERRORS: f64 = 4.0;
/// So often is every certificate replaced, at least.
pub(crate) const ROTATIONS: usize = 4;

pub(crate) struct Claim {
    /// A word for scripts.
    pub(crate) name: &'static str,
    pub(crate) sentence: String,
    /// The figures behind it.
    pub(crate) seen: String,
    pub(crate) holds: bool,
}

impl Claim {
    pub(crate) fn json(&self) -> Value {
        json!({"name": self.name, "claim": self.sentence, "seen": self.seen, "holds": self.holds})
    }
}

/// All of them. `rss_limit` is in KiB.
pub(crate) fn judge(tally: &Tally, record: &Record, facts: &Facts, rss_limit: u64) -> Vec<Claim> {
    vec![
        failures(tally),
        split(tally, Phase::Canary),
        split(tally, Phase::Even),
        identity(tally),
        rotations(record, facts),
        handshakes(record),
        breaker(record),
        ejection(record),
        memory(facts, rss_limit),
        rejections(record),
    ]
}

fn failures(tally: &Tally) -> Claim {
    let phases = Phase::ALL.into_iter().filter(|phase| !phase.may_fail());
    let (requests, failed) = phases
        .map(|phase| tally.of(phase))
        .fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    Claim {
        name: "requests",
        sentence: "no request fails outside the overload and the kill".to_owned(),
        seen: format!("{failed} of {requests} failed"),
        holds: failed == 0 && requests > 0,
    }
}

fn split(tally: &Tally, phase: Phase) -> Claim {
    let (v1, v2) = tally.split(phase);
    let weights = phase.weights();
    let total = v1 + v2;
    let wanted = f64::from(weights.v2) / f64::from(weights.v1 + weights.v2);
    let got = v2 as f64 / total.max(1) as f64;
    let standard_error = (wanted * (1.0 - wanted) / total.max(1) as f64).sqrt();
    let allowed = POINTS.max(STANDARD_ERRORS * standard_error);
    let percent = |share: f64| share * 100.0;
    Claim {
        name: if phase == Phase::Canary {
            "split 90/10"
        } else {
            "split 50/50"
        },
        sentence: format!(
            "weights {} send {:.0} % to v2, within {:.1} points",
            weights.label(),
            percent(wanted),
            percent(allowed)
        ),
        seen: format!("{:.2} % of {total}", percent(got)),
        holds: total >= DECISIVE && (got - wanted).abs() <= allowed,
    }
}

fn identity(tally: &Tally) -> Claim {
    let expected = format!("{SERVICE_ACCOUNTS}web");
    let others: usize = tally
        .callers
        .values()
        .flat_map(|callers| callers.iter().filter(|(id, _)| **id != expected))
        .map(|(_, count)| count)
        .sum();
    let total: usize = tally.callers.values().flat_map(|callers| callers.values()).sum();
    Claim {
        name: "identity",
        sentence: format!("the API is called as {expected} alone"),
        seen: format!("{others} of {total} were not"),
        holds: others == 0 && total > 0,
    }
}

fn rotations(record: &Record, facts: &Facts) -> Claim {
    // The first certificate is no rotation.
    let counts = facts.sidecars.iter().map(|s| (s.node, s.seen.len().saturating_sub(1)));
    let fewest = counts.min_by_key(|(_, count)| *count);
    let (node, count) = fewest.unwrap_or(("no sidecar", 0));
    Claim {
        name: "rotations",
        sentence: format!("every certificate is replaced at least {ROTATIONS} times, and the CA behind them"),
        seen: format!(
            "{count} times ({node}); CA {}",
            if record.authority_replaced {
                "replaced"
            } else {
                "not replaced everywhere"
            }
        ),
        holds: count >= ROTATIONS && record.rotations >= ROTATIONS && record.authority_replaced,
    }
}

fn handshakes(record: &Record) -> Claim {
    Claim {
        name: "handshakes",
        sentence: "no handshake fails, and every certificate serves some".to_owned(),
        seen: format!(
            "{} of {} failed; {} of {} rotations were seen in handshakes",
            record.failed_handshakes, record.handshakes, record.rotations_in_use, record.rotations
        ),
        holds: record.failed_handshakes == 0 && record.handshakes > 0 && record.rotations_in_use == record.rotations,
    }
}

fn breaker(record: &Record) -> Claim {
    Claim {
        name: "breaker",
        sentence: "v2's circuit breaker opens under overload and closes after it".to_owned(),
        seen: format!(
            "{} refused at most {} in flight; then {} replies and {} refused",
            record.refused, record.limit, record.recovered, record.refused_later
        ),
        holds: record.refused > 0 && record.breaker_closed,
    }
}

fn ejection(record: &Record) -> Claim {
    Claim {
        name: "ejection",
        sentence: "the killed instance is ejected".to_owned(),
        seen: match record.ejected_after {
            Some(_) if record.ejected_early => "before it was killed".to_owned(),
            Some(after) => format!(
                "after {:.1} s and {} failed requests",
                after.as_secs_f64(),
                record.failed_by_kill
            ),
            None => "it was not".to_owned(),
        },
        holds: record.ejected_after.is_some() && !record.ejected_early,
    }
}

fn memory(facts: &Facts, limit: u64) -> Claim {
    let largest = facts.sidecars.iter().max_by_key(|s| s.max_rss_kib);
    let (node, kib) = largest.map_or(("no sidecar", 0), |s| (s.node, s.max_rss_kib));
    Claim {
        name: "memory",
        sentence: format!("every sidecar stays under {} MB", limit / 1024),
        seen: format!("{:.1} MB at most ({node})", kib as f64 / 1024.0),
        holds: kib > 0 && kib < limit,
    }
}

fn rejections(record: &Record) -> Claim {
    Claim {
        name: "configuration",
        sentence: "no sidecar rejects what it is told, and all end when asked".to_owned(),
        seen: match (record.rejections.first(), record.stuck.as_slice()) {
            (None, []) => "none did; all ended".to_owned(),
            (Some(first), _) => format!("{} rejections, the first: {first}", record.rejections.len()),
            (None, stuck) => format!("{} had to be killed", stuck.join(", ")),
        },
        holds: record.rejections.is_empty() && record.stuck.is_empty(),
    }
}
