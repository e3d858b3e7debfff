//! `node`: who this proxy is, to control planes and in logs.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Map;
use xds_api::{
    Message,
    envoy::{
        config::core::v3::{self as core, node::UserAgentVersionType},
        r#type::v3::SemanticVersion,
    },
    json::from_struct,
    pb::{Struct, Value, value},
};

use super::Options;
use crate::{cli, cluster::Locality, config::endpoint::locality_name};

/// What Envoy says of itself, and control planes branch on.
const USER_AGENT: &str = "envoy";
const VERSION: SemanticVersion = SemanticVersion {
    major_number: 1,
    minor_number: 40,
    patch: 0,
};
/// Envoy's, as far as they hold here.
const CLIENT_FEATURES: [&str; 1] = ["envoy.lb.does_not_support_overprovisioning"];

/// (name, category, message) of the extensions that control planes look for, as Envoy lists them.
const EXTENSIONS: [(&str, &str, &str); 18] = [
    (
        "envoy.filters.http.router",
        "envoy.filters.http",
        "envoy.extensions.filters.http.router.v3.Router",
    ),
    (
        "envoy.filters.network.http_connection_manager",
        "envoy.filters.network",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    ),
    (
        "envoy.filters.network.tcp_proxy",
        "envoy.filters.network",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
    ),
    (
        "envoy.filters.listener.original_dst",
        "envoy.filters.listener",
        "envoy.extensions.filters.listener.original_dst.v3.OriginalDst",
    ),
    (
        "envoy.filters.listener.original_src",
        "envoy.filters.listener",
        "envoy.extensions.filters.listener.original_src.v3.OriginalSrc",
    ),
    (
        "envoy.filters.listener.tls_inspector",
        "envoy.filters.listener",
        "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
    ),
    (
        "envoy.filters.listener.http_inspector",
        "envoy.filters.listener",
        "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
    ),
    (
        "envoy.filters.listener.proxy_protocol",
        "envoy.filters.listener",
        "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
    ),
    (
        "envoy.transport_sockets.tls",
        "envoy.transport_sockets.downstream",
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
    ),
    (
        "envoy.transport_sockets.tls",
        "envoy.transport_sockets.upstream",
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
    ),
    (
        "envoy.transport_sockets.raw_buffer",
        "envoy.transport_sockets.downstream",
        "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
    ),
    (
        "envoy.transport_sockets.raw_buffer",
        "envoy.transport_sockets.upstream",
        "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
    ),
    (
        "envoy.tls.cert_validator.spiffe",
        "envoy.tls.cert_validator",
        "envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig",
    ),
    (
        "envoy.access_loggers.file",
        "envoy.access_loggers",
        "envoy.extensions.access_loggers.file.v3.FileAccessLog",
    ),
    (
        "envoy.access_loggers.stdout",
        "envoy.access_loggers",
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
    ),
    (
        "envoy.retry_host_predicates.previous_hosts",
        "envoy.retry_host_predicates",
        "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
    ),
    (
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "envoy.upstream_options",
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    ),
    (
        "envoy.clusters.dns",
        "envoy.clusters",
        "envoy.extensions.clusters.dns.v3.DnsCluster",
    ),
];

/// `envoy.config.core.v3.Node`.
#[derive(Debug, Clone)]
pub struct Node {
    pub id: Box<str>,
    pub cluster: Box<str>,
    pub locality: Arc<Locality>,
    pub metadata: Map<String, serde_json::Value>,
    /// As sent in discovery requests: the bootstrap's, with what we are and have added.
    pub bytes: Bytes,
}

fn text(text: &str) -> Value {
    Value {
        kind: Some(value::Kind::StringValue(text.to_owned())),
    }
}

pub(super) fn parse(pb: Option<&core::Node>, options: &Options) -> Node {
    let mut node = pb.cloned().unwrap_or_default();
    let replace = |field: &mut String, by: &str| {
        if !by.is_empty() {
            by.clone_into(field);
        }
    };
    replace(&mut node.id, options.service_node);
    replace(&mut node.cluster, options.service_cluster);
    if !options.service_zone.is_empty() {
        let locality = node.locality.get_or_insert_default();
        replace(&mut locality.zone, options.service_zone);
    }
    node.user_agent_name = USER_AGENT.to_owned();
    node.user_agent_version_type = Some(UserAgentVersionType::UserAgentBuildVersion(Box::new(
        core::BuildVersion {
            version: Some(VERSION),
            metadata: Some(Struct {
                fields: cli::build().map(|(key, told)| (key.to_owned(), text(told))).into(),
            }),
        },
    )));
    node.extensions = EXTENSIONS
        .iter()
        .map(|(name, category, type_name)| core::Extension {
            name: (*name).to_owned(),
            category: (*category).to_owned(),
            type_urls: vec![(*type_name).to_owned()],
            ..core::Extension::default()
        })
        .collect();
    node.client_features.extend(CLIENT_FEATURES.map(str::to_owned));
    Node {
        id: node.id.as_str().into(),
        cluster: node.cluster.as_str().into(),
        locality: Arc::new(node.locality.as_deref().map(locality_name).unwrap_or_default()),
        metadata: node.metadata.as_ref().map(from_struct).unwrap_or_default(),
        bytes: node.encode_to_vec().into(),
    }
}
