use std::{net::IpAddr, time::Duration};

use serde_json::{Value, json};

use super::{
    super::from_json::{parsed, patched},
    *,
};
use crate::cluster::{DnsFamily, HeaderCase, Priority, UpstreamProtocol};

const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

fn parse_json(json: &Value) -> (Result<ParsedCluster, String>, Vec<crate::config::Note>) {
    parsed(TYPE, json, |bytes, context| parse(bytes, true, context))
}

fn taken(patch: Value) -> ParsedCluster {
    parse_json(&patched(json!({"name": "c"}), &patch)).0.unwrap()
}

fn refused(patch: Value) -> String {
    parse_json(&patched(json!({"name": "c"}), &patch)).0.unwrap_err()
}

fn options(value: Value) -> Value {
    let value = patched(json!({"@type": format!("type.googleapis.com/{OPTIONS}")}), &value);
    json!({"typed_extension_protocol_options": {OPTIONS: value}})
}

fn at(host: &str) -> Value {
    json!({"cluster_name": "c", "endpoints": [{"lb_endpoints": [
        {"endpoint": {"address": {"socket_address": {"address": host, "port_value": 80}}}}
    ]}]})
}

#[test]
fn defaults_are_envoys() {
    let ParsedCluster { cluster, limits, .. } = taken(json!({}));
    assert_eq!(cluster.connect_timeout, Duration::from_secs(5));
    assert_eq!(cluster.idle_timeout, Some(Duration::from_secs(3600)));
    assert_eq!((cluster.max_headers_count, cluster.max_response_headers_kb), (100, 80));
    assert_eq!(cluster.per_connection_buffer_limit, 1 << 20);
    assert_eq!(
        (cluster.lb, cluster.lb_config.healthy_panic_threshold),
        (LbPolicy::RoundRobin, 50.0)
    );
    assert!(matches!(cluster.discovery, Discovery::Static));
    assert!(matches!(cluster.protocol, UpstreamProtocol::Http1(_)));
    assert!(cluster.outlier.is_none() && cluster.transport.matches.is_empty());
    let limits = &limits[Priority::Default as usize];
    assert_eq!(
        (limits.connections, limits.pending, limits.requests, limits.retries),
        (1024, 1024, 1024, 3)
    );
    assert!(limits.retry_budget.is_none() && limits.remaining.is_none());
}

#[test]
fn a_new_version_keeps_the_state_and_brings_its_limits() {
    use std::sync::atomic::Ordering::Relaxed;
    let first = Arc::new(taken(json!({})).cluster);
    let state = &first.state;
    state.breakers[0].requests.now.store(7, Relaxed);
    let second = taken(json!({"circuit_breakers": {"thresholds": [
        {"max_requests": 5, "retry_budget": {"budget_percent": {"value": 10}}},
        {"priority": "HIGH", "max_retries": 9}
    ]}}));
    let cluster = second.adopt(Some(&first));
    assert!(Arc::ptr_eq(&cluster.state, state));
    let breaker = &state.breakers[0];
    assert_eq!(
        (breaker.requests.now.load(Relaxed), breaker.requests.max.load(Relaxed)),
        (7, 5)
    );
    let budget = breaker.retry_budget.load_full().unwrap();
    assert_eq!((budget.percent, budget.min_retry_concurrency), (10.0, 3));
    assert_eq!(state.breakers[1].retries.max.load(Relaxed), 9);
}

#[test]
fn a_new_version_has_its_own_endpoints_and_keeps_what_is_known_of_hosts() {
    use std::sync::atomic::Ordering::Relaxed;

    use crate::cluster::endpoint_set;

    let version = |hosts: &[&str], old: Option<&Arc<Cluster>>| {
        let endpoint = |host| json!({"endpoint": {"address": {"socket_address": {"address": host, "port_value": 80}}}});
        let endpoints: Vec<Value> = hosts.iter().map(endpoint).collect();
        let mut parsed = taken(json!({
            "type": "STATIC",
            "load_assignment": {"cluster_name": "c", "endpoints": [{"lb_endpoints": endpoints}]},
        }));
        let assignment = parsed.assignment.take().unwrap();
        let cluster = Arc::new(parsed.adopt(old));
        endpoint_set::apply(&cluster, &assignment);
        cluster
    };
    let hosts = |cluster: &Cluster| -> Vec<_> { cluster.endpoints.load().endpoints().cloned().collect() };
    let first = version(&["10.0.0.1", "10.0.0.2"], None);
    let before = hosts(&first);
    before[0].state.ejected.store(true, Relaxed);
    first.state.ejected.store(1, Relaxed);
    let second = version(&["10.0.0.2", "10.0.0.3"], Some(&first));
    let after = hosts(&second);
    assert!(Arc::ptr_eq(&before[1].state, &after[0].state));
    // Until the second version is public, the first one's hosts serve.
    assert_eq!(hosts(&first).len(), 2);
    assert!(!before[0].state.removed.load(Relaxed));
    endpoint_set::replace(&second);
    assert!(before[0].state.removed.load(Relaxed));
    assert!(!after[0].state.removed.load(Relaxed));
    assert_eq!(second.state.ejected.load(Relaxed), 0);
    assert!(second.endpoints.load().version > first.endpoints.load().version);
}

