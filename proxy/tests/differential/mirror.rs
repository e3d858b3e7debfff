//! Requests that are copied to other clusters.

use super::case::{Case, Suite, get, request};

pub fn suite() -> Suite {
    Suite {
        name: "mirror",
        bootstrap: include_str!("mirror.yaml"),
        cases: cases(),
    }
}

fn cases() -> Vec<Case> {
    vec![
        get("one copy", "/one"),
        get("one copy of a host with a port", "/one").host("a.test:8080"),
        get("one copy without a suffix", "/plain"),
        get("two copies", "/two"),
        get("a copy of none", "/never"),
        get("a copy of all", "/always"),
        get("to a cluster from a header", "/header").header("x-mirror: m"),
        get("to a cluster from a header that is not there", "/header"),
        get("to a cluster that is not there", "/header").header("x-mirror: nobody"),
        get("to nobody", "/dead"),
        get("after rewrites", "/rewritten/x"),
        get("with a host of its own", "/literal"),
        get("of the virtual host", "/x").host("host.test"),
        get("of the route, not of the virtual host", "/one").host("host.test"),
        request("with a body", "POST", "/one").body("body"),
        request("with a large body", "POST", "/one").body("x".repeat(100_000)),
        request("with chunks and trailers", "POST", "/two").chunked(&["one", "two"], ""),
    ]
}
