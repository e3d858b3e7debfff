//! Where the JSON mapping leaves room, Envoy decides: each snippet of a cluster goes to a real Envoy and to the transcoder, and both take it
//! or refuse it. Needs `envoy` in PATH; skipped without.

use std::process::Command;
use xds_api::json::{ReadOptions, to_wire};

const BOOTSTRAP: &str = "envoy.config.bootstrap.v3.Bootstrap";
const TLS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
const RAW: &str = "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";

/// What Envoy says of JSON that does not fit, and of nothing else.
const REFUSED: &str = "INVALID_ARGUMENT";

/// What Envoy says of a message that breaks a constraint of its schema.
const BROKEN: [&str; 2] = [
    "Proto constraint validation failed",
    "Invalid duration: Expected positive duration",
];

const CASES: &[&str] = &[
    r#""ignore_health_on_host_removal": true"#,
    r#""ignore_health_on_host_removal": "true""#,
    r#""ignore_health_on_host_removal": "TRUE""#,
    r#""ignore_health_on_host_removal": "Yes""#,
    r#""ignore_health_on_host_removal": "0""#,
    r#""ignore_health_on_host_removal": "on""#,
    r#""ignore_health_on_host_removal": 1"#,
    r#""per_connection_buffer_limit_bytes": "123""#,
    r#""per_connection_buffer_limit_bytes": 123.0"#,
    r#""per_connection_buffer_limit_bytes": 1e3"#,
    r#""per_connection_buffer_limit_bytes": "1e3""#,
    r#""per_connection_buffer_limit_bytes": "1.0""#,
    r#""per_connection_buffer_limit_bytes": 1.5"#,
    r#""per_connection_buffer_limit_bytes": "1.5""#,
    r#""per_connection_buffer_limit_bytes": -1"#,
    r#""per_connection_buffer_limit_bytes": 4294967295"#,
    r#""per_connection_buffer_limit_bytes": 4294967296"#,
    r#""per_connection_buffer_limit_bytes": " 3""#,
    r#""per_connection_buffer_limit_bytes": """#,
    r#""per_connection_buffer_limit_bytes": {"value": 3}"#,
    r#""per_connection_buffer_limit_bytes": true"#,
    r#""alt_stat_name": 5"#,
    r#""alt_stat_name": true"#,
    r#""alt_stat_name": null"#,
    r#""lb_policy": "random""#,
    r#""lb_policy": "Least_Request""#,
    r#""lb_policy": "least-request""#,
    r#""lb_policy": 3"#,
    r#""lb_policy": 3.0"#,
    r#""lb_policy": "3""#,
    r#""lb_policy": "BEST""#,
    r#""health_checks": {}"#,
    r#""health_checks": [{"name": "x"}]"#,
    r#""health_checks": null"#,
    r#""health_checks": [null]"#,
    r#""health_checks": "x""#,
    r#""common_lb_config": []"#,
    r#""common_lb_config": "x""#,
    r#""common_lb_config": {"healthy_panic_threshold": {"value": "5.5"}}"#,
    r#""common_lb_config": {"healthy_panic_threshold": {"value": true}}"#,
    r#""common_lb_config": {"healthy_panic_threshold": {"value": "five"}}"#,
    r#""metadata": {"filter_metadata": {"a": {"b": null}}}"#,
    r#""metadata": {"filter_metadata": {"a": null}}"#,
    r#""metadata": {"filter_metadata": []}"#,
    r#""metadata": {"filter_metadata": {"a": 3}}"#,
    r#""cleanup_interval": "1s""#,
    r#""cleanup_interval": "01s""#,
    r#""cleanup_interval": "1""#,
    r#""cleanup_interval": 1"#,
    r#""cleanup_interval": "1ms""#,
    r#""cleanup_interval": ".5s""#,
    r#""cleanup_interval": "1.s""#,
    r#""cleanup_interval": "+1s""#,
    r#""cleanup_interval": "1 s""#,
    r#""cleanup_interval": "1.0000000001s""#,
    r#""cleanup_interval": "315576000000s""#,
    r#""cleanup_interval": "315576000001s""#,
    r#""cleanup_interval": {"seconds": 1}"#,
    r#""type": "STATIC", "cluster_type": {"name": "x"}"#,
    r#""type": null, "cluster_type": null"#,
    r#""foo": 1"#,
    r#""foo": null"#,
    r#""transport_socket": {"name": "raw", "typed_config": {"foo": 1}}"#,
    r#""transport_socket": {"name": "raw", "typed_config": {}}"#,
    r#""transport_socket": {"name": "raw", "typed_config": {"@type": "RAW"}}"#,
    r#""transport_socket": {"name": "raw", "typed_config": {"@type": "RAW", "stat": 1}}"#,
    r#""transport_socket": {"name": "raw", "typed_config": {"@type": "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"}}"#,
    r#""transport_socket": {"name": "raw", "typed_config": {"@type": "example.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"}}"#,
    r#""transport_socket": {"name": "raw", "typed_config": {"@type": "type.googleapis.com/no.Such", "a": 1}}"#,
    r#""transport_socket": {"name": "raw", "typed_config": {"@type": "type.googleapis.com/google.protobuf.Struct", "value": {"a": 1}}}"#,
    r#""transport_socket": {"name": "raw", "typed_config": {"@type": "type.googleapis.com/google.protobuf.Struct", "a": 1}}"#,
    r#""transport_socket": {"name": "raw", "typed_config": {"@type": "type.googleapis.com/google.protobuf.Empty"}}"#,
    r#""transport_socket": {"name": "tls", "typed_config": {"@type": "TLS", "common_tls_context": {"validation_context": {"trusted_ca": {"inline_bytes": "!!"}}}}}"#,
    r#""transport_socket": {"name": "tls", "typed_config": {"@type": "TLS", "common_tls_context": {"validation_context": {"trusted_ca": {"inline_bytes": "_-8"}}}}}"#,
    r#""transport_socket": {"name": "tls", "typed_config": {"@type": "TLS", "common_tls_context": {"validation_context": {"trusted_ca": {"inline_bytes": "/+8="}}}}}"#,
    r#""transport_socket": {"name": "tls", "typed_config": {"@type": "TLS", "max_session_keys": [1]}}"#,
];

