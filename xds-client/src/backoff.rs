//! Jittered exponential backoff, as Envoy's: each wait is uniform between zero and a bound that doubles, so that a
//! fleet that lost its control plane does not return in step.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Bounds of the wait between two attempts (`RetryPolicy.retry_back_off` of the gRPC service).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Bound of the first wait.
    pub base: Duration,
    /// Where the bound stops growing.
    pub max: Duration,
}

impl Default for Backoff {
    /// Envoy's for xDS streams: 500 ms to 30 s.
    fn default() -> Self {
        Self {
            base: Duration::from_millis(500),
            max: Duration::from_secs(30),
        }
    }
}

impl Backoff {
    /// The same, never waiting longer than `max`.
    pub(crate) fn at_most(self, max: Duration) -> Self {
        Self {
            max: self.max.min(max),
            ..self
        }
    }

    /// The wait before attempt number `attempt` (from 0) since the last success. `random` is uniform over all of u64.
    pub fn wait(&self, attempt: u32, random: u64) -> Duration {
        let bound = self
            .base
            .saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX))
            .min(self.max);
        let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(random % nanos.max(1))
    }
}

/// Good enough to spread retries: std's per-process random hash keys, which change with every use.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_the_maximum_and_never_overflows() {
        let backoff = Backoff {
            base: Duration::from_millis(500),
            max: Duration::from_secs(30),
        };
        let longest = |attempt: u32, bound: Duration| {
            let nanos = u64::try_from(bound.as_nanos()).unwrap();
            assert_eq!(backoff.wait(attempt, nanos - 1), bound - Duration::from_nanos(1));
            assert_eq!(backoff.wait(attempt, nanos), Duration::ZERO);
        };
        longest(0, Duration::from_millis(500));
        longest(1, Duration::from_secs(1));
        longest(5, Duration::from_secs(16));
        longest(6, Duration::from_secs(30));
        longest(31, Duration::from_secs(30));
        longest(u32::MAX, Duration::from_secs(30));
    }

    #[test]
    fn no_backoff_at_all_is_no_division_by_zero() {
        assert_eq!(
            Backoff {
                base: Duration::ZERO,
                max: Duration::ZERO
            }
            .wait(3, 7),
            Duration::ZERO
        );
    }
}
