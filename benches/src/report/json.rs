//! The result file: every value of every round.

use serde_json::{Map, Value, json};

use super::Results;

pub fn document(results: &Results<'_>) -> anyhow::Result<String> {
    let programs: Map<String, Value> = results
        .programs
        .iter()
        .map(|program| (program.kind.name().to_owned(), program.version.clone().into()))
        .collect();
    let jobs = results.jobs.iter().map(|job| {
        let metrics = results.metrics(job.name).into_iter().map(|metric| {
            let proxies: Map<String, Value> = results
                .values
                .iter()
                .filter(|((j, _, m), _)| *j == job.name && *m == metric)
                .map(|((_, kind, _), values)| {
                    let values: Vec<f64> = values.iter().map(|(_, value)| *value).collect();
                    // Nothing where all rounds are void.
                    let summary = results.summary(job.name, *kind, metric);
                    let value = json!({
                        "median": summary.map(|s| s.median),
                        "low": summary.map(|s| s.low),
                        "high": summary.map(|s| s.high),
                        "counted": summary.map_or(0, |s| s.rounds),
                        "rounds": values,
                    });
                    (kind.name().to_owned(), value)
                })
                .collect();
            json!({ "name": metric.name, "unit": metric.unit, "proxies": proxies })
        });
        json!({ "name": job.name, "what": job.what, "metrics": metrics.collect::<Vec<_>>() })
    });
    Ok(serde_json::to_string_pretty(&json!({
        "machine": results.machine,
        "programs": programs,
        "rounds": results.rounds,
        "jobs": jobs.collect::<Vec<_>>(),
        "skipped": results.skipped,
        "void": results.void.iter().map(|void| json!({
            "job": void.job,
            "round": void.round + 1,
            "direct_p99_off_its_median": void.moved,
            "p99_between_the_proxies": void.differ,
            "said": void.to_string(),
        })).collect::<Vec<_>>(),
    }))?)
}