/// Of these every one is JSON that fits.
const CONSTRAINTS: &[&str] = &[
    r#""name": """#,
    r#""lb_policy": 77"#,
    r#""lb_policy": 1"#,
    r#""connect_timeout": "0s""#,
    r#""connect_timeout": "-1s""#,
    r#""health_checks": [{}]"#,
    r#""health_checks": [{"timeout": "1s", "interval": "1s", "unhealthy_threshold": 1, "healthy_threshold": 1}]"#,
    r#""health_checks": [{"timeout": "1s", "interval": "1s", "unhealthy_threshold": 1, "healthy_threshold": 1, "tcp_health_check": {}}]"#,
    r#""outlier_detection": {"max_ejection_percent": 101}"#,
    r#""outlier_detection": {"max_ejection_percent": 100}"#,
    r#""outlier_detection": {"interval": "0s"}"#,
    r#""circuit_breakers": {"thresholds": [{"priority": 9}]}"#,
    r#""ring_hash_lb_config": {"minimum_ring_size": 8388609}"#,
    r#""least_request_lb_config": {"choice_count": 1}"#,
    r#""common_lb_config": {"healthy_panic_threshold": {"value": 101}}"#,
    r#""common_lb_config": {"consistent_hashing_lb_config": {"hash_balance_factor": 50}}"#,
    r#""dns_refresh_rate": "0.0001s""#,
    r#""upstream_bind_config": {"source_address": {"address": "::1", "port_value": 65536}}"#,
    r#""load_assignment": {}"#,
    r#""load_assignment": {"cluster_name": "c", "policy": {"overprovisioning_factor": 0}}"#,
    r#""load_assignment": {"cluster_name": "c", "endpoints": [{"priority": 129}]}"#,
    r#""load_assignment": {"cluster_name": "c", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {}}}]}]}"#,
    r#""load_assignment": {"cluster_name": "c", "endpoints": [{"lb_endpoints": [{"load_balancing_weight": 0}]}]}"#,
    r#""load_assignment": {"cluster_name": "c", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "", "port_value": 1}}}}]}]}"#,
    r#""load_assignment": {"cluster_name": "c", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "a"}}}}]}]}"#,
    r#""transport_socket": {}"#,
    r#""transport_socket_matches": [{}]"#,
    r#""transport_socket": {"name": "tls", "typed_config": {"@type": "TLS", "sni": "LONG"}}"#,
    r#""transport_socket": {"name": "tls", "typed_config": {"@type": "TLS", "common_tls_context": {"tls_params": {"tls_minimum_protocol_version": 9}}}}"#,
    r#""transport_socket": {"name": "tls", "typed_config": {"@type": "TLS", "common_tls_context": {"tls_certificate_sds_secret_configs": [{}]}}}"#,
    r#""transport_socket": {"name": "tls", "typed_config": {"@type": "TLS", "common_tls_context": {"validation_context": {"verify_certificate_hash": ["ab"]}}}}"#,
    r#""eds_cluster_config": {"eds_config": {}}, "type": "EDS""#,
    r#""metadata": {"filter_metadata": {"": {}}}"#,
    r#""max_requests_per_connection": 0"#,
    r#""track_cluster_stats": {"timeout_budgets": true}"#,
    r#""preconnect_policy": {"per_upstream_preconnect_ratio": 3.5}"#,
    r#""preconnect_policy": {"per_upstream_preconnect_ratio": 0.5}"#,
];

