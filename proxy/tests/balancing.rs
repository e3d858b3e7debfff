//! Who gets what, against Envoy where it decides: connections among workers, connections beyond limits, requests by hash
//! and by the address that a header names.

// Modules of a test program are public to it alone.
#![allow(unreachable_pub)]

mod support;

use std::io::Read;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use support::bootstrap::Bootstrap;
use support::h1;
use support::peers;
use support::proxy::Proxy;
use support::upstream::{Recorder, serve_h1};

const LISTENER: &str = r"
admin: {{admin}}
static_resources:
  listeners:
  - name: main
    stat_prefix: main
    address: {socket_address: {address: 127.0.0.1, port_value: {{port:main}}}}
    connection_balance_config: {exact_balance: {}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tcp
          cluster: up
  - name: free
    stat_prefix: free
    ignore_global_conn_limit: true
    address: {socket_address: {address: 127.0.0.1, port_value: {{port:free}}}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tcp
          cluster: up
  - name: small
    stat_prefix: small
    address: {socket_address: {address: 127.0.0.1, port_value: {{port:small}}}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tcp
          cluster: up
  clusters:
  - name: up
    connect_timeout: 1s
    load_assignment: {cluster_name: up, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{h1:up}}}}}}]}]}
";

fn upstreams(bootstrap: &Bootstrap, names: &[&str]) -> (tokio::runtime::Runtime, Arc<Recorder>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let recorder = Arc::new(Recorder::default());
    runtime.block_on(async {
        for name in names {
            serve_h1(bootstrap.port(&format!("h1:{name}")), name, &recorder);
        }
    });
    (runtime, recorder)
}

#[test]
fn exact_balance_spreads_connections_evenly() {
    let Some(pillion) = peers::pillion("exact_balance_spreads_connections_evenly") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let bootstrap = Bootstrap::new(LISTENER, dir.path(), "");
    let (runtime, _recorder) = upstreams(&bootstrap, &["up"]);
    let proxy = Proxy::start_with(&pillion, &bootstrap.text, dir.path(), &["--concurrency", "3"]);
    let mut open = Vec::new();
    for _ in 0..30 {
        open.push(TcpStream::connect(bootstrap.listener("main")).unwrap());
    }
    proxy.wait_stat("listener.main.downstream_cx_active", |n| n == 30);
    for worker in 0..3 {
        assert_eq!(
            proxy.stat(&format!("listener.main.worker_{worker}.downstream_cx_active")),
            10
        );
    }
    drop(open);
    // The upstream ends its side too.
    runtime.block_on(async { tokio::time::sleep(Duration::from_millis(300)).await });
    proxy.wait_stat("listener.main.downstream_cx_active", |n| n == 0);
}

const LIMITS: &str = r"
overload_manager:
  resource_monitors:
  - name: envoy.resource_monitors.global_downstream_max_connections
    typed_config:
      '@type': type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig
      max_active_downstream_connections: 3
layered_runtime: {layers: [{name: static, static_layer: {envoy.resource_limits.listener.small.connection_limit: 1}}]}
";

/// How many of `count` connections the proxy closes at once, and what it counts.
fn limits(binary: &Path) -> ([usize; 3], [u64; 4]) {
    let dir = tempfile::tempdir().unwrap();
    let bootstrap = Bootstrap::new(&format!("{LISTENER}{LIMITS}"), dir.path(), "");
    let _up = upstreams(&bootstrap, &["up"]);
    let proxy = Proxy::start(binary, &bootstrap.text, dir.path());
    let mut open = Vec::new();
    let closed = [("small", 2), ("main", 4), ("free", 3)].map(|(listener, count)| {
        let closed = |_| {
            let mut stream = TcpStream::connect(bootstrap.listener(listener)).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
            let closed = !matches!(stream.read(&mut [0]), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock);
            open.push(stream);
            usize::from(closed)
        };
        (0..count).map(closed).sum()
    });
    let counted = [
        "listener.small.downstream_cx_overflow",
        "listener.main.downstream_global_cx_overflow",
        "listener.free.downstream_global_cx_overflow",
        "listener.main.downstream_cx_total",
    ];
    (closed, counted.map(|name| proxy.stat(name)))
}

#[test]
fn connections_beyond_the_limits_are_closed() {
    let test = "connections_beyond_the_limits_are_closed";
    let Some(pillion) = peers::pillion(test) else { return };
    let ours = limits(&pillion);
    // One in `small`, two more in `main`, and those that do not count.
    assert_eq!(ours, ([1, 2, 0], [1, 2, 0, 2]));
    if let Some(envoy) = peers::need(test, "envoy") {
        assert_eq!(limits(&envoy), ours);
    }
}

