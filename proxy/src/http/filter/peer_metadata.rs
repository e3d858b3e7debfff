//! Istio's metadata exchange over HTTP: two headers tell the other sidecar which workload this one is. They never reach
//! an application.

use std::sync::OnceLock;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::super::{cached_route, stream::Stream};
use crate::{cluster::Cluster, istio, metadata::Metadata, worker::Node};

pub const ID: HeaderName = HeaderName::from_static("x-envoy-peer-metadata-id");
pub const METADATA: HeaderName = HeaderName::from_static("x-envoy-peer-metadata");

/// `io.istio.http.peer_metadata.Config`, parsed. Each side is served by the headers or by nothing.
#[derive(Debug, Default)]
pub struct PeerMetadata {
    /// Who sent the request.
    pub discover_downstream: bool,
    /// Who answered it.
    pub discover_upstream: bool,
    /// Answers tell those who asked.
    pub propagate_downstream: Option<Propagation>,
    /// Requests tell who sends them.
    pub propagate_upstream: Option<Propagation>,
    pub additional_labels: Box<[Box<str>]>,
    /// What is told; made at first use.
    pub own: OnceLock<Own>,
}

#[derive(Debug, Clone, Copy)]
pub struct Propagation {
    /// Tell nothing to clusters outside the mesh.
    pub skip_external_clusters: bool,
}

/// The values of the two headers.
#[derive(Debug)]
pub struct Own {
    id: HeaderValue,
    metadata: HeaderValue,
}

/// Which of the headers a request had: an answer has the same.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    id: bool,
    metadata: bool,
}

impl PeerMetadata {
    fn own(&self, node: &Node) -> &Own {
        self.own.get_or_init(|| {
            let value = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
            Own {
                id: value(&node.id),
                metadata: value(&istio::own(node).to_base64(&self.additional_labels)),
            }
        })
    }
}

pub(super) fn run(filter: &PeerMetadata, stream: &mut Stream<'_>) {
    if filter.discover_downstream {
        let headers = &mut stream.request.headers;
        let metadata = headers.remove(METADATA);
        stream.kept.asked = Asked {
            id: headers.remove(ID).is_some(),
            metadata: metadata.is_some(),
        };
        if let Some(value) = metadata
            && stream.info.downstream_peer.is_none()
        {
            stream.info.downstream_peer = stream.worker.istio().from_header(&value);
        }
    }
    if let Some(propagation) = filter.propagate_upstream
        && !cached_route::cluster(stream).is_some_and(|cluster| propagation.skips(cluster))
    {
        let own = filter.own(&stream.worker.shared.node);
        stream.request.headers.insert(ID, own.id.clone());
        stream.request.headers.insert(METADATA, own.metadata.clone());
    }
}

pub(super) fn encode(filter: &PeerMetadata, stream: &mut Stream<'_>, headers: &mut HeaderMap) {
    if filter.discover_upstream {
        headers.remove(ID);
        if let Some(value) = headers.remove(METADATA)
            && stream.info.upstream.peer.is_none()
        {
            stream.info.upstream.peer = stream.worker.istio().from_header(&value);
        }
    }
    let Some(propagation) = filter.propagate_downstream else {
        return;
    };
    let Asked { id, metadata } = stream.kept.asked;
    if !(id || metadata)
        || stream
            .info
            .upstream
            .cluster
            .as_deref()
            .is_some_and(|c| propagation.skips(c))
    {
        return;
    }
    let own = filter.own(&stream.worker.shared.node);
    if id {
        headers.insert(ID, own.id.clone());
    }
    if metadata {
        headers.insert(METADATA, own.metadata.clone());
    }
}

impl Propagation {
    fn skips(self, cluster: &Cluster) -> bool {
        let says = |key| istio::of_cluster(cluster, key).and_then(Metadata::as_bool) == Some(true);
        let external = || &*cluster.name == "PassthroughCluster" || says("external");
        self.skip_external_clusters && external() || says("disable_mx")
    }
}
