//! Answers of the proxy itself, and what `local_reply_config` makes of them.

use super::case::{Case, Suite, get, h2, raw, request};
use crate::support::h2c::Request;
use crate::support::upstream::{Act, Reply};

pub fn suite() -> Suite {
    Suite {
        name: "replies",
        bootstrap: include_str!("replies.yaml"),
        cases: plain().into_iter().chain(mapped()).chain(formatted()).collect(),
    }
}

fn plain() -> Vec<Case> {
    vec![
        get("edits of a direct response", "/direct"),
        get("edits of a redirect", "/moved"),
        get("edits of a refused connection", "/refused"),
        get("edits where nobody is", "/nobody"),
        get("edits of a timeout", "/late").reply(Reply::acts([Act::Hang])),
        get("edits of an unknown cluster", "/unknown").header("x-cluster: nope"),
        get("edits of a weighted cluster", "/shared"),
        get("no edits without a route", "/none"),
        get("a route says 400", "/bad"),
        h2("a route says 400 over HTTP/2", Request::get("/bad")),
        request("gRPC to a direct 200", "POST", "/typed")
            .header("content-type: application/grpc")
            .body("x"),
        request("gRPC upstream without a status", "POST", "/up")
            .header("content-type: application/grpc")
            .body("x")
            .reply(Reply::h1("503 Service Unavailable", "", "")),
        get("a type of its own", "/typed"),
    ]
}

fn mapped() -> Vec<Case> {
    let on = |case: Case| case.on("mapped");
    vec![
        on(get("direct response mapped by its status", "/direct")),
        on(request("HEAD mapped by its status", "HEAD", "/direct")),
        on(get("gRPC mapped by its status", "/direct").header("content-type: application/grpc")),
        on(get("refused connection mapped by its flag", "/refused")),
        on(get("nobody to ask mapped by its flag", "/nobody")),
        on(get("mapped to JSON", "/empty").header("x-json: 1")),
        on(get("no route mapped to JSON", "/none?x=\"y").header("x-json: 1")),
        on(get("redirect mapped to JSON", "/moved").header("x-json: 1")),
        on(get("two filters of which one holds", "/empty").header("x-and: 1")),
        on(get("two filters that hold", "/none").header("x-and: 1")),
        on(get("one filter of two", "/empty").header("x-or: 1")),
        on(get("a timeout", "/late").reply(Reply::acts([Act::Hang]))),
        on(get("mapped by nothing", "/empty")),
        on(get("an answer from upstream stays", "/up")
            .header("x-json: 1")
            .reply(Reply::h1("418 I'm a teapot", "", "up"))),
        on(raw("unparsable", "GET / HTTP/1.1\r\nhost: a.test\r\nx a: b\r\n\r\n")),
        on(raw("no host", "GET / HTTP/1.1\r\n\r\n")),
    ]
}

fn formatted() -> Vec<Case> {
    let names = [
        ["text: direct response", "json: direct response"],
        ["text: empty", "json: empty"],
        ["text: with a type of its own", "json: with a type of its own"],
        ["text: no route", "json: no route"],
        ["text: refused", "json: refused"],
        ["text: redirect", "json: redirect"],
        ["text: HEAD", "json: HEAD"],
        ["text: gRPC", "json: gRPC"],
    ];
    let both = |at: usize| {
        let [direct, empty, typed, none, refused, moved, head, grpc] = names.map(|pair| pair[at]);
        let listener = ["text", "json"][at];
        vec![
            get(direct, "/direct"),
            get(empty, "/empty"),
            get(typed, "/typed"),
            get(none, "/none"),
            get(refused, "/refused"),
            get(moved, "/moved"),
            request(head, "HEAD", "/direct"),
            get(grpc, "/direct").header("content-type: application/grpc"),
        ]
        .into_iter()
        .map(move |case| case.on(listener))
    };
    both(0).chain(both(1)).collect()
}
