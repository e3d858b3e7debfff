//! The labels and where their values come from.
//!
//! Source: Istio's docs, "Istio Standard Metrics", and what its proxies were seen to print.

use std::hash::BuildHasher;

use super::{IstioStats, Reporter};
use crate::{
    cluster::Cluster,
    format::Facts,
    istio::{of_cluster, peer::Peer},
    metadata::Metadata,
    stream_info::TlsInfo,
};

/// In the order in which they are shown.
pub const LABELS: [&str; 25] = [
    "reporter",
    "source_workload",
    "source_canonical_service",
    "source_canonical_revision",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_service",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_service_name",
    "destination_service_namespace",
    "destination_cluster",
    "request_protocol",
    "response_code",
    "grpc_response_status",
    "response_flags",
    "connection_security_policy",
];

/// What is not known.
pub(super) const UNKNOWN: &str = "unknown";
/// The revision of what tells none.
const LATEST: &str = "latest";

/// Clusters that stand for no service, whose own name is told.
const NAMELESS: [&str; 5] = [
    "BlackHoleCluster",
    "PassthroughCluster",
    "InboundPassthroughCluster",
    "InboundPassthroughClusterIpv4",
    "InboundPassthroughClusterIpv6",
];

/// What is counted, as far as labels differ by it.
pub(super) enum Group {
    Http {
        /// Of a gRPC call: its status, if there is one.
        grpc: Option<Option<u32>>,
    },
    /// Without labels of the response, which may be far away.
    Messages,
    Tcp,
}

/// All that a label set hangs on, besides the proxy's own workload. Texts stand as hashes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    filter: u64,
    reporter: u8,
    protocol: u8,
    code: u16,
    grpc_status: u32,
    flags: (u32, u64),
    source: u64,
    destination: u64,
    cluster: u64,
    service: u64,
    peer_principal: u64,
    own_principal: u64,
    overrides: u64,
}

/// Both ends of what is counted.
pub(super) struct Ends<'a> {
    reporter: Reporter,
    /// Who sent it, where that is not this proxy's own workload.
    source: Option<&'a Peer>,
    /// Who served it, likewise.
    destination: Option<&'a Peer>,
    peer_principal: &'a str,
    own_principal: &'a str,
    /// The request's host, where it may stand for the service.
    host: &'a str,
    route: &'a str,
    cluster: Option<&'a Cluster>,
    facts: &'a Facts<'a>,
}

#[derive(Default)]
struct Service<'a> {
    host: &'a str,
    name: &'a str,
    namespace: &'a str,
}

impl<'a> Ends<'a> {
    /// `fallback`: what the endpoint's metadata tells of a server that does not tell itself.
    pub(super) fn new(
        config: &IstioStats,
        reporter: Reporter,
        facts: &'a Facts<'a>,
        fallback: Option<&'a Peer>,
    ) -> Self {
        let info = facts.info;
        let (source, destination, tls) = match reporter {
            Reporter::Client => (None, info.upstream.peer.as_deref().or(fallback), &info.upstream.tls),
            Reporter::Server => (info.downstream_peer.as_deref(), None, &info.connection.tls),
            Reporter::Gateway => {
                let destination = info.upstream.peer.as_deref();
                (info.downstream_peer.as_deref(), destination, &info.connection.tls)
            }
        };
        let host = facts.request.filter(|_| !config.disable_host_header_fallback);
        let (peer_principal, own_principal) = tls.as_deref().map(principals).unwrap_or_default();
        Self {
            reporter,
            source,
            destination,
            peer_principal,
            own_principal,
            host: host.map_or("", |request| request.authority_str()),
            route: info.route.as_deref().map_or("", |route| &route.name),
            cluster: info.upstream.cluster.as_deref(),
            facts,
        }
    }

