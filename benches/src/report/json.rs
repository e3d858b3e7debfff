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
                .filter_map(|((_, kind, _), values)| {
                    let summary = super::Summary::of(values)?;
                    let value = json!({
                        "median": summary.median, "low": summary.low, "high": summary.high, "rounds": values,
                    });
                    Some((kind.name().to_owned(), value))
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
    }))?)
}
