//! Filter chains: what takes a connection.

use std::sync::Arc;

use xds_api::envoy::config::{core::v3 as core, listener::v3 as pb};

use super::{
    super::{
        at::At,
        extension::{self, Category, Kind},
        network_filter,
        rejection::Rejection,
        tls::{self, DownstreamTlsConfig},
        wire,
    },
    filter_chain_match, overlap,
};
use crate::{
    drain::Drain,
    listener::{FilterChain, FilterChainMatch},
    stats::Prefix,
    tls::DownstreamTls,
};

/// Numbers of the two fields in `envoy.config.listener.v3.Listener`, whose bytes are hashed chain by chain.
const FILTER_CHAINS: u32 = 3;
const DEFAULT_FILTER_CHAIN: u32 = 25;

pub(super) struct Chains {
    pub(super) chains: Vec<Arc<FilterChain>>,
    pub(super) default: Option<Arc<FilterChain>>,
}

pub(super) fn parse(pb: &pb::Listener, bytes: &[u8], stat_prefix: &Arc<str>, at: &At) -> Result<Chains, Rejection> {
    if pb.filter_chains.is_empty() && pb.default_filter_chain.is_none() {
        return Err(at
            .field("filter_chains")
            .reject("is empty, and there is no default_filter_chain either"));
    }
    let mut hashes = wire::repeated(bytes, FILTER_CHAINS).map(wire::hash);
    let mut chains = Vec::with_capacity(pb.filter_chains.len());
    for (i, chain) in pb.filter_chains.iter().enumerate() {
        let hash = hashes.next().unwrap_or_default();
        chains.push(Arc::new(filter_chain(
            chain,
            hash,
            stat_prefix,
            &at.item("filter_chains", i),
        )?));
    }
    overlap::check(&chains, at)?;
    let default = match pb.default_filter_chain.as_deref() {
        Some(chain) => {
            let hash = wire::repeated(bytes, DEFAULT_FILTER_CHAIN).map(wire::hash).last();
            let at = at.field("default_filter_chain");
            Some(Arc::new(filter_chain(
                chain,
                hash.unwrap_or_default(),
                stat_prefix,
                &at,
            )?))
        }
        None => None,
    };
    Ok(Chains { chains, default })
}

fn filter_chain(pb: &pb::FilterChain, hash: u64, stat_prefix: &Arc<str>, at: &At) -> Result<FilterChain, Rejection> {
    let filters = network_filter::parse(&pb.filters, stat_prefix, at)?;
    Ok(FilterChain {
        name: pb.name.as_str().into(),
        matches: match pb.filter_chain_match.as_deref() {
            Some(matches) => filter_chain_match::parse(matches, &at.field("filter_chain_match"))?,
            None => FilterChainMatch::default(),
        },
        tls: match pb.transport_socket.as_deref() {
            Some(socket) => transport_socket(socket, stat_prefix, &at.field("transport_socket"))?,
            None => None,
        },
        transport_socket_connect_timeout: at.timeout(
            "transport_socket_connect_timeout",
            pb.transport_socket_connect_timeout.as_ref(),
            None,
        )?,
        network_filters: filters.before,
        filter: filters.terminal,
        drain: Drain::default(),
        hash,
    })
}

const TRANSPORT_SOCKETS: &[Kind<Option<DownstreamTlsConfig>>] = &[
    Kind {
        type_name: "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
        parse: |_, _| Ok(None),
    },
    Kind {
        type_name: "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        parse: |extension, at| tls::downstream(extension, at).map(Some),
    },
];

fn transport_socket(
    socket: &core::TransportSocket,
    stat_prefix: &Arc<str>,
    at: &At,
) -> Result<Option<Arc<DownstreamTls>>, Rejection> {
    use core::transport_socket::ConfigType::TypedConfig;
    at.non_empty("name", &socket.name)?;
    let any = socket.config_type.as_ref().map(|TypedConfig(any)| any);
    let at = at.field("typed_config");
    let config = extension::dispatch(Category::TransportSocket, any, false, TRANSPORT_SOCKETS, &at)?.flatten();
    Ok(config.map(|config| {
        let stats = at.stats(Prefix::listener_ssl(Arc::clone(stat_prefix)));
        let factory = at.stats(Prefix::listener_ssl_factory(Arc::clone(stat_prefix)));
        Arc::new(DownstreamTls::new(config, stats, factory))
    }))
}
