//! Addresses, ranges, and what is set on sockets.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use xds_api::envoy::config::core::v3 as core;

use super::{at::At, rejection::Rejection};
use crate::{
    address::Address,
    cluster::{BindConfig, TcpKeepalive},
    listener::{ListenAddress, SocketOption, SocketOptionValue, SocketState},
};

/// An address as written, before names are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Written {
    Resolved(Address),
    Name { host: Box<str>, port: u16 },
}

pub(crate) fn parse(address: &core::Address, at: &At) -> Result<Written, Rejection> {
    use core::address::Address as A;
    match &address.address {
        None => Err(at.reject("is empty: set socket_address, pipe or envoy_internal_address")),
        Some(A::SocketAddress(socket)) => socket_address(socket, &at.field("socket_address")),
        Some(A::Pipe(pipe)) => {
            let at = at.field("pipe");
            Ok(Written::Resolved(Address::Pipe(
                at.non_empty("path", &pipe.path)?.into(),
            )))
        }
        Some(A::EnvoyInternalAddress(internal)) => {
            use core::envoy_internal_address::AddressNameSpecifier as N;
            match &internal.address_name_specifier {
                Some(N::ServerListenerName(name)) => Ok(Written::Resolved(Address::Internal(name.as_str().into()))),
                None => Err(at
                    .field("envoy_internal_address.server_listener_name")
                    .reject("is required and not set")),
            }
        }
    }
}

/// An address that must be usable as it stands.
pub(crate) fn resolved(address: &core::Address, at: &At) -> Result<Address, Rejection> {
    match parse(address, at)? {
        Written::Resolved(address) => Ok(address),
        Written::Name { host, .. } => Err(at
            .field("socket_address.address")
            .reject(format_args!("{host:?} is no IP address"))),
    }
}

fn socket_address(socket: &core::SocketAddress, at: &At) -> Result<Written, Rejection> {
    use core::socket_address::{PortSpecifier as P, Protocol};
    if at.enumeration::<Protocol>("protocol", socket.protocol)? == Protocol::Udp {
        return Err(at.field("protocol").reject("UDP is not supported by Pillion"));
    }
    at.unsupported(
        "resolver_name",
        !socket.resolver_name.is_empty() && socket.resolver_name != "envoy.ip",
    )?;
    at.unsupported(
        "network_namespace_filepath",
        !socket.network_namespace_filepath.is_empty(),
    )?;
    let port = match &socket.port_specifier {
        None => return Err(at.field("port_value").reject("is required and not set")),
        Some(P::PortValue(port)) => u16::try_from(*port).map_err(|_| {
            at.field("port_value")
                .reject(format_args!("{port} is no port: at most 65535"))
        })?,
        Some(P::NamedPort(_)) => return Err(at.field("named_port").reject("is not supported; write port_value")),
    };
    let host = at.non_empty("address", &socket.address)?;
    Ok(match host.parse::<IpAddr>() {
        Ok(ip) => Written::Resolved(Address::Ip(SocketAddr::new(ip, port))),
        Err(_) => Written::Name {
            host: host.into(),
            port,
        },
    })
}

pub(crate) fn listen(address: &core::Address, at: &At) -> Result<ListenAddress, Rejection> {
    use core::address::Address as A;
    let (ipv4_compat, mode) = match &address.address {
        Some(A::SocketAddress(socket)) => (socket.ipv4_compat, None),
        Some(A::Pipe(pipe)) => (false, Some(pipe.mode).filter(|mode| *mode != 0)),
        _ => (false, None),
    };
    Ok(ListenAddress {
        address: resolved(address, at)?,
        ipv4_compat,
        mode,
    })
}

