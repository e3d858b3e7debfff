//! What access logs print, as text and as JSON: the same requests in every format.

use super::case::{Case, Suite, chunked, get, h2, request};
use crate::support::h2c::Request;
use crate::support::upstream::Reply;

pub fn suite() -> Suite {
    Suite {
        name: "logs",
        bootstrap: include_str!("logs.yaml"),
        cases: FORMATS.into_iter().flat_map(cases).collect(),
    }
}

/// Listeners, each with a format of its own.
const FORMATS: [&str; 6] = ["stream", "addresses", "request", "omitting", "json", "jsonomit"];

/// Names of the cases in one format.
const NAMES: [[&str; 6]; 6] = [
    [
        "stream: GET",
        "stream: POST",
        "stream: gRPC",
        "stream: direct",
        "stream: refused",
        "stream: HTTP/2",
    ],
    [
        "addresses: GET",
        "addresses: POST",
        "addresses: gRPC",
        "addresses: direct",
        "addresses: refused",
        "addresses: HTTP/2",
    ],
    [
        "request: GET",
        "request: POST",
        "request: gRPC",
        "request: direct",
        "request: refused",
        "request: HTTP/2",
    ],
    [
        "omitting: GET",
        "omitting: POST",
        "omitting: gRPC",
        "omitting: direct",
        "omitting: refused",
        "omitting: HTTP/2",
    ],
    [
        "json: GET",
        "json: POST",
        "json: gRPC",
        "json: direct",
        "json: refused",
        "json: HTTP/2",
    ],
    [
        "jsonomit: GET",
        "jsonomit: POST",
        "jsonomit: gRPC",
        "jsonomit: direct",
        "jsonomit: refused",
        "jsonomit: HTTP/2",
    ],
];

fn cases(format: &'static str) -> Vec<Case> {
    let at = FORMATS.iter().position(|have| *have == format).unwrap_or_default();
    let [plain, post, grpc, direct, refused, http2] = NAMES[at];
    let id = "x-request-id: 0a1b2c3d-4e5f-4a6b-8c7d-8e9f0a1b2c3d";
    let all = vec![
        get(plain, "/a/b?a=1&b=%41%2F")
            .header("x-a: value")
            .header("x-many: 1")
            .header("x-many: 2")
            .header(id)
            .reply(Reply::h1("200 OK", "x-up: there\r\n", "body")),
        request(post, "POST", "/rewritten/x?a=")
            .header("x-a: \u{e9}\"\\")
            .header(id)
            .chunked(&["abc"], "")
            .reply(Reply::raw(format!(
                "HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n{}",
                chunked(&["ok"], "x-t: trailer\r\n")
            ))),
        request(grpc, "POST", "/grpc")
            .header("content-type: application/grpc")
            .header(id)
            .body("x")
            .reply(Reply::raw(format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n{}",
                chunked(&["m"], "grpc-status: 5\r\n")
            ))),
        get(direct, "/direct").header(id),
        get(refused, "/refused").header(id),
        h2(
            http2,
            Request::get("/a?x=y")
                .header("x-a", "value")
                .header("x-request-id", "0a1b2c3d-4e5f-4a6b-8c7d-8e9f0a1b2c3d"),
        ),
    ];
    all.into_iter().map(|case| case.on(format)).collect()
}
