//! How long a job takes, roughly: what a run prints when it begins.

use super::{Job, Measure};
use crate::{args::Lengths, proxy::Kind};

/// Start, warm-up and end of one run of requests.
const AROUND: f64 = 1.2;

impl Job {
    /// Seconds of one round with these proxies. The constants are what a machine with two cores took.
    pub fn seconds(&self, lengths: &Lengths, kinds: &[Kind]) -> f64 {
        let kinds = kinds.iter().filter(|kind| self.excludes(**kind).is_none());
        let (each, together) = match self.measure {
            Measure::Requests(r) => {
                let runs = if r.paced { 2.0 } else { 1.0 };
                (AROUND + runs * lengths.run.as_secs_f64(), 0.0)
            }
            Measure::Latency(_) => (AROUND + lengths.latency.as_secs_f64(), 0.0),
            Measure::Handshakes => (AROUND + lengths.run.as_secs_f64(), 0.0),
            Measure::Idle { tls: false } => (6.0, 2.5),
            Measure::Idle { tls: true } => (9.0, 2.5),
            Measure::Memory => (2.0, 20.0),
            Measure::AdsClusters => (6.0, 10.0),
            // Envoy's memory does not come back.
            Measure::AfterLoad => (1.0 + lengths.run.as_secs_f64(), 40.0),
            Measure::Push => (4.0, 0.0),
            Measure::Scrape => (1.0, 0.0),
        };
        (kinds.count() + usize::from(self.direct)) as f64 * each + together
    }
}
