//! `Listener`.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use xds_api::envoy::config::{core::v3::TrafficDirection as PbDirection, listener::v3 as pb};
use xxhash_rust::xxh64::Xxh64;

use super::{
    Context, access_log, address,
    at::{At, Scope},
    rejection::Rejection,
    wire,
};
use crate::{
    address::Address,
    listener::{ListenAddress, Listener, ListenerFilter, ListenerFilterKind, TrafficDirection},
    stats::Prefix,
};

mod filter;
mod filter_chain;
mod filter_chain_match;
mod overlap;

pub(crate) const KIND: &str = "listener";
/// The message of such a resource.
const TYPE: &str = "envoy.config.listener.v3.Listener";

/// Envoy's defaults.
const LISTENER_FILTERS_TIMEOUT: Duration = Duration::from_secs(15);
const PER_CONNECTION_BUFFER_LIMIT: u32 = 1024 * 1024;
/// `net.core.somaxconn` is the real bound; the kernel cuts larger values down to it.
const BACKLOG_OF_SYSTEM: u32 = i32::MAX as u32;

/// # Errors
/// The first thing in it that cannot be honoured.
pub fn parse(bytes: &[u8], context: &mut Context) -> Result<Listener, Rejection> {
    let pb = xds_api::decode_listener(bytes).map_err(|e| Scope::new(KIND, "", context).root().reject(e))?;
    let scope = Scope::new(KIND, &pb.name, context);
    scope.root().conform(TYPE, bytes)?;
    let mut listener = listener(&pb, bytes, &scope.root())?;
    listener.dependencies = scope.finish(context);
    Ok(listener)
}

fn listener(pb: &pb::Listener, bytes: &[u8], at: &At) -> Result<Listener, Rejection> {
    unsupported(pb, at)?;
    let addresses = addresses(pb, at)?;
    let first = &addresses[0].address;
    let name: Arc<str> = match pb.name.as_str() {
        "" => first.to_string().into(),
        name => name.into(),
    };
    let stat_prefix: Arc<str> = match pb.stat_prefix.as_str() {
        "" => address::stat_name(first),
        prefix => prefix.replace(':', "_").into(),
    };
    let chains = filter_chain::parse(pb, bytes, &stat_prefix, at)?;
    let mut listener = Listener {
        stats: at.stats(Prefix::listener(Arc::clone(&stat_prefix))),
        stat_prefix,
        bind_to_port: bind_to_port(pb) && !matches!(first, Address::Internal(_)),
        use_original_dst: pb.use_original_dst.unwrap_or(false),
        direction: match at.enumeration("traffic_direction", pb.traffic_direction)? {
            PbDirection::Unspecified => TrafficDirection::Unspecified,
            PbDirection::Inbound => TrafficDirection::Inbound,
            PbDirection::Outbound => TrafficDirection::Outbound,
        },
        reuse_port: pb.enable_reuse_port.unwrap_or(true) && first.ip().is_some(),
        exact_balance: exact_balance(pb.connection_balance_config.as_deref(), at)?,
        transparent: pb.transparent.unwrap_or(false),
        freebind: pb.freebind.unwrap_or(false),
        backlog: pb.tcp_backlog_size.unwrap_or(BACKLOG_OF_SYSTEM),
        tcp_fast_open_queue: pb.tcp_fast_open_queue_length,
        tcp_keepalive: pb.tcp_keepalive.as_ref().map(address::tcp_keepalive),
        socket_options: address::socket_options(&pb.socket_options, "socket_options", at)?,
        listener_filters: listener_filters(pb, at)?,
        listener_filters_timeout: at.timeout(
            "listener_filters_timeout",
            pb.listener_filters_timeout.as_ref(),
            Some(LISTENER_FILTERS_TIMEOUT),
        )?,
        continue_on_listener_filters_timeout: pb.continue_on_listener_filters_timeout,
        filter_chains: chains.chains,
        default_filter_chain: chains.default,
        per_connection_buffer_limit: pb
            .per_connection_buffer_limit_bytes
            .unwrap_or(PER_CONNECTION_BUFFER_LIMIT),
        access_log: access_log::parse(&pb.access_log, "access_log", at)?,
        ignore_global_conn_limit: pb.ignore_global_conn_limit,
        max_connections_per_socket_event: pb.max_connections_to_accept_per_socket_event.unwrap_or(u32::MAX),
        drain_modify_only: at.enumeration::<pb::listener::DrainType>("drain_type", pb.drain_type)?
            == pb::listener::DrainType::ModifyOnly,
        socket_hash: 0,
        hash: wire::hash(bytes),
        dependencies: Default::default(),
        name,
        addresses,
    };
    listener.socket_hash = socket_hash(&listener);
    Ok(listener)
}

