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
    "the h2 library refuses or drops these before our codec can log or carry them": [
        "h2: 101 headers",
        "h2: an answer with a wrong length",
        "h2: content-length too large",
        "h2: content-length too small",
        "h2: too large headers",
        "h2: too large headers by default",
        "h2: too many headers",
        "h2: HTTP/1 where only HTTP/2 may be",
    ],
    "CONNECT is not terminated": [
        "connect: CONNECT terminated",
        "connect: CONNECT terminated over HTTP/2",
        "connect: GET where CONNECT may be",
    ],
    "a reset overtakes what was sent before it": [
        "upgrades: HTTP/2 to HTTP/1",
    ],
}
