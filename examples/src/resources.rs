//! Resources as JSON, the way Envoy's documentation writes them, turned into the bytes that go over the wire.

use bytes::Bytes;
use serde_json::{Value, json};
use xds_api::json::{self, ReadOptions};

pub use xds_client::resource_type::{CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET};

/// The wire bytes of a resource that is written in JSON.
///
/// # Errors
/// What is wrong, by field path.
pub fn any(type_url: &str, resource: &Value) -> Result<Bytes, json::Error> {
    json::to_wire(type_url, resource, ReadOptions::default()).map(|(bytes, _)| bytes.into())
}

/// Endpoints on loopback, each with its port and weight.
pub fn endpoints(cluster: &str, ports: &[(u16, u32)]) -> Value {
    let endpoint = |(port, weight): &(u16, u32)| {
        json!({
            "endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}},
            "load_balancing_weight": weight,
        })
    };
    json!({"cluster_name": cluster, "endpoints": [{"lb_endpoints": ports.iter().map(endpoint).collect::<Vec<_>>()}]})
}

/// A config source: this resource comes over the aggregated stream.
pub fn over_ads() -> Value {
    json!({"ads": {}, "resource_api_version": "V3"})
}

/// An mTLS context of either side: own identity and trust bundle over SDS, the peer's SPIFFE id by prefix.
pub fn tls_context(direction: &str, peer_id_prefix: &str, alpn: &[&str]) -> Value {
    let secret = |name: &str| json!({"name": name, "sds_config": over_ads()});
    let mut context = json!({
        "@type": format!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{direction}TlsContext"),
        "common_tls_context": {
            "alpn_protocols": alpn,
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificate_sds_secret_configs": [secret("default")],
            "combined_validation_context": {
                "default_validation_context": {"match_typed_subject_alt_names": [
                    {"san_type": "URI", "matcher": {"prefix": peer_id_prefix}},
                ]},
                "validation_context_sds_secret_config": secret("ROOTCA"),
            },
        },
    });
    if direction == "Downstream" {
        context["require_client_certificate"] = json!(true);
    }
    json!({"name": "envoy.transport_sockets.tls", "typed_config": context})
}

/// The secret that holds an identity.
pub fn identity(name: &str, chain_pem: &str, key_pem: &str) -> Value {
    json!({"name": name, "tls_certificate": {
        "certificate_chain": {"inline_string": chain_pem},
        "private_key": {"inline_string": key_pem},
    }})
}

/// The secret that holds a trust bundle.
pub fn trust_bundle(name: &str, pem: &str) -> Value {
    json!({"name": name, "validation_context": {"trusted_ca": {"inline_string": pem}}})
}
