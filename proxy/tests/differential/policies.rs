//! Which endpoint is asked, again or not at all; what requests may demand; which requests are logged.

use super::case::{Case, Suite, get, request};
use crate::support::upstream::{Act, Reply};

pub fn suite() -> Suite {
    let mut cases = endpoints();
    cases.extend(demands());
    cases.extend(matched());
    cases.extend(logged());
    Suite {
        name: "policies",
        bootstrap: include_str!("policies.yaml"),
        cases,
    }
}

fn bad() -> Reply {
    Reply::h1("503 Service Unavailable", "", "bad")
}

fn good() -> Reply {
    Reply::h1("200 OK", "", "good")
}

fn endpoints() -> Vec<Case> {
    vec![
        // Which endpoint is first asked is a matter of chance, and would show in the log.
        get("retry avoids the endpoint that refused", "/previous").on("quiet"),
        get("retry avoids the endpoint that refused, again", "/previous").on("quiet"),
        get("retries go round", "/spread").reply(bad()).reply(good()),
        get("next priority", "/failover"),
        get("no panic", "/unhealthy"),
        get("draining endpoint is not asked", "/draining"),
        get("draining endpoint is not asked again", "/draining"),
        get("retry within the budget", "/budget").reply(bad()).reply(good()),
        get("retry beyond the budget", "/frugal").reply(bad()).reply(good()),
        get("weights from the runtime", "/runtime-weights"),
        get("weight by a header, low", "/random-header").header("x-random: 29"),
        get("weight by a header, high", "/random-header").header("x-random: 30"),
        get("weight by a header, wrapped", "/random-header").header("x-random: 110"),
        get("weight zero", "/zero-weight"),
        get("load dropped", "/overloaded"),
    ]
}

fn demands() -> Vec<Case> {
    let strict = |name, line: &str| get(name, "/").on("strict").header(line);
    let told = |name| get(name, "/").host("told.test");
    vec![
        strict("strict: timeout", "x-envoy-upstream-rq-timeout-ms: 100"),
        strict("strict: no timeout", "x-envoy-upstream-rq-timeout-ms: soon"),
        strict("strict: negative timeout", "x-envoy-upstream-rq-timeout-ms: -1"),
        strict(
            "strict: no per-try timeout",
            "x-envoy-upstream-rq-per-try-timeout-ms: 1.5",
        ),
        strict("strict: no number of retries", "x-envoy-max-retries: many"),
        strict("strict: retry conditions", "x-envoy-retry-on: 5xx, reset"),
        strict("strict: an unknown retry condition", "x-envoy-retry-on: 5xx,nonsense"),
        strict(
            "strict: a gRPC condition among the others",
            "x-envoy-retry-on: cancelled",
        ),
        strict("strict: an unknown gRPC condition", "x-envoy-retry-grpc-on: 5xx"),
        strict("strict: gRPC conditions", "x-envoy-retry-grpc-on: cancelled,internal"),
        strict("strict: before there is a route", "x-envoy-max-retries: x").host("internal.test"),
        get("lax: rubbish is ignored", "/").header("x-envoy-max-retries: many"),
        get("a gRPC condition asked by the wrong header", "/")
            .header("x-envoy-retry-on: unavailable")
            .reply(Reply::h1(
                "200 OK",
                "content-type: application/grpc\r\ngrpc-status: 14\r\n",
                "",
            ))
            .reply(good()),
        told("retry tells that it is none of a timeout")
            .reply(bad())
            .reply(good()),
        told("retry tells that it is one of a timeout")
            .reply(Reply::acts([Act::Hang]))
            .reply(good()),
        told("retry of the client's").header("x-envoy-is-timeout-retry: true"),
        get("internal header inside", "/")
            .host("internal.test")
            .header("x-guarded: 1"),
        get("internal header from outside", "/")
            .host("internal.test")
            .on("edge")
            .header("x-forwarded-for: 8.8.8.8")
            .header("x-guarded: 1"),
    ]
}

fn matched() -> Vec<Case> {
    vec![
        get("cookie", "/cookie").header("cookie: a=b; session=abc"),
        get("cookie of another value", "/cookie").header("cookie: session=abd"),
        get("no cookie", "/cookie"),
        get("path with its query as a header", "/pathreg/12?x=1"),
        get("path with another query as a header", "/pathreg/12?x=2"),
    ]
}

fn logged() -> Vec<Case> {
    let on = |case: Case| case.on("filtered");
    vec![
        on(get("logged: 200", "/ok")),
        on(get("logged: 200 with a header", "/ok").header("x-log: yes")),
        on(get("logged: another header", "/ok").header("x-log: no")),
        on(get("logged: 404", "/missing")),
        on(get("logged: refused", "/refused")),
        on(get("logged: slow", "/slow").reply(
            Reply::acts([])
                .then_sleep(2500)
                .then_raw("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        )),
        on(request("logged: gRPC", "POST", "/grpc")
            .header("content-type: application/grpc")
            .body("x")
            .reply(Reply::h1(
                "200 OK",
                "content-type: application/grpc\r\ngrpc-status: 5\r\n",
                "",
            ))),
        on(request("logged: gRPC that works", "POST", "/grpc")
            .header("content-type: application/grpc")
            .body("x")
            .reply(Reply::h1(
                "200 OK",
                "content-type: application/grpc\r\ngrpc-status: 0\r\n",
                "",
            ))),
    ]
}
