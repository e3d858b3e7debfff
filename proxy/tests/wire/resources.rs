//! Resources of the scenarios, and the bootstraps that ask for them.

use serde_json::{Value, json};

/// Over what a proxy is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Ads,
    DeltaAds,
    /// A stream for each kind.
    Own,
    DeltaOwn,
}

const EXTENSIONS: &str = "type.googleapis.com/envoy.extensions.filters";

impl Transport {
    pub fn is_aggregated(self) -> bool {
        matches!(self, Self::Ads | Self::DeltaAds)
    }

    fn api(self) -> Value {
        let kind = match self {
            Self::Ads | Self::Own => "GRPC",
            Self::DeltaAds | Self::DeltaOwn => "DELTA_GRPC",
        };
        json!({
            "api_type": kind, "transport_api_version": "V3", "set_node_on_first_message_only": true,
            "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
        })
    }

    pub fn source(self) -> Value {
        match self.is_aggregated() {
            true => json!({"resource_api_version": "V3", "ads": {}}),
            false => json!({"resource_api_version": "V3", "api_config_source": self.api()}),
        }
    }

    pub fn bootstrap(self, control_plane: std::net::SocketAddr) -> String {
        let mut dynamic = json!({"cds_config": self.source(), "lds_config": self.source()});
        if self.is_aggregated() {
            dynamic["ads_config"] = self.api();
        }
        let bootstrap = json!({
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "node": {"id": "sidecar", "cluster": "test"},
            "dynamic_resources": dynamic,
            "static_resources": {"clusters": [{
                "name": "xds", "type": "STATIC", "connect_timeout": "5s",
                "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": {"http2_protocol_options": {}},
                }},
                "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [
                    {"endpoint": {"address": address(control_plane.port())}},
                ]}]},
            }]},
        });
        bootstrap.to_string()
    }
}

fn address(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

pub fn cluster(name: &str, transport: Transport, connect_timeout: &str) -> Value {
    json!({
        "name": name, "type": "EDS", "connect_timeout": connect_timeout,
        "eds_cluster_config": {"eds_config": transport.source()},
    })
}

/// Its one endpoint refuses connections: nothing is forwarded in these scenarios.
pub fn endpoints(cluster: &str, port: u16) -> Value {
    json!({"cluster_name": cluster, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]})
}

/// `routes`: `rds`, or `scoped_routes`. `on_demand`: the filter stands in the chain.
pub fn listener(name: &str, port: u16, routes: &Value, on_demand: bool) -> Value {
    let filter = |kind: &str, message: &str| {
        let config = json!({"@type": format!("{EXTENSIONS}.http.{kind}.v3.{message}")});
        json!({"name": kind, "typed_config": config})
    };
    let mut filters = vec![filter("router", "Router")];
    if on_demand {
        filters.insert(0, filter("on_demand", "OnDemand"));
    }
    let mut manager = json!({
        "@type": format!("{EXTENSIONS}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "in", "http_filters": filters,
    });
    manager
        .as_object_mut()
        .unwrap()
        .extend(routes.as_object().unwrap().clone());
    json!({
        "name": name, "address": address(port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    })
}

pub fn rds(name: &str, transport: Transport) -> Value {
    json!({"rds": {"route_config_name": name, "config_source": transport.source()}})
}

/// Scopes by the header `x-scope`.
pub fn scoped(transport: Transport) -> Value {
    json!({"scoped_routes": {
        "name": "scopes",
        "scope_key_builder": {"fragments": [{"header_value_extractor": {"name": "x-scope", "index": 0}}]},
        "rds_config_source": transport.source(),
        "scoped_rds": {"scoped_rds_config_source": transport.source()},
    }})
}

pub fn scope(name: &str, key: &str, routes: &str, on_demand: bool) -> Value {
    json!({
        "name": name, "route_configuration_name": routes, "on_demand": on_demand,
        "key": {"fragments": [{"string_key": key}]},
    })
}

/// A virtual host that answers everything by itself.
pub fn virtual_host(name: &str, domain: &str, body: &str) -> Value {
    json!({"name": name, "domains": [domain], "routes": [
        {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": body}}},
    ]})
}

pub fn routes(name: &str, body: &str) -> Value {
    json!({"name": name, "virtual_hosts": [virtual_host(name, "*", body)]})
}

/// One whose virtual hosts come by VHDS, but for `fixed`.
pub fn discovered(name: &str, transport: Transport) -> Value {
    json!({
        "name": name, "virtual_hosts": [virtual_host("fixed", "fixed.test", "fixed")],
        "vhds": {"config_source": transport.source()},
    })
}