/// A cluster of these members, to the transcoder's bytes and to what Envoy says.
fn ask(case: &str) -> (String, Result<Vec<u8>, String>) {
    let case = case
        .replace("\"RAW\"", &format!("{RAW:?}"))
        .replace("\"TLS\"", &format!("{TLS:?}"))
        .replace("LONG", &"x".repeat(256));
    let name = if case.contains("\"name\": \"\"") {
        ""
    } else {
        "\"name\": \"c\", "
    };
    let json = format!(r#"{{"static_resources": {{"clusters": [{{{name}{case}}}]}}}}"#);
    // As a file: of --config-yaml, Envoy reads scalars by YAML's rules first.
    let file = format!("{:?}.json", std::thread::current().id()).replace(['(', ')'], "");
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    std::fs::write(&path, &json).unwrap();
    let mut envoy = Command::new("envoy");
    envoy.args([
        "--mode",
        "validate",
        "--log-level",
        "critical",
        "--service-node",
        "n",
        "--service-cluster",
        "c",
    ]);
    let output = envoy.arg("--config-path").arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    let ours = to_wire(BOOTSTRAP, &serde_json::from_str(&json).unwrap(), ReadOptions::default());
    (said, ours.map(|(bytes, _)| bytes).map_err(|error| error.to_string()))
}

fn has_envoy() -> bool {
    let found = Command::new("envoy").arg("--version").output().is_ok();
    if !found {
        assert!(
            std::env::var_os("PILLION_REQUIRE_PEERS").is_none(),
            "envoy is not in PATH"
        );
        println!("skipped: envoy is not in PATH");
    }
    found
}

#[test]
fn json_is_taken_and_refused_as_by_envoy() {
    if !has_envoy() {
        return;
    }
    let mut differences = Vec::new();
    for case in CASES {
        let (said, ours) = ask(case);
        if ours.is_err() != said.contains(REFUSED) {
            differences.push(format!("{case}\n  ours: {:?}\n  Envoy: {said}", ours.err()));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn constraints_are_those_of_envoy() {
    if !has_envoy() {
        return;
    }
    let mut differences = Vec::new();
    for case in CONSTRAINTS {
        let (said, ours) = ask(case);
        let checked = xds_api::validate::check(BOOTSTRAP, &ours.unwrap());
        if checked.is_err() != BROKEN.iter().any(|broken| said.contains(broken)) {
            differences.push(format!("{case}\n  ours: {checked:?}\n  Envoy: {said}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
