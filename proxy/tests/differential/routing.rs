//! Which virtual host, which route, which cluster.

use super::case::{Suite, get, request};
use crate::support::upstream::Reply;

pub fn suite() -> Suite {
    let mut cases = paths();
    cases.extend(matchers());
    cases.extend(hosts());
    cases.extend(clusters());
    Suite {
        name: "routing",
        bootstrap: include_str!("routing.yaml"),
        cases,
    }
}

fn paths() -> Vec<super::case::Case> {
    vec![
        get("exact path", "/exact"),
        get("exact path ignores the query", "/exact?a=b"),
        get("exact path is not a prefix", "/exact/more"),
        get("path without case", "/nOcAsE"),
        get("path separated prefix itself", "/seg/ment"),
        get("path separated prefix with a segment", "/seg/ment/more?x=y"),
        get("path separated prefix with a slash", "/seg/ment/"),
        get("path separated prefix within a segment", "/seg/mental"),
        get("regex is anchored", "/re/123/x/y"),
        get("regex ignores the query", "/re/123/x?y"),
        get("prefix: the first match wins", "/pre/fix/it"),
        get("prefix: the second match", "/prefab"),
        request("method as a header", "POST", "/method").body("x"),
        get("another method", "/method"),
        request("gRPC by content-type", "POST", "/grpc")
            .header("content-type: application/grpc")
            .body("x"),
        request("gRPC with a message format", "POST", "/grpc")
            .header("content-type: application/grpc+proto")
            .body("x"),
        request("almost gRPC", "POST", "/grpc")
            .header("content-type: application/grpc-web")
            .body("x"),
        get("runtime fractions from the runtime", "/fraction"),
        get("runtime fraction by default", "/always"),
        get("no route", "/nothing"),
    ]
}

fn matchers() -> Vec<super::case::Case> {
    let header = |name, line: &str| get(name, "/").host("headers.test").header(line);
    let query = |name, path: &str| get(name, path).host("query.test");
    vec![
        header("header: exact", "X-M: one"),
        header("header: exact minds case", "x-m: One"),
        header("header: prefix", "x-m: pre-x"),
        header("header: suffix", "x-m: x-suf"),
        header("header: contains without case", "x-m: amidst"),
        header("header: regex", "x-m: r42"),
        header("header: regex is anchored", "x-m: r421"),
        header("header: range includes its start", "x-n: -5"),
        header("header: range excludes its end", "x-n: 10").header("x-m: z"),
        header("header: range wants a number", "x-n: five").header("x-m: z"),
        header("header: inverted, absent", "x-on: 1").header("x-m: z"),
        header("header: inverted, another value", "x-on: 1")
            .header("x-m: z")
            .header("x-i: yes"),
        header("header: inverted, the value", "x-on: 1")
            .header("x-m: z")
            .header("x-i: no"),
        header("header: missing as empty", "x-empty: 1").header("x-m: z"),
        header("header: two values joined", "x-two: a")
            .header("x-two: b")
            .header("x-m: z"),
        get("header: authority", "/authority")
            .host("headers.test")
            .header("x-m: z"),
        get("header: absent", "/").host("headers.test"),
        query("query: exact", "/?q=1"),
        query("query: first of two", "/?q=1&q=x"),
        query("query: regex", "/?a=b&q=abc"),
        query("query: escaped value", "/?q=%31"),
        query("query: present and empty", "/?flag"),
        query("query: none", "/other?x=1"),
        get("more: header absent", "/h-absent").host("more.test"),
        get("more: header that must be absent", "/h-absent")
            .host("more.test")
            .header("x-gone: 1"),
        get("more: header equals its other", "/h-not")
            .host("more.test")
            .header("x-not: b"),
        get("more: header of the excluded value", "/h-not")
            .host("more.test")
            .header("x-not: a"),
        get("more: query without case", "/q-case?q=ABC").host("more.test"),
        get("more: query prefix", "/q-prefix?q=preX").host("more.test"),
        get("more: query that must be absent", "/q-absent").host("more.test"),
        get("more: query that is there", "/q-absent?q").host("more.test"),
        get("more: query with a plus", "/q-plus?q=a+b").host("more.test"),
        get("more: query behind an ampersand", "/q-case?&&q=abc&").host("more.test"),
        get("more: query in a fragment of another", "/q-case?qq=abc").host("more.test"),
        get("more: path parameters ignored", "/param;v=1/x").host("more.test"),
        query("query: in an exact path", "/exact?zz=1"),
    ]
}

fn hosts() -> Vec<super::case::Case> {
    let host = |name, host: &str| get(name, "/").host(host);
    vec![
        host("host: without case", "A.TEST"),
        host("host: suffix wildcard", "x.wild.test"),
        host("host: longest suffix", "x.more.wild.test"),
        host("host: suffix inside a label", "x-dash.wild.test"),
        host("host: wildcard wants something", "wild.test"),
        host("host: exact before wildcard", "exact.wild.test"),
        host("host: prefix wildcard", "start.anything"),
        host("host: suffix before prefix", "start.wild.test"),
        host("host: with port", "port.test:8080"),
        host("host: without port", "port.test"),
        host("host: another port", "port.test:9090"),
        host("host: none matches", "nobody.test"),
        host("host: empty", ""),
        host("host: port stripped", "a.test:1234").on("ports"),
        host("host: port ignored", "a.test:1234").on("rest"),
        get("host: a virtual host has no route", "/y").host("z.test").on("rest"),
        host("host: TLS required", "tls.test"),
    ]
}

fn clusters() -> Vec<super::case::Case> {
    let at = |name, path: &str| get(name, path).host("clusters.test");
    vec![
        at("cluster from a header", "/header").header("x-cluster: b"),
        at("cluster header absent", "/header"),
        at("cluster header unknown", "/header").header("x-cluster: nope"),
        at("unknown cluster as 404", "/unknown-404").header("x-cluster: nope"),
        at("unknown cluster as 500", "/unknown-500").header("x-cluster: nope"),
        at("weighted clusters edit headers", "/weighted")
            .header("x-drop: 1")
            .reply(Reply::h1("200 OK", "x-hide: 1\r\nx-keep: 1\r\n", "w")),
        at("direct response with a body", "/direct"),
        request("direct response to HEAD", "HEAD", "/direct").host("clusters.test"),
        at("direct response without a body", "/empty"),
        request("direct response to a POST", "POST", "/direct")
            .host("clusters.test")
            .body("dropped"),
        at("no endpoints", "/nobody"),
        at("connection refused", "/refused"),
    ]
}
