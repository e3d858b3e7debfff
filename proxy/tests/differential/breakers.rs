//! Circuit breakers, endpoint health, priorities, ejection.

use super::case::{Suite, get, h2, h2_all, request, send, sleep, steps};
use crate::support::h2c::Request;
use crate::support::message::Kind::Response;
use crate::support::upstream::{Act, Reply};

pub fn suite() -> Suite {
    let slow = || {
        Reply::acts([])
            .then_sleep(300)
            .then_raw("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow")
    };
    let cases = vec![
        get("no requests allowed", "/requests"),
        h2(
            "no requests allowed, gRPC",
            Request::get("/requests")
                .method("POST")
                .header("content-type", "application/grpc"),
        ),
        get("thresholds are per priority", "/high"),
        get("one request allowed", "/one"),
        h2_all(
            "one of two requests at once",
            vec![Request::get("/one"), Request::get("/one")],
        )
        .reply(slow()),
        get("no pending requests allowed", "/pending"),
        h2_all(
            "one connection, one pending",
            vec![Request::get("/connections"), Request::get("/connections")],
        )
        .reply(slow()),
        h2_all(
            "one connection, one pending, one too many",
            vec![
                Request::get("/connections"),
                Request::get("/connections"),
                Request::get("/connections"),
            ],
        )
        .reply(slow()),
        get("an unhealthy endpoint", "/unhealthy"),
        get("a draining endpoint", "/draining"),
        get("a degraded endpoint", "/degraded"),
        get("the next priority", "/priority"),
        get("panic", "/panic"),
        get("dropped overload", "/maintenance"),
        request("dropped overload of a POST", "POST", "/maintenance").body("abc"),
        get("first failure of an endpoint", "/outlier").reply(Reply::h1("503 Service Unavailable", "", "1")),
        get("second failure of an endpoint", "/outlier").reply(Reply::h1("503 Service Unavailable", "", "2")),
        // Ejection reaches the worker by the main thread.
        steps(
            "an ejected endpoint",
            vec![sleep(200), send("GET /outlier HTTP/1.1\r\nhost: a.test\r\n\r\n")],
        ),
        steps(
            "upstream connection reused",
            vec![
                send("GET /1 HTTP/1.1\r\nhost: a.test\r\n\r\n"),
                crate::support::h1::Step::Await("hello"),
                send("GET /2 HTTP/1.1\r\nhost: a.test\r\n\r\n"),
            ],
        )
        .kinds(&[Response, Response]),
        steps(
            "upstream connection not reused after close",
            vec![
                send("GET /1 HTTP/1.1\r\nhost: a.test\r\n\r\n"),
                crate::support::h1::Step::Await("closing"),
                send("GET /2 HTTP/1.1\r\nhost: a.test\r\n\r\n"),
            ],
        )
        .kinds(&[Response, Response])
        .reply(Reply::h1("200 OK", "connection: close\r\n", "closing"))
        .reply(Reply::h1("200 OK", "", "fresh")),
        steps(
            "upstream connection closed while idle",
            vec![
                send("GET /1 HTTP/1.1\r\nhost: a.test\r\n\r\n"),
                crate::support::h1::Step::Await("first"),
                sleep(50),
                send("GET /2 HTTP/1.1\r\nhost: a.test\r\n\r\n"),
            ],
        )
        .kinds(&[Response, Response])
        .reply(Reply::h1("200 OK", "", "first").then(Act::Close))
        .reply(Reply::h1("200 OK", "", "fresh")),
    ];
    Suite {
        name: "breakers",
        bootstrap: include_str!("breakers.yaml"),
        cases,
    }
}
