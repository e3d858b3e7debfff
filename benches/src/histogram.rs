//! Latencies in buckets that are at most 0.8 % wide, from nanoseconds to hours.

use std::time::Duration;

/// Sub-buckets per power of two.
const FINE_BITS: u32 = 7;
const FINE: usize = 1 << FINE_BITS;

#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; FINE * (u64::BITS - FINE_BITS + 1) as usize],
            total: 0,
        }
    }
}

impl Histogram {
    pub fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
    }

    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
    }

    pub fn count(&self) -> u64 {
        self.total
    }

    /// The latency that the fraction `quantile` of all did not exceed, in microseconds.
    pub fn quantile(&self, quantile: f64) -> f64 {
        let wanted = (self.total as f64 * quantile).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return middle(index) / 1_000.0;
            }
        }
        0.0
    }
}

/// Row 0 holds what is below `FINE` exactly; row r holds [FINE << (r - 1), FINE << r) in `FINE` steps.
fn bucket(nanos: u64) -> usize {
    let row = (u64::BITS - FINE_BITS).saturating_sub(nanos.leading_zeros());
    if row == 0 {
        return nanos as usize;
    }
    (row as usize) * FINE + ((nanos >> (row - 1)) as usize & (FINE - 1))
}

fn middle(index: usize) -> f64 {
    let (row, step) = (index / FINE, (index % FINE) as u64);
    if row == 0 {
        return step as f64;
    }
    let width = 1_u64 << (row - 1);
    ((FINE as u64 + step) * width) as f64 + width as f64 / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_hundredth() {
        let mut histogram = Histogram::default();
        for micros in 1..=100_000 {
            histogram.record(Duration::from_micros(micros));
        }
        for quantile in [0.01, 0.5, 0.9, 0.99, 0.999] {
            let error = histogram.quantile(quantile) / (quantile * 100_000.0) - 1.0;
            assert!(error.abs() < 0.01, "{quantile}: {}", histogram.quantile(quantile));
        }
        assert_eq!(histogram.count(), 100_000);
    }
}
