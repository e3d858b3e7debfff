//! `FilterChainMatch`.

use xds_api::envoy::config::listener::v3 as pb;

use super::super::{address, at::At, rejection::Rejection};
use crate::listener::{FilterChainMatch, SourceType};

pub(super) fn parse(pb: &pb::FilterChainMatch, at: &At) -> Result<FilterChainMatch, Rejection> {
    use pb::filter_chain_match::ConnectionSourceType as S;
    // Envoy refuses them too: they never were implemented.
    at.unsupported("address_suffix", !pb.address_suffix.is_empty())?;
    at.unsupported("suffix_len", pb.suffix_len.is_some())?;
    let port = |port: u32| u16::try_from(port).ok();
    let mut server_names = Vec::with_capacity(pb.server_names.len());
    for (i, name) in pb.server_names.iter().enumerate() {
        let rest = name.strip_prefix("*.").unwrap_or(name);
        if rest.contains('*') {
            return Err(at.item("server_names", i).reject(format_args!(
                "{name:?} has a wildcard inside; only a whole first label may be one, as in *.example.com"
            )));
        }
        server_names.push(name.to_ascii_lowercase().into());
    }
    Ok(FilterChainMatch {
        destination_port: pb.destination_port.and_then(port),
        prefix_ranges: address::cidrs(&pb.prefix_ranges, "prefix_ranges", at)?,
        direct_source_prefix_ranges: address::cidrs(
            &pb.direct_source_prefix_ranges,
            "direct_source_prefix_ranges",
            at,
        )?,
        source_type: match at.enumeration("source_type", pb.source_type)? {
            S::Any => SourceType::Any,
            S::SameIpOrLoopback => SourceType::SameIpOrLoopback,
            S::External => SourceType::External,
        },
        source_prefix_ranges: address::cidrs(&pb.source_prefix_ranges, "source_prefix_ranges", at)?,
        source_ports: pb.source_ports.iter().copied().filter_map(port).collect(),
        server_names,
        transport_protocol: pb.transport_protocol.as_str().into(),
        application_protocols: pb.application_protocols.iter().map(|p| p.as_str().into()).collect(),
    })
}
