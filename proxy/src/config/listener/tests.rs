use std::time::Duration;

use serde_json::{Value, json};

use super::{
    super::from_json::{parsed, patched},
    *,
};
use crate::{
    http::{CodecType, EscapedSlashes, ForwardClientCert, HttpConnectionManager, RouteSource, ServerHeader},
    listener::{FilterChain, ListenerFilterPredicate, TerminalFilter},
    tcp::TcpTarget,
};

const HCM: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const TCP: &str = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";

fn parse_json(json: &Value) -> (Result<Listener, String>, Vec<crate::config::Note>) {
    parsed(TYPE, json, parse)
}

fn taken(json: &Value) -> Listener {
    parse_json(json).0.unwrap()
}

fn refused(json: &Value) -> String {
    parse_json(json).0.unwrap_err()
}

fn tcp() -> Value {
    json!([{"name": "t", "typed_config": {"@type": TCP, "stat_prefix": "t", "cluster": "c"}}])
}

/// A listener with one chain to a TCP proxy.
fn base(patch: &Value) -> Value {
    let base = json!({
        "name": "l",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": 15006}},
        "filter_chains": [{"filters": tcp()}]
    });
    patched(base, patch)
}

fn http(patch: &Value) -> Value {
    let hcm = json!({
        "@type": HCM,
        "stat_prefix": "s",
        "rds": {"route_config_name": "r", "config_source": {"ads": {}}},
        "http_filters": [{"name": "router", "typed_config": {"@type": ROUTER}}]
    });
    base(&json!({"filter_chains": [{"filters": [{"name": "h", "typed_config": patched(hcm, patch)}]}]}))
}

fn manager(listener: &Listener) -> &HttpConnectionManager {
    match &listener.filter_chains[0].filter {
        TerminalFilter::Http(manager) => manager,
        other => panic!("{other:?}"),
    }
}

#[test]
fn defaults_are_envoys() {
    let listener = taken(&base(&json!({})));
    assert!(listener.bind_to_port && listener.reuse_port && !listener.use_original_dst);
    assert_eq!(listener.listener_filters_timeout, Some(Duration::from_secs(15)));
    assert_eq!(listener.per_connection_buffer_limit, 1 << 20);
    assert_eq!(
        (&*listener.stat_prefix, listener.stats.prefix()),
        ("0.0.0.0_15006", "listener.0.0.0.0_15006.".to_owned())
    );
    let unnamed = taken(&base(
        &json!({"name": null, "address": {"socket_address": null, "pipe": {"path": "/x.sock", "mode": 448}}}),
    ));
    assert_eq!(
        (&*unnamed.name, unnamed.addresses[0].mode, unnamed.reuse_port),
        ("/x.sock", Some(448), false)
    );
    let chain: &FilterChain = &listener.filter_chains[0];
    let TerminalFilter::Tcp(proxy) = &chain.filter else {
        panic!("{chain:?}")
    };
    assert!(matches!(&proxy.target, TcpTarget::Cluster(name) if &**name == "c"));
    assert_eq!(
        (proxy.idle_timeout, proxy.max_connect_attempts),
        (Some(Duration::from_secs(3600)), 1)
    );
}

#[test]
fn a_connection_manager_has_envoys_defaults() {
    let listener = taken(&http(&json!({})));
    let manager = manager(&listener);
    assert_eq!(
        (manager.codec, manager.max_request_headers_kb, manager.max_headers_count),
        (CodecType::Auto, 60, 100)
    );
    assert_eq!(manager.stream_idle_timeout, Some(Duration::from_secs(300)));
    assert_eq!(
        (manager.idle_timeout, manager.drain_timeout),
        (Some(Duration::from_secs(3600)), Duration::from_secs(5))
    );
    assert_eq!(
        (manager.delayed_close_timeout, manager.request_timeout),
        (Some(Duration::from_secs(1)), None)
    );
    assert_eq!(
        (manager.server_name.to_str().unwrap(), manager.server_header),
        ("envoy", ServerHeader::Overwrite)
    );
    assert_eq!(manager.forward_client_cert, ForwardClientCert::Sanitize);
    assert_eq!(manager.escaped_slashes, EscapedSlashes::KeepUnchanged);
    assert!(manager.generate_request_id && manager.http1.allow_absolute_url && !manager.normalize_path);
    assert!(manager.internal_address.cidr_ranges.is_empty());
    assert!(matches!(&manager.routes, RouteSource::Rds(name) if &**name == "r"));
    let routes = &listener.dependencies.routes;
    assert_eq!(
        (&*routes[0].name, routes[0].source.initial_fetch_timeout),
        ("r", Some(Duration::from_secs(15)))
    );
    assert_eq!(manager.stats.prefix(), "http.s.");
}

