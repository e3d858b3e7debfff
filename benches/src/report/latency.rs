//! What a proxy adds to the latency, and the rounds that do not tell it: the machine itself moved more than the proxies differ.

use std::fmt;

use super::{Summary, number};
use crate::{
    job::{JOBS, Job, Measure, Metric, requests},
    proxy::Kind,
    run::Values,
};

/// A round that does not count, and why.
#[derive(Debug)]
pub struct Void {
    pub job: &'static str,
    /// From 0.
    pub round: usize,
    /// How far the p99 without a proxy is from its median, in us.
    pub moved: f64,
    /// How far the p99 of Pillion and Envoy are from each other, in us.
    pub differ: f64,
}

impl fmt::Display for Void {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, round {}: the p99 without a proxy is {} us off its median, the proxies' differ by {} us",
            self.job,
            self.round + 1,
            number(self.moved),
            number(self.differ)
        )
    }
}

fn jobs() -> impl Iterator<Item = &'static Job> {
    JOBS.iter().filter(|job| matches!(job.measure, Measure::Latency(_)))
}

fn of<'a>(values: &'a Values, job: &Job, kind: Kind, metric: Metric) -> &'a [(usize, f64)] {
    values.get(&(job.name, kind, metric)).map_or(&[], Vec::as_slice)
}

fn in_round(values: &[(usize, f64)], round: usize) -> Option<f64> {
    values.iter().find(|(r, _)| *r == round).map(|(_, value)| *value)
}

/// Adds what each proxy adds to the same round without one.
pub fn add(values: &mut Values) {
    for job in jobs() {
        for (metric, added) in requests::ADDED {
            let direct = of(values, job, Kind::Direct, metric).to_vec();
            for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Direct) {
                let rounds = of(values, job, kind, metric).iter();
                let rounds: Vec<_> = rounds
                    .filter_map(|(round, value)| Some((*round, value - in_round(&direct, *round)?)))
                    .collect();
                if !rounds.is_empty() {
                    values.insert((job.name, kind, added), rounds);
                }
            }
        }
    }
}

/// The rounds in which the p99 without a proxy is further from its median than the proxies' are from each other.
pub fn void(values: &Values) -> Vec<Void> {
    jobs().flat_map(|job| of_job(values, job)).collect()
}

fn of_job(values: &Values, job: &'static Job) -> Vec<Void> {
    let p99 = |kind| of(values, job, kind, requests::PACED[2]);
    let (direct, ours, envoys) = (p99(Kind::Direct), p99(Kind::Pillion), p99(Kind::Envoy));
    let Some(usual) = Summary::of(direct.iter().map(|(_, value)| *value)) else {
        return Vec::new();
    };
    let judge = |(round, value): &(usize, f64)| {
        let moved = (value - usual.median).abs();
        let differ = (in_round(envoys, *round)? - in_round(ours, *round)?).abs();
        (moved > differ).then_some(Void {
            job: job.name,
            round: *round,
            moved,
            differ,
        })
    };
    direct.iter().filter_map(judge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(values: [f64; 3]) -> Vec<(usize, f64)> {
        values.into_iter().enumerate().collect()
    }

    #[test]
    fn a_round_in_which_the_machine_moved_more_is_void() {
        let p99 = requests::PACED[2];
        let mut values = Values::new();
        values.insert(("latency-h1", Kind::Direct, p99), rounds([100.0, 101.0, 180.0]));
        values.insert(("latency-h1", Kind::Pillion, p99), rounds([150.0, 150.0, 190.0]));
        values.insert(("latency-h1", Kind::Envoy, p99), rounds([200.0, 200.0, 230.0]));
        let void = void(&values);
        assert_eq!(void.len(), 1);
        assert!(void[0].to_string().starts_with("latency-h1, round 3: "), "{}", void[0]);
    }

    #[test]
    fn what_is_added_counts_from_the_same_round() {
        let (p50, added) = requests::ADDED[0];
        let mut values = Values::new();
        values.insert(("latency-h1", Kind::Direct, p50), vec![(0, 20.0), (2, 30.0)]);
        values.insert(("latency-h1", Kind::Envoy, p50), rounds([50.0, 60.0, 70.0]));
        add(&mut values);
        assert_eq!(values[&("latency-h1", Kind::Envoy, added)], [(0, 30.0), (2, 40.0)]);
    }
}
