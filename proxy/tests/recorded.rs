//! What istiod sent to the proxies of a mesh, recorded (`istio/recorded.json`; `conformance/istio/record.py` makes it), is
//! sent to ours again, and requests go through what it configures: client, two servers and a gateway, without an istiod.
//!
//! Only what one machine without redirection cannot have is changed: addresses and ports, and the key that signs tokens.

// Modules of a test program are public to it alone.
#![allow(unreachable_pub)]

mod support;

#[path = "xds/server.rs"]
#[expect(dead_code, reason = "the tests of xDS look at its streams, these do not")]
mod server;

#[path = "recorded/mesh.rs"]
mod mesh;

use mesh::{Flavour, Mesh};
use support::upstream::Reply;

/// Sends the requests of every check through one recording.
fn plays(test: &str, flavour: Flavour) {
    let Some(mesh) = Mesh::start(test, flavour) else { return };
    routes(&mesh);
    guards(&mesh);
    other_protocols(&mesh);
    gateway(&mesh);
    if flavour == Flavour::Full {
        telemetry(&mesh);
    }
    mesh.nothing_was_refused();
}

#[test]
fn what_istiod_sent_without_its_own_filters() {
    plays("what_istiod_sent_without_its_own_filters", Flavour::Vanilla);
}

#[test]
fn what_istiod_sent_in_full() {
    plays("what_istiod_sent_in_full", Flavour::Full);
}

fn routes(mesh: &Mesh) {
    let answer = mesh.get("/", "");
    assert_eq!(answer.status(), 200, "{}", String::from_utf8_lossy(&answer.body));
    let [seen] = &*mesh.received() else {
        panic!("one request reaches one server")
    };
    let certificate = seen.message.header("x-forwarded-client-cert").unwrap_or_default();
    for id in [
        "By=spiffe://cluster.local/ns/demo/sa/server",
        "URI=spiffe://cluster.local/ns/demo/sa/client",
    ] {
        assert!(certificate.contains(id), "{certificate}");
    }

    assert_eq!(mesh.get("/", "x-abort: yes\r\n").status(), 418, "an injected fault");
    assert!(mesh.received().is_empty());
    let direct = mesh.get("/direct", "");
    assert_eq!((direct.status(), &*direct.body), (203, &b"direct body"[..]));
    let redirect = mesh.get("/redirect", "");
    assert_eq!(redirect.status(), 307);
    assert_eq!(redirect.header("location"), Some("http://elsewhere.example/there"));

    let rewritten = mesh.get("/old/page", "x-gone: 1\r\n");
    assert_eq!((rewritten.status(), rewritten.header("x-resp")), (200, Some("c")));
    let seen = mesh.received().remove(0).message;
    assert_eq!(seen.start, "GET /new/page HTTP/1.1");
    for (name, value) in [
        ("host", Some("renamed.example")),
        ("x-set", Some("a")),
        ("x-add", Some("b")),
        ("x-gone", None),
    ] {
        assert_eq!(seen.header(name), value, "{name}");
    }

    let (busy, well) = (
        Reply::h1("503 Service Unavailable", "", ""),
        Reply::h1("200 OK", "", "at last"),
    );
    let retried = mesh.get_of(vec![busy.clone(), busy, well], "/retry", "");
    assert_eq!((retried.status(), mesh.received().len()), (200, 3));

    assert_eq!(mesh.get("/mirror", "").status(), 200);
    mesh.wait("a copy for the second version", |received| {
        received.iter().any(|seen| seen.upstream == "v2") && received.iter().any(|seen| seen.upstream == "v1")
    });

    // 80 to 20; outside of these one run in 10^7 would be.
    let first = (0..100)
        .filter(|_| {
            mesh.get("/weighted", "");
            mesh.received()[0].upstream == "v1"
        })
        .count();
    assert!((58..99).contains(&first), "{first} of 100 went to v1");
}

fn guards(mesh: &Mesh) {
    let forbidden = mesh.get("/forbidden/x", "");
    assert_eq!(
        (forbidden.status(), &*forbidden.body),
        (403, &b"RBAC: access denied"[..])
    );
    assert_eq!(mesh.get("/jwt", "").status(), 403, "a token is wanted");
    let token = mesh.token();
    let bearer = |token: &str| format!("authorization: Bearer {token}\r\n");
    assert_eq!(mesh.get("/jwt", &bearer(&token)).status(), 200);
    let seen = mesh.received().remove(0).message;
    assert_eq!(seen.header("x-user"), Some("alice"), "a claim in a header");
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    assert_eq!(mesh.get("/jwt", &bearer(&forged)).status(), 401);
    assert!(mesh.plaintext_is_refused(), "the mesh is STRICT");
}

fn other_protocols(mesh: &Mesh) {
    assert_eq!(mesh.tcp(b"ping"), b"ping");
    assert_eq!(mesh.grpc("/demo.Greeter/Hello"), 200);
}

fn gateway(mesh: &Mesh) {
    let answer = mesh.get_at_gateway("GET", "origin: https://ui.example.com\r\n");
    assert_eq!(answer.status(), 200);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("https://ui.example.com")
    );
    let certificate = mesh.received().remove(0).message;
    let certificate = certificate.header("x-forwarded-client-cert").unwrap_or_default();
    assert!(
        certificate.contains("URI=spiffe://cluster.local/ns/demo/sa/gateway"),
        "{certificate}"
    );
    let preflight = "origin: https://ui.example.com\r\naccess-control-request-method: GET\r\n";
    assert_eq!(mesh.get_at_gateway("OPTIONS", preflight).status(), 200);
    assert!(mesh.received().is_empty(), "the gateway answers it");
}

fn telemetry(mesh: &Mesh) {
    let seen = mesh.get("/", "");
    assert_eq!(seen.header("x-envoy-peer-metadata"), None);
    assert_eq!(mesh.received()[0].message.header("x-envoy-peer-metadata"), None);
    for (reporter, code) in [("source", "418"), ("destination", "403")] {
        let labels = mesh.requests_total(reporter, code);
        for (name, value) in [
            ("source_workload", "client-v1"),
            ("source_principal", "spiffe://cluster.local/ns/demo/sa/client"),
            ("destination_service", "server.demo.svc.cluster.local"),
            ("request_protocol", "http"),
        ] {
            // A request that an injected fault answers has met no server.
            if !(reporter == "source" && name == "source_principal") {
                assert!(labels.contains(&format!("{name}=\"{value}\"")), "{name}: {labels}");
            }
        }
    }
}
