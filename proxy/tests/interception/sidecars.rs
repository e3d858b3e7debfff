//! The sidecars' bootstraps: the listeners and clusters that Istio gives a pod, written by hand and small.

use certs::SpiffeId;
use certs::ca::CertificateAuthority;
use serde_json::{Value, json};

/// Where redirected traffic arrives.
pub const OUTBOUND: u16 = 15001;
pub const INBOUND: u16 = 15006;
pub const ADMIN: u16 = 15000;
/// The service: an address of its own, HTTP that plaintext may reach too, and TCP that only mTLS reaches. Two ports that
/// Istio's own rule sets redirect.
pub const SERVICE: &str = "10.96.0.10";
pub const HTTP: u16 = 32000;
pub const TCP: u16 = 31000;
/// A port that no config names.
pub const UNNAMED: u16 = 8099;

const TYPES: &str = "type.googleapis.com/envoy.extensions";
const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);

pub fn id(account: &str) -> String {
    format!("spiffe://cluster.local/ns/demo/sa/{account}")
}

/// The bootstrap of the sidecar of `account`; `server` is the address of the service's pod.
pub fn bootstrap(authority: &CertificateAuthority, account: &str, server: &str) -> Value {
    let spiffe = SpiffeId::parse(&id(account)).expect("a SPIFFE id");
    let issued = authority.issue_svid(&spiffe, DAY).expect("an SVID");
    let common = |alpn: &[&str], peer: Value| {
        json!({
            "alpn_protocols": alpn,
            "tls_certificates": [{
                "certificate_chain": {"inline_string": issued.chain_pem},
                "private_key": {"inline_string": issued.key_pem},
            }],
            "validation_context": {
                "trusted_ca": {"inline_string": authority.bundle_pem()},
                "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": peer}],
            },
        })
    };
    let upstream = |alpn: &[&str]| {
        json!({"name": "tls", "typed_config": {
            "@type": format!("{TYPES}.transport_sockets.tls.v3.UpstreamTlsContext"),
            "common_tls_context": common(alpn, json!({"exact": id("server")})),
        }})
    };
    let downstream = |alpn: &[&str]| {
        json!({"name": "tls", "typed_config": {
            "@type": format!("{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext"),
            "require_client_certificate": true,
            "common_tls_context": common(alpn, json!({"prefix": "spiffe://cluster.local/"})),
        }})
    };
    json!({
        "node": {"id": account, "cluster": "demo"},
        "admin": {"address": address("127.0.0.1", ADMIN)},
        "static_resources": {
            "listeners": [
                virtual_outbound(),
                outbound_http(),
                outbound_tcp(),
                virtual_inbound(&downstream(&["h2", "http/1.1"]), &downstream(&["istio"])),
            ],
            "clusters": [
                {"name": "BlackHoleCluster", "type": "STATIC"},
                original_destination("PassthroughCluster", false),
                original_destination("InboundPassthroughCluster", true),
                original_destination("inbound|http", true),
                original_destination("inbound|tcp", true),
                outbound("outbound|http", server, HTTP, &upstream(&["istio-http/1.1"])),
                outbound("outbound|tcp", server, TCP, &upstream(&["istio"])),
            ],
        },
    })
}

/// Takes what applications send, and hands it to the listener of the address that they meant.
fn virtual_outbound() -> Value {
    json!({
        "name": "virtualOutbound",
        "traffic_direction": "OUTBOUND",
        "address": address("0.0.0.0", OUTBOUND),
        "use_original_dst": true,
        "filter_chains": [
            {"name": "blackhole", "filter_chain_match": {"destination_port": OUTBOUND}, "filters": [tcp("BlackHoleCluster")]},
            {"name": "catchall", "filters": [tcp("PassthroughCluster")]},
        ],
    })
}

fn outbound_http() -> Value {
    json!({
        "name": format!("0.0.0.0_{HTTP}"),
        "traffic_direction": "OUTBOUND",
        "address": address("0.0.0.0", HTTP),
        "bind_to_port": false,
        "listener_filters": [inspector("http")],
        "listener_filters_timeout": "0s",
        "continue_on_listener_filters_timeout": true,
        "filter_chains": [{
            "filter_chain_match": {"transport_protocol": "raw_buffer", "application_protocols": ["http/1.1", "h2c"]},
            "filters": [http("outbound", "outbound|http")],
        }],
        "default_filter_chain": {"name": "passthrough", "filters": [tcp("PassthroughCluster")]},
    })
}