#[test]
fn statistics_are_under_the_alternative_name() {
    let cluster = taken(json!({"alt_stat_name": "c;"})).cluster;
    assert_eq!((&*cluster.name, &*cluster.stat_name), ("c", "c;"));
    assert_eq!(cluster.state.stats.prefix(), "cluster.c;.");
}

#[test]
fn discovery() {
    let eds = taken(json!({
        "type": "EDS",
        "eds_cluster_config": {"service_name": "s", "eds_config": {"ads": {}, "initial_fetch_timeout": "0s"}}
    }));
    assert!(matches!(&eds.cluster.discovery, Discovery::Eds { service_name, .. } if &**service_name == "s"));
    let endpoints = eds.dependencies.endpoints.unwrap();
    assert_eq!((&*endpoints.name, endpoints.source.initial_fetch_timeout), ("s", None));

    let dns =
        taken(json!({"type": "STRICT_DNS", "dns_lookup_family": "V4_ONLY", "load_assignment": at("name.example")}));
    let Discovery::StrictDns(dns) = &dns.cluster.discovery else {
        panic!("{dns:?}")
    };
    assert_eq!((&*dns.targets[0].host, dns.targets[0].port), ("name.example", 80));
    assert_eq!(
        (dns.family, dns.refresh_rate),
        (DnsFamily::V4Only, Duration::from_secs(5))
    );

    let typed = taken(json!({"load_assignment": at("name.example"), "cluster_type": {
        "name": "envoy.clusters.dns",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster",
            "all_addresses_in_single_endpoint": true,
            "dns_failure_refresh_rate": {"base_interval": "2s"}
        }
    }}));
    let Discovery::LogicalDns(dns) = &typed.cluster.discovery else {
        panic!("{typed:?}")
    };
    assert_eq!(
        dns.failure_refresh,
        Some((Duration::from_secs(2), Duration::from_secs(20)))
    );

    let original = taken(json!({
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "original_dst_lb_config": {"use_http_header": true, "upstream_port_override": 15001},
        "cleanup_interval": "9223372036s"
    }));
    let Discovery::OriginalDst {
        use_http_header,
        port_override,
        ..
    } = &original.cluster.discovery
    else {
        panic!("{original:?}")
    };
    assert_eq!(use_http_header.as_ref().unwrap(), "x-envoy-original-dst-host");
    assert_eq!(*port_override, Some(15001));
}

#[test]
fn discovery_that_cannot_work_is_refused() {
    for (patch, said) in [
        (json!({"type": "EDS"}), "eds_cluster_config: is required"),
        (
            json!({"load_assignment": at("name.example")}),
            "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address",
        ),
        (
            json!({"type": "ORIGINAL_DST"}),
            "lb_policy: an ORIGINAL_DST cluster takes only CLUSTER_PROVIDED",
        ),
        (
            json!({"type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED", "load_assignment": at("1.2.3.4")}),
            "load_assignment: an ORIGINAL_DST cluster",
        ),
        (
            json!({"type": "LOGICAL_DNS"}),
            "load_assignment: a LOGICAL_DNS cluster needs",
        ),
        (
            json!({"cluster_type": {"name": "x", "typed_config": {"@type": "type.googleapis.com/acme.Cluster"}}}),
            "cluster_type.typed_config.@type: the cluster type acme.Cluster is not known",
        ),
    ] {
        let refusal = refused(patch);
        assert!(refusal.contains(said), "{refusal}\n  wanted {said}");
    }
}

#[test]
fn protocols_new_and_old() {
    let http2 = taken(json!({"http2_protocol_options": {"max_concurrent_streams": 7}})).cluster;
    assert!(matches!(http2.protocol, UpstreamProtocol::Http2(o) if o.max_concurrent_streams == 7));
    let downstream = taken(json!({"protocol_selection": "USE_DOWNSTREAM_PROTOCOL"})).cluster;
    assert!(matches!(downstream.protocol, UpstreamProtocol::UseDownstream { .. }));
    let typed = taken(options(json!({
        "common_http_protocol_options": {"idle_timeout": "0s", "max_requests_per_connection": 3},
        "upstream_http_protocol_options": {"auto_sni": true},
        "explicit_http_config": {"http_protocol_options": {"header_key_format": {"stateful_formatter": {
            "name": "p",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig"
            }
        }}}}
    })))
    .cluster;
    assert!(matches!(&typed.protocol, UpstreamProtocol::Http1(o) if o.header_case == HeaderCase::Preserve));
    assert_eq!((typed.idle_timeout, typed.max_requests_per_connection), (None, 3));
    assert!(typed.auto_sni && !typed.auto_san_validation);
    let both = refused(json!({"http2_protocol_options": {}, "http_protocol_options": {}}));
    assert!(both.contains("stands beside http2_protocol_options"), "{both}");
    let three = refused(options(json!({"explicit_http_config": {"http3_protocol_options": {}}})));
    assert!(
        three.contains("http3_protocol_options: HTTP/3 is not supported"),
        "{three}"
    );
}

