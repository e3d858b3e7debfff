//! What the protocol must know of a resource type: whether a state-of-the-world response is the full state, how names
//! match, and which service serves the type on a stream of its own. Types that are not in the table (Istio's
//! `istio.workload.Workload`, any other) work too, over ADS.

use crate::state::Protocol;

pub const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
pub const ENDPOINT: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
pub const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
pub const ROUTE: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
pub const SCOPED_ROUTE: &str = "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration";
pub const VIRTUAL_HOST: &str = "type.googleapis.com/envoy.config.route.v3.VirtualHost";
pub const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
pub const RUNTIME: &str = "type.googleapis.com/envoy.service.runtime.v3.Runtime";
pub const EXTENSION_CONFIG: &str = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";

/// Methods of `envoy.service.discovery.v3.AggregatedDiscoveryService`.
const AGGREGATED: Methods = Methods {
    sotw: Some("/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"),
    delta: Some("/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"),
};

const NO_METHODS: Methods = Methods {
    sotw: None,
    delta: None,
};

/// The gRPC paths of a discovery service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Methods {
    sotw: Option<&'static str>,
    delta: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResourceType {
    /// A state-of-the-world response names all that exists: what it omits is removed ("Deleting Resources" in the xDS
    /// protocol: LDS and CDS; Envoy treats SRDS alike). Of other types a response is partial and removes nothing.
    pub(crate) full_state: bool,
    /// A subscription to a route configuration's name covers the virtual hosts below it, and the server names them by
    /// alias (VHDS), so that names cannot tell what was asked for.
    pub(crate) namespaced: bool,
    methods: Methods,
}

/// The row of `type_url`; a neutral one for a type that is not in the table.
pub(crate) fn resource_type(type_url: &str) -> &'static ResourceType {
    static OTHER: ResourceType = ResourceType {
        full_state: false,
        namespaced: false,
        methods: NO_METHODS,
    };
    TABLE
        .iter()
        .find_map(|(url, row)| (*url == type_url).then_some(row))
        .unwrap_or(&OTHER)
}

/// Path of the aggregated discovery service.
pub(crate) fn aggregated_method(protocol: Protocol) -> Option<&'static str> {
    AGGREGATED.method(protocol)
}

/// Path of the service that serves `type_url` alone, if Envoy's API has one for this protocol.
pub(crate) fn own_method(type_url: &str, protocol: Protocol) -> Option<&'static str> {
    resource_type(type_url).methods.method(protocol)
}

impl Methods {
    fn method(self, protocol: Protocol) -> Option<&'static str> {
        match protocol {
            Protocol::StateOfTheWorld => self.sotw,
            Protocol::Delta => self.delta,
        }
    }
}

const fn row(full_state: bool, namespaced: bool, sotw: Option<&'static str>, delta: &'static str) -> ResourceType {
    ResourceType {
        full_state,
        namespaced,
        methods: Methods {
            sotw,
            delta: Some(delta),
        },
    }
}

#[rustfmt::skip]
static TABLE: [(&str, ResourceType); 9] = [
    (CLUSTER, row(true, false,
        Some("/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters"),
        "/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters")),
    (ENDPOINT, row(false, false,
        Some("/envoy.service.endpoint.v3.EndpointDiscoveryService/StreamEndpoints"),
        "/envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints")),
    (LISTENER, row(true, false,
        Some("/envoy.service.listener.v3.ListenerDiscoveryService/StreamListeners"),
        "/envoy.service.listener.v3.ListenerDiscoveryService/DeltaListeners")),
    (ROUTE, row(false, false,
        Some("/envoy.service.route.v3.RouteDiscoveryService/StreamRoutes"),
        "/envoy.service.route.v3.RouteDiscoveryService/DeltaRoutes")),
    (SCOPED_ROUTE, row(true, false,
        Some("/envoy.service.route.v3.ScopedRoutesDiscoveryService/StreamScopedRoutes"),
        "/envoy.service.route.v3.ScopedRoutesDiscoveryService/DeltaScopedRoutes")),
    (VIRTUAL_HOST, row(false, true,
        None,
        "/envoy.service.route.v3.VirtualHostDiscoveryService/DeltaVirtualHosts")),
    (SECRET, row(false, false,
        Some("/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets"),
        "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets")),
    (RUNTIME, row(false, false,
        Some("/envoy.service.runtime.v3.RuntimeDiscoveryService/StreamRuntime"),
        "/envoy.service.runtime.v3.RuntimeDiscoveryService/DeltaRuntime")),
    (EXTENSION_CONFIG, row(false, false,
        Some("/envoy.service.extension.v3.ExtensionConfigDiscoveryService/StreamExtensionConfigs"),
        "/envoy.service.extension.v3.ExtensionConfigDiscoveryService/DeltaExtensionConfigs")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_delta_serves_virtual_hosts_and_unknown_types_need_ads() {
        assert_eq!(own_method(VIRTUAL_HOST, Protocol::StateOfTheWorld), None);
        assert!(own_method(VIRTUAL_HOST, Protocol::Delta).is_some());
        assert_eq!(
            own_method("type.googleapis.com/istio.workload.Workload", Protocol::Delta),
            None
        );
        assert!(!resource_type("type.googleapis.com/istio.workload.Workload").full_state);
    }
}
