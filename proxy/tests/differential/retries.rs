//! What is tried again, how often, and what the second try carries.

use h2::Reason;

use super::case::{Case, Suite, get, h2, request, send, steps};
use crate::support::h1::Step;
use crate::support::h2c::Request;
use crate::support::upstream::{Act, Reply};

pub fn suite() -> Suite {
    let cases = by_policy().into_iter().chain(by_header()).chain(bodies()).collect();
    Suite {
        name: "retries",
        bootstrap: include_str!("retries.yaml"),
        cases,
    }
}

fn fails(status: &str) -> Reply {
    Reply::h1(status, "x-from: first\r\n", "bad")
}

fn works() -> Reply {
    Reply::h1("200 OK", "x-from: second\r\n", "good")
}

fn by_policy() -> Vec<Case> {
    vec![
        get("5xx on 503", "/5xx")
            .reply(fails("503 Service Unavailable"))
            .reply(works()),
        get("5xx on 500", "/5xx")
            .reply(fails("500 Internal Server Error"))
            .reply(works()),
        get("5xx not on 404", "/5xx")
            .reply(fails("404 Not Found"))
            .reply(works()),
        get("5xx exhausted", "/5xx").reply(fails("503 Service Unavailable")),
        get("5xx on a closed connection", "/5xx")
            .reply(Reply::acts([Act::Close]))
            .reply(works()),
        get("5xx on rubbish", "/5xx")
            .reply(Reply::raw("rubbish\r\n\r\n").then(Act::Close))
            .reply(works()),
        get("twice", "/twice")
            .reply(fails("503 Service Unavailable"))
            .reply(fails("502 Bad Gateway"))
            .reply(works()),
        get("twice exhausted", "/twice").reply(fails("503 Service Unavailable")),
        get("gateway-error on 502", "/gateway")
            .reply(fails("502 Bad Gateway"))
            .reply(works()),
        get("gateway-error not on 500", "/gateway")
            .reply(fails("500 Internal Server Error"))
            .reply(works()),
        get("reset on a closed connection", "/reset")
            .reply(Reply::acts([Act::Close]))
            .reply(works()),
        get("reset not on 503", "/reset")
            .reply(fails("503 Service Unavailable"))
            .reply(works()),
        get("reset exhausted", "/reset").reply(Reply::acts([Act::Close])),
        get("reset after the response began", "/reset").reply(
            Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")
                .then_sleep(50)
                .then(Act::Close),
        ),
        get("connect-failure exhausted", "/connect"),
        get("retriable status code", "/codes")
            .reply(fails("409 Conflict"))
            .reply(works()),
        get("another status code", "/codes")
            .reply(fails("503 Service Unavailable"))
            .reply(works()),
        get("retriable header", "/headers")
            .reply(Reply::h1("200 OK", "x-retry: yes\r\n", "first"))
            .reply(works()),
        get("another header", "/headers")
            .reply(Reply::h1("200 OK", "x-retry: no\r\n", "first"))
            .reply(works()),
        get("retriable-4xx on 409", "/4xx")
            .reply(fails("409 Conflict"))
            .reply(works()),
        get("retriable-4xx not on 404", "/4xx")
            .reply(fails("404 Not Found"))
            .reply(works()),
        get("retriable request, GET", "/safe")
            .reply(fails("503 Service Unavailable"))
            .reply(works()),
        request("retriable request, POST", "POST", "/safe")
            .body("x")
            .reply(fails("503 Service Unavailable"))
            .reply(works()),
        get("reset before the request", "/before")
            .reply(Reply::acts([Act::Close]))
            .reply(works()),
        get("refused stream", "/h2")
            .reply(Reply::acts([Act::Reset(Reason::REFUSED_STREAM)]))
            .reply(Reply::h2(200, &[], "second")),
        get("another reset is no refusal", "/h2")
            .reply(Reply::acts([Act::Reset(Reason::INTERNAL_ERROR)]))
            .reply(Reply::h2(200, &[], "second")),
        request("gRPC unavailable", "POST", "/grpc")
            .header("content-type: application/grpc")
            .body("x")
            .reply(Reply::acts([
                Act::Head(200, &[("content-type", "application/grpc"), ("grpc-status", "14")]),
                Act::End,
            ]))
            .reply(Reply::acts([
                Act::Head(200, &[("content-type", "application/grpc"), ("grpc-status", "0")]),
                Act::End,
            ])),
        get("no retries left in the budget", "/none")
            .reply(fails("503 Service Unavailable"))
            .reply(works()),
        get("no retries in the policy", "/zero")
            .reply(fails("503 Service Unavailable"))
            .reply(works()),
        get("an unknown condition beside a known one", "/unknown")
            .reply(fails("503 Service Unavailable"))
            .reply(works()),
        get("a rate limited back-off", "/limits")
            .reply(Reply::h1("503 Service Unavailable", "retry-after: 0\r\n", "bad"))
            .reply(works()),
        get("policy of the virtual host", "/inherits")
            .host("policy.test")
            .reply(fails("503 Service Unavailable"))
            .reply(works()),
        get("policy of the route instead", "/overrides")
            .host("policy.test")
            .reply(fails("503 Service Unavailable"))
            .reply(works()),
        h2("5xx over HTTP/2", Request::get("/5xx"))
            .reply(fails("503 Service Unavailable"))
            .reply(works()),
    ]
}

