//! Envoy 1.40 and Pillion on the same bootstraps, given the same bytes: what comes back and what reaches the upstreams
//! must be the same.
//!
//! The cases are tables in `differential/`, a file per arrow of the request path, each with its bootstrap beside it.
//! `PILLION_CASES=text` runs those whose name contains it, and prints both sides. `PILLION_BIN=/path/to/envoy` runs
//! Envoy against itself, which must not differ: that is how a new case is tried.

// Modules of a test program are public to it alone.
#![allow(unreachable_pub)]

mod support;

/// The tables, and what carries them out.
mod differential {
    pub mod case;
    pub mod compare;
    pub mod run;

    pub mod bodies;
    pub mod breakers;
    pub mod connect;
    pub mod edge;
    pub mod h2;
    pub mod headers;
    pub mod logs;
    pub mod malformed;
    pub mod mtls;
    pub mod network;
    pub mod paths;
    pub mod policies;
    pub mod redirects;
    pub mod replies;
    pub mod retries;
    pub mod rewrites;
    pub mod routing;
    pub mod timeouts;
    pub mod upgrades;
}

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use differential::case::Suite;
use differential::compare::{Aspect, KNOWN, Verdict};
use differential::{compare, run};
use support::peers;

/// Suites that run at the same time, two proxies each: more would starve each other's deadlines on two cores.
const PARALLEL: usize = 3;
/// What the project promises (issue: a sidecar that carries real traffic).
const MIN_CASES: usize = 80;
const MAX_KNOWN: usize = 5;

fn suites() -> Vec<Suite> {
    use differential::*;
    vec![
        timeouts::suite(),
        retries::suite(),
        breakers::suite(),
        bodies::suite(),
        malformed::suite(),
        mtls::suite(),
        network::suite(),
        upgrades::suite(),
        connect::suite(),
        h2::suite(),
        edge::suite(),
        paths::suite(),
        policies::suite(),
        replies::suite(),
        headers::suite(),
        logs::suite(),
        redirects::suite(),
        rewrites::suite(),
        routing::suite(),
    ]
}

#[test]
fn agrees_with_envoy() {
    let (Some(envoy), Some(pillion)) = (peers::need("differential", "envoy"), peers::pillion("differential")) else {
        return;
    };
    let only = std::env::var("PILLION_CASES").unwrap_or_default();
    let mut suites = suites();
    for suite in &mut suites {
        suite
            .cases
            .retain(|case| format!("{}: {}", suite.name, case.name).contains(&only));
    }
    suites.retain(|suite| !suite.cases.is_empty());
    let queue = Mutex::new(suites.iter());
    let verdicts = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(suite) = next else { return };
                    let theirs = scope.spawn(|| run::suite(suite, &envoy));
                    let ours = scope.spawn(|| run::suite(suite, &pillion));
                    let theirs = theirs
                        .join()
                        .unwrap_or_else(|_| panic!("suite {} failed on Envoy", suite.name));
                    let found = match ours.join() {
                        Ok(ours) => compare::verdicts(suite, &theirs, &ours),
                        Err(_) => compare::all_failed(suite),
                    };
                    verdicts.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
                }
            });
        }
    });
    let mut verdicts = verdicts.into_inner().unwrap_or_else(PoisonError::into_inner);
    verdicts.sort_by(|a, b| a.name.cmp(&b.name));
    report(&verdicts, !only.is_empty());
    let differs = |verdict: &&Verdict| !verdict.unexpected.is_empty();
    let differing = verdicts.iter().filter(differs).count();
    assert_eq!(differing, 0, "{differing} cases differ from Envoy, see the table");
    let stale: Vec<_> = KNOWN
        .iter()
        .filter(|known| !verdicts.iter().any(|verdict| verdict.known.contains(known)))
        .collect();
    assert!(
        stale.is_empty() || !only.is_empty() || envoy == pillion,
        "these differences are gone, take them off the list: {stale:?}"
    );
}

#[test]
fn is_as_large_and_as_strict_as_promised() {
    let cases: usize = suites().iter().map(|suite| suite.cases.len()).sum();
    assert!(cases >= MIN_CASES, "{cases} cases");
    assert!(KNOWN.len() <= MAX_KNOWN, "{} known differences", KNOWN.len());
    for known in KNOWN {
        assert!(
            !matches!(known.aspect, Aspect::Status | Aspect::Body | Aspect::Upstream),
            "{known:?} must be mended"
        );
        assert!(!known.reason.is_empty(), "{known:?}");
    }
    let mut names: Vec<_> = suites()
        .iter()
        .flat_map(|suite| {
            suite
                .cases
                .iter()
                .map(|case| (suite.name, case.name))
                .collect::<Vec<_>>()
        })
        .collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all, "two cases have one name");
}

fn report(verdicts: &[Verdict], details: bool) {
    let mut table = String::new();
    for verdict in verdicts {
        let word = match (verdict.unexpected.is_empty(), verdict.known.is_empty()) {
            (true, true) => "same".to_owned(),
            (true, false) => "known difference".to_owned(),
            (false, _) => format!(
                "DIFFERS in {}",
                verdict
                    .unexpected
                    .iter()
                    .map(|(aspect, _)| format!("{aspect:?}"))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        };
        let _ = writeln!(
            table,
            "{:5} {:5} ms  {:74} {word}",
            verdict.times.0.as_millis(),
            verdict.times.1.as_millis(),
            verdict.name
        );
        for (_, text) in &verdict.unexpected {
            table.push_str(text);
        }
        if details {
            table.push_str(&verdict.details);
        }
    }
    let count = |wanted: fn(&Verdict) -> bool| verdicts.iter().filter(|verdict| wanted(verdict)).count();
    let _ = writeln!(
        table,
        "{} cases: {} the same, {} with a known difference, {} differ",
        verdicts.len(),
        count(|verdict| verdict.unexpected.is_empty() && verdict.known.is_empty()),
        count(|verdict| verdict.unexpected.is_empty() && !verdict.known.is_empty()),
        count(|verdict| !verdict.unexpected.is_empty()),
    );
    say!("{table}");
}
