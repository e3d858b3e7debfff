//! Faults that are injected: delays, and answers in the upstream's place.

use super::case::{Case, Suite, get, request};

pub fn suite() -> Suite {
    Suite {
        name: "fault",
        bootstrap: include_str!("fault.yaml"),
        cases: cases(),
    }
}

fn cases() -> Vec<Case> {
    vec![
        get("no fault", "/x"),
        get("abort", "/abort"),
        request("abort of a HEAD", "HEAD", "/abort"),
        request("abort with a body", "POST", "/abort").body("body"),
        get("abort, and gRPC", "/abort").header("content-type: application/grpc"),
        get("abort of none", "/never"),
        get("abort without a percentage", "/unset"),
        get("abort with a gRPC status", "/grpc").header("content-type: application/grpc"),
        get("abort with a gRPC status of a plain request", "/grpc"),
        get("abort with a body of its own", "/body"),
        get("abort told in metadata", "/told").on("logged"),
        get("delay", "/delay"),
        request("delay with a body", "POST", "/delay").body("body"),
        get("delay, then abort", "/both"),
        get("by headers: nothing", "/header"),
        get("by headers: abort", "/header").header("x-envoy-fault-abort-request: 404"),
        get("by headers: abort with a bad status", "/header").header("x-envoy-fault-abort-request: 99"),
        get("by headers: abort with no status", "/header").header("x-envoy-fault-abort-request: soon"),
        get("by headers: abort with a gRPC status", "/header")
            .header("content-type: application/grpc")
            .header("x-envoy-fault-abort-grpc-request: 7"),
        get("by headers: abort of none", "/header")
            .header("x-envoy-fault-abort-request: 404")
            .header("x-envoy-fault-abort-request-percentage: 0"),
        get("by headers: more than is allowed", "/zero")
            .header("x-envoy-fault-abort-request: 404")
            .header("x-envoy-fault-abort-request-percentage: 100"),
        get("by headers: delay", "/header").header("x-envoy-fault-delay-request: 20"),
        get("by headers: delay and abort", "/header")
            .header("x-envoy-fault-delay-request: 20")
            .header("x-envoy-fault-abort-request: 500"),
        get("for a header", "/some").header("x-fault: yes"),
        get("for another header", "/some").header("x-fault: no"),
        get("for a node", "/nodes").header("x-envoy-downstream-service-node: n2"),
        get("for another node", "/nodes").header("x-envoy-downstream-service-node: n3"),
        get("for no node", "/nodes"),
        get("for a cluster", "/cluster"),
        get("for another cluster", "/elsewhere"),
        get("too many at once", "/full"),
        get("by the runtime", "/runtime"),
        get("of the filter itself", "/x").on("own"),
        get("of the route, not of the filter", "/never").on("own"),
    ]
}
