//! Resident memory that a quiet proxy gives back.

use std::time::Duration;

use crate::sys;

/// Gives the code back that start or a load mapped, once both are over.
#[derive(Debug)]
pub struct Resident {
    /// Connections and admin requests so far, at the last look.
    seen: u64,
    released: bool,
}

impl Resident {
    /// How long no connection must have been made, and nothing been asked of the admin interface.
    pub const QUIET: Duration = Duration::from_secs(5);

    /// The start counts as a load.
    pub fn of_start() -> Self {
        Self {
            seen: u64::MAX,
            released: false,
        }
    }

    /// Looks every [`Self::QUIET`] how much there has been.
    pub fn look(&mut self, so_far: u64) {
        if so_far != self.seen {
            self.seen = so_far;
            self.released = false;
        } else if !self.released {
            self.released = true;
            sys::release_code();
        }
    }
}
