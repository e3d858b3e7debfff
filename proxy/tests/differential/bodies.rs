//! Bodies, trailers and informational responses both ways, whole and broken.

use super::case::{Case, Suite, chunked, get, raw, request, send, sleep, steps};
use crate::support::h1::Step;
use crate::support::upstream::{Act, Reply};

pub fn suite() -> Suite {
    let mut cases = requests();
    cases.extend(responses());
    cases.extend(interim());
    cases.extend(broken());
    Suite {
        name: "bodies",
        bootstrap: include_str!("bodies.yaml"),
        cases,
    }
}

/// More than all buffers between client and upstream hold.
const LARGE: usize = 1 << 20;

fn requests() -> Vec<Case> {
    vec![
        request("POST with a length", "POST", "/").body("abc"),
        request("POST of nothing", "POST", "/").body(""),
        raw("POST without framing", "POST / HTTP/1.1\r\nhost: a.test\r\n\r\n"),
        request("POST in chunks", "POST", "/").chunked(&["abc", "defg"], ""),
        request("PUT in no chunks", "PUT", "/").chunked(&[], ""),
        request("trailers dropped by default", "POST", "/").chunked(&["abc"], "x-t: 1\r\n"),
        request("trailers in, not out", "POST", "/")
            .on("trailers")
            .chunked(&["abc"], "x-t: 1\r\nX-U: 2\r\n"),
        request("trailers dropped before a cluster that takes them", "POST", "/trailers")
            .chunked(&["abc"], "x-t: 1\r\n"),
        request("large body", "POST", "/").body("x".repeat(LARGE)),
        request("large body in chunks", "POST", "/").chunked(&[&"y".repeat(LARGE / 2), &"z".repeat(LARGE / 2)], ""),
        request("large body through small buffers", "POST", "/small").body("x".repeat(LARGE)),
        steps(
            "slow body",
            vec![
                send("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 4\r\n\r\nab"),
                sleep(40),
                send("cd"),
            ],
        ),
        request("DELETE", "DELETE", "/x"),
        request("OPTIONS", "OPTIONS", "/x"),
        request("TRACE", "TRACE", "/x"),
        request("PATCH", "PATCH", "/x").body("p"),
        request("body to a direct response", "POST", "/direct").body("abc"),
    ]
}

