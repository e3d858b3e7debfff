//! Where the JSON mapping leaves room, Envoy decides: each snippet of a cluster goes to a real Envoy and to the transcoder, and both take it
//! or refuse it. Needs `envoy` in PATH; skipped without.

use std::process::Command;
use xds_api::json::{ReadOptions, to_wire};

const TLS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
const RAW: &str = "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";

/// What Envoy says of JSON that does not fit, and of nothing else.
const REFUSED: &str = "INVALID_ARGUMENT";

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

#[test]
fn json_is_taken_and_refused_as_by_envoy() {
    if Command::new("envoy").arg("--version").output().is_err() {
        assert!(
            std::env::var_os("PILLION_REQUIRE_PEERS").is_none(),
            "envoy is not in PATH"
        );
        println!("skipped: envoy is not in PATH");
        return;
    }
    let mut differences = Vec::new();
    for case in CASES {
        let case = case
            .replace("\"RAW\"", &format!("{RAW:?}"))
            .replace("\"TLS\"", &format!("{TLS:?}"));
        let json = format!(r#"{{"static_resources": {{"clusters": [{{"name": "c", {case}}}]}}}}"#);
        // As a file: of --config-yaml, Envoy reads scalars by YAML's rules first.
        let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("transcoder.json");
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
        let ours = to_wire(
            "envoy.config.bootstrap.v3.Bootstrap",
            &serde_json::from_str(&json).unwrap(),
            ReadOptions::default(),
        );
        if ours.is_err() != said.contains(REFUSED) {
            differences.push(format!(
                "{case}\n  ours: {:?}\n  Envoy: {said}",
                ours.err().map(|error| error.to_string())
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
