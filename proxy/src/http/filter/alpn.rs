//! `istio.alpn`: what ALPN a request's upstream connection offers, by the protocol that it will speak. It lets the
//! server's sidecar tell mesh traffic from other TLS.

use std::sync::Arc;

use super::super::{cached_route, message::Protocol, stream::Stream};
use crate::{cluster::UpstreamProtocol, istio, metadata::Metadata};

/// `istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig`, parsed. Empty lists override nothing.
#[derive(Debug, Default)]
pub struct Alpn {
    pub http10: Option<Arc<[Vec<u8>]>>,
    pub http11: Option<Arc<[Vec<u8>]>>,
    pub http2: Option<Arc<[Vec<u8>]>>,
}

pub(super) fn run(alpn: &Alpn, stream: &mut Stream<'_>) {
    let downstream = stream.request.protocol;
    let Some(cluster) = cached_route::cluster(stream) else {
        return;
    };
    if istio::of_cluster(cluster, "alpn_override").and_then(Metadata::as_str) == Some("false") {
        return;
    }
    let protocol = match &cluster.protocol {
        UpstreamProtocol::Http1(_) => Protocol::Http11,
        UpstreamProtocol::Http2(_) | UpstreamProtocol::Auto { .. } => Protocol::Http2,
        UpstreamProtocol::UseDownstream { .. } => downstream,
    };
    stream.kept.alpn = match protocol {
        Protocol::Http10 => &alpn.http10,
        Protocol::Http11 => &alpn.http11,
        Protocol::Http2 => &alpn.http2,
    }
    .clone();
}