#[test]
fn filters_end_with_the_one_that_answers() {
    let router = json!({"name": "router", "typed_config": {"@type": ROUTER}});
    let compressor = json!({"name": "z", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.compressor.v3.Compressor",
        "compressor_library": {"name": "g", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.compression.gzip.compressor.v3.Gzip"
        }}
    }});
    let unknown = json!({"name": "u", "typed_config": {"@type": "type.googleapis.com/acme.Guard"}});
    let path = "filter_chains[0].filters[0].typed_config.http_filters";
    let (listener, notes) = parse_json(&http(&json!({"http_filters": [compressor, router]})));
    assert_eq!(manager(&listener.unwrap()).filters.len(), 1);
    assert_eq!(&*notes[0].text, "responses are not compressed");
    for (filters, said) in [
        (json!([router, router]), "[0]: \"router\" answers every request"),
        (json!([compressor]), "[0]: the last filter must answer the request"),
        (
            json!([unknown, router]),
            "[0].typed_config.@type: the HTTP filter acme.Guard is not known",
        ),
        (
            json!([{"name": "d", "config_discovery": {"config_source": {"ads": {}}, "type_urls": ["x"]}}, router]),
            "[0].config_discovery.type_urls[0]: the HTTP filter x is not known",
        ),
    ] {
        let refusal = refused(&http(&json!({"http_filters": filters})));
        assert!(refusal.contains(&format!("{path}{said}")), "{refusal}");
    }
}

#[test]
fn what_changes_whom_a_request_comes_from_is_never_left_out() {
    let extension = json!([{"name": "x", "typed_config": {"@type": "type.googleapis.com/acme.Detection"}}]);
    let refusal = refused(&http(&json!({"original_ip_detection_extensions": extension})));
    assert!(
        refusal.contains("original_ip_detection_extensions[0].typed_config.@type: the original IP detection"),
        "{refusal}"
    );
    let upgrades = json!({"upgrade_configs": [{"upgrade_type": "websocket"}, {"upgrade_type": "WebSocket"}]});
    assert!(refused(&http(&upgrades)).contains("upgrade_configs[1].upgrade_type: \"websocket\" stands here twice"));
    let ports = json!({"strip_matching_host_port": true, "strip_any_host_port": true});
    assert!(refused(&http(&ports)).contains("strip_any_host_port: stands beside strip_matching_host_port"));
}

#[test]
fn listener_filters_come_with_what_needs_them() {
    let listener = taken(&base(&json!({
        "use_original_dst": true,
        "listener_filters": [{
            "name": "h",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector"},
            "filter_disabled": {"or_match": {"rules": [
                {"destination_port_range": {"start": 80, "end": 81}}, {"not_match": {"any_match": true}}
            ]}}
        }],
        "filter_chains": [{"filter_chain_match": {"application_protocols": ["istio"]}, "filters": tcp()}]
    })));
    let kinds: Vec<_> = listener.listener_filters.iter().map(|f| f.kind.clone()).collect();
    let tls = ListenerFilterKind::TlsInspector { detect_ja3: false };
    assert_eq!(
        kinds,
        [ListenerFilterKind::HttpInspector, ListenerFilterKind::OriginalDst, tls]
    );
    let Some(ListenerFilterPredicate::Or(rules)) = &listener.listener_filters[0].disabled else {
        panic!("a predicate")
    };
    assert_eq!(
        rules[0],
        ListenerFilterPredicate::DestinationPort { start: 80, end: 81 }
    );
    let mut unknown = base(&json!({}));
    unknown["listener_filters"] =
        json!([{"name": "x", "typed_config": {"@type": "type.googleapis.com/acme.Inspector"}}]);
    assert!(refused(&unknown).contains("listener_filters[0].typed_config.@type: the listener filter acme.Inspector"));
}

