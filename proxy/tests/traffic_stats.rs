//! Envoy 1.40 and Pillion, the same bootstrap and the same traffic: which statistics there are then, and what the
//! counters and gauges say that do not hang on time or on the machine.

// Modules of a test program are public to it alone.
#![allow(unreachable_pub)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use certs::ca::{CertificateAuthority, Template};
use support::bootstrap::Bootstrap;
use support::h1;
use support::h2c;
use support::peers;
use support::proxy::Proxy;
use support::upstream::{Act, Recorder, Reply, serve_h1, serve_h2};

/// Values that hang on time, on the machine, or on how each of the two is built. `*` stands for anything at that end.
const VALUES_DIFFER: &[(&str, &str)] = &[
    ("server.", "the process: memory, uptime, its own version"),
    ("main_thread.", "a watchdog that we do not have"),
    ("workers.", "a watchdog that we do not have"),
    ("listener.admin.", "how often the test asked"),
    ("http.admin.", "how often the test asked"),
    ("runtime.", "Envoy counts its own feature flags"),
    (
        "thread_local_cluster_manager.",
        "clusters are made per worker at first use here",
    ),
    (
        "http.web.downstream_cx_destroy_",
        "both sides close after the last response: who is first is chance",
    ),
    (
        "http.guarded.downstream_cx_destroy_",
        "both sides close after the last response: who is first is chance",
    ),
    (
        "*remaining_cx_pools",
        "pools are not limited here, and Envoy's count wraps",
    ),
    (
        "cluster_manager.cluster_updated",
        "changes of health are not merged here",
    ),
    (
        "cluster_manager.update_out_of_merge_window",
        "changes of health are not merged here",
    ),
    (
        "*cx_rx_bytes_total",
        "bytes of heads differ by header order and TLS records",
    ),
    (
        "*cx_tx_bytes_total",
        "bytes of heads differ by header order and TLS records",
    ),
    ("*bytes_buffered", "of a moment"),
    ("filesystem.", "no file is written in either, but Envoy counts its own"),
    ("dns.", "resolvers differ"),
];

/// What one of the two does not have, with the reason.
const NAMES_DIFFER: &[(&str, &str)] = &[
    (
        "server.",
        "ours has the seconds to the first expiry and the overdue certificates besides",
    ),
    ("main_thread.", "a watchdog that we do not have"),
    ("workers.", "a watchdog that we do not have"),
    ("listener.admin.", "admin is not a listener here"),
    ("http.admin.", "admin is not a connection manager here"),
    (
        "http.async-client.",
        "calls that the proxy makes itself are not made yet",
    ),
    (
        "thread_local_cluster_manager.",
        "clusters are made per worker at first use here",
    ),
    ("filesystem.", "log files are written by a thread of their own"),
    ("dns.", "resolvers differ"),
    ("overload.", "no resource is monitored by time"),
    ("envoy.overload_actions.", "no resource is monitored by time"),
];

fn listed(list: &[(&str, &str)], name: &str) -> bool {
    list.iter().any(
        |(pattern, _)| match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
            (Some(middle), Some(_)) => name.contains(middle.trim_end_matches('*')),
            (Some(end), None) => name.ends_with(end),
            _ => name.starts_with(pattern),
        },
    )
}

/// Counters and gauges after the traffic.
fn stats_of(binary: &Path) -> BTreeMap<String, u64> {
    let dir = tempfile::tempdir().unwrap();
    let ca = CertificateAuthority::root("root").unwrap();
    let other = CertificateAuthority::root("other").unwrap();
    let mut template = Template::lasting(Duration::from_secs(3600));
    template.dns_names.push("localhost".to_owned());
    let issued = ca.issue(&template).unwrap();
    for (name, text) in [
        ("chain.pem", &issued.chain_pem),
        ("key.pem", &issued.key_pem),
        ("root.pem", &ca.certificate_pem().to_owned()),
        ("other.pem", &other.certificate_pem().to_owned()),
    ] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let bootstrap = Bootstrap::new(include_str!("traffic_stats.yaml"), dir.path(), "");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let recorder = Arc::new(Recorder::default());
    runtime.block_on(async {
        serve_h1(bootstrap.port("h1:up"), "up", &recorder);
        serve_h2(bootstrap.port("h2:up2"), "up2", &recorder);
    });
    let proxy = Proxy::start(binary, &bootstrap.text, dir.path());
    runtime.block_on(traffic(&bootstrap, &recorder, &proxy));
    settle(&runtime, &proxy)
}

