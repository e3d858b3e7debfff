//! Resident memory that a quiet proxy gives back.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Gives back what start or a load left, once both are over: the code that was mapped, and the free memory that threads keep
/// at hand. More than once, for that takes code too, idle connections to upstreams shrink in between, and the allocator takes
/// a second to return what they leave.
#[derive(Debug)]
pub struct Resident {
    looked: Instant,
    /// CPU time that the process had used by then.
    used: Duration,
    /// The end of the last load.
    since: Instant,
    next: Instant,
    /// Looks since then that found it quiet.
    looks: usize,
}

/// What a quiet proxy gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// What threads keep at hand: free memory, buffers, deep stacks. Finding it takes code.
    Kept,
    Code,
}

impl Resident {
    /// How long the process must have had next to nothing to do.
    const QUIET: Duration = Duration::from_secs(5);

    /// What part of a core is no load.
    const IDLE_SHARE: f64 = 0.01;

    /// From look to look.
    const LOOK: Duration = Duration::from_millis(2500);

    /// By the look.
    const RELEASES: [Option<Release>; 8] = [
        Some(Release::Kept),
        Some(Release::Code),
        None,
        Some(Release::Kept),
        Some(Release::Code),
        None,
        Some(Release::Kept),
        Some(Release::Code),
    ];

    /// The start counts as a load.
    pub fn of_start() -> Self {
        let now = Instant::now();
        Self {
            looked: now,
            used: Duration::ZERO,
            since: now,
            next: now,
            looks: 0,
        }
    }

    /// Waits for the next look.
    pub async fn due(&self) {
        sleep_until(self.next).await;
    }

    /// What is to be given back; `used` is the CPU time of the process, all threads and system calls included.
    pub fn look(&mut self, now: Instant, used: Duration) -> Option<Release> {
        let idle = (now - self.looked).mul_f64(Self::IDLE_SHARE);
        if used.saturating_sub(self.used) > idle {
            self.since = now;
            self.looks = 0;
        }
        (self.looked, self.used) = (now, used);
        self.next = now + Self::LOOK;
        if now - self.since < Self::QUIET {
            return None;
        }
        self.looks += 1;
        Self::RELEASES.get(self.looks - 1).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_is_waited_for_after_the_start_and_after_every_load() {
        let mut resident = Resident::of_start();
        let start = resident.next;
        let mut given = Vec::new();
        while resident.next < start + Duration::from_secs(45) {
            let now = resident.next;
            // A tenth of a core from eleven seconds on, for five seconds; and always some bookkeeping.
            let load = (now - start)
                .saturating_sub(Duration::from_secs(11))
                .min(Duration::from_secs(5));
            let used = Duration::from_millis(40) + load / 10 + (now - start) / 1000;
            if let Some(release) = resident.look(now, used) {
                given.push(((now - start).as_millis(), release));
            }
        }
        let before = [(5_000, Release::Kept), (7_500, Release::Code)];
        let after = [
            (22_500, Release::Kept),
            (25_000, Release::Code),
            (30_000, Release::Kept),
            (32_500, Release::Code),
            (37_500, Release::Kept),
            (40_000, Release::Code),
        ];
        assert_eq!(given, [&before[..], &after].concat());
    }
}
