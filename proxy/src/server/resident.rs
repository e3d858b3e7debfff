//! Resident memory that a quiet proxy gives back.

use std::time::Duration;

use crate::sys;

/// Gives the code back that start or a load mapped, once both are over.
#[derive(Debug)]
pub struct Resident {
    /// Connections so far, at the last look.
    seen: u64,
    released: bool,
}

impl Resident {
    /// How long no connection must have been made.
    pub const QUIET: Duration = Duration::from_secs(5);

    /// The start counts as a load.
    pub fn of_start() -> Self {
        Self {
            seen: u64::MAX,
            released: false,
        }
    }

    /// Looks every [`Self::QUIET`] how many connections there have been.
    pub fn look(&mut self, connections: u64) {
        if connections != self.seen {
            self.seen = connections;
            self.released = false;
        } else if !self.released {
            self.released = true;
            sys::release_code();
        }
    }
}
