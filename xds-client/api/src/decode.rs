//! Decoding of the root messages. `Message::decode` is generic over its buffer, so its code (half a minute of it for a
//! `Bootstrap`) is compiled in whichever crate calls it; these functions keep it in this one.

use crate::generated::envoy;
use prost::{DecodeError, Message};

macro_rules! decode_functions {
    ($($name:ident: $($message:ident)::+;)*) => {$(
        #[doc = concat!("Decodes `", stringify!($($message)::+), "` from protobuf bytes. Unknown fields are skipped.")]
        pub fn $name(bytes: &[u8]) -> Result<Box<$($message)::+>, DecodeError> {
            <$($message)::+>::decode(bytes).map(Box::new)
        }
    )*};
}

decode_functions! {
    decode_bootstrap: envoy::config::bootstrap::v3::Bootstrap;
    decode_listener: envoy::config::listener::v3::Listener;
    decode_route_configuration: envoy::config::route::v3::RouteConfiguration;
    decode_scoped_route_configuration: envoy::config::route::v3::ScopedRouteConfiguration;
    decode_virtual_host: envoy::config::route::v3::VirtualHost;
    decode_cluster: envoy::config::cluster::v3::Cluster;
    decode_cluster_load_assignment: envoy::config::endpoint::v3::ClusterLoadAssignment;
    decode_lb_endpoint: envoy::config::endpoint::v3::LbEndpoint;
    decode_typed_extension_config: envoy::config::core::v3::TypedExtensionConfig;
    decode_secret: envoy::extensions::transport_sockets::tls::v3::Secret;
    decode_runtime: envoy::service::runtime::v3::Runtime;
    decode_discovery_request: envoy::service::discovery::v3::DiscoveryRequest;
    decode_discovery_response: envoy::service::discovery::v3::DiscoveryResponse;
    decode_delta_discovery_request: envoy::service::discovery::v3::DeltaDiscoveryRequest;
    decode_delta_discovery_response: envoy::service::discovery::v3::DeltaDiscoveryResponse;
    decode_http_connection_manager: envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
    decode_tcp_proxy: envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
    decode_network_rbac: envoy::extensions::filters::network::rbac::v3::Rbac;
    decode_router: envoy::extensions::filters::http::router::v3::Router;
    decode_rbac: envoy::extensions::filters::http::rbac::v3::Rbac;
    decode_fault: envoy::extensions::filters::http::fault::v3::HttpFault;
    decode_ext_authz: envoy::extensions::filters::http::ext_authz::v3::ExtAuthz;
    decode_jwt_authentication: envoy::extensions::filters::http::jwt_authn::v3::JwtAuthentication;
    decode_local_rate_limit: envoy::extensions::filters::http::local_ratelimit::v3::LocalRateLimit;
    decode_downstream_tls_context: envoy::extensions::transport_sockets::tls::v3::DownstreamTlsContext;
    decode_upstream_tls_context: envoy::extensions::transport_sockets::tls::v3::UpstreamTlsContext;
    decode_http_protocol_options: envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
}