fn unsupported(pb: &pb::Listener, at: &At) -> Result<(), Rejection> {
    for (field, set) in [
        ("api_listener", pb.api_listener.is_some()),
        ("udp_listener_config", pb.udp_listener_config.is_some()),
        ("filter_chain_matcher", pb.filter_chain_matcher.is_some()),
        ("fcds_config", pb.fcds_config.is_some()),
    ] {
        at.unsupported(field, set)?;
    }
    at.not_honoured("enable_mptcp", pb.enable_mptcp);
    at.not_honoured("stats_matcher", pb.stats_matcher.is_some());
    Ok(())
}

/// At least one.
fn addresses(pb: &pb::Listener, at: &At) -> Result<Vec<ListenAddress>, Rejection> {
    let mut addresses = Vec::with_capacity(1 + pb.additional_addresses.len());
    match (pb.address.as_deref(), &pb.listener_specifier) {
        (Some(address), _) => addresses.push(address::listen(address, &at.field("address"))?),
        (None, Some(_)) => addresses.push(ListenAddress {
            address: Address::Internal(pb.name.as_str().into()),
            ipv4_compat: false,
            mode: None,
        }),
        (None, None) => return Err(at.field("address").reject("is required and not set")),
    }
    for (i, additional) in pb.additional_addresses.iter().enumerate() {
        let at = at.item("additional_addresses", i);
        let address = at.required("address", additional.address.as_deref())?;
        addresses.push(address::listen(address, &at.field("address"))?);
        at.not_honoured("socket_options", additional.socket_options.is_some());
    }
    Ok(addresses)
}

fn bind_to_port(pb: &pb::Listener) -> bool {
    let deprecated = pb.deprecated_v1.as_ref().and_then(|v1| v1.bind_to_port);
    pb.bind_to_port.or(deprecated).unwrap_or(true)
}

fn exact_balance(pb: Option<&pb::listener::ConnectionBalanceConfig>, at: &At) -> Result<bool, Rejection> {
    use pb::listener::connection_balance_config::BalanceType as B;
    let Some(pb) = pb else { return Ok(false) };
    let at = at.field("connection_balance_config");
    match &pb.balance_type {
        None => Err(at.reject("is empty: set exact_balance")),
        Some(B::ExactBalance(_)) => Ok(true),
        Some(B::ExtendBalance(_) | B::CpuLocalityBalance(_)) => {
            at.note("only exact_balance is known; connections go where the kernel sends them");
            Ok(false)
        }
    }
}

/// The filters of the config, and those that Envoy adds where the rest of it needs them.
fn listener_filters(pb: &pb::Listener, at: &At) -> Result<Vec<ListenerFilter>, Rejection> {
    let implied = |kind| ListenerFilter { kind, disabled: None };
    let mut filters = filter::parse(&pb.listener_filters, at)?;
    let has = |filters: &[ListenerFilter], wanted: fn(&ListenerFilterKind) -> bool| {
        filters.iter().any(|filter| wanted(&filter.kind))
    };
    if pb.use_original_dst == Some(true) && !has(&filters, |k| *k == ListenerFilterKind::OriginalDst) {
        filters.push(implied(ListenerFilterKind::OriginalDst));
    }
    if pb.filter_chains.first().and_then(|chain| chain.use_proxy_proto) == Some(true)
        && !has(&filters, |k| matches!(k, ListenerFilterKind::ProxyProtocol { .. }))
    {
        filters.push(implied(ListenerFilterKind::ProxyProtocol { allow_without: false }));
    }
    let inspects_tls = pb.filter_chains.iter().any(|chain| {
        chain.filter_chain_match.as_deref().is_some_and(|m| {
            m.transport_protocol == "tls"
                || m.transport_protocol.is_empty() && !(m.server_names.is_empty() && m.application_protocols.is_empty())
        })
    });
    if inspects_tls && !has(&filters, |k| matches!(k, ListenerFilterKind::TlsInspector { .. })) {
        at.field("listener_filters")
            .note("a filter chain matches on TLS and there is no TLS inspector; one is added");
        filters.push(implied(ListenerFilterKind::TlsInspector { detect_ja3: false }));
    }
    Ok(filters)
}

/// An address that two listeners both ask for. Port 0 of a bound listener is another port for each.
pub fn conflict(one: &Listener, other: &Listener) -> Option<Address> {
    let concrete = |listener: &Listener, address: &Address| {
        !(listener.bind_to_port && address.ip().is_some_and(|ip| ip.port() == 0))
    };
    let mine = one.addresses.iter().map(|a| &a.address).filter(|a| concrete(one, a));
    let both = |address: &&Address| other.addresses.iter().any(|a| a.address == **address);
    mine.into_iter().find(both).cloned()
}

/// Whatever decides how sockets are opened: an update that keeps it keeps the sockets.
fn socket_hash(listener: &Listener) -> u64 {
    let mut hasher = Xxh64::new(0);
    listener.addresses.hash(&mut hasher);
    listener.socket_options.hash(&mut hasher);
    listener.tcp_keepalive.hash(&mut hasher);
    listener.tcp_fast_open_queue.hash(&mut hasher);
    (
        listener.bind_to_port,
        listener.reuse_port,
        listener.transparent,
        listener.freebind,
        listener.backlog,
        listener.exact_balance,
    )
        .hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