fn by_header() -> Vec<Case> {
    let asks = |name, on: &str| {
        get(name, "/header")
            .header(&format!("x-envoy-retry-on: {on}"))
            .reply(fails("503 Service Unavailable"))
            .reply(works())
    };
    vec![
        asks("asked by a header", "5xx"),
        asks("asked by a header with a list", "reset,gateway-error"),
        asks("asked for the wrong thing", "connect-failure"),
        asks("asked for nothing known", "no-such-thing"),
        asks("asked with spaces", "connect-failure, 5xx"),
        get("asked for three", "/header")
            .header("x-envoy-retry-on: 5xx")
            .header("x-envoy-max-retries: 3")
            .reply(fails("503 Service Unavailable")),
        get("asked for none", "/5xx")
            .header("x-envoy-max-retries: 0")
            .reply(fails("503 Service Unavailable"))
            .reply(works()),
        get("asked for status codes", "/header")
            .header("x-envoy-retry-on: retriable-status-codes")
            .header("x-envoy-retriable-status-codes: 404,410")
            .reply(fails("410 Gone"))
            .reply(works()),
        get("asked for a response header", "/header")
            .header("x-envoy-retry-on: retriable-headers")
            .header("x-envoy-retriable-header-names: x-from")
            .reply(fails("200 OK"))
            .reply(works()),
        get("asked for gRPC conditions", "/header")
            .header("x-envoy-retry-grpc-on: unavailable")
            .reply(Reply::h1(
                "200 OK",
                "content-type: application/grpc\r\ngrpc-status: 14\r\n",
                "",
            ))
            .reply(works()),
        get("a previous attempt count is replaced", "/5xx")
            .header("x-envoy-attempt-count: 9")
            .reply(fails("503 Service Unavailable"))
            .reply(works()),
    ]
}

fn bodies() -> Vec<Case> {
    vec![
        request("with a body", "POST", "/5xx")
            .body("abc")
            .reply(fails("503 Service Unavailable"))
            .reply(works()),
        request("with chunks", "POST", "/5xx")
            .chunked(&["abc", "de"], "")
            .reply(fails("503 Service Unavailable"))
            .reply(works()),
        request("with a body beyond the buffer", "POST", "/small")
            .body("x".repeat(100_000))
            .reply(fails("503 Service Unavailable"))
            .reply(works()),
        request("with a body within the buffer", "POST", "/small")
            .body("x".repeat(500))
            .reply(fails("503 Service Unavailable"))
            .reply(works()),
        steps(
            "before the body is whole",
            vec![
                send("POST /5xx HTTP/1.1\r\nhost: a.test\r\ncontent-length: 6\r\n\r\nabc"),
                Step::AwaitUpstream(1),
                super::case::sleep(100),
                send("def"),
            ],
        )
        .reply(fails("503 Service Unavailable").early())
        .reply(works()),
        h2(
            "with a body over HTTP/2",
            Request::get("/5xx")
                .method("POST")
                .data("abc")
                .trailers(&[("x-t", "1")]),
        )
        .reply(fails("503 Service Unavailable"))
        .reply(works()),
    ]
}
