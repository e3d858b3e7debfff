//! Resident memory that a quiet proxy gives back.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::sys;

/// Gives back what start or a load left, once both are over: the free memory that threads keep at hand, then the code that
/// was mapped. And again at the next looks, for idle connections to upstreams shrink in between, and the allocator returns
/// what they leave.
#[derive(Debug)]
pub struct Resident {
    /// Connections and admin requests so far, at the last look.
    seen: u64,
    next: Instant,
    /// The threads were told.
    told: bool,
    /// How often code was given back since.
    released: u32,
}

impl Resident {
    /// How long no connection must have been made, and nothing been asked of the admin interface.
    const QUIET: Duration = Duration::from_secs(5);

    /// Until the threads have done as they were told, and the allocator's has returned to the kernel what they gave it.
    const RETURN: Duration = Duration::from_secs(3);

    /// How often code is given back.
    const RELEASES: u32 = 3;

    /// The start counts as a load.
    pub fn of_start() -> Self {
        Self {
            seen: u64::MAX,
            next: Instant::now(),
            told: false,
            released: 0,
        }
    }

    /// Waits for the next look.
    pub async fn due(&self) {
        sleep_until(self.next).await;
    }

    /// Looks how much there has been. True: all threads shall give back what they keep at hand.
    pub fn look(&mut self, so_far: u64) -> bool {
        self.next = Instant::now() + Self::QUIET;
        if so_far != self.seen {
            self.seen = so_far;
            self.told = false;
            self.released = 0;
            return false;
        }
        if self.released == Self::RELEASES {
            return false;
        }
        self.told = !self.told;
        if self.told {
            self.next = Instant::now() + Self::RETURN;
        } else {
            self.released += 1;
            sys::release_code();
        }
        self.told
    }
}