pub(crate) fn cidr(range: &core::CidrRange, at: &At) -> Result<IpNet, Rejection> {
    let ip: IpAddr = range.address_prefix.parse().map_err(|_| {
        at.field("address_prefix")
            .reject(format_args!("{:?} is no IP address", range.address_prefix))
    })?;
    // Envoy takes an unset length for 0, and shortens one that is too long.
    let longest = if ip.is_ipv4() { 32 } else { 128 };
    let length = range.prefix_len.unwrap_or(0);
    let length = u8::try_from(length).unwrap_or(longest).min(longest);
    IpNet::new(ip, length)
        .map(|net| net.trunc())
        .map_err(|e| at.reject(format_args!("is no range: {e}")))
}

pub(crate) fn cidrs(ranges: &[core::CidrRange], field: &'static str, at: &At) -> Result<Vec<IpNet>, Rejection> {
    let parsed = ranges
        .iter()
        .enumerate()
        .map(|(i, range)| cidr(range, &at.item(field, i)));
    parsed.collect()
}

pub(crate) fn socket_options(
    options: &[core::SocketOption],
    field: &'static str,
    at: &At,
) -> Result<Vec<SocketOption>, Rejection> {
    use core::socket_option::{SocketState as S, Value as V};
    let mut parsed = Vec::with_capacity(options.len());
    for (i, option) in options.iter().enumerate() {
        let at = at.item(field, i);
        let number = |field, value: i64| {
            i32::try_from(value).map_err(|_| {
                at.field(field)
                    .reject(format_args!("{value} is no socket option number"))
            })
        };
        let datagram_only = option
            .r#type
            .as_ref()
            .is_some_and(|t| t.datagram.is_some() && t.stream.is_none());
        let option = SocketOption {
            level: number("level", option.level)?,
            name: number("name", option.name)?,
            value: match &option.value {
                None => return Err(at.reject("has no value: set int_value or buf_value")),
                Some(V::IntValue(value)) => SocketOptionValue::Int(number("int_value", *value)?),
                Some(V::BufValue(bytes)) => SocketOptionValue::Bytes(bytes.as_slice().into()),
            },
            state: match at.enumeration("state", option.state)? {
                S::StatePrebind => SocketState::Prebind,
                S::StateBound => SocketState::Bound,
                S::StateListening => SocketState::Listening,
            },
        };
        if !datagram_only {
            parsed.push(option);
        }
    }
    Ok(parsed)
}

pub(crate) fn tcp_keepalive(keepalive: &core::TcpKeepalive) -> TcpKeepalive {
    let seconds = |value: Option<u32>| value.map(|s| Duration::from_secs(s.into()));
    TcpKeepalive {
        probes: keepalive.keepalive_probes,
        time: seconds(keepalive.keepalive_time),
        interval: seconds(keepalive.keepalive_interval),
    }
}

pub(crate) fn bind_config(bind: &core::BindConfig, at: &At) -> Result<BindConfig, Rejection> {
    let source = |address: &core::SocketAddress, at: &At| match socket_address(address, at)? {
        Written::Resolved(Address::Ip(address)) => Ok(address),
        _ => Err(at
            .field("address")
            .reject(format_args!("{:?} is no IP address", address.address))),
    };
    let unspecified = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    let mut extra_sources = Vec::new();
    for (i, extra) in bind.extra_source_addresses.iter().enumerate() {
        let at = at.item("extra_source_addresses", i);
        extra_sources.push(source(at.required("address", extra.address.as_deref())?, &at.field("address"))?.ip());
    }
    for (i, extra) in bind.additional_source_addresses.iter().enumerate() {
        extra_sources.push(source(extra, &at.item("additional_source_addresses", i))?.ip());
    }
    at.not_honoured("local_address_selector", bind.local_address_selector.is_some());
    Ok(BindConfig {
        source: match bind.source_address.as_deref() {
            Some(address) => source(address, &at.field("source_address"))?,
            None => unspecified,
        },
        extra_sources,
        freebind: bind.freebind,
        socket_options: socket_options(&bind.socket_options, "socket_options", at)?,
    })
}

/// How an address appears in names of statistics: `0.0.0.0_80`, `[__]_80`.
pub(crate) fn stat_name(address: &Address) -> Arc<str> {
    address.to_string().replace(':', "_").into()
}
