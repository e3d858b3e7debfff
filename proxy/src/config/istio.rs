//! Istio's own filters.

use std::{sync::Arc, time::Duration};

use xds_api::{
    envoy::tcp::metadataexchange::config as exchange_pb, io::istio::http::peer_metadata as peer_pb,
    istio::envoy::config::filter::http::alpn::v2alpha1 as alpn_pb, stats as stats_pb,
};

use super::{at::At, extension::Extension, rejection::Rejection};
use crate::{
    http::filter::{
        alpn::Alpn,
        peer_metadata::{PeerMetadata, Propagation},
    },
    istio::{
        exchange::MetadataExchange,
        expression::Expression,
        stats::{self, IstioStats, LABELS, Metric, Overrides},
    },
};

/// Istio's default.
const TCP_REPORTING_DURATION: Duration = Duration::from_secs(5);

pub(crate) fn alpn(extension: &Extension, at: &At) -> Result<Alpn, Rejection> {
    use alpn_pb::filter_config::Protocol as P;
    let pb: alpn_pb::FilterConfig = extension.message(at)?;
    let mut alpn = Alpn::default();
    for (i, over) in pb.alpn_override.iter().enumerate() {
        let at = at.item("alpn_override", i);
        let list: Arc<[Vec<u8>]> = over
            .alpn_override
            .iter()
            .map(|name| name.clone().into_bytes())
            .collect();
        let list = Some(list).filter(|list| !list.is_empty());
        match at.enumeration("upstream_protocol", over.upstream_protocol)? {
            P::Http10 => alpn.http10 = list,
            P::Http11 => alpn.http11 = list,
            P::Http2 => alpn.http2 = list,
        }
    }
    Ok(alpn)
}

pub(crate) fn peer_metadata(extension: &Extension, at: &At) -> Result<PeerMetadata, Rejection> {
    let pb: peer_pb::Config = extension.message(at)?;
    at.not_honoured("shared_with_upstream", pb.shared_with_upstream);
    Ok(PeerMetadata {
        discover_downstream: discovers(&pb.downstream_discovery, "downstream_discovery", at),
        discover_upstream: discovers(&pb.upstream_discovery, "upstream_discovery", at),
        propagate_downstream: propagation(&pb.downstream_propagation, "downstream_propagation", at),
        propagate_upstream: propagation(&pb.upstream_propagation, "upstream_propagation", at),
        additional_labels: pb.additional_labels.iter().map(|label| label.as_str().into()).collect(),
        own: std::sync::OnceLock::new(),
    })
}

/// Whether the headers are among the methods.
fn discovers(methods: &[peer_pb::config::DiscoveryMethod], field: &'static str, at: &At) -> bool {
    use peer_pb::config::discovery_method::MethodSpecifier as M;
    let mut headers = false;
    for (i, method) in methods.iter().enumerate() {
        let at = at.item(field, i);
        match &method.method_specifier {
            Some(M::IstioHeaders(_)) => headers = true,
            // Only with METADATA_DISCOVERY does istiod send the workloads; without it Istio's proxy finds none either.
            Some(M::WorkloadDiscovery(_)) | None => {}
            Some(M::Baggage(_)) => at.not_honoured("baggage", true),
            Some(M::UpstreamFilterState(_)) => at.not_honoured("upstream_filter_state", true),
        }
    }
    headers
}

fn propagation(methods: &[peer_pb::config::PropagationMethod], field: &'static str, at: &At) -> Option<Propagation> {
    use peer_pb::config::propagation_method::MethodSpecifier as M;
    let mut headers = None;
    for (i, method) in methods.iter().enumerate() {
        match &method.method_specifier {
            Some(M::IstioHeaders(pb)) => {
                headers = Some(Propagation {
                    skip_external_clusters: pb.skip_external_clusters,
                });
            }
            Some(M::Baggage(_)) => at.item(field, i).not_honoured("baggage", true),
            None => {}
        }
    }
    headers
}

pub(crate) fn metadata_exchange(extension: &Extension, at: &At) -> Result<MetadataExchange, Rejection> {
    let pb: exchange_pb::MetadataExchange = extension.message(at)?;
    // `enable_discovery` asks for workloads from the control plane where the peer tells nothing; see `peer_metadata`.
    Ok(MetadataExchange {
        protocol: pb.protocol.into(),
        additional_labels: pb.additional_labels.iter().map(|label| label.as_str().into()).collect(),
        ..MetadataExchange::default()
    })
}

pub(crate) fn stats(extension: &Extension, at: &At) -> Result<IstioStats, Rejection> {
    let pb: stats_pb::PluginConfig = extension.message(at)?;
    at.not_honoured("definitions", !pb.definitions.is_empty());
    at.not_honoured("rotation_interval", pb.rotation_interval.is_some());
    stats::announce(at.store());
    Ok(IstioStats {
        gateway: pb.reporter == stats_pb::Reporter::ServerGateway as i32,
        disable_host_header_fallback: pb.disable_host_header_fallback,
        tcp_reporting_duration: at.timeout(
            "tcp_reporting_duration",
            pb.tcp_reporting_duration.as_ref(),
            Some(TCP_REPORTING_DURATION),
        )?,
        overrides: match pb.metrics.as_slice() {
            [] => None,
            metrics => Some(Box::new(overrides(metrics, at))),
        },
        ..IstioStats::new()
    })
}

/// As Istio's filter does, what is not understood changes nothing, and is said.
fn overrides(pbs: &[stats_pb::MetricConfig], at: &At) -> Overrides {
    let mut overrides = Overrides::default();
    for (i, pb) in pbs.iter().enumerate() {
        let at = at.item("metrics", i);
        // One metric, or all of them.
        let metrics: Vec<usize> = (0..Metric::ALL.len())
            .filter(|metric| pb.name.is_empty() || Metric::ALL[*metric].1 == pb.name)
            .collect();
        if metrics.is_empty() {
            at.field("name")
                .note(format_args!("{:?} is none of Istio's metrics", pb.name));
            continue;
        }
        if pb.drop {
            if !pb.name.is_empty() {
                metrics
                    .iter()
                    .for_each(|metric| overrides.metrics[*metric].dropped = true);
            }
            continue;
        }
        for label in &pb.tags_to_remove {
            if LABELS.contains(&label.as_str()) {
                metrics.iter().for_each(|metric| overrides.set(*metric, label, None));
            } else {
                at.field("tags_to_remove")
                    .note(format_args!("{label:?} is none of Istio's labels"));
            }
        }
        for (label, text) in &pb.dimensions {
            let expression = match Expression::parse(text) {
                Ok(expression) => {
                    let known = overrides.expressions.iter().position(|known| *known == expression);
                    Some(known.unwrap_or_else(|| {
                        overrides.expressions.push(expression);
                        overrides.expressions.len() - 1
                    }))
                }
                Err(problem) => {
                    at.entry("dimensions", label)
                        .note(format_args!("the label is left out: {problem}"));
                    None
                }
            };
            metrics
                .iter()
                .for_each(|metric| overrides.set(*metric, label, expression));
        }
    }
    overrides
}
