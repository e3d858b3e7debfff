//! Rounds of latency that say nothing: the machine itself moved more than the proxies differ.

use super::{Summary, number};
use crate::{
    job::{JOBS, Measure, requests},
    proxy::Kind,
    run::Values,
};

/// Takes out the rounds in which the p99 without a proxy is further from its median than the proxies' are from each other;
/// says which.
pub fn take_out(values: &mut Values) -> Vec<String> {
    let latency = JOBS.iter().filter(|job| matches!(job.measure, Measure::Latency(_)));
    latency.flat_map(|job| of_job(values, job.name)).collect()
}

fn of_job(values: &mut Values, job: &'static str) -> Vec<String> {
    let p99 = requests::PACED[2];
    let of = |kind: Kind| values.get(&(job, kind, p99)).cloned().unwrap_or_default();
    let (direct, ours, envoys) = (of(Kind::Direct), of(Kind::Pillion), of(Kind::Envoy));
    let rounds = direct.len();
    let Some(usual) = Summary::of(&direct).filter(|_| ours.len() == rounds && envoys.len() == rounds) else {
        return Vec::new();
    };
    let mut said = Vec::new();
    let mut stays = Vec::with_capacity(rounds);
    for i in 0..rounds {
        let (moved, differ) = ((direct[i] - usual.median).abs(), (envoys[i] - ours[i]).abs());
        stays.push(moved <= differ);
        if moved > differ {
            said.push(format!(
                "{job}, round {}: void: the p99 without a proxy is {} us off its median, the proxies' differ by {} us",
                i + 1,
                number(moved),
                number(differ)
            ));
        }
    }
    for ((of, ..), list) in values.iter_mut() {
        if *of == job && list.len() == rounds {
            let mut stays = stays.iter();
            list.retain(|_| *stays.next().unwrap_or(&true));
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_in_which_the_machine_moved_more_is_void() {
        let p99 = requests::PACED[2];
        let mut values = Values::new();
        values.insert(("latency-h1", Kind::Direct, p99), vec![100.0, 101.0, 180.0]);
        values.insert(("latency-h1", Kind::Pillion, p99), vec![150.0, 150.0, 190.0]);
        values.insert(("latency-h1", Kind::Envoy, p99), vec![200.0, 200.0, 230.0]);
        let said = take_out(&mut values);
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with("latency-h1, round 3: void"), "{}", said[0]);
        assert_eq!(values[&("latency-h1", Kind::Pillion, p99)], [150.0, 150.0]);
    }
}
