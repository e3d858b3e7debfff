//! Decoding of the root messages. `Message::decode` is generic over its buffer, so its code (half a minute of it for a
//! `Bootstrap`) is compiled in whichever crate calls it; these functions keep it in this one.

use crate::generated::{envoy, io, istio, stats};
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

/// Decoding of the configs of extensions, compiled in this crate like that of the root messages.
pub trait ExtensionConfig: Sized {
    /// From protobuf bytes. Unknown fields are skipped.
    fn from_wire(bytes: &[u8]) -> Result<Self, DecodeError>;
}

macro_rules! extension_configs {
    ($($($message:ident)::+;)*) => {$(
        impl ExtensionConfig for $($message)::+ {
            fn from_wire(bytes: &[u8]) -> Result<Self, DecodeError> {
                Self::decode(bytes)
            }
        }
    )*};
}

extension_configs! {
    envoy::config::trace::v3::OpenTelemetryConfig;
    envoy::config::trace::v3::ZipkinConfig;
    envoy::extensions::access_loggers::file::v3::FileAccessLog;
    envoy::extensions::access_loggers::grpc::v3::HttpGrpcAccessLogConfig;
    envoy::extensions::access_loggers::grpc::v3::TcpGrpcAccessLogConfig;
    envoy::extensions::access_loggers::stream::v3::StderrAccessLog;
    envoy::extensions::access_loggers::stream::v3::StdoutAccessLog;
    envoy::extensions::clusters::dns::v3::DnsCluster;
    envoy::extensions::clusters::original_dst::v3::OriginalDstCluster;
    envoy::extensions::filters::http::cors::v3::CorsPolicy;
    envoy::extensions::filters::http::grpc_stats::v3::FilterConfig;
    envoy::extensions::filters::http::jwt_authn::v3::PerRouteConfig;
    envoy::extensions::filters::http::on_demand::v3::OnDemand;
    envoy::extensions::filters::http::rbac::v3::RbacPerRoute;
    envoy::extensions::filters::listener::original_src::v3::OriginalSrc;
    envoy::extensions::filters::listener::proxy_protocol::v3::ProxyProtocol;
    envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
    envoy::extensions::load_balancing_policies::least_request::v3::LeastRequest;
    envoy::extensions::load_balancing_policies::maglev::v3::Maglev;
    envoy::extensions::load_balancing_policies::random::v3::Random;
    envoy::extensions::load_balancing_policies::ring_hash::v3::RingHash;
    envoy::extensions::load_balancing_policies::round_robin::v3::RoundRobin;
    envoy::extensions::load_balancing_policies::wrr_locality::v3::WrrLocality;
    envoy::extensions::matching::input_matchers::ip::v3::Ip;
    envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
    envoy::extensions::request_id::uuid::v3::UuidRequestIdConfig;
    envoy::extensions::resource_monitors::downstream_connections::v3::DownstreamConnectionsConfig;
    envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;
    envoy::extensions::tracers::opentelemetry::resource_detectors::v3::StaticConfigResourceDetectorConfig;
    envoy::extensions::tracers::opentelemetry::samplers::v3::ParentBasedSamplerConfig;
    envoy::extensions::tracers::opentelemetry::samplers::v3::TraceIdRatioBasedSamplerConfig;
    envoy::extensions::transport_sockets::tls::v3::SpiffeCertValidatorConfig;
    envoy::extensions::upstreams::tcp::v3::TcpProtocolOptions;
    envoy::r#type::matcher::v3::HttpRequestHeaderMatchInput;
    envoy::tcp::metadataexchange::config::MetadataExchange;
    io::istio::http::peer_metadata::Config;
    istio::envoy::config::filter::http::alpn::v2alpha1::FilterConfig;
    stats::PluginConfig;
}