/// Of the key in `traffic_stats.yaml`, whose private half is thrown away.
const TOKEN: &str = concat!(
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImVjIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjoidXNlckB0ZXN0Iiwi",
    "YXVkIjpbImEudGVzdCIsImh0dHBzOi8vYi50ZXN0LyJdLCJpYXQiOjE3MDAwMDAwMDAsImV4cCI6NDEwMjQ0NDgwMCwic2NvcGUi",
    "OiJyZWFkIHdyaXRlIiwiYWRtaW4iOnRydWUsImxldmVsIjo3LCJyYXRpbyI6MS41LCJuZXN0ZWQiOnsia2V5IjoiZGVlcCIsImxp",
    "c3QiOlsxXX19.pNQxQZrFpz-7Fa5HzqbpcAVfq9oFIMGq7PqxQxnwISSy4mULvWZPCca6bp6v2cCxK1f8IWCA3ENpYW9IKNYszQ",
);

/// Requests to filters that guard.
async fn guarded(bootstrap: &Bootstrap, recorder: &Recorder) {
    recorder.begin(vec![Reply::h1("200 OK", "", "hello")]);
    let preflight = "origin: https://x.test\r\naccess-control-request-method: GET\r\n";
    let token = format!("authorization: Bearer {TOKEN}\r\n");
    for (method, path, more, status) in [
        ("GET", "/jwt", "", 401),
        ("GET", "/jwt", &*token, 200),
        ("GET", "/jwt", "authorization: Bearer x\r\n", 401),
        ("OPTIONS", "/jwt", preflight, 200),
        ("GET", "/secret", "", 403),
        ("GET", "/other", "", 200),
        ("GET", "/fault", "", 418),
        ("GET", "/cors", "origin: https://good.test\r\n", 200),
        ("GET", "/cors", "origin: https://bad.test\r\n", 200),
        ("GET", "/mirror", "", 200),
    ] {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{more}\r\n");
        let response = h1::ask(bootstrap.listener("guarded"), request.as_bytes()).await;
        assert_eq!(
            response.map(|response| response.status()),
            Some(status),
            "{method} {path}"
        );
    }
    let refused = h1::ask(bootstrap.listener("tcpguarded"), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(refused.is_none());
}

async fn traffic(bootstrap: &Bootstrap, recorder: &Recorder, proxy: &Proxy) {
    let ok = || Reply::h1("200 OK", "", "hello");
    let failed = || Reply::h1("503 Service Unavailable", "", "");
    let hang = || Reply::acts([Act::Hang]);
    let web = bootstrap.listener("web");
    let ask = async |host: &str, method: &str, path: &str, more: &str, status: u16| {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{more}\r\n");
        let response = h1::ask(web, request.as_bytes()).await;
        assert_eq!(
            response.map(|response| response.status()),
            Some(status),
            "{method} {path}"
        );
    };
    for (status, reply) in [
        (200, ok()),
        (204, Reply::raw("HTTP/1.1 204 No Content\r\n\r\n")),
        (404, Reply::h1("404 Not Found", "", "")),
        (500, Reply::h1("500 Internal Server Error", "", "")),
        (200, Reply::h1("200 OK", "x-envoy-upstream-canary: true\r\n", "")),
        (200, Reply::h1("200 OK", "connection: close\r\n", "")),
    ] {
        recorder.begin(vec![reply]);
        ask("vh", "GET", "/items/1", "", status).await;
    }
    recorder.begin(vec![ok()]);
    ask("plain", "GET", "/", "", 200).await;
    ask("vh", "GET", "/items/named", "", 200).await;
    ask("vh", "POST", "/else", "content-length: 0\r\n", 200).await;
    ask("vh", "GET", "/other", "", 200).await;
    ask("vh", "GET", "/redirect", "", 301).await;
    ask("vh", "GET", "/direct", "", 200).await;
    ask("vh", "GET", "/missing", "", 503).await;
    ask("vh", "GET", "/dead", "", 503).await;
    ask("vh", "GET", "/none", "", 503).await;
    ask("vh", "GET", "/overflow", "", 503).await;
    ask("vh", "GET", "/tls", "", 200).await;
    ask("vh", "GET", "/badtls", "", 503).await;
    recorder.begin(vec![failed(), ok()]);
    ask("vh", "GET", "/retry", "", 200).await;
    recorder.begin(vec![failed()]);
    ask("vh", "GET", "/retry", "", 503).await;
    for _ in 0..3 {
        ask("vh", "GET", "/outlier", "", 503).await;
    }
    // Envoy's main thread ejects, and its workers hear of it a moment later.
    let deadline = Instant::now() + Duration::from_secs(10);
    let healthy = || {
        proxy
            .get("/stats?filter=^cluster.outlier.membership_healthy$")
            .unwrap()
            .1
    };
    while healthy().trim() != "cluster.outlier.membership_healthy: 0" && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ask("vh", "GET", "/outlier", "", 503).await;
    recorder.begin(vec![hang()]);
    ask("vh", "GET", "/slow", "", 504).await;
    ask("vh", "GET", "/pertry", "", 504).await;
    recorder.begin(vec![Reply::h2(200, &[], "hello")]);
    ask("vh", "GET", "/h2", "", 200).await;
    recorder.begin(vec![ok()]);
    let close = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answer = h1::ask(bootstrap.listener("tcp"), close).await;
    assert_eq!(answer.map(|response| response.status()), Some(200));
    for listener in ["tcpdead", "nochain", "tls"] {
        assert!(h1::ask(bootstrap.listener(listener), close).await.is_none());
    }
    guarded(bootstrap, recorder).await;
    for listener in ["grpclisted", "grpcall", "grpcnone"] {
        grpc(bootstrap.listener(listener), recorder).await;
    }
    recorder.begin(vec![]);
}

/// gRPC calls to methods with a name of their own in the statistics and to others, and what only looks like one.
async fn grpc(listener: std::net::SocketAddr, recorder: &Recorder) {
    const GRPC: (&str, &str) = ("content-type", "application/grpc");
    let message = |text: &[u8]| [&[0, 0, 0, 0, text.len() as u8], text].concat();
    let ok = || {
        let messages = [message(b"a"), message(b""), message(b"ccc")].concat();
        let trailers = Act::Trailers(&[("grpc-status", "0")]);
        Reply::acts([Act::Head(200, &[GRPC]), Act::Data(messages), trailers])
    };
    let denied = || Reply::acts([Act::Head(200, &[GRPC, ("grpc-status", "7")]), Act::End]);
    let odd = || Reply::acts([Act::Head(200, &[GRPC]), Act::Trailers(&[("grpc-status", "99")])]);
    let bare = || Reply::h2(200, &[], "hello");
    for (path, content_type, reply) in [
        ("/a.B/C", "application/grpc", ok()),
        ("/a.B/C", "application/grpc+proto", ok()),
        ("/a.B/D", "application/grpc", ok()),
        ("/a.B/C", "application/grpc", denied()),
        ("/a.B/C", "application/grpc", odd()),
        ("/a.B/C", "application/grpc", bare()),
        ("/a.B/C", "application/grpc-web", ok()),
        ("/a.B/C?x=1", "application/grpc", ok()),
        ("/one", "application/grpc", ok()),
        ("/a/b/c", "application/grpc", ok()),
        ("/direct.S/M", "application/grpc", ok()),
    ] {
        recorder.begin(vec![reply]);
        let request = h2c::Request {
            method: "POST",
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            data: match path {
                // Whether the body or the answer is first would be chance.
                "/direct.S/M" => Vec::new(),
                _ => vec![(Duration::ZERO, [message(b"one"), message(b"two")].concat())],
            },
            ..h2c::Request::get(path)
        };
        h2c::exchange(listener, &[request], recorder).await;
    }
}

/// The statistics, once they stand still: connections end after their last byte.
fn settle(runtime: &tokio::runtime::Runtime, proxy: &Proxy) -> BTreeMap<String, u64> {
    let read = || -> BTreeMap<String, u64> {
        let text = ["Counters", "Gauges"].map(|kind| proxy.get(&format!("/stats?type={kind}")).unwrap().1);
        let parsed = text.iter().flat_map(|text| text.lines());
        parsed
            .filter_map(|line| {
                line.split_once(": ")
                    .and_then(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            })
            .collect()
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut before = read();
    loop {
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(300)).await });
        let now = read();
        let compared = |stats: &BTreeMap<String, u64>| -> Vec<_> {
            stats
                .iter()
                .filter(|(name, _)| !listed(VALUES_DIFFER, name))
                .map(|(n, v)| (n.clone(), *v))
                .collect()
        };
        if compared(&before) == compared(&now) || Instant::now() > deadline {
            return now;
        }
        before = now;
    }
}