fn responses() -> Vec<Case> {
    let stream =
        |name, head: &str, body: String| get(name, "/").reply(Reply::raw(format!("HTTP/1.1 {head}\r\n\r\n{body}")));
    vec![
        stream(
            "chunked",
            "200 OK\r\ntransfer-encoding: chunked",
            chunked(&["ab", "cde"], ""),
        ),
        stream(
            "response trailers dropped",
            "200 OK\r\ntransfer-encoding: chunked",
            chunked(&["ab"], "x-t: 1\r\n"),
        ),
        stream(
            "response trailers passed",
            "200 OK\r\ntransfer-encoding: chunked",
            chunked(&["ab"], "X-T: 1\r\n"),
        )
        .on("trailers"),
        stream(
            "response trailers alone",
            "200 OK\r\ntransfer-encoding: chunked",
            chunked(&[], "x-t: 1\r\n"),
        )
        .on("trailers"),
        get("ended by close", "/").reply(Reply::raw("HTTP/1.1 200 OK\r\n\r\nuntil the end").then(Act::Close)),
        get("HTTP/1.0 upstream", "/").reply(Reply::raw("HTTP/1.0 200 OK\r\nx: y\r\n\r\nold").then(Act::Close)),
        get("HTTP/1.0 upstream with a length", "/")
            .reply(Reply::raw("HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nold").then(Act::Close)),
        stream("204", "204 No Content", String::new()),
        stream(
            "204 with a length",
            "204 No Content\r\ncontent-length: 0",
            String::new(),
        ),
        stream("304", "304 Not Modified\r\netag: \"x\"", String::new()),
        stream(
            "304 with a length",
            "304 Not Modified\r\ncontent-length: 10",
            String::new(),
        ),
        stream("205", "205 Reset Content\r\ncontent-length: 0", String::new()),
        request("HEAD with a length", "HEAD", "/").reply(Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")),
        request("HEAD with chunks announced", "HEAD", "/")
            .reply(Reply::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")),
        request("HEAD without framing", "HEAD", "/").reply(Reply::raw("HTTP/1.1 200 OK\r\n\r\n")),
        stream("unknown status", "299 Whatever\r\ncontent-length: 0", String::new()),
        stream("status 599", "599 Odd\r\ncontent-length: 1", "x".to_owned()),
        stream("no reason phrase", "200\r\ncontent-length: 0", String::new()),
        stream(
            "reason phrase of its own",
            "404 Nope Nope\r\ncontent-length: 0",
            String::new(),
        ),
        stream(
            "large response",
            &format!("200 OK\r\ncontent-length: {LARGE}"),
            "r".repeat(LARGE),
        ),
        get("large response through small buffers", "/small").reply(Reply::raw(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n{}",
            "r".repeat(LARGE)
        ))),
        get("slow response", "/").reply(
            Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab")
                .then_sleep(40)
                .then_raw("cd"),
        ),
        get("head in pieces", "/").reply(
            Reply::raw("HTTP/1.1 200 O")
                .then_sleep(20)
                .then_raw("K\r\ncontent-le")
                .then_sleep(20)
                .then_raw("ngth: 1\r\n\r\nx"),
        ),
        stream(
            "99 response headers",
            &format!("200 OK\r\ncontent-length: 0\r\n{}x: y", "x-h: v\r\n".repeat(97)),
            String::new(),
        ),
        stream(
            "101 response headers",
            &format!("200 OK\r\ncontent-length: 0\r\n{}x: y", "x-h: v\r\n".repeat(99)),
            String::new(),
        ),
    ]
}

fn interim() -> Vec<Case> {
    let expecting = "POST / HTTP/1.1\r\nhost: a.test\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n";
    let waiting = || vec![send(expecting), Step::Await("100 Continue"), send("abc")];
    vec![
        steps("100-continue", waiting()),
        steps("100-continue without waiting", vec![send(expecting), send("abc")]),
        steps("100-continue proxied", waiting()).on("expect").reply(
            Reply::raw("HTTP/1.1 100 Continue\r\n\r\n")
                .early()
                .then_sleep(30)
                .then_raw("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        ),
        steps("100-continue refused", vec![send(expecting)])
            .on("expect")
            .reply(Reply::h1("417 Expectation Failed", "", "no").early()),
        get("other expectation", "/").header("expect: 200-ok"),
        get("103 before the response", "/").reply(
            Reply::raw("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n")
                .then_raw("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx"),
        ),
        get("100 that nobody asked for", "/").reply(Reply::raw(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx",
        )),
        get("102 before the response", "/").reply(Reply::raw(
            "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx",
        )),
        get("101 that nobody asked for", "/").reply(Reply::raw(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        )),
    ]
}

fn broken() -> Vec<Case> {
    let bytes = |name, bytes: &str| get(name, "/").reply(Reply::raw(bytes).then(Act::Close));
    vec![
        get("closed before the response", "/").reply(Reply::acts([Act::Close])),
        get("reset before the response", "/").reply(Reply::acts([Act::Abort])),
        bytes("closed within the head", "HTTP/1.1 200 OK\r\ncontent-le"),
        bytes(
            "closed within the body",
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
        ),
        bytes(
            "closed within the chunks",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        ),
        get("reset within the body", "/").reply(
            Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
                .then_sleep(50)
                .then(Act::Abort),
        ),
        bytes("rubbish instead of a response", "rubbish\r\n\r\n"),
        bytes("a response with a bad header", "HTTP/1.1 200 OK\r\nx a: b\r\n\r\n"),
        bytes("a response with a bad status", "HTTP/1.1 2x0 OK\r\n\r\n"),
        bytes(
            "a response with two lengths",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        ),
        bytes(
            "a response with length and chunks",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        bytes(
            "a response with a bad chunk",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        ),
        get("more bytes than the length", "/")
            .reply(Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nabcd").then_sleep(20)),
        bytes(
            "a head of 70 KiB",
            &format!(
                "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx: {}\r\n\r\n",
                "v".repeat(70 * 1024)
            ),
        ),
        // Small enough for the kernel's buffers: whether the rest of a larger one still goes up is a matter of timing.
        request("early response to a body on its way", "POST", "/")
            .body("x".repeat(100_000))
            .reply(
                Reply::acts([])
                    .early()
                    .then_sleep(100)
                    .then_raw("HTTP/1.1 413 Payload Too Large\r\ncontent-length: 2\r\n\r\nno"),
            ),
        steps(
            "early response to an unfinished body",
            vec![send("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 9\r\n\r\nabc")],
        )
        .reply(
            Reply::acts([])
                .early()
                .then_sleep(100)
                .then_raw("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly"),
        ),
        steps(
            "client leaves within the body",
            vec![
                send("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 9\r\n\r\nabc"),
                Step::AwaitUpstream(1),
                Step::Abort,
            ],
        ),
        steps(
            "client leaves before the response",
            vec![
                send("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n"),
                Step::AwaitUpstream(1),
                Step::Abort,
            ],
        )
        .reply(Reply::acts([Act::Hang])),
        steps(
            "client leaves within the response",
            vec![
                send("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n"),
                Step::Await("abc"),
                Step::Abort,
            ],
        )
        .reply(Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").then(Act::Hang)),
        steps(
            "client half closes",
            vec![
                send("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n"),
                Step::AwaitUpstream(1),
                Step::Fin,
            ],
        )
        .reply(
            Reply::acts([])
                .then_sleep(50)
                .then_raw("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx"),
        ),
    ]
}
