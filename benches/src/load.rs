//! The load: closed (every connection asks again at once) or open (a fixed rate, whatever the answers do).

pub mod exchange;
pub mod handshake;
pub mod http2;
pub mod idle;

use std::time::Duration;

use crate::histogram::Histogram;

#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// The next request goes out when the answer is in.
    Saturate,
    /// Requests are due at a fixed rate. Latency counts from when one was due, not from when a connection was free for it,
    /// so that a stalled proxy cannot hide requests that were not sent (coordinated omission).
    PerSecond(f64),
}

/// What a run saw.
#[derive(Debug, Default)]
pub struct Outcome {
    pub latencies: Histogram,
    pub elapsed: Duration,
}

impl Outcome {
    pub fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies);
        self.elapsed += other.elapsed;
    }

    pub fn per_second(&self) -> f64 {
        self.latencies.count() as f64 / self.elapsed.as_secs_f64()
    }
}
