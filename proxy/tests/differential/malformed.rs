//! Bytes that are no request, or one that must not be believed; and HTTP/1.0.

use super::case::{Case, Suite, chunked, get, raw, send, sleep, steps};
use crate::support::message::Kind::Response;

pub fn suite() -> Suite {
    let mut cases = heads();
    cases.extend(framing());
    cases.extend(limits());
    cases.extend(old());
    cases.extend(pipelines());
    Suite {
        name: "malformed",
        bootstrap: include_str!("malformed.yaml"),
        cases,
    }
}

fn heads() -> Vec<Case> {
    let line = |name, line: &str| raw(name, format!("{line}\r\nhost: a.test\r\n\r\n"));
    let field = |name, field: &str| raw(name, format!("GET / HTTP/1.1\r\nhost: a.test\r\n{field}\r\n\r\n"));
    vec![
        line("unknown method", "BREW / HTTP/1.1"),
        line("lower case method", "get / HTTP/1.1"),
        line("method with a bad byte", "GE(T / HTTP/1.1"),
        line("no method", " / HTTP/1.1"),
        line("no target", "GET HTTP/1.1"),
        line("no version", "GET /"),
        line("two spaces", "GET  /  HTTP/1.1"),
        line("HTTP/1.2", "GET / HTTP/1.2"),
        line("HTTP/2.0 in words", "GET / HTTP/2.0"),
        line("HTTP/3.7", "GET / HTTP/3.7"),
        line("lower case version", "GET / http/1.1"),
        line("version with more digits", "GET / HTTP/1.10"),
        raw("empty lines first", "\r\n\r\nGET / HTTP/1.1\r\nhost: a.test\r\n\r\n"),
        raw("bare line feeds", "GET / HTTP/1.1\nhost: a.test\n\n"),
        raw(
            "a bare line feed in a head",
            "GET / HTTP/1.1\r\nhost: a.test\nx-a: b\r\n\r\n",
        ),
        raw(
            "a bare carriage return in a value",
            "GET / HTTP/1.1\r\nhost: a.test\r\nx-a: b\rc\r\n\r\n",
        ),
        raw("no host", "GET / HTTP/1.1\r\n\r\n"),
        raw("two hosts", "GET / HTTP/1.1\r\nhost: a.test\r\nhost: b.test\r\n\r\n"),
        raw("a host with a bad byte", "GET / HTTP/1.1\r\nhost: a<b>\r\n\r\n"),
        raw(
            "a host with user information",
            "GET / HTTP/1.1\r\nhost: u@a.test\r\n\r\n",
        ),
        raw("a host with a comma", "GET / HTTP/1.1\r\nhost: a.test,b.test\r\n\r\n"),
        field("space before the colon", "x-a : b"),
        field("name with a space", "x a: b"),
        field("no colon", "x-a"),
        field("empty name", ": b"),
        field("folded value", "x-a: b\r\n c"),
        field("NUL in a value", "x-a: b\0c"),
        field("control byte in a value", "x-a: b\u{1}c"),
        field("DEL in a value", "x-a: b\u{7f}c"),
        field("tab in a value", "x-a: b\tc"),
        field("name with a bad byte", "x@a: b"),
        field("name with an underscore", "x_a: b"),
        field("underscore rejected", "x_a: b").on("underscores"),
        field("underscore dropped", "x_a: b").on("dropunderscores"),
        field("pseudo header by name", ":path: /other"),
        raw(
            "absolute form, disallowed",
            "GET http://b.test/x HTTP/1.1\r\nhost: a.test\r\n\r\n",
        )
        .on("absolute"),
        raw("not HTTP", "\u{16}\u{3}\u{1}\u{2}junk\r\n\r\n"),
        raw(
            "error with the stream left open",
            "GET / HTTP/1.1\r\nhost: a.test\r\nx-a : b\r\n\r\n",
        )
        .on("customerror"),
    ]
}