#[test]
fn balancers_new_and_old() {
    let policy = |typed: Value| {
        json!({"load_balancing_policy": {"policies": [
            {"typed_extension_config": {"name": "?", "typed_config": {"@type": "type.googleapis.com/acme.Balancer"}}},
            {"typed_extension_config": {"name": "p", "typed_config": typed}}
        ]}})
    };
    let least = LbPolicy::LeastRequest {
        choices: 2,
        active_request_bias: 1.0,
    };
    assert_eq!(taken(json!({"lb_policy": "LEAST_REQUEST"})).cluster.lb, least);
    let newer = taken(policy(json!({
        "@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
        "locality_lb_config": {"locality_weighted_lb_config": {}}
    })));
    assert_eq!(
        (newer.cluster.lb, newer.cluster.lb_config.locality_weighted),
        (least, true)
    );
    let ring =
        json!({"lb_policy": "RING_HASH", "ring_hash_lb_config": {"minimum_ring_size": 9, "maximum_ring_size": 5}});
    assert!(refused(ring).contains("minimum_ring_size: 9 is more than maximum_ring_size, 5"));
    let maglev = json!({"lb_policy": "MAGLEV", "maglev_lb_config": {"table_size": 100}});
    assert!(refused(maglev).contains("maglev_lb_config.table_size: 100 is no prime"));
    let provided = refused(json!({"lb_policy": "CLUSTER_PROVIDED"}));
    assert!(
        provided.contains("needs a cluster that provides hosts itself"),
        "{provided}"
    );
}

#[test]
fn outlier_detection_has_envoys_defaults() {
    let outlier = taken(json!({"outlier_detection": {"base_ejection_time": "400s"}}))
        .cluster
        .outlier
        .unwrap();
    assert_eq!((outlier.consecutive_5xx, outlier.enforcing_consecutive_5xx), (5, 100));
    assert_eq!(
        (
            outlier.max_ejection_percent,
            outlier.enforcing_consecutive_gateway_failure
        ),
        (10, 0)
    );
    assert_eq!(outlier.interval, Duration::from_secs(10));
    assert_eq!(outlier.max_ejection_time, Duration::from_secs(400));
    let short = refused(json!({"outlier_detection": {"max_ejection_time": "1s"}}));
    assert!(short.contains("max_ejection_time: is shorter"), "{short}");
}

#[test]
fn sockets_are_bound_and_matched() {
    let cluster = taken(json!({
        "upstream_bind_config": {
            "source_address": {"address": "127.0.0.6", "port_value": 0},
            "extra_source_addresses": [{"address": {"address": "::6", "port_value": 0}}]
        },
        "upstream_connection_options": {"tcp_keepalive": {"keepalive_time": 300}},
        "transport_socket_matches": [{
            "name": "plain",
            "match": {"tlsMode": "disabled"},
            "transport_socket": {
                "name": "raw",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"}
            }
        }]
    }))
    .cluster;
    let bind = cluster.bind.unwrap();
    assert_eq!(bind.source, "127.0.0.6:0".parse().unwrap());
    assert_eq!(bind.extra_sources, ["::6".parse::<IpAddr>().unwrap()]);
    assert_eq!(cluster.tcp_keepalive.unwrap().time, Some(Duration::from_secs(300)));
    let [(name, value)] = &*cluster.transport.matches[0].criteria else {
        panic!("one criterion")
    };
    assert_eq!((&**name, value.as_str()), ("tlsMode", Some("disabled")));
    let unknown = refused(json!({"transport_socket": {
        "name": "x", "typed_config": {"@type": "type.googleapis.com/acme.Socket"}
    }}));
    assert!(
        unknown.contains("transport_socket.typed_config.@type: the transport socket acme.Socket"),
        "{unknown}"
    );
}

#[test]
fn what_is_read_and_not_honoured_is_noted() {
    let (result, notes) = parse_json(&json!({"name": "c", "track_timeout_budgets": true, "respect_dns_ttl": true}));
    assert!(result.is_ok());
    let notes: Vec<_> = notes.iter().map(|note| &*note.path).collect();
    assert_eq!(notes, ["track_timeout_budgets"]);
}
