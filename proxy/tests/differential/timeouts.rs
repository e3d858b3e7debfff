//! Deadlines: of a route, a try, a stream, a connection, a head.

use super::case::{Case, Suite, get, h2, raw, request, send, sleep, steps};
use crate::support::h1::Step;
use crate::support::h2c::Request;
use crate::support::message::Kind::Response;
use crate::support::upstream::{Act, Reply};

pub fn suite() -> Suite {
    let cases = upstream().into_iter().chain(downstream()).collect();
    Suite {
        name: "timeouts",
        bootstrap: include_str!("timeouts.yaml"),
        cases,
    }
}

fn hang() -> Reply {
    Reply::acts([Act::Hang])
}

fn trickle() -> Reply {
    Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc").then(Act::Hang)
}

fn upstream() -> Vec<Case> {
    vec![
        get("route timeout before the response", "/short").reply(hang()),
        get("route timeout within the response", "/short").reply(trickle()),
        h2("route timeout within the response, HTTP/2", Request::get("/short")).reply(trickle()),
        get("no route timeout", "/none").reply(
            Reply::acts([])
                .then_sleep(300)
                .then_raw("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx"),
        ),
        steps(
            "route timeout waits for the request",
            vec![
                send("POST /short HTTP/1.1\r\nhost: a.test\r\ncontent-length: 4\r\n\r\nab"),
                sleep(400),
                send("cd"),
            ],
        ),
        get("timeout from a header", "/none")
            .header("x-envoy-upstream-rq-timeout-ms: 200")
            .reply(hang()),
        get("timeout header instead of the route's", "/short").header("x-envoy-upstream-rq-timeout-ms: 9000"),
        get("timeout header of rubbish", "/short").header("x-envoy-upstream-rq-timeout-ms: soon"),
        get("alternative status of a timeout", "/short")
            .header("x-envoy-upstream-rq-timeout-alt-response: 1")
            .reply(hang()),
        get("per-try timeout, retried", "/try")
            .reply(hang())
            .reply(Reply::h1("200 OK", "", "second")),
        get("per-try timeout, exhausted", "/try").reply(hang()),
        get("per-try timeout from a header", "/none")
            .header("x-envoy-upstream-rq-per-try-timeout-ms: 200")
            .reply(hang()),
        get("per-try timeout beyond the route's", "/short").header("x-envoy-upstream-rq-per-try-timeout-ms: 9000"),
        get("per-try idle timeout", "/tidle").reply(hang()),
        get("stream duration of the cluster", "/limited").reply(hang()),
        get("stream duration of the cluster within the response", "/limited").reply(trickle()),
        get("stream duration of the cluster, retried", "/limited-retried")
            .reply(hang())
            .reply(Reply::h1("200 OK", "", "second")),
        get("upstream stream duration from a header", "/none")
            .header("x-envoy-upstream-stream-duration-ms: 200")
            .reply(hang()),
        steps(
            "stream duration of the cluster within the request",
            vec![send(
                "POST /limited HTTP/1.1\r\nhost: a.test\r\ncontent-length: 4\r\n\r\nab",
            )],
        )
        .reply(hang()),
        get("route idle timeout", "/idle").reply(hang()),
        get("route idle timeout within the response", "/idle").reply(trickle()),
        get("stream duration of the route", "/duration").reply(hang()),
        request("gRPC timeout header", "POST", "/grpc")
            .header("content-type: application/grpc")
            .header("grpc-timeout: 200m")
            .body("x")
            .reply(hang()),
        h2("HTTP/2 upstream timeout", Request::get("/h2")).reply(hang()),
        get("expected timeout from the client at a plain hop", "/short").header("x-envoy-expected-rq-timeout-ms: 50"),
        request("gRPC route timeout", "POST", "/short")
            .header("content-type: application/grpc")
            .body("x")
            .reply(hang()),
    ]
}

fn downstream() -> Vec<Case> {
    let whole = "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n";
    vec![
        steps(
            "request timeout",
            vec![send("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 4\r\n\r\nab")],
        )
        .on("request"),
        raw("request in time", whole).on("request"),
        get("request in time, slow response", "/").on("request").reply(
            Reply::acts([])
                .then_sleep(400)
                .then_raw("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx"),
        ),
        steps("headers timeout", vec![send("GET / HTTP/1.1\r\nhost: a.te")]).on("headers"),
        get("stream idle before the response", "/").on("idle").reply(hang()),
        get("stream idle within the response", "/").on("idle").reply(trickle()),
        h2("stream idle over HTTP/2", Request::get("/"))
            .on("idle")
            .reply(trickle()),
        steps(
            "stream idle within the request",
            vec![send("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 4\r\n\r\nab")],
        )
        .on("idle"),
        steps("idle connection never used", vec![sleep(10)])
            .on("connection")
            .kinds(&[Response]),
        steps(
            "idle connection after a request",
            vec![send(whole), Step::Await("hello"), sleep(600)],
        )
        .on("connection"),
        steps(
            "connection duration",
            vec![send(whole), Step::Await("hello"), sleep(400), send(whole)],
        )
        .on("duration")
        .kinds(&[Response, Response]),
        steps(
            "requests per connection",
            vec![send(whole), Step::Await("hello"), send(whole)],
        )
        .on("requests")
        .kinds(&[Response, Response]),
        get("stream duration", "/").on("stream").reply(hang()),
        get("stream duration within the response", "/")
            .on("stream")
            .reply(trickle()),
    ]
}
