//! HTTP/2 on either side and across: bodies, trailers, resets, and what only HTTP/2 can say.

use std::time::Duration;

use h2::Reason;

use super::case::{Case, Suite, get, h2, h2_all, raw, request};
use crate::support::h2c::Request;
use crate::support::upstream::{Act, Reply};

pub fn suite() -> Suite {
    let mut cases = to_h1();
    cases.extend(to_h2());
    cases.extend(from_h1());
    cases.extend(broken());
    Suite {
        name: "h2",
        bootstrap: include_str!("h2.yaml"),
        cases,
    }
}

const LARGE: usize = 1 << 20;
/// One more than `max_headers_count` admits.
static TRAILERS: [(&str, &str); 101] = [("x-t", "1"); 101];
/// Lets what the client sent so far arrive first.
const PAUSE: Duration = Duration::from_millis(100);

fn to_h1() -> Vec<Case> {
    vec![
        h2("GET to HTTP/1", Request::get("/x?y=z").header("x-a", "b")),
        h2(
            "POST to HTTP/1",
            Request::get("/").method("POST").data("abc").data("de"),
        ),
        h2(
            "POST with a length to HTTP/1",
            Request::get("/")
                .method("POST")
                .header("content-length", "3")
                .data("abc"),
        ),
        h2("POST of nothing to HTTP/1", Request::get("/").method("POST").data("")),
        h2(
            "trailers to HTTP/1 dropped",
            Request::get("/").method("POST").data("abc").trailers(&[("x-t", "1")]),
        ),
        h2(
            "trailers to HTTP/1",
            Request::get("/").method("POST").data("abc").trailers(&[("x-t", "1")]),
        )
        .on("trailers"),
        h2("trailers of HTTP/1 to HTTP/2", Request::get("/"))
            .on("trailers")
            .reply(Reply::raw(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-T: 1\r\n\r\n",
            )),
        h2(
            "cookie crumbs joined",
            Request::get("/")
                .header("cookie", "a=1")
                .header("cookie", "b=2")
                .header("cookie", "c=3"),
        ),
        h2("te: trailers to HTTP/1", Request::get("/").header("te", "trailers")),
        h2("host beside the authority", Request::get("/").header("host", "b.test")),
        h2(
            "100-continue over HTTP/2",
            Request::get("/")
                .method("POST")
                .header("expect", "100-continue")
                .data_after(50, "abc"),
        ),
        h2("103 of HTTP/1 to HTTP/2", Request::get("/")).reply(Reply::raw(
            "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx",
        )),
        h2("connection headers of HTTP/1 dropped", Request::get("/")).reply(Reply::h1(
            "200 OK",
            "connection: close\r\nkeep-alive: 5\r\nX-Upper: 1\r\n",
            "x",
        )),
        h2("204 to HTTP/2", Request::get("/")).reply(Reply::raw("HTTP/1.1 204 No Content\r\n\r\n")),
        h2("HEAD over HTTP/2", Request::get("/").method("HEAD"))
            .reply(Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")),
        h2(
            "large body to HTTP/1",
            Request::get("/").method("POST").data("x".repeat(LARGE)),
        ),
        h2("large response to HTTP/2", Request::get("/")).reply(Reply::raw(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n{}",
            "r".repeat(LARGE)
        ))),
        h2("body ended by close to HTTP/2", Request::get("/"))
            .reply(Reply::raw("HTTP/1.1 200 OK\r\n\r\nuntil the end").then(Act::Close)),
        h2("direct response over HTTP/2", Request::get("/secret")),
        h2(
            "direct response to a body over HTTP/2",
            Request::get("/secret").method("POST").data_after(100, "abc"),
        ),
        h2("no upstream over HTTP/2", Request::get("/refused")),
        h2_all(
            "three at once",
            vec![Request::get("/1"), Request::get("/2"), Request::get("/3")],
        ),
        h2("unknown method over HTTP/2", Request::get("/").method("BREW")),
        h2(
            "CONNECT over HTTP/2",
            Request::get("/").method("CONNECT").authority("a.test:443"),
        ),
    ]
}

