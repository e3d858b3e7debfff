//! Role-based access control, of requests and of connections.

use super::case::{Case, Suite, get, raw, request};

pub fn suite() -> Suite {
    let mut cases = requests();
    cases.extend(certificates());
    cases.extend(connections());
    Suite {
        name: "rbac",
        bootstrap: include_str!("rbac.yaml"),
        cases,
    }
}

fn requests() -> Vec<Case> {
    let on = |listener, name, path: &str| get(name, path).on(listener);
    let allow = |name, path: &str| on("allow", name, path);
    vec![
        allow("allowed by its path", "/public/x?y=z"),
        allow("denied by its path", "/private"),
        allow("allowed by a template", "/users/12/orders"),
        allow("denied by a template", "/users/12/34/orders"),
        allow("allowed by a header", "/private").header("x-role: admin"),
        allow("denied by a header that must not be there", "/private")
            .header("x-role: admin")
            .header("x-blocked: 1"),
        request("allowed by its method", "PUT", "/put").on("allow").body("x"),
        request("denied with a body", "POST", "/put").on("allow").body("x"),
        allow("allowed by its client", "/remote").header("x-forwarded-for: 192.0.2.7"),
        allow("denied by its client", "/remote").header("x-forwarded-for: 198.51.100.7"),
        allow("denied by its peer", "/direct"),
        allow("allowed by its port range", "/port"),
        allow("allowed by the route's metadata", "/metadata"),
        allow("denied without the route's metadata", "/no-metadata"),
        allow("denied without TLS", "/authenticated"),
        allow("allowed by an empty server name", "/no-sni"),
        allow("denied, and gRPC", "/private").header("content-type: application/grpc"),
        on("deny", "deny: matched", "/secret"),
        on("deny", "deny: not matched", "/other"),
        on("none", "no rules", "/x"),
        on("empty", "no policies", "/x"),
        on("log", "logged", "/yes"),
        on("log", "not logged", "/no"),
        on("shadow", "shadow denies", "/private"),
        on("shadow", "shadow allows", "/public"),
        on("route", "a route's own rules allow", "/own").header("x-own: 1"),
        on("route", "a route's own rules deny", "/own"),
        on("route", "a route without rules", "/free"),
        on("route", "a route that switches the filter off", "/off"),
        on("route", "a route that says nothing", "/silent"),
        on("list", "list: the first", "/x").header("x-role: admin"),
        on("list", "list: one and not another", "/x").header("x-a: ones"),
        on("list", "list: one and another", "/x")
            .header("x-a: ones")
            .header("x-b: two"),
        on("list", "list: one or another", "/secret"),
        on("list", "list: one or another by an expression", "/x").header("x-c: ccc"),
        on("list", "list: by address", "/x")
            .header("x-d: d")
            .header("x-forwarded-for: 192.0.2.9"),
        on("list", "list: by another address", "/x").header("x-d: d"),
        on("list", "list: by port", "/x").header("x-e: e"),
        on("list", "list: none", "/x"),
        on("list-empty", "list without an answer", "/x"),
        on("list-log", "list that logs", "/x").header("x-log: yes"),
        on("list-log", "list that does not log", "/x"),
        on("list-shadow", "list in the shadow", "/x"),
        get("a virtual host's own rules", "/silent")
            .host("own.test")
            .on("route"),
    ]
}

fn certificates() -> Vec<Case> {
    vec![
        get("allowed by its identity", "/mutual/b"),
        get("denied by its identity", "/mutual/c"),
        get("denied without a certificate", "/bare"),
        get("list: allowed by its identity", "/listed"),
        get("list: denied without a certificate", "/bare-listed"),
    ]
}

const PLAIN: &[u8] = b"GET /tcp HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n";

fn connections() -> Vec<Case> {
    let tcp = |listener, name| raw(name, PLAIN).on(listener);
    vec![
        tcp("tcp-allow", "connection allowed"),
        tcp("tcp-deny", "connection denied"),
        tcp("tcp-none", "connection without rules"),
        tcp("tcp-empty", "connection that no policy allows"),
        tcp("tcp-shadow", "connection denied in the shadow"),
        tcp("tcp-log", "connection logged"),
        tcp("tcp-two", "connection denied by the second filter"),
        tcp("tcp-list", "connection denied by a list"),
        tcp("tcp-continuous", "connection allowed again and again"),
        get("HTTP connection denied", "/x").on("http-deny"),
        get("HTTP connection allowed", "/x").on("http-allow"),
    ]
}
