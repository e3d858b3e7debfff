//! Which hosts stand out by their success rates. Pure.

use super::{Cause, OutlierDetection};

/// Requests of one host in one interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) total: u32,
    pub(super) success: u32,
}

const PERCENT: f64 = 100.0;
/// `success_rate_stdev_factor` is in thousandths.
const FACTOR: f64 = 1000.0;

impl Rate {
    /// Percent.
    fn success(self) -> f64 {
        f64::from(self.success) / f64::from(self.total) * PERCENT
    }
}

/// The hosts to eject, by number, and why. Hosts with little traffic are not judged, nor are too few hosts.
pub(super) fn outliers(rates: &[Rate], config: &OutlierDetection) -> Vec<(usize, Cause)> {
    let mut found = Vec::new();
    let judged = |volume: u32| move |(_, rate): &(usize, &Rate)| rate.total >= volume.max(1);
    let busy: Vec<_> = rates
        .iter()
        .enumerate()
        .filter(judged(config.success_rate_request_volume))
        .map(|(host, rate)| (host, rate.success()))
        .collect();
    if !busy.is_empty() && busy.len() >= config.success_rate_minimum_hosts as usize {
        let count = busy.len() as f64;
        let mean = busy.iter().map(|(_, success)| success).sum::<f64>() / count;
        let variance = busy.iter().map(|(_, success)| (success - mean).powi(2)).sum::<f64>() / count;
        let threshold = mean - variance.sqrt() * f64::from(config.success_rate_stdev_factor) / FACTOR;
        let below = busy.iter().filter(|(_, success)| *success < threshold);
        found.extend(below.map(|(host, _)| (*host, Cause::SuccessRate)));
    }
    let busy: Vec<_> = rates
        .iter()
        .enumerate()
        .filter(judged(config.failure_percentage_request_volume))
        .collect();
    if busy.len() >= config.failure_percentage_minimum_hosts as usize {
        let threshold = f64::from(config.failure_percentage_threshold);
        let above = busy.iter().filter(|(_, rate)| PERCENT - rate.success() >= threshold);
        found.extend(above.map(|(host, _)| (*host, Cause::FailurePercentage)));
    }
    found
}
