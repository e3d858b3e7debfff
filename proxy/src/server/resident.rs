//! Resident memory that a quiet proxy gives back.

use std::time::Duration;

use crate::sys;

/// Gives the code back that start or a load mapped, once both are over; and again at the next looks, for idle connections to
/// upstreams shrink in between, and the allocator returns what they leave.
#[derive(Debug)]
pub struct Resident {
    /// Connections and admin requests so far, at the last look.
    seen: u64,
    /// How often code was given back since.
    released: u32,
}

impl Resident {
    /// How long no connection must have been made, and nothing been asked of the admin interface.
    pub const QUIET: Duration = Duration::from_secs(5);

    /// How often code is given back.
    const RELEASES: u32 = 3;

    /// The start counts as a load.
    pub fn of_start() -> Self {
        Self {
            seen: u64::MAX,
            released: 0,
        }
    }

    /// Looks every [`Self::QUIET`] how much there has been.
    pub fn look(&mut self, so_far: u64) {
        if so_far != self.seen {
            self.seen = so_far;
            self.released = 0;
        } else if self.released < Self::RELEASES {
            self.released += 1;
            sys::release_code();
        }
    }
}
