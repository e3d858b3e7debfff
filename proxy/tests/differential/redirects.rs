//! Every form of redirect.

use super::case::{Suite, get, request};
use crate::support::h2c::Request;

pub fn suite() -> Suite {
    let cases = vec![
        get("https", "/https/x?q=1"),
        get("https drops the default port", "/https").host("a.test:80"),
        get("https keeps another port", "/https").host("a.test:8080"),
        get("https of an IPv6 host", "/x").host("[::1]:80"),
        get("https of an unlisted host", "/x").host("[::1]"),
        get("scheme", "/scheme"),
        get("host", "/host?a=b"),
        get("host with a port", "/hostport"),
        get("host drops the request's port", "/host").host("a.test:8080"),
        get("port", "/port"),
        get("port instead of a port", "/port").host("a.test:8080"),
        get("everything", "/all/x?y=z"),
        get("path", "/path/x?q=1"),
        get("path with a query of its own", "/query?q=1"),
        get("path without query", "/strip?q=1"),
        get("host without query", "/bare/x?q=1"),
        get("prefix", "/prefix/x?q=1"),
        get("regex", "/regex/42/x?q=/regex/1"),
        get("302", "/302"),
        get("307", "/307"),
        request("308 of a POST with a body", "POST", "/308").body("ignored"),
        request("of a HEAD", "HEAD", "/302"),
        get("with response headers", "/headers"),
        get("to the same scheme behind a proxy", "/https").header("x-forwarded-proto: https"),
        get("TLS required, external", "/x?y=1")
            .host("tls.test")
            .header("x-forwarded-for: 8.8.8.8"),
        get("TLS required, internal", "/x")
            .host("tls.test")
            .header("x-forwarded-for: 10.0.0.1"),
        get("TLS required, behind a TLS proxy", "/x")
            .host("tls.test")
            .header("x-forwarded-proto: https"),
        super::case::h2("over HTTP/2", Request::get("/all")),
    ];
    Suite {
        name: "redirects",
        bootstrap: include_str!("redirects.yaml"),
        cases,
    }
}