    /// `overrides`: the values of expressions.
    pub(super) fn key(
        &self,
        filter: u64,
        group: &Group,
        hasher: &impl BuildHasher,
        overrides: Option<&[Option<String>]>,
    ) -> Key {
        let text = |text: &str| if text.is_empty() { 0 } else { hasher.hash_one(text) };
        let number = |peer: Option<&Peer>| peer.map_or(0, |peer| peer.number);
        let info = self.facts.info;
        let by_route = nameless_route(self.route).map_or(0, |name| name.len() as u64);
        let (protocol, code, grpc_status) = match group {
            Group::Http { grpc: None } => (0, info.response_code.unwrap_or(0), 0),
            Group::Http { grpc: Some(status) } => (1, info.response_code.unwrap_or(0), status.unwrap_or(u32::MAX)),
            Group::Messages => (2, 0, 0),
            Group::Tcp => (3, 0, 0),
        };
        Key {
            filter,
            reporter: self.reporter as u8,
            protocol,
            code,
            grpc_status,
            flags: if protocol == 2 { (0, 0) } else { info.flags.key() },
            source: number(self.source),
            destination: number(self.destination),
            cluster: self.cluster.map_or(0, |cluster| cluster.hash),
            service: text(self.host) ^ by_route,
            peer_principal: text(self.peer_principal),
            own_principal: text(self.own_principal),
            overrides: overrides.map_or(0, |values| hasher.hash_one(values)),
        }
    }

    /// The labels with their values.
    pub(super) fn labels(&self, own: &'a Peer, group: &Group) -> Labels {
        let service = self.service();
        let values = match self.reporter {
            Reporter::Client => self.of_client(own, &service),
            Reporter::Server => self.of_server(own, &service),
            Reporter::Gateway => self.of_gateway(&service),
        };
        let mut labels = Labels(LABELS.iter().copied().zip(values.map(str::to_owned)).collect());
        if matches!(group, Group::Messages) {
            return labels;
        }
        let info = self.facts.info;
        let mut push = |at: usize, value: String| labels.0.push((LABELS[at], value));
        match group {
            Group::Http { grpc } => {
                let status = grpc.flatten().map(|status| status.to_string()).unwrap_or_default();
                push(20, if grpc.is_some() { "grpc" } else { "http" }.to_owned());
                push(21, info.response_code.unwrap_or(0).to_string());
                push(22, status);
            }
            Group::Tcp | Group::Messages => push(20, "tcp".to_owned()),
        }
        push(23, info.flags.to_string());
        push(24, self.security().to_owned());
        labels
    }