fn framing() -> Vec<Case> {
    let post = |name, fields: &str, body: &str| {
        raw(
            name,
            format!("POST / HTTP/1.1\r\nhost: a.test\r\n{fields}\r\n\r\n{body}"),
        )
    };
    let chunks = |name, body: &str| post(name, "transfer-encoding: chunked", body);
    vec![
        post(
            "length and chunks",
            "content-length: 3\r\ntransfer-encoding: chunked",
            "0\r\n\r\n",
        ),
        post(
            "length and chunks, allowed",
            "content-length: 3\r\ntransfer-encoding: chunked",
            "0\r\n\r\n",
        )
        .on("chunkedlength"),
        post(
            "two lengths, different",
            "content-length: 3\r\ncontent-length: 4",
            "abcd",
        ),
        post("two lengths, the same", "content-length: 3\r\ncontent-length: 3", "abc"),
        post("a list of lengths", "content-length: 3, 3", "abc"),
        post("negative length", "content-length: -1", ""),
        post("signed length", "content-length: +3", "abc"),
        post("length in hexadecimal", "content-length: 0x3", "abc"),
        post("huge length", "content-length: 99999999999999999999999", ""),
        post("empty length", "content-length:", ""),
        post("length with a space within", "content-length: 1 2", ""),
        post("unknown transfer coding", "transfer-encoding: gzip", ""),
        post("gzip then chunked", "transfer-encoding: gzip, chunked", "0\r\n\r\n"),
        post("chunked twice", "transfer-encoding: chunked, chunked", "0\r\n\r\n"),
        post(
            "chunked in two headers",
            "transfer-encoding: chunked\r\ntransfer-encoding: identity",
            "0\r\n\r\n",
        ),
        post("chunked in capitals", "transfer-encoding: Chunked", "0\r\n\r\n"),
        post("identity", "transfer-encoding: identity", ""),
        post(
            "chunked behind a vertical tab",
            "transfer-encoding: \u{b}chunked",
            "0\r\n\r\n",
        ),
        chunks("bad chunk size", "zz\r\nabc\r\n0\r\n\r\n"),
        chunks("empty chunk size", "\r\nabc\r\n0\r\n\r\n"),
        chunks("negative chunk size", "-1\r\nabc\r\n0\r\n\r\n"),
        chunks("huge chunk size", "fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
        chunks("chunk extension", "3;a=b;c=\"d\"\r\nabc\r\n0;e\r\n\r\n"),
        chunks("chunk extension with spaces", "3 ; a\r\nabc\r\n0\r\n\r\n"),
        chunks("chunk longer than its size", "3\r\nabcdef\r\n0\r\n\r\n"),
        chunks("chunk data ended by a line feed", "3\r\nabc\n0\r\n\r\n"),
        steps(
            "chunk data ended by two line feeds",
            vec![
                send("POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc"),
                sleep(60),
                send("\n\n0\r\n\r\n"),
            ],
        ),
        chunks("carriage return within a chunk's rest", "3\r\nabc\rdef\r\n0\r\n\r\n"),
        chunks("chunk ended by a line feed", "3\nabc\n0\n\n"),
        chunks("leading zeros in a chunk size", "0003\r\nabc\r\n000\r\n\r\n"),
        get("a GET with a body", "/").body("abc"),
        get("a GET with chunks", "/").chunked(&["abc", "de"], ""),
        post("a bad trailer", "transfer-encoding: chunked", "0\r\nx a: b\r\n\r\n"),
    ]
}

fn limits() -> Vec<Case> {
    let fields = |count: usize| (0..count).map(|at| format!("x-{at}: v\r\n")).collect::<String>();
    let with = |name, fields: String| raw(name, format!("GET / HTTP/1.1\r\nhost: a.test\r\n{fields}\r\n"));
    vec![
        with("99 more headers", fields(99)),
        with("100 more headers", fields(100)),
        with("150 headers, allowed", fields(150)).on("bigheaders"),
        with("six headers where five may be", fields(5)).on("fewheaders"),
        with("five headers where five may be", fields(4)).on("fewheaders"),
        with("59 KiB of headers", format!("x: {}\r\n", "v".repeat(59 * 1024))),
        with("61 KiB of headers", format!("x: {}\r\n", "v".repeat(61 * 1024))),
        with(
            "90 KiB of headers, allowed",
            format!("x: {}\r\n", "v".repeat(90 * 1024)),
        )
        .on("bigheaders"),
        raw(
            "59 KiB of path",
            format!("GET /{} HTTP/1.1\r\nhost: a.test\r\n\r\n", "p".repeat(59 * 1024)),
        ),
        raw(
            "61 KiB of path",
            format!("GET /{} HTTP/1.1\r\nhost: a.test\r\n\r\n", "p".repeat(61 * 1024)),
        ),
    ]
}

fn old() -> Vec<Case> {
    vec![
        raw("HTTP/1.0 by default", "GET / HTTP/1.0\r\nhost: a.test\r\n\r\n"),
        raw("HTTP/1.0 without a host", "GET / HTTP/1.0\r\n\r\n"),
        raw("HTTP/1.0 accepted", "GET / HTTP/1.0\r\nhost: a.test\r\n\r\n").on("http10"),
        raw(
            "HTTP/1.0 with keep-alive",
            "GET / HTTP/1.0\r\nhost: a.test\r\nconnection: keep-alive\r\n\r\n",
        )
        .on("http10"),
        raw("HTTP/1.0 accepted, without a host", "GET / HTTP/1.0\r\n\r\n").on("http10"),
        raw("HTTP/1.0 with the default host", "GET / HTTP/1.0\r\n\r\n").on("http10host"),
        raw("HTTP/1.0 gets no chunks", "GET / HTTP/1.0\r\nhost: a.test\r\n\r\n")
            .on("http10")
            .reply(crate::support::upstream::Reply::raw(format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}",
                chunked(&["abc", "de"], "")
            ))),
        raw(
            "HTTP/1.0 with a chunked body",
            "POST / HTTP/1.0\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        )
        .on("http10"),
        raw("HTTP/0.9", "GET /\r\n\r\n").on("http10"),
    ]
}

