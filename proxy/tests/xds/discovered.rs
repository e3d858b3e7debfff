//! Runtime layers and configs of filters over gRPC, from a stream of each, with Envoy as the referee.

use std::path::Path;

use pillion::control::interest::Kind;
use serde_json::{Value, json};

use super::server::Server;
use super::support::bootstrap::Bootstrap;
use super::support::{peers, proxy::Proxy};
use super::{ask, eventually, own_stream, socket_address, xds_cluster};

fn layer(name: &str, values: Value) -> Value {
    json!({"name": name, "layer": values})
}

fn filter(message: &str) -> Value {
    let url = format!("type.googleapis.com/envoy.extensions.filters.http.{message}");
    json!({"name": "guard", "typed_config": {"@type": url}})
}

fn told(binary: &Path) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::tcp(None);
    server.set(Kind::Runtime.type_url(), &layer("one", json!({"a": 1, "switch": 0})));
    server.set(Kind::Runtime.type_url(), &layer("two", json!({"a": 2})));
    server.set(Kind::Extension.type_url(), &filter("cors.v3.Cors"));
    let url = |message: &str| format!("type.googleapis.com/envoy.extensions.filters.http.{message}");
    let switched =
        json!({"prefix": "/", "runtime_fraction": {"default_value": {"numerator": 0}, "runtime_key": "switch"}});
    let hcm = json!([{"name": "hcm", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "ingress",
        "route_config": {"name": "r", "virtual_hosts": [{"name": "a", "domains": ["*"], "routes": [
            {"match": switched, "direct_response": {"status": 201}},
            {"match": {"prefix": "/"}, "direct_response": {"status": 202}},
        ]}]},
        "http_filters": [
            {"name": "guard", "config_discovery": {"config_source": own_stream(), "type_urls": [url("cors.v3.Cors"), url("fault.v3.HTTPFault")]}},
            {"name": "router", "typed_config": {"@type": url("router.v3.Router")}},
        ],
    }}]);
    let rtds = |name: &str| json!({"name": format!("layer-{name}"), "rtds_layer": {"name": name, "rtds_config": own_stream()}});
    let template = format!(
        "admin: {{{{admin}}}}\nnode: {{id: sidecar, cluster: test}}\nlayered_runtime: {{layers: [{}, {}]}}\nstatic_resources:\n  clusters:{}\n  \
         listeners:\n  - {{name: web, address: {{socket_address: {{address: 127.0.0.1, port_value: {{{{port:web}}}}}}}}, filter_chains: [{{filters: {hcm}}}]}}\n",
        rtds("one"),
        rtds("two"),
        xds_cluster(&socket_address(&server), ""),
    );
    let bootstrap = Bootstrap::new(&template, dir.path(), "");
    let port = bootstrap.port("port:web");
    let proxy = Proxy::start(binary, &bootstrap.text, dir.path());
    let status = || ask(port).map(|(status, _)| status);
    let shown = || -> Value { serde_json::from_str(&proxy.get("/runtime").unwrap().1).unwrap() };
    let mut told = vec![json!(status()), shown()];
    for method in ["StreamRuntime", "StreamExtensionConfigs"] {
        let mut names: Vec<_> = server
            .open(method)
            .iter()
            .map(|s| s.requests[0].resource_names.clone())
            .collect();
        names.sort();
        told.push(json!([method, names]));
    }
    server.set(Kind::Runtime.type_url(), &layer("one", json!({"switch": 100})));
    eventually("the fraction follows", || status() == Some(201));
    told.push(shown());
    server.set(Kind::Extension.type_url(), &filter("fault.v3.HTTPFault"));
    proxy.wait_stat("extension_config_discovery.http_filter.guard.config_reload", |n| n == 2);
    server.set(Kind::Extension.type_url(), &filter("router.v3.Router"));
    proxy.wait_stat("extension_config_discovery.http_filter.guard.update_rejected", |n| {
        n == 1
    });
    let (_, stats) = proxy
        .get("/stats?filter=^(runtime|extension_config_discovery).*(control_plane.connected_state|update_success|update_rejected|config_fail)$")
        .unwrap();
    told.extend([json!(status()), json!(stats.lines().collect::<Vec<_>>())]);
    told
}

#[test]
fn layers_and_filters_have_streams_of_their_own() {
    let test = "layers_and_filters_have_streams_of_their_own";
    let (Some(ours), Some(envoy)) = (peers::pillion(test), peers::need(test, "envoy")) else {
        return;
    };
    assert_eq!(told(&ours), told(&envoy));
}