#[test]
fn names_and_values_after_traffic_are_envoys() {
    let test = "names_and_values_after_traffic_are_envoys";
    let (Some(envoy), Some(pillion)) = (peers::need(test, "envoy"), peers::pillion(test)) else {
        return;
    };
    let (theirs, ours) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| stats_of(&envoy));
        let ours = scope.spawn(|| stats_of(&pillion));
        (theirs.join().unwrap(), ours.join().unwrap())
    });
    let mut differ = Vec::new();
    for (name, value) in &theirs {
        match ours.get(name) {
            None if !listed(NAMES_DIFFER, name) => {
                differ.push(format!("{name}: Envoy has {value}, we have no such name"))
            }
            Some(own) if own != value && !listed(VALUES_DIFFER, name) => {
                differ.push(format!("{name}: Envoy {value}, we {own}"));
            }
            _ => {}
        }
    }
    let extra = ours
        .keys()
        .filter(|name| !theirs.contains_key(*name) && !listed(NAMES_DIFFER, name));
    differ.extend(extra.map(|name| format!("{name}: only ours")));
    assert!(theirs.len() > 700, "Envoy showed little: {}", theirs.len());
    assert!(
        differ.is_empty(),
        "{} of {}:\n{}",
        differ.len(),
        theirs.len(),
        differ.join("\n")
    );
}