fn pipelines() -> Vec<Case> {
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: a.test\r\n\r\n");
    vec![
        raw("two pipelined", request("/1") + &request("/2")).kinds(&[Response, Response]),
        raw("three pipelined", request("/1") + &request("/2") + &request("/3")).kinds(&[Response; 3]),
        raw(
            "two pipelined, a local reply first",
            request("/secret") + &request("/2"),
        )
        .kinds(&[Response; 2]),
        raw("two pipelined, a local reply last", request("/1") + &request("/secret")).kinds(&[Response; 2]),
        raw(
            "pipelined behind a close",
            "GET /1 HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n".to_owned() + &request("/2"),
        ),
        raw("rubbish behind a request", request("/1") + "rubbish\r\n\r\n").kinds(&[Response, Response]),
        raw(
            "a body and the next request at once",
            "POST /1 HTTP/1.1\r\nhost: a.test\r\ncontent-length: 3\r\n\r\nabc".to_owned() + &request("/2"),
        )
        .kinds(&[Response, Response]),
        raw(
            "line ends behind a body",
            "POST /1 HTTP/1.1\r\nhost: a.test\r\ncontent-length: 3\r\n\r\nabc\r\n".to_owned() + &request("/2"),
        )
        .kinds(&[Response, Response]),
        steps(
            "a head in pieces",
            vec![
                send("GET / HT"),
                sleep(20),
                send("TP/1.1\r\nhost: a"),
                sleep(20),
                send(".test\r\n\r"),
                sleep(20),
                send("\n"),
            ],
        ),
        steps(
            "a head never finished",
            vec![
                send("GET / HTTP/1.1\r\nhost: a.test\r\n"),
                crate::support::h1::Step::Fin,
            ],
        ),
        steps(
            "a body never finished",
            vec![
                send("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 9\r\n\r\nabc"),
                sleep(50),
                crate::support::h1::Step::Fin,
            ],
        ),
    ]
}
