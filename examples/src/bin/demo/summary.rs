//! The end: what every phase carried, and the claims.

use serde_json::{Value, json};

use crate::{
    claims::Claim,
    facts::Facts,
    load::Tally,
    phase::Phase,
    screen::{megabytes, percentile},
};

pub(crate) fn print(tally: &Tally, facts: &Facts, claims: &[Claim]) {
    println!("\nPHASE          REQUESTS  FAILED       P50       P99");
    for phase in Phase::ALL.into_iter().filter(|phase| tally.of(*phase).0 > 0) {
        let (requests, failed) = tally.of(phase);
        let latencies = latencies(tally, phase);
        println!(
            "{:<13}  {requests:>8}  {failed:>6}  {:>8}  {:>8}",
            phase.name(),
            percentile(&latencies, 50),
            percentile(&latencies, 99)
        );
    }
    let memory = facts
        .sidecars
        .iter()
        .map(|s| format!("{} {}", s.node, megabytes(s.max_rss_kib)));
    println!("\nlargest RSS: {}\n", memory.collect::<Vec<_>>().join(", "));
    for claim in claims {
        let word = if claim.holds { "ok    " } else { "FAILED" };
        println!("{word}  {}: {}", claim.sentence, claim.seen);
    }
    for (phase, words) in tally.failures.iter().filter(|(phase, _)| !phase.may_fail()) {
        println!("        {phase}: {words}");
    }
}

/// The same for programs.
pub(crate) fn json(seconds: f64, tally: &Tally, facts: &Facts, claims: &[Claim]) -> Value {
    let phases = Phase::ALL.into_iter().filter(|phase| tally.of(*phase).0 > 0);
    let phases = phases.map(|phase| {
        let ((requests, failed), (v1, v2)) = (tally.of(phase), tally.split(phase));
        let latencies = latencies(tally, phase);
        let at = |percent: usize| latencies.get(latencies.len() * percent / 100);
        json!({
            "phase": phase.name(),
            "weights": phase.weights().label(),
            "requests": requests,
            "failed": failed,
            "answered_by_v1": v1,
            "answered_by_v2": v2,
            "p50_us": at(50),
            "p99_us": at(99),
        })
    });
    let sidecars = facts.sidecars.iter().map(|s| {
        json!({
            "node": s.node,
            "ads": s.protocol.name(),
            "rotations": s.seen.len().saturating_sub(1),
            "handshakes": s.handshakes,
            "failed_handshakes": s.failed_handshakes,
            "max_rss_kib": s.max_rss_kib,
        })
    });
    json!({
        "seconds": seconds,
        "phases": phases.collect::<Vec<_>>(),
        "sidecars": sidecars.collect::<Vec<_>>(),
        "claims": claims.iter().map(Claim::json).collect::<Vec<_>>(),
        "failures": tally.failures.iter().map(|(phase, words)| format!("{phase}: {words}")).collect::<Vec<_>>(),
        "holds": claims.iter().all(|claim| claim.holds),
    })
}

fn latencies(tally: &Tally, phase: Phase) -> Vec<u32> {
    let series = tally.series.iter().filter(|(key, _)| key.phase == phase);
    let mut all: Vec<u32> = series.flat_map(|(_, s)| s.latencies.iter().copied()).collect();
    all.sort_unstable();
    all
}
