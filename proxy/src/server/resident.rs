//! Resident memory that a quiet proxy gives back.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Gives back what start or a load left, once both are over: the code that was mapped, and the free memory that threads keep
/// at hand. More than once, for that takes code too, idle connections to upstreams shrink in between, and the allocator takes
/// a second to return what they leave.
#[derive(Debug)]
pub struct Resident {
    /// Connections and admin requests so far.
    seen: u64,
    /// When there was one more.
    since: Instant,
    next: Instant,
    /// How often code was given back since.
    released: u32,
}

/// What a quiet proxy gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    Code,
    /// And what threads keep at hand of free memory.
    CodeAndCaches,
}

impl Resident {
    /// How long no connection must have been made, and nothing been asked of the admin interface.
    const QUIET: Duration = Duration::from_secs(5);

    /// From look to look.
    const LOOK: Duration = Duration::from_millis(2500);

    /// How often code is given back, every other time with the threads' memory, but not the last.
    const RELEASES: u32 = 6;

    /// The start counts as a load.
    pub fn of_start() -> Self {
        let now = Instant::now();
        Self {
            seen: 0,
            since: now,
            next: now,
            released: 0,
        }
    }

    /// Waits for the next look.
    pub async fn due(&self) {
        sleep_until(self.next).await;
    }

    /// What is to be given back, with so many connections and requests so far.
    pub fn look(&mut self, now: Instant, so_far: u64) -> Option<Release> {
        self.next = now + Self::LOOK;
        if so_far != self.seen {
            self.seen = so_far;
            self.since = now;
            self.released = 0;
        }
        if now - self.since < Self::QUIET || self.released == Self::RELEASES {
            return None;
        }
        self.released += 1;
        Some(match self.released % 2 {
            1 => Release::CodeAndCaches,
            _ => Release::Code,
        })
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
        while resident.next < start + Duration::from_secs(40) {
            let now = resident.next;
            // Something happens once, after eleven seconds.
            let so_far = u64::from(now - start >= Duration::from_secs(11));
            if let Some(release) = resident.look(now, so_far) {
                given.push(((now - start).as_millis(), release == Release::CodeAndCaches));
            }
        }
        let before = [(5_000, true), (7_500, false), (10_000, true)];
        let after = [
            (17_500, true),
            (20_000, false),
            (22_500, true),
            (25_000, false),
            (27_500, true),
            (30_000, false),
        ];
        assert_eq!(given, [&before[..], &after].concat());
    }
}