fn to_h2() -> Vec<Case> {
    vec![
        h2("GET to HTTP/2", Request::get("/h2?y=z").header("x-a", "b")),
        h2("POST to HTTP/2", Request::get("/h2").method("POST").data("abc")),
        h2(
            "trailers both ways",
            Request::get("/h2")
                .method("POST")
                .data("abc")
                .trailers(&[("x-t", "1"), ("x-t", "2")]),
        )
        .reply(Reply::acts([
            Act::Head(200, &[("x-h", "1")]),
            Act::Data(b"abc".to_vec()),
            Act::Trailers(&[("grpc-status", "0")]),
        ])),
        h2(
            "trailers without a body",
            Request::get("/h2").method("POST").trailers(&[("x-t", "1")]),
        )
        .reply(Reply::acts([
            Act::Head(200, &[]),
            Act::Trailers(&[("grpc-status", "5")]),
        ])),
        h2(
            "gRPC",
            Request::get("/h2")
                .method("POST")
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .data("\0\0\0\0\x01x"),
        )
        .reply(Reply::acts([
            Act::Head(200, &[("content-type", "application/grpc")]),
            Act::Data(b"\0\0\0\0\0".to_vec()),
            Act::Trailers(&[("grpc-status", "0")]),
        ])),
        h2(
            "gRPC without an upstream",
            Request::get("/refused")
                .method("POST")
                .header("content-type", "application/grpc")
                .header("te", "trailers"),
        ),
        h2(
            "gRPC without a route's consent",
            Request::get("/secret")
                .method("POST")
                .header("content-type", "application/grpc"),
        ),
        h2("103 of HTTP/2", Request::get("/h2")).reply(Reply::acts([
            Act::Interim(103, &[("link", "</a.css>")]),
            Act::Head(200, &[]),
            Act::End,
        ])),
        h2(
            "cookie crumbs to HTTP/2",
            Request::get("/h2").header("cookie", "a=1").header("cookie", "b=2"),
        ),
        h2("an upstream that names itself", Request::get("/h2")).reply(Reply::h2(
            200,
            &[("server", "up"), ("date", "x"), ("content-length", "1")],
            "x",
        )),
        h2(
            "large both ways",
            Request::get("/h2").method("POST").data("x".repeat(LARGE)),
        )
        .reply(Reply::acts([
            Act::Head(200, &[]),
            Act::Data(vec![b'r'; LARGE]),
            Act::End,
        ])),
        h2_all(
            "two on one upstream connection",
            vec![Request::get("/h2/1"), Request::get("/h2/2")],
        ),
        h2("prior knowledge where nothing else may be", Request::get("/x")).on("http2"),
        h2(
            "small windows",
            Request::get("/x").method("POST").data("x".repeat(200_000)),
        )
        .on("small")
        .reply(Reply::acts([
            Act::Head(200, &[]),
            Act::Data(vec![b'r'; 200_000]),
            Act::End,
        ])),
    ]
}

