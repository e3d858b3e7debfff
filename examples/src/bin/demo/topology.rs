//! What each sidecar is told over ADS, as JSON.

use std::net::SocketAddr;

use examples::resources::{self, CLUSTER, ENDPOINT, LISTENER, ROUTE};
use serde_json::{Value, json};

use crate::{
    app::WEIGHTS,
    load::{DIRECT, MAIN},
    phase::Weights,
};

/// Where every identity of the demo lives.
pub(crate) const SERVICE_ACCOUNTS: &str = "spiffe://demo.pillion/ns/default/sa/";

/// Requests that v2 may have in flight, both instances together: its circuit breaker.
pub(crate) const V2_MAX_REQUESTS: u32 = 40;

/// A connection between sidecars serves so many requests and is replaced: handshakes go on all the time, so that a
/// rotation that broke them would be seen.
const REQUESTS_PER_CONNECTION: u32 = 25;

/// An instance that fails so often in a row is ejected.
const CONSECUTIVE_FAILURES: u32 = 5;

pub(crate) const V1: &str = "api-v1";
pub(crate) const V2: &str = "api-v2";
/// The name of web's route configuration.
const ROUTES: &str = "outbound";

/// One resource: its type, its name, and itself.
pub(crate) type Resource = (&'static str, String, Value);

/// web's sidecar: plaintext in from the clients, mTLS out to the API.
pub(crate) fn web(inbound: SocketAddr, outbound: SocketAddr, app: SocketAddr) -> Vec<Resource> {
    let rds = json!({"rds": {"route_config_name": ROUTES, "config_source": resources::over_ads()}});
    vec![
        cluster(local_app(app)),
        cluster(api(V1, http2_upstream(Some(REQUESTS_PER_CONNECTION)), &["h2"])),
        cluster(guarded(api(V2, http1_upstream(), &["http/1.1"]))),
        listener("inbound", inbound, http("inbound", to_app(), json!({})), None),
        listener("outbound", outbound, http("outbound", rds, json!({})), None),
    ]
}

/// The API's sidecar: mTLS in, for the mesh alone; the application learns who called.
pub(crate) fn api_instance(inbound: SocketAddr, app: SocketAddr) -> Vec<Resource> {
    let caller = json!({
        "forward_client_cert_details": "SANITIZE_SET",
        "set_current_client_cert_details": {"uri": true},
    });
    let tls = resources::tls_context("Downstream", SERVICE_ACCOUNTS, &["h2", "http/1.1"]);
    vec![
        cluster(local_app(app)),
        listener("inbound", inbound, http("inbound", to_app(), caller), Some(tls)),
    ]
}

/// web's routes: by weight to either version, and a way to v2 alone.
pub(crate) fn routes(weights: Weights) -> Resource {
    let weighted = json!([{"name": V1, "weight": weights.v1}, {"name": V2, "weight": weights.v2}]);
    let body = json!({
        "name": ROUTES,
        "response_headers_to_add": [{"header": {"key": WEIGHTS, "value": weights.label()}}],
        "virtual_hosts": [{
            "name": "api",
            "domains": ["api"],
            "routes": [
                {"match": {"prefix": DIRECT}, "route": {"cluster": V2}},
                {"match": {"prefix": MAIN}, "route": {"weighted_clusters": {"clusters": weighted}}},
            ],
        }],
    });
    (ROUTE, ROUTES.to_owned(), body)
}

/// A version's instances.
pub(crate) fn endpoints(name: &str, instances: &[SocketAddr]) -> Resource {
    let ports: Vec<(u16, u32)> = instances.iter().map(|instance| (instance.port(), 1)).collect();
    (ENDPOINT, name.to_owned(), resources::endpoints(name, &ports))
}

fn cluster(body: Value) -> Resource {
    (CLUSTER, body["name"].as_str().unwrap_or_default().to_owned(), body)
}

/// The application behind a sidecar.
fn local_app(app: SocketAddr) -> Value {
    json!({
        "name": "app",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": resources::endpoints("app", &[(app.port(), 1)]),
    })
}

fn api(name: &str, protocol: Value, alpn: &[&str]) -> Value {
    let account = format!("{SERVICE_ACCOUNTS}{name}");
    json!({
        "name": name,
        "type": "EDS",
        "connect_timeout": "5s",
        "eds_cluster_config": {"eds_config": resources::over_ads()},
        "transport_socket": resources::tls_context("Upstream", &account, alpn),
        "typed_extension_protocol_options": protocol,
    })
}

/// With a breaker, and with an eye on instances that fail.
fn guarded(mut cluster: Value) -> Value {
    cluster["circuit_breakers"] = json!({"thresholds": [{"max_requests": V2_MAX_REQUESTS}]});
    cluster["outlier_detection"] = json!({
        "consecutive_5xx": CONSECUTIVE_FAILURES,
        "interval": "1s",
        // Longer than the demo looks on: the killed instance does not come back.
        "base_ejection_time": "300s",
        "max_ejection_percent": 50,
    });
    cluster
}

pub(crate) fn http2_upstream(requests_per_connection: Option<u32>) -> Value {
    upstream("http2_protocol_options", requests_per_connection)
}

fn http1_upstream() -> Value {
    upstream("http_protocol_options", Some(REQUESTS_PER_CONNECTION))
}

fn upstream(protocol: &str, requests_per_connection: Option<u32>) -> Value {
    let mut options = json!({
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {protocol: {}},
    });
    if let Some(requests) = requests_per_connection {
        options["common_http_protocol_options"] = json!({"max_requests_per_connection": requests});
    }
    json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options})
}

fn to_app() -> Value {
    json!({"route_config": {"name": "app", "virtual_hosts": [{
        "name": "app",
        "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app"}}],
    }]}})
}

/// A connection manager with its routes and what it does beyond the ordinary.
fn http(stat_prefix: &str, routes: Value, more: Value) -> Value {
    let mut manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": stat_prefix,
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
        }],
    });
    for part in [routes, more] {
        if let (Value::Object(manager), Value::Object(part)) = (&mut manager, part) {
            manager.extend(part);
        }
    }
    json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager})
}

fn listener(name: &str, address: SocketAddr, manager: Value, tls: Option<Value>) -> Resource {
    let mut chain = json!({"filters": [manager]});
    if let Some(tls) = tls {
        chain["transport_socket"] = tls;
    }
    let body = json!({
        "name": name,
        "stat_prefix": name,
        "address": {"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}},
        "filter_chains": [chain],
    });
    (LISTENER, name.to_owned(), body)
}