    fn security(&self) -> &'static str {
        match self.reporter {
            // A client cannot tell what the server demands.
            Reporter::Client => UNKNOWN,
            _ if !self.peer_principal.is_empty() && !self.own_principal.is_empty() => "mutual_tls",
            _ => "none",
        }
    }

    fn service(&self) -> Service<'a> {
        let mut service = Service {
            host: self.host,
            name: self.host,
            namespace: "",
        };
        if let Some(name) = nameless_route(self.route) {
            service.name = name;
            return service;
        }
        let Some(cluster) = self.cluster else { return service };
        if NAMELESS.contains(&&*cluster.name) {
            service.name = &cluster.name;
            return service;
        }
        let Some(first) = of_cluster(cluster, "services").and_then(|list| list.item(0)) else {
            return service;
        };
        let of = |key: &str| first.get(key).and_then(Metadata::as_str);
        service.host = of("host").unwrap_or(service.host);
        service.namespace = of("namespace").unwrap_or_default();
        let short = || service.host.split('.').next().unwrap_or_default();
        service.name = of("name").unwrap_or_else(short);
        service
    }

    /// A certificate's namespace goes before what a peer says of itself.
    fn peer_namespace(&self, peer: Option<&'a Peer>) -> &'a str {
        let certified = self.peer_principal.split_once("/ns/").map(|(_, rest)| rest);
        match certified.and_then(|rest| rest.split('/').next()) {
            Some(namespace) if !namespace.is_empty() => namespace,
            _ => peer.map_or("", |peer| &peer.namespace),
        }
    }

    fn of_client(&self, own: &'a Peer, service: &Service<'a>) -> [&'a str; 20] {
        let peer = self.destination;
        let of = |field: fn(&Peer) -> &str| known(peer.map_or("", field));
        let namespace = self.peer_namespace(peer);
        let service_namespace = first(service.namespace, namespace);
        [
            "source",
            &own.workload,
            &own.canonical_name,
            &own.canonical_revision,
            &own.namespace,
            known(self.own_principal),
            &own.app,
            &own.version,
            &own.cluster,
            of(|p| &p.workload),
            known(namespace),
            known(self.peer_principal),
            of(|p| &p.app),
            of(|p| &p.version),
            known(service.host),
            of(|p| &p.canonical_name),
            first(peer.map_or("", |p| &p.canonical_revision), LATEST),
            known(service.name),
            known(service_namespace),
            of(|p| &p.cluster),
        ]
    }

    fn of_server(&self, own: &'a Peer, service: &Service<'a>) -> [&'a str; 20] {
        self.with_source(
            "destination",
            [
                &own.workload,
                &own.namespace,
                known(self.own_principal),
                &own.app,
                &own.version,
                first(service.host, &own.canonical_name),
                &own.canonical_name,
                &own.canonical_revision,
                first(service.name, &own.canonical_name),
                &own.namespace,
                &own.cluster,
            ],
        )
    }

    fn of_gateway(&self, service: &Service<'a>) -> [&'a str; 20] {
        let peer = self.destination;
        let of = |field: fn(&Peer) -> &str| known(peer.map_or("", field));
        self.with_source(
            "waypoint",
            [
                of(|p| &p.workload),
                of(|p| &p.namespace),
                UNKNOWN,
                of(|p| &p.app),
                of(|p| &p.version),
                known(service.host),
                of(|p| &p.canonical_name),
                of(|p| &p.canonical_revision),
                known(service.name),
                known(service.namespace),
                of(|p| &p.cluster),
            ],
        )
    }

    fn with_source(&self, reporter: &'static str, destination: [&'a str; 11]) -> [&'a str; 20] {
        let peer = self.source;
        let of = |field: fn(&Peer) -> &str| known(peer.map_or("", field));
        let source = [
            reporter,
            of(|p| &p.workload),
            of(|p| &p.canonical_name),
            first(peer.map_or("", |p| &p.canonical_revision), LATEST),
            known(self.peer_namespace(peer)),
            known(self.peer_principal),
            of(|p| &p.app),
            of(|p| &p.version),
            of(|p| &p.cluster),
        ];
        let mut all = [""; 20];
        all[..source.len()].copy_from_slice(&source);
        all[source.len()..].copy_from_slice(&destination);
        all
    }
}

/// Labels and values, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Labels(pub(super) Vec<(&'static str, String)>);

impl Labels {
    pub(super) fn pairs(&self) -> Vec<(&str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }
}

/// The peer's principal and our own: the first URI of each certificate.
fn principals(tls: &TlsInfo) -> (&str, &str) {
    let peer = tls.peer.as_ref().and_then(|peer| peer.certificate.uris().next());
    let own = tls.local.as_ref().and_then(|own| own.uris().next());
    (peer.unwrap_or_default(), own.unwrap_or_default())
}

/// Routes of Istio's that lead to no service.
fn nameless_route(route: &str) -> Option<&'static str> {
    match route {
        "block_all" => Some("BlackHoleCluster"),
        "allow_any" => Some("PassthroughCluster"),
        _ => None,
    }
}

fn known(text: &str) -> &str {
    first(text, UNKNOWN)
}

fn first<'t>(text: &'t str, otherwise: &'t str) -> &'t str {
    if text.is_empty() { otherwise } else { text }
}
