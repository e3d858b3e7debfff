//! Paths and hosts on their way upstream.

use super::case::{Suite, get};

pub fn suite() -> Suite {
    let cases = vec![
        get("prefix", "/prefix/more?q=/prefix/"),
        get("prefix to the root", "/root/x"),
        get("prefix to the root alone", "/root"),
        get("exact path", "/exact?q=1"),
        get("prefix without case", "/NoCase/x"),
        get("path separated prefix", "/seg/x"),
        get("path separated prefix with a query", "/seg?x=1"),
        get("regex with groups", "/regex/a/b/c?q=1"),
        get("regex does not match", "/regex/a"),
        get("regex at every place", "/every/xox?x=x"),
        get("regex on a regex match", "/match/1/22"),
        get("host", "/host-literal"),
        get("host appended to x-forwarded-host", "/host-append").header("x-forwarded-host: earlier.test"),
        get("host from a header", "/host-header").header("x-host: header.test"),
        get("host from an absent header", "/host-header"),
        get("host from the path", "/host-regex/abc/d?x=y"),
        get("host from DNS", "/host-auto"),
        get("host from the endpoint", "/host-endpoint"),
        get("host of a plain static endpoint", "/host-static"),
        get("original path given by the client", "/prefix/x").header("x-envoy-original-path: /fake"),
        get("twice rewritten to a double slash", "/x").on("quiet"),
    ];
    Suite {
        name: "rewrites",
        bootstrap: include_str!("rewrites.yaml"),
        cases,
    }
}
