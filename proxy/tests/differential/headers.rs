//! Header edits at every level, operators in them, spelling, and what a proxy itself adds and takes away.

use super::case::{Case, Suite, get, raw, request};
use crate::support::upstream::Reply;

pub fn suite() -> Suite {
    let mut cases = edits();
    cases.extend(hop_by_hop());
    cases.extend(spelling());
    Suite {
        name: "headers",
        bootstrap: include_str!("headers.yaml"),
        cases,
    }
}

fn edits() -> Vec<Case> {
    vec![
        get("added and removed at every level", "/levels")
            .header("x-level: client")
            .header("x-config-drop: 1")
            .header("x-host-drop: 1")
            .header("x-route-drop: 1")
            .reply(Reply::h1(
                "200 OK",
                "x-config-hide: 1\r\nx-host-hide: 1\r\nx-route-hide: 1\r\nx-out-level: upstream\r\n",
                "",
            )),
        get("overwritten by a lower level", "/overwrite-levels"),
        get("overwritten where the most specific wins", "/").on("specific"),
        get("append actions on what is absent", "/actions"),
        get("append actions on what is there", "/actions")
            .header("x-append: old")
            .header("x-absent: old")
            .header("x-over: old")
            .header("x-exist: old")
            .reply(Reply::h1(
                "200 OK",
                "x-append: old\r\nx-absent: old\r\nx-over: old\r\nx-exist: old\r\n",
                "",
            )),
        get("operators", "/operators?x=1")
            .header("x-in: value")
            .reply(Reply::h1("201 Created", "x-up: there\r\n", "")),
        get("operators with nothing to say", "/operators"),
        get("many values of one header", "/x")
            .header("x-m: 1")
            .header("X-M: 2")
            .header("x-m: 3,4"),
        get("response with many values", "/x").reply(Reply::h1(
            "200 OK",
            "set-cookie: a=1\r\nset-cookie: b=2\r\nx-m: 1\r\nx-m: 2\r\n",
            "",
        )),
        get("empty values", "/x")
            .header("x-nothing:")
            .reply(Reply::h1("200 OK", "x-void:\r\n", "")),
        get("white space around values", "/x")
            .header("x-pad:  \t padded \t ")
            .reply(Reply::h1("200 OK", "x-pad:   padded  \r\n", "")),
        get("bytes above ASCII", "/x")
            .header("x-latin: caf\u{e9}")
            .reply(Reply::h1("200 OK", "x-latin: caf\u{e9}\r\n", "")),
    ]
}

fn hop_by_hop() -> Vec<Case> {
    vec![
        get("connection names a header", "/x")
            .header("connection: x-private")
            .header("x-private: 1"),
        get("connection: close", "/x").header("connection: close"),
        get("connection: keep-alive", "/x")
            .header("connection: keep-alive")
            .header("keep-alive: timeout=5"),
        get("proxy-connection", "/x").header("proxy-connection: keep-alive"),
        get("te: trailers", "/x")
            .header("te: trailers")
            .header("connection: te"),
        get("te: other", "/x").header("te: gzip"),
        get("te: trailers and other", "/x").header("te: trailers, deflate"),
        get("trailer announced", "/x").header("trailer: x-t"),
        get("proxy authentication", "/x")
            .header("proxy-authorization: Basic eDp5")
            .reply(Reply::h1(
                "407 Proxy Authentication Required",
                "proxy-authenticate: Basic\r\n",
                "",
            )),
        get("hop-by-hop headers of a response", "/x").reply(Reply::h1(
            "200 OK",
            "connection: x-private\r\nx-private: 1\r\nkeep-alive: timeout=5\r\nproxy-connection: x\r\n",
            "r",
        )),
        get("upstream closes after its response", "/x").reply(Reply::h1("200 OK", "connection: close\r\n", "r")),
        get("upstream names itself", "/x").reply(Reply::h1(
            "200 OK",
            "server: nginx\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\nvia: 1.1 up\r\n",
            "",
        )),
        get("upstream sends internal headers", "/x").reply(Reply::h1(
            "200 OK",
            "x-envoy-upstream-service-time: 7\r\nx-envoy-overloaded: true\r\nx-request-id: up\r\n",
            "",
        )),
        request("upgrade without connection", "GET", "/x").header("upgrade: websocket"),
        get("HTTP2-Settings upgrade", "/x")
            .header("connection: Upgrade, HTTP2-Settings")
            .header("upgrade: h2c")
            .header("http2-settings: AAMAAABkAARAAAAAAAIAAAAA"),
    ]
}

fn spelling() -> Vec<Case> {
    let spelled = "GET /x HTTP/1.1\r\nHOST: a.test\r\nX-MiXed: 1\r\ncontent-LENGTH: 0\r\n\r\n";
    let reply = || Reply::h1("200 OK", "X-UPper: 1\r\nx-lower: 1\r\n", "s");
    vec![
        raw("names become lower case", spelled).reply(reply()),
        raw("names in proper case", spelled).on("proper").reply(reply()),
        raw("names keep their case", spelled).on("preserved").reply(reply()),
    ]
}