fn outbound_tcp() -> Value {
    json!({
        "name": format!("{SERVICE}_{TCP}"),
        "traffic_direction": "OUTBOUND",
        "address": address(SERVICE, TCP),
        "bind_to_port": false,
        "filter_chains": [{"filters": [tcp("outbound|tcp")]}],
    })
}

/// Takes what comes for the application: the original destination only chooses the filter chain.
fn virtual_inbound(http_tls: &Value, tcp_tls: &Value) -> Value {
    let on = |port: u16, transport: &str, alpn: &[&str]| json!({"destination_port": port, "transport_protocol": transport, "application_protocols": alpn});
    json!({
        "name": "virtualInbound",
        "traffic_direction": "INBOUND",
        "address": address("0.0.0.0", INBOUND),
        "listener_filters": [
            {"name": "original_dst", "typed_config": {"@type": format!("{TYPES}.filters.listener.original_dst.v3.OriginalDst")}},
            inspector("tls"),
            inspector("http"),
        ],
        "listener_filters_timeout": "0s",
        "continue_on_listener_filters_timeout": true,
        "filter_chains": [
            {"name": "blackhole", "filter_chain_match": {"destination_port": INBOUND}, "filters": [tcp("BlackHoleCluster")]},
            {
                "name": "http-mtls",
                "filter_chain_match": on(HTTP, "tls", &["istio-http/1.0", "istio-http/1.1", "istio-h2"]),
                "transport_socket": http_tls,
                "filters": [http("inbound", "inbound|http")],
            },
            {
                "name": "http-permissive",
                "filter_chain_match": on(HTTP, "raw_buffer", &[]),
                "filters": [http("inbound-plain", "inbound|http")],
            },
            {
                "name": "tcp-strict",
                "filter_chain_match": on(TCP, "tls", &[]),
                "transport_socket": tcp_tls,
                "filters": [tcp("inbound|tcp")],
            },
            {"name": "catchall", "filters": [tcp("InboundPassthroughCluster")]},
        ],
    })
}

fn address(ip: &str, port: u16) -> Value {
    json!({"socket_address": {"address": ip, "port_value": port}})
}

fn inspector(of: &str) -> Value {
    let (name, message) = match of {
        "tls" => ("tls_inspector", "TlsInspector"),
        _ => ("http_inspector", "HttpInspector"),
    };
    json!({"name": name, "typed_config": {"@type": format!("{TYPES}.filters.listener.{name}.v3.{message}")}})
}

fn tcp(cluster: &str) -> Value {
    json!({"name": "tcp", "typed_config": {
        "@type": format!("{TYPES}.filters.network.tcp_proxy.v3.TcpProxy"),
        "stat_prefix": cluster,
        "cluster": cluster,
    }})
}

fn http(name: &str, cluster: &str) -> Value {
    json!({"name": "http", "typed_config": {
        "@type": format!("{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": name,
        "forward_client_cert_details": "APPEND_FORWARD",
        "set_current_client_cert_details": {"uri": true},
        "route_config": {"virtual_hosts": [
            {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": cluster}}]},
        ]},
        "http_filters": [{"name": "router", "typed_config": {"@type": format!("{TYPES}.filters.http.router.v3.Router")}}],
    }})
}

fn outbound(name: &str, server: &str, port: u16, tls: &Value) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(server, port)}}]}],
        },
        "transport_socket": tls,
    })
}

/// Connects to where the client meant to go; from 127.0.0.6, so that the rules do not redirect it again, where it leads to
/// the pod's own application.
fn original_destination(name: &str, to_application: bool) -> Value {
    let mut cluster = json!({
        "name": name,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": format!("{TYPES}.upstreams.http.v3.HttpProtocolOptions"),
            "use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": {}},
        }},
    });
    if to_application {
        cluster["upstream_bind_config"] = json!({"source_address": {"address": "127.0.0.6", "port_value": 0}});
    }
    cluster
}
