//! Cases in which Pillion does not yet do what Envoy does. This list is work to do, not a licence: an entry goes when its case
//! agrees, and none may be added for a case that agreed before.

/// One case that differs.
pub struct Open {
    /// `suite: case`
    pub case: &'static str,
    /// What is missing.
    #[allow(dead_code, reason = "for the reader")]
    pub reason: &'static str,
}

macro_rules! open {
    ($($reason:literal: [$($case:literal,)*],)*) => {
        pub const OPEN: &[Open] = &[$($(Open { case: $case, reason: $reason },)*)*];
    };
}

open! {
    "PLACEHOLDER": [],
}