fn from_h1() -> Vec<Case> {
    vec![
        get("HTTP/1 to HTTP/2", "/h2/x?y=z")
            .header("X-Upper: 1")
            .header("connection: keep-alive")
            .header("te: trailers"),
        request("HTTP/1 body to HTTP/2", "POST", "/h2").body("abc"),
        request("HTTP/1 chunks to HTTP/2", "POST", "/h2").chunked(&["abc", "d"], ""),
        request("HTTP/1 trailers to HTTP/2", "POST", "/h2")
            .on("trailers")
            .chunked(&["abc"], "X-T: 1\r\n"),
        get("HTTP/2 trailers to HTTP/1", "/h2")
            .on("trailers")
            .reply(Reply::acts([
                Act::Head(200, &[]),
                Act::Data(b"a".to_vec()),
                Act::Trailers(&[("x-t", "1")]),
            ])),
        get("HTTP/2 trailers to HTTP/1 dropped", "/h2").reply(Reply::acts([
            Act::Head(200, &[]),
            Act::Data(b"a".to_vec()),
            Act::Trailers(&[("x-t", "1")]),
        ])),
        get("HTTP/2 body without a length to HTTP/1", "/h2").reply(Reply::acts([
            Act::Head(200, &[]),
            Act::Data(b"ab".to_vec()),
            Act::Data(b"c".to_vec()),
            Act::End,
        ])),
        get("HTTP/2 body with a length to HTTP/1", "/h2").reply(Reply::h2(200, &[("content-length", "3")], "abc")),
        get("HTTP/2 204 to HTTP/1", "/h2").reply(Reply::acts([Act::Head(204, &[]), Act::End])),
        request("HEAD to HTTP/2", "HEAD", "/h2")
            .reply(Reply::acts([Act::Head(200, &[("content-length", "9")]), Act::End])),
        get("cookies to HTTP/2", "/h2").header("cookie: a=1; b=2"),
        get("two cookie headers", "/h2")
            .header("cookie: a=1")
            .header("cookie: b=2"),
        raw("preface where only HTTP/1 may be", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").on("http1"),
        raw(
            "HTTP/1 where only HTTP/2 may be",
            "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n",
        )
        .on("http2"),
    ]
}

fn broken() -> Vec<Case> {
    vec![
        h2("upstream resets before the response", Request::get("/h2"))
            .reply(Reply::acts([Act::Reset(Reason::INTERNAL_ERROR)])),
        h2("upstream refuses", Request::get("/h2")).reply(Reply::acts([Act::Reset(Reason::REFUSED_STREAM)])),
        h2("upstream cancels", Request::get("/h2")).reply(Reply::acts([Act::Reset(Reason::CANCEL)])),
        h2(
            "upstream ends with NO_ERROR",
            Request::get("/h2").method("POST").data("abc").unfinished(),
        )
        .reply(
            Reply::acts([
                Act::Sleep(PAUSE),
                Act::Head(200, &[]),
                Act::Data(b"early".to_vec()),
                Act::End,
            ])
            .early(),
        ),
        h2("upstream resets within the body", Request::get("/h2")).reply(Reply::acts([
            Act::Head(200, &[]),
            Act::Data(b"ab".to_vec()),
            Act::Sleep(PAUSE),
            Act::Reset(Reason::INTERNAL_ERROR),
        ])),
        get("upstream resets within the body, HTTP/1 client", "/h2").reply(Reply::acts([
            Act::Head(200, &[]),
            Act::Data(b"ab".to_vec()),
            Act::Sleep(PAUSE),
            Act::Reset(Reason::INTERNAL_ERROR),
        ])),
        get("upstream resets before the response, HTTP/1 client", "/h2")
            .reply(Reply::acts([Act::Reset(Reason::INTERNAL_ERROR)])),
        h2("HTTP/1 upstream closes within the body", Request::get("/")).reply(
            Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
                .then_sleep(50)
                .then(Act::Close),
        ),
        h2(
            "client cancels before the response",
            Request::get("/h2").cancel_after(1),
        )
        .reply(Reply::acts([Act::Hang])),
        h2("client cancels, HTTP/1 upstream", Request::get("/").cancel_after(1)).reply(Reply::acts([Act::Hang])),
        h2("timeout resets the upstream", Request::get("/timeout")).reply(Reply::acts([Act::Hang])),
        h2("refused stream is retried", Request::get("/retry"))
            .reply(Reply::acts([Act::Reset(Reason::REFUSED_STREAM)]))
            .reply(Reply::h2(200, &[], "second")),
        h2("GOAWAY after the response", Request::get("/h2/1")).reply(Reply::h2(200, &[], "last").then(Act::GoAway)),
        h2(
            "content-length too large",
            Request::get("/h2")
                .method("POST")
                .header("content-length", "9")
                .data_after(100, "abc"),
        ),
        h2(
            "content-length too small",
            Request::get("/h2")
                .method("POST")
                .header("content-length", "1")
                .data_after(100, "abc"),
        ),
        h2("an answer with a wrong length", Request::get("/h2")).reply(Reply::h2(
            200,
            &[("content-length", "9")],
            "abc",
        )),
        h2(
            "too many headers",
            (0..30).fold(Request::get("/"), |request, at| request.header(&format!("x-{at}"), "v")),
        )
        .on("small"),
        h2(
            "too large headers",
            Request::get("/").header("x-large", &"v".repeat(12_000)),
        )
        .on("small"),
        h2(
            "too large headers by default",
            Request::get("/").header("x-large", &"v".repeat(61 * 1024)),
        ),
        h2(
            "101 headers",
            (0..100).fold(Request::get("/"), |request, at| request.header(&format!("x-{at}"), "v")),
        ),
        h2(
            "101 trailers",
            Request::get("/")
                .method("POST")
                .data_after(50, "abc")
                .trailers(&TRAILERS),
        ),
        h2("101 trailers in an answer", Request::get("/h2")).reply(Reply::acts([
            Act::Head(200, &[]),
            Act::Data(b"abc".to_vec()),
            Act::Sleep(PAUSE),
            Act::Trailers(&TRAILERS),
        ])),
        h2("101 headers in an answer", Request::get("/h2")).reply(Reply::acts([Act::Head(200, &TRAILERS), Act::End])),
        get("101 headers in an answer to HTTP/1", "/h2").reply(Reply::acts([Act::Head(200, &TRAILERS), Act::End])),
        h2("an underscore rejected", Request::get("/").header("x_a", "b")).on("small"),
        h2("a path with a fragment", Request::get("/a#b")),
    ]
}
