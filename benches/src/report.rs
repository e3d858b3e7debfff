//! What a run writes: JSON for machines, Markdown for the README, plots.

pub mod goals;
pub mod json;
pub mod markdown;
pub mod plot;
pub mod void;

use std::{fs, path::Path};

use serde_json::Value;

use crate::{
    job::{Job, Metric},
    proxy::{Kind, Program},
    run::Values,
};

pub struct Results<'a> {
    pub machine: Value,
    pub programs: &'a [Program],
    pub jobs: &'a [&'static Job],
    pub rounds: usize,
    /// What was not measured, and why.
    pub skipped: Vec<String>,
    pub values: Values,
}

/// Median and spread over the rounds.
#[derive(Debug, Clone, Copy)]
pub struct Summary {
    pub median: f64,
    pub low: f64,
    pub high: f64,
    pub rounds: usize,
}

impl Summary {
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self {
            median,
            low,
            high,
            rounds: sorted.len(),
        })
    }
}

impl Results<'_> {
    pub fn summary(&self, job: &'static str, kind: Kind, metric: Metric) -> Option<Summary> {
        Summary::of(self.values.get(&(job, kind, metric))?)
    }

    /// A job's metrics, as they were first reported.
    pub fn metrics(&self, job: &'static str) -> Vec<Metric> {
        let mut metrics: Vec<_> = self
            .values
            .keys()
            .filter(|(j, ..)| *j == job)
            .map(|(.., m)| *m)
            .collect();
        metrics.sort_unstable();
        metrics.dedup();
        metrics
    }
}

pub fn write(out: &Path, results: &Results<'_>) -> anyhow::Result<()> {
    fs::create_dir_all(out)?;
    fs::write(out.join("results.json"), json::document(results)?)?;
    let markdown = markdown::document(results);
    fs::write(out.join("results.md"), &markdown)?;
    for (name, svg) in plot::all(results) {
        fs::write(out.join(name), svg)?;
    }
    println!("{markdown}");
    println!("written: {}", out.display());
    Ok(())
}

/// A job's first figure so far, for who watches the run.
pub fn line(job: &Job, values: &Values) -> String {
    let Some((_, _, metric)) = values.keys().find(|(j, ..)| *j == job.name) else {
        return format!("{}: nothing", job.name);
    };
    let proxies = Kind::ALL.into_iter().filter_map(|kind| {
        let summary = Summary::of(values.get(&(job.name, kind, *metric))?)?;
        Some(format!("{} {}", kind.name(), number(summary.median)))
    });
    let proxies: Vec<_> = proxies.collect();
    format!(
        "{}, {} ({}): {}",
        job.name,
        metric.name,
        metric.unit,
        proxies.join(", ")
    )
}

/// Three digits that count, and thousands separated.
pub fn number(value: f64) -> String {
    let decimals = match value.abs() {
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    if decimals > 0 {
        return text;
    }
    let mut separated = String::new();
    for (index, digit) in text.chars().enumerate() {
        let left = text.len() - index;
        if index > 0 && left.is_multiple_of(3) && digit.is_ascii_digit() && !separated.ends_with('-') {
            separated.push(',');
        }
        separated.push(digit);
    }
    separated
}
