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
    "upgrades at the edges: a 101 that nobody asked for, header spelling, a response that is no tunnel, early ends": [
        "bodies: 101 that nobody asked for",
        "upgrades: HTTP/1 to HTTP/2",
        "upgrades: HTTP/2 to HTTP/1",
        "upgrades: HTTP/2 to HTTP/1, refused",
        "upgrades: HTTP/2 with a type that is not configured",
        "upgrades: a timeout before the answer",
        "upgrades: a type that the route allows",
        "upgrades: answered with 200",
        "upgrades: upstream closes the tunnel",
        "upgrades: with a body",
    ],
    "which detail a parser names, or how much of a refused path is logged": [
        "malformed: not HTTP",
        "paths: control byte",
        "paths: escaped back slash rejected",
        "paths: escaped slash rejected",
    ],
    "what a chunk longer than its size becomes depends on the segments it comes in": [
        "malformed: chunk longer than its size",
    ],
    "x-envoy-* headers that set timeouts and tracing for internal clients are not all honoured": [
        "edge: internal headers from an address made internal",
    ],
    "the host name of a DNS endpoint is not yet sent": [
        "rewrites: host from DNS",
    ],
    "when the idle time of a connection begins": [
        "timeouts: idle connection after a request",
        "timeouts: connection duration",
    ],
}