/// A listener for each policy; the hash is of the header `x-user`.
fn by_hash() -> String {
    let mut text = String::from(
        "admin: {{admin}}\nstatic_resources:\n  listeners:\n  - name: main\n    address: {socket_address: {address: 127.0.0.1, port_value: {{port:main}}}}\n    filter_chains:\n    - filters:\n      - name: hcm\n        typed_config:\n          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n          stat_prefix: main\n          http_filters:\n          - {name: r, typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}\n          route_config:\n            virtual_hosts:\n            - name: all\n              domains: ['*']\n              routes:\n",
    );
    for (name, _) in POLICIES {
        text.push_str(&format!("              - {{match: {{prefix: /{name}}}, route: {{cluster: {name}, hash_policy: [{{header: {{header_name: x-user}}}}]}}}}\n"));
    }
    text.push_str("  clusters:\n");
    for (name, policy) in POLICIES {
        text.push_str(&format!("  - name: {name}\n    connect_timeout: 1s\n{policy}"));
        if *name != "original" {
            let host = |up: &str, weight: u32| {
                format!(
                    "{{load_balancing_weight: {weight}, endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {{{{h1:{up}}}}}}}}}}}}}"
                )
            };
            let hosts = [host("a", 1), host("b", 2), host("c", 1), host("d", 3)].join(", ");
            text.push_str(&format!(
                "    load_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: [{hosts}]}}]}}\n"
            ));
        }
    }
    text
}

const POLICIES: &[(&str, &str)] = &[
    ("ring", "    lb_policy: RING_HASH\n"),
    (
        "sized",
        "    lb_policy: RING_HASH\n    ring_hash_lb_config: {minimum_ring_size: 100, maximum_ring_size: 300}\n",
    ),
    (
        "murmur",
        "    lb_policy: RING_HASH\n    ring_hash_lb_config: {hash_function: MURMUR_HASH_2}\n",
    ),
    ("maglev", "    lb_policy: MAGLEV\n"),
    (
        "small",
        "    lb_policy: MAGLEV\n    maglev_lb_config: {table_size: 101}\n",
    ),
    (
        "original",
        "    type: ORIGINAL_DST\n    lb_policy: CLUSTER_PROVIDED\n    original_dst_lb_config: {use_http_header: true}\n",
    ),
];

#[test]
fn hashes_and_named_destinations_go_where_envoy_sends_them() {
    let test = "hashes_and_named_destinations_go_where_envoy_sends_them";
    let (Some(envoy), Some(pillion)) = (peers::need(test, "envoy"), peers::pillion(test)) else {
        return;
    };
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    // Both proxies have the same upstreams: hosts are placed by their addresses.
    let bootstrap = Bootstrap::new(&by_hash(), dirs[0].path(), "");
    let (runtime, recorder) = upstreams(&bootstrap, &["a", "b", "c", "d"]);
    let other = bootstrap.text.replace(
        &format!("port_value: {}}}", bootstrap.port("port:main")),
        "port_value: {{port:main}}}",
    );
    let other = Bootstrap::new(&other, dirs[1].path(), "");
    let theirs = Proxy::start(&envoy, &bootstrap.text, dirs[0].path());
    let ours = Proxy::start(&pillion, &other.text, dirs[1].path());
    let ask = |address, path: &str, headers: &str| {
        recorder.begin(vec![]);
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n\r\n");
        let response = runtime.block_on(h1::ask(address, request.as_bytes())).unwrap();
        let received = recorder.received();
        (
            response.status(),
            received.first().map(|received| received.upstream.clone()),
        )
    };
    let both = |path: &str, headers: &str| {
        let pair = [&bootstrap, &other].map(|b| ask(b.listener("main"), path, headers));
        assert_eq!(pair[0], pair[1], "{path} {headers}");
        pair[1].clone()
    };
    let mut seen = std::collections::BTreeSet::new();
    for (name, _) in POLICIES.iter().filter(|(name, _)| *name != "original") {
        for user in 0..40 {
            seen.insert(both(&format!("/{name}"), &format!("x-user: user-{user}")));
        }
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
    let to = |port: u16| format!("x-envoy-original-dst-host: 127.0.0.1:{port}");
    assert_eq!(
        both("/original", &to(bootstrap.port("h1:c"))),
        (200, Some("c".to_owned()))
    );
    assert_eq!(both("/original", "x-envoy-original-dst-host: nowhere").0, 503);
    assert_eq!(both("/original", "x-none: 1").0, 503);
    for name in ["original_dst_host_invalid", "upstream_cx_none_healthy"] {
        let name = format!("cluster.original.{name}");
        assert_eq!(ours.stat(&name), theirs.stat(&name), "{name}");
    }
}
