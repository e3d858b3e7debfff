//! `transport_socket` and `transport_socket_matches`: how bytes go to an endpoint.

use std::sync::Arc;

use xds_api::envoy::config::{cluster::v3 as pb, core::v3 as core};

use super::super::{
    at::At,
    extension::{self, Category, Kind},
    metadata,
    rejection::Rejection,
    tls::{self, UpstreamTlsConfig},
};
use crate::{
    cluster::{TransportSocketMatch, TransportSockets},
    stats::{ClusterPart, Prefix},
    tls::{UpstreamTls, UpstreamTransport},
};

pub(super) fn parse(pb: &pb::Cluster, stat_name: &Arc<str>, at: &At) -> Result<TransportSockets, Rejection> {
    let mut matches = Vec::with_capacity(pb.transport_socket_matches.len());
    for (i, socket) in pb.transport_socket_matches.iter().enumerate() {
        let at = at.item("transport_socket_matches", i);
        matches.push(TransportSocketMatch {
            name: at.non_empty("name", &socket.name)?.into(),
            criteria: socket.r#match.as_ref().map(metadata::members).unwrap_or_default(),
            transport: transport_socket(
                at.required("transport_socket", socket.transport_socket.as_deref())?,
                stat_name,
                &at.field("transport_socket"),
            )?,
        });
    }
    Ok(TransportSockets {
        matches,
        default: match pb.transport_socket.as_deref() {
            Some(socket) => transport_socket(socket, stat_name, &at.field("transport_socket"))?,
            None => UpstreamTransport::Raw,
        },
    })
}

const TRANSPORT_SOCKETS: &[Kind<Option<UpstreamTlsConfig>>] = &[
    Kind {
        type_name: "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
        parse: |_, _| Ok(None),
    },
    Kind {
        type_name: "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        parse: |extension, at| tls::upstream(extension, at).map(Some),
    },
];

fn transport_socket(
    socket: &core::TransportSocket,
    stat_name: &Arc<str>,
    at: &At,
) -> Result<UpstreamTransport, Rejection> {
    use core::transport_socket::ConfigType;
    at.non_empty("name", &socket.name)?;
    let any = socket.config_type.as_ref().map(|ConfigType::TypedConfig(any)| any);
    let at = at.field("typed_config");
    let config = extension::dispatch(Category::TransportSocket, any, false, TRANSPORT_SOCKETS, &at)?
        .ok_or_else(|| at.reject("names no transport socket"))?;
    Ok(match config {
        None => UpstreamTransport::Raw,
        Some(config) => {
            let stats = at.stats(Prefix::cluster_part(Arc::clone(stat_name), ClusterPart::Ssl));
            let factory = at.stats(Prefix::cluster_part(Arc::clone(stat_name), ClusterPart::SslFactory));
            UpstreamTransport::Tls(Arc::new(UpstreamTls::new(config, stats, factory)))
        }
    })
}
