//! Who asks, by which way, and what of it is believed: x-forwarded-*, x-envoy-*, x-request-id, server, via, XFCC.

use super::case::{Case, Suite, get, h2};
use crate::support::h2c::Request;
use crate::support::upstream::Reply;

pub fn suite() -> Suite {
    let mut cases = forwarded_for();
    cases.extend(internal_headers());
    cases.extend(identity());
    Suite {
        name: "edge",
        bootstrap: include_str!("edge.yaml"),
        cases,
    }
}

fn forwarded_for() -> Vec<Case> {
    let xff = |name, value: &str| get(name, "/").header(&format!("x-forwarded-for: {value}"));
    vec![
        get("no XFF inside", "/"),
        get("no XFF at the edge", "/").on("edge"),
        xff("XFF inside, external client", "8.8.8.8"),
        xff("XFF inside, internal client", "10.0.0.1"),
        xff("XFF inside, two", "10.0.0.1, 8.8.8.8"),
        xff("XFF inside, rubbish", "nonsense"),
        xff("XFF at the edge", "8.8.8.8").on("edge"),
        xff("XFF with a trusted hop at the edge", "1.1.1.1, 8.8.8.8").on("hops"),
        xff("XFF with a trusted hop behind", "1.1.1.1, 8.8.8.8").on("behind"),
        xff("XFF too short for the trusted hop", "8.8.8.8").on("behind"),
        xff("XFF not appended", "8.8.8.8").on("quiet"),
        xff("XFF of IPv6", "2001:db8::1").header("x-forwarded-proto: https"),
        get("two XFF headers", "/")
            .header("x-forwarded-for: 8.8.8.8")
            .header("x-forwarded-for: 9.9.9.9")
            .on("behind"),
        get("forwarded proto at the edge", "/")
            .header("x-forwarded-proto: https")
            .on("edge"),
        get("forwarded proto behind", "/")
            .header("x-forwarded-proto: https")
            .on("behind"),
        get("forwarded proto of rubbish", "/").header("x-forwarded-proto: gopher"),
        get("forwarded host and port", "/")
            .header("x-forwarded-host: h.test")
            .header("x-forwarded-port: 99")
            .on("edge"),
    ]
}

fn internal_headers() -> Vec<Case> {
    let all = |case: Case| {
        case.header("x-envoy-internal: true")
            .header("x-envoy-external-address: 1.2.3.4")
            .header("x-envoy-max-retries: 3")
            .header("x-envoy-retry-on: 5xx")
            .header("x-envoy-upstream-rq-timeout-ms: 9000")
            .header("x-envoy-upstream-rq-per-try-timeout-ms: 8000")
            .header("x-envoy-expected-rq-timeout-ms: 7000")
            .header("x-envoy-decorator-operation: op")
            .header("x-envoy-downstream-service-cluster: c")
            .header("x-envoy-downstream-service-node: n")
            .header("x-envoy-force-trace: true")
            .header("x-envoy-ip-tags: t")
            .header("x-envoy-original-path: /o")
            .header("x-envoy-original-url: u")
            .header("x-envoy-hedge-on-per-try-timeout: true")
            .header("x-envoy-upstream-stream-duration-ms: 5000")
            .header("x-envoy-upstream-alt-stat-name: s")
            .header("x-envoy-attempt-count: 5")
            .header("x-envoy-retriable-status-codes: 409")
            .header("x-envoy-retriable-header-names: x-r")
            .header("x-envoy-unknown: kept")
    };
    vec![
        all(get("internal headers inside", "/")),
        all(get("internal headers from outside at the edge", "/")).on("edge"),
        all(get("internal headers with an internal XFF", "/").header("x-forwarded-for: 10.1.2.3")),
        all(get("internal headers with an external XFF", "/").header("x-forwarded-for: 8.8.8.8")),
        all(get("internal headers from an address made internal", "/")).on("internal"),
        all(get("envoy headers suppressed", "/")).on("suppress"),
        get("attempt count both ways", "/").on("attempts"),
        get("attempt count from the client", "/")
            .header("x-envoy-attempt-count: 7")
            .on("attempts"),
    ]
}

fn identity() -> Vec<Case> {
    let uuid = "0a1b2c3d-4e5f-4a6b-8c7d-8e9f0a1b2c3d";
    let with_id = |name, value: &str| get(name, "/").header(&format!("x-request-id: {value}"));
    let xfcc = |name| get(name, "/").header("x-forwarded-client-cert: By=spiffe://td/a;URI=spiffe://td/b");
    let served = |case: Case| case.reply(Reply::h1("200 OK", "server: upstream\r\nvia: 1.0 inner\r\n", ""));
    vec![
        with_id("request id inside is kept", uuid),
        with_id("request id at the edge is replaced", uuid).on("edge"),
        with_id("request id that is no uuid", "mine"),
        with_id("request id preserved and echoed", "mine").on("ids"),
        get("request id made and echoed", "/").on("ids"),
        get("request id not made", "/").on("noid"),
        with_id("request id passed where none is made", "mine").on("noid"),
        served(get("server overwritten", "/")),
        served(get("server passed through", "/")).on("passthrough"),
        get("no server passed through", "/").on("passthrough"),
        served(get("server appended if absent, present", "/")).on("absent"),
        get("server appended if absent, absent", "/").on("absent"),
        served(get("server name and via", "/").header("via: 1.1 client")).on("named"),
        get("local reply names the server", "/secret").on("named"),
        get("scheme overwritten", "/").on("scheme"),
        h2("scheme overwritten over HTTP/2", Request::get("/")).on("scheme"),
        xfcc("XFCC sanitised"),
        xfcc("XFCC always forwarded").on("xfcc"),
        xfcc("XFCC set in plaintext").on("xfccset"),
        xfcc("XFCC appended in plaintext").on("xfccappend"),
        get("trailing dot of a host", "/").host("a.test.").on("trailingdot"),
        get("trailing dot before a port", "/")
            .host("a.test.:80")
            .on("trailingdot"),
        get("another port than the listener's", "/")
            .host("a.test:80")
            .on("matchport"),
        get("user agent and others pass", "/")
            .header("user-agent: x/1")
            .header("accept-encoding: gzip")
            .on("edge"),
        get("CORS and authorization pass", "/")
            .header("origin: https://o.test")
            .header("authorization: Bearer t")
            .on("edge"),
    ]
}
