//! `TcpProxy`.

use std::{sync::Arc, time::Duration};

use xds_api::envoy::{extensions::filters::network::tcp_proxy::v3::tcp_proxy::ClusterSpecifier, r#type::v3 as ty};

use super::{access_log, at::At, extension::Extension, rejection::Rejection};
use crate::{
    route::action::{HashInput, HashPolicy},
    stats::Prefix,
    tcp::{TcpProxy, TcpTarget},
};

/// Envoy's default.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

pub(crate) fn parse(extension: &Extension, at: &At) -> Result<TcpProxy, Rejection> {
    let pb = extension.decode(xds_api::decode_tcp_proxy, at)?;
    for (field, set) in [
        ("tunneling_config", pb.tunneling_config.is_some()),
        ("on_demand", pb.on_demand.is_some()),
        ("proxy_protocol_tlvs", !pb.proxy_protocol_tlvs.is_empty()),
        ("upstream_connect_mode", pb.upstream_connect_mode != 0),
    ] {
        at.unsupported(field, set)?;
    }
    for (field, set) in [
        ("metadata_match", pb.metadata_match.is_some()),
        ("downstream_idle_timeout", pb.downstream_idle_timeout.is_some()),
        ("upstream_idle_timeout", pb.upstream_idle_timeout.is_some()),
        ("backoff_options", pb.backoff_options.is_some()),
        ("access_log_flush_interval", pb.access_log_flush_interval.is_some()),
        ("access_log_options", pb.access_log_options.is_some()),
        ("flush_access_log_on_connected", pb.flush_access_log_on_connected),
        (
            "max_downstream_connection_duration_jitter_percentage",
            pb.max_downstream_connection_duration_jitter_percentage.is_some(),
        ),
    ] {
        at.not_honoured(field, set);
    }
    let stat_prefix: Arc<str> = at.non_empty("stat_prefix", &pb.stat_prefix)?.into();
    Ok(TcpProxy {
        stats: at.stats(Prefix::tcp(Arc::clone(&stat_prefix))),
        stat_prefix,
        target: target(pb.cluster_specifier.as_ref(), at)?,
        idle_timeout: at.timeout("idle_timeout", pb.idle_timeout.as_ref(), Some(IDLE_TIMEOUT))?,
        max_downstream_connection_duration: at.duration(
            "max_downstream_connection_duration",
            pb.max_downstream_connection_duration.as_ref(),
        )?,
        max_connect_attempts: pb.max_connect_attempts.unwrap_or(1),
        access_log: access_log::parse(&pb.access_log, "access_log", at)?,
        hash_policy: hash_policy(&pb.hash_policy, at)?,
    })
}

/// Unknown clusters are no error: a connection to one is closed when it comes.
fn target(pb: Option<&ClusterSpecifier>, at: &At) -> Result<TcpTarget, Rejection> {
    match pb {
        None => Err(at.reject("names no cluster: set cluster or weighted_clusters")),
        Some(ClusterSpecifier::Cluster(name)) => Ok(TcpTarget::Cluster(name.as_str().into())),
        Some(ClusterSpecifier::WeightedClusters(weighted)) => {
            let at = at.field("weighted_clusters");
            if weighted.clusters.is_empty() {
                return Err(at.field("clusters").reject("must not be empty"));
            }
            let (mut clusters, mut total) = (Vec::with_capacity(weighted.clusters.len()), 0_u64);
            for (i, cluster) in weighted.clusters.iter().enumerate() {
                let at = at.item("clusters", i);
                at.not_honoured("metadata_match", cluster.metadata_match.is_some());
                total += u64::from(cluster.weight);
                clusters.push((at.non_empty("name", &cluster.name)?.into(), cluster.weight));
            }
            Ok(TcpTarget::Weighted(clusters, total))
        }
    }
}

fn hash_policy(pbs: &[ty::HashPolicy], at: &At) -> Result<Vec<HashPolicy>, Rejection> {
    use ty::hash_policy::PolicySpecifier as P;
    if pbs.len() > 1 {
        return Err(at.field("hash_policy").reject("takes one policy"));
    }
    let mut policies = Vec::new();
    for (i, policy) in pbs.iter().enumerate() {
        let at = at.item("hash_policy", i);
        policies.push(HashPolicy {
            input: match &policy.policy_specifier {
                None => return Err(at.reject("names nothing to hash")),
                Some(P::SourceIp(_)) => HashInput::SourceIp,
                Some(P::FilterState(state)) => {
                    HashInput::FilterState(at.non_empty("filter_state.key", &state.key)?.into())
                }
            },
            terminal: false,
        });
    }
    Ok(policies)
}