#[test]
fn chains_that_match_the_same_connection_are_refused() {
    let chain = |name: &str, matches: Value| json!({"name": name, "filter_chain_match": matches, "filters": tcp()});
    let with = |chains: Value| base(&json!({"filter_chains": chains}));
    taken(&with(json!([
        chain("a", json!({"destination_port": 80, "server_names": ["x", "*.y"]})),
        chain(
            "b",
            json!({"destination_port": 80, "prefix_ranges": [{"address_prefix": "10.1.2.3", "prefix_len": 8}]})
        ),
        chain("c", json!({}))
    ])));
    let overlapping = refused(&with(json!([
        chain("a", json!({"server_names": ["x", "Y"]})),
        chain("b", json!({"server_names": ["y", "z"]}))
    ])));
    assert_eq!(
        overlapping,
        "listener \"l\": filter_chains[1].filter_chain_match: matches what filter_chains[0] (\"a\") matches: server name y; \
         make one of them more specific"
    );
    let same_range = refused(&with(json!([
        chain(
            "a",
            json!({"prefix_ranges": [{"address_prefix": "10.1.2.3", "prefix_len": 8}]})
        ),
        chain(
            "b",
            json!({"prefix_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]})
        )
    ])));
    assert!(same_range.contains("destination 10.0.0.0/8"), "{same_range}");
    let partial = refused(&with(json!([chain("a", json!({"server_names": ["*w.x"]}))])));
    assert!(
        partial.contains("server_names[0]: \"*w.x\" has a wildcard inside"),
        "{partial}"
    );
}

#[test]
fn hashes_tell_what_changed() {
    let one = taken(&base(&json!({})));
    let same = taken(&base(&json!({})));
    let chain = |listener: &Listener| listener.filter_chains[0].hash;
    assert_eq!(
        (one.hash, one.socket_hash, chain(&one)),
        (same.hash, same.socket_hash, chain(&same))
    );
    let timeout = taken(&base(&json!({"listener_filters_timeout": "1s"})));
    assert_ne!(one.hash, timeout.hash);
    assert_eq!((one.socket_hash, chain(&one)), (timeout.socket_hash, chain(&timeout)));
    let socket = taken(&base(&json!({"transparent": true})));
    assert_ne!(one.socket_hash, socket.socket_hash);
    let renamed = taken(&base(&json!({"filter_chains": [{"name": "x", "filters": tcp()}]})));
    assert_ne!(chain(&one), chain(&renamed));
    assert_eq!(one.socket_hash, renamed.socket_hash);
}

#[test]
fn two_listeners_cannot_have_one_address() {
    let at = |port: u16, bound: bool| {
        taken(&base(
            &json!({"address": {"socket_address": {"port_value": port}}, "bind_to_port": bound}),
        ))
    };
    assert!(conflict(&at(80, true), &at(80, false)).is_some());
    assert!(conflict(&at(80, true), &at(81, true)).is_none());
    // Port 0 is another port for each that binds it.
    assert!(conflict(&at(0, true), &at(0, true)).is_none());
}

#[test]
fn network_filters_are_known_by_their_type() {
    let guard = json!({"name": "g", "typed_config": {"@type": "type.googleapis.com/acme.Guard"}});
    let proxy = tcp()[0].clone();
    let unknown = refused(&base(&json!({"filter_chains": [{"filters": [guard, proxy]}]})));
    assert!(
        unknown.contains("filter_chains[0].filters[0].typed_config.@type: the network filter acme.Guard"),
        "{unknown}"
    );
    let after = refused(&base(&json!({"filter_chains": [{"filters": [proxy, proxy]}]})));
    assert!(
        after.contains("filter_chains[0].filters[1]: \"t\" would never see a byte"),
        "{after}"
    );
    let none = taken(&base(&json!({"filter_chains": [{}]})));
    assert!(matches!(none.filter_chains[0].filter, TerminalFilter::None));
    assert!(refused(&base(&json!({"filter_chains": []}))).contains("filter_chains: is empty"));
}

#[test]
fn a_typed_struct_is_what_it_names() {
    let listener = taken(&base(
        &json!({"filter_chains": [{"filters": [{"name": "t", "typed_config": {
            "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
            "type_url": TCP,
            "value": {"stat_prefix": "wrapped", "weighted_clusters": {"clusters": [{"name": "a", "weight": 2}]}}
        }}]}]}),
    ));
    let TerminalFilter::Tcp(proxy) = &listener.filter_chains[0].filter else {
        panic!("a TCP proxy")
    };
    assert_eq!(&*proxy.stat_prefix, "wrapped");
    assert!(matches!(&proxy.target, TcpTarget::Weighted(_, 2)));
    let broken = refused(&base(
        &json!({"filter_chains": [{"filters": [{"name": "t", "typed_config": {
            "@type": "type.googleapis.com/xds.type.v3.TypedStruct",
            "type_url": TCP,
            "value": {"cluster": "c"}
        }}]}]}),
    ));
    assert!(broken.contains("filters[0].typed_config.stat_prefix: "), "{broken}");
}

#[test]
fn access_logs() {
    let log =
        |typed: Value, filter: Value| json!({"access_log": [{"name": "x", "filter": filter, "typed_config": typed}]});
    let stdout = json!({"@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"});
    let not_health = json!({"not_health_check_filter": {}});
    let taken = taken(&http(&log(stdout.clone(), not_health.clone())));
    assert_eq!(manager(&taken).access_log.len(), 1);
    // What cannot be logged as asked is left out, and said.
    for (typed, filter) in [
        (
            json!({"@type": "type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig"}),
            not_health.clone(),
        ),
        (
            stdout.clone(),
            json!({"extension_filter": {"name": "x", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
                "expression": "true",
            }}}),
        ),
    ] {
        let (listener, notes) = parse_json(&http(&log(typed, filter)));
        match listener {
            Ok(listener) => assert!(
                manager(&listener).access_log.is_empty() && notes.len() == 1,
                "{notes:?}"
            ),
            Err(refusal) => assert!(refusal.contains("common_config"), "{refusal}"),
        }
    }
    let one = refused(&http(&log(stdout, json!({"and_filter": {"filters": [not_health]}}))));
    assert!(one.contains("access_log[0].filter.and_filter.filters"), "{one}");
    let file = json!({"@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": "/no/such/folder/log"});
    let missing = refused(&http(&json!({"access_log": [{"name": "x", "typed_config": file}]})));
    assert!(
        missing.contains("access_log[0].typed_config.path: cannot open \"/no/such/folder/log\""),
        "{missing}"
    );
}

#[test]
fn filters_that_take_no_connection_come_before_one_that_does() {
    const SNI: &str = "type.googleapis.com/envoy.extensions.filters.network.sni_cluster.v3.SniCluster";
    let sni = json!({"name": "s", "typed_config": {"@type": SNI}});
    let mut filters = tcp();
    let chain = |filters: &Value| json!({"filter_chains": [{"filters": filters}]});
    filters.as_array_mut().unwrap().insert(0, sni.clone());
    let listener = taken(&base(&chain(&filters)));
    let before = &listener.filter_chains[0].network_filters;
    assert!(matches!(&**before, [filter] if &*filter.name == "s"), "{before:?}");
    let alone = refused(&base(&chain(&json!([sni]))));
    assert!(alone.contains("\"s\" takes no connection"), "{alone}");
}
