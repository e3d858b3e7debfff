//! `Cluster`: what an upstream is and how it is reached.
//!
//! [`parse`] makes everything of it but the state, which outlives updates and is handed in by [`ParsedCluster::adopt`].

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use arc_swap::ArcSwap;
use xds_api::envoy::config::cluster::v3 as pb;

use super::{
    Context, address,
    at::{At, Scope},
    dependencies::Dependencies,
    endpoint::{self, LoadAssignment},
    extension::{self, Category, Kind},
    istio, metadata,
    rejection::Rejection,
    wire,
};
use crate::{
    cluster::{BreakerLimits, Cluster, ClusterState, Discovery, LbPolicy, original::OriginalHosts},
    istio::exchange::MetadataExchange,
    stats::Prefix,
};

mod circuit_breakers;
mod discovery;
mod load_balancing;
mod outlier_detection;
mod protocol;
mod transport_socket;

pub(crate) use discovery::dns_resolver;

/// What rejections and notes call it.
pub(crate) const KIND: &str = "cluster";
/// The message of such a resource.
const TYPE: &str = "envoy.config.cluster.v3.Cluster";

/// Envoy's defaults.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const PER_CONNECTION_BUFFER_LIMIT: u32 = 1024 * 1024;

/// A cluster that was accepted, with what belongs to its state rather than to itself.
#[derive(Debug)]
pub struct ParsedCluster {
    /// With a state of its own, which is right for a name that was not known before.
    pub cluster: Cluster,
    /// By [`crate::cluster::Priority`].
    pub limits: [BreakerLimits; 2],
    /// Endpoints of a STATIC cluster; those of DNS clusters are targets of its `discovery`.
    pub assignment: Option<LoadAssignment>,
    pub dependencies: Dependencies,
}

impl ParsedCluster {
    /// The cluster in the place of its version before, if there is one, with the state that its name already has. The new
    /// limits apply at once.
    pub fn adopt(mut self, old: Option<&Arc<Cluster>>) -> Cluster {
        let Some(old) = old else { return self.cluster };
        let state = old.state.clone();
        self.cluster.replaces = Arc::downgrade(old);
        for (breaker, limits) in state.breakers.iter().zip(&self.limits) {
            breaker.set(limits);
        }
        self.cluster.state = state;
        self.cluster
    }
}

/// # Errors
/// The first thing in it that cannot be honoured.
pub fn parse(bytes: &[u8], added_via_api: bool, context: &mut Context) -> Result<ParsedCluster, Rejection> {
    let pb = xds_api::decode_cluster(bytes).map_err(|e| Scope::new(KIND, "", context).root().reject(e))?;
    let scope = Scope::new(KIND, &pb.name, context);
    scope.root().conform(TYPE, bytes)?;
    let parsed = cluster(&pb, wire::hash(bytes), added_via_api, &scope.root())?;
    let (cluster, limits, assignment) = parsed;
    Ok(ParsedCluster {
        cluster,
        limits,
        assignment,
        dependencies: scope.finish(context),
    })
}

type Parts = (Cluster, [BreakerLimits; 2], Option<LoadAssignment>);

fn cluster(pb: &pb::Cluster, hash: u64, added_via_api: bool, at: &At) -> Result<Parts, Rejection> {
    let name: Arc<str> = at.non_empty("name", &pb.name)?.into();
    let stat_name = match pb.alt_stat_name.as_str() {
        "" => Arc::clone(&name),
        alternative => alternative.into(),
    };
    let limits = circuit_breakers::parse(pb.circuit_breakers.as_deref(), &stat_name, at)?;
    let assignment = match pb.load_assignment.as_deref() {
        Some(assignment) => Some(endpoint::written(assignment, &at.field("load_assignment"))?),
        None => None,
    };
    let (discovery, assignment) = discovery::parse(pb, assignment, at)?;
    let balancing = load_balancing::parse(pb, at)?;
    check_balancer(&discovery, balancing.policy, at)?;
    let transport = transport_socket::parse(pb, &stat_name, at)?;
    let protocol = protocol::parse(pb, at)?;
    not_honoured(pb, at)?;
    let connection = pb.upstream_connection_options.as_ref();
    let cluster = Cluster {
        discovery,
        lb: balancing.policy,
        lb_config: balancing.config,
        connect_timeout: at
            .duration("connect_timeout", pb.connect_timeout.as_ref())?
            .unwrap_or(CONNECT_TIMEOUT),
        protocol: protocol.protocol,
        transport,
        outlier: match pb.outlier_detection.as_deref() {
            Some(outlier) => Some(outlier_detection::parse(
                outlier,
                &stat_name,
                &at.field("outlier_detection"),
            )?),
            None => None,
        },
        idle_timeout: protocol.idle_timeout,
        tcp_idle_timeout: protocol.tcp_idle_timeout,
        max_connection_duration: protocol.max_connection_duration,
        max_stream_duration: protocol.max_stream_duration,
        max_requests_per_connection: protocol.max_requests_per_connection,
        max_response_headers_kb: protocol.max_response_headers_kb,
        max_headers_count: protocol.max_headers_count,
        close_on_host_failure: pb.close_connections_on_host_health_failure,
        per_connection_buffer_limit: pb
            .per_connection_buffer_limit_bytes
            .unwrap_or(PER_CONNECTION_BUFFER_LIMIT),
        bind: match pb.upstream_bind_config.as_deref() {
            Some(bind) => Some(address::bind_config(bind, &at.field("upstream_bind_config"))?),
            None => None,
        },
        tcp_keepalive: connection
            .and_then(|c| c.tcp_keepalive.as_ref())
            .map(address::tcp_keepalive),
        socket_options: Vec::new(),
        auto_sni: protocol.auto_sni,
        auto_san_validation: protocol.auto_san_validation,
        auto_sni_header: protocol.auto_sni_header,
        metadata: metadata::compact(pb.metadata.as_deref()),
        metadata_exchange: filters(&pb.filters, at)?,
        hash,
        endpoints: ArcSwap::default(),
        originals: OriginalHosts::default(),
        replaces: Weak::new(),
        state: Arc::new(ClusterState::new(
            Arc::clone(&name),
            &limits,
            at.stats(Prefix::cluster(Arc::clone(&stat_name))),
            added_via_api,
        )),
        stat_name,
        name,
    };
    Ok((cluster, limits, assignment))
}

/// ORIGINAL_DST tells the host itself, and nothing else does.
fn check_balancer(discovery: &Discovery, lb: LbPolicy, at: &At) -> Result<(), Rejection> {
    let provided = lb == LbPolicy::ClusterProvided;
    match discovery {
        Discovery::OriginalDst { .. } if !provided => Err(at
            .field("lb_policy")
            .reject("an ORIGINAL_DST cluster takes only CLUSTER_PROVIDED")),
        Discovery::OriginalDst { .. } => Ok(()),
        _ if provided => Err(at
            .field("lb_policy")
            .reject("CLUSTER_PROVIDED needs a cluster that provides hosts itself: type ORIGINAL_DST")),
        _ => Ok(()),
    }
}

/// Filters of the cluster's connections; the one that is known is Istio's.
fn filters(pbs: &[pb::Filter], at: &At) -> Result<Option<MetadataExchange>, Rejection> {
    const FILTERS: &[Kind<MetadataExchange>] = &[Kind {
        type_name: "envoy.tcp.metadataexchange.config.MetadataExchange",
        parse: istio::metadata_exchange,
    }];
    let mut last = None;
    for (i, filter) in pbs.iter().enumerate() {
        let at = at.item("filters", i);
        at.unsupported("config_discovery", filter.config_discovery.is_some())?;
        let any = filter.typed_config.as_ref();
        let at = at.field("typed_config");
        last = extension::dispatch(Category::NetworkFilter, any, false, FILTERS, &at)?.or(last);
    }
    Ok(last)
}

fn not_honoured(pb: &pb::Cluster, at: &At) -> Result<(), Rejection> {
    at.unsupported("transport_socket_matcher", pb.transport_socket_matcher.is_some())?;
    at.unsupported("upstream_config", pb.upstream_config.is_some())?;
    for (field, set) in [
        ("health_checks", !pb.health_checks.is_empty()),
        ("ignore_health_on_host_removal", pb.ignore_health_on_host_removal),
        ("lb_subset_config", pb.lb_subset_config.is_some()),
        ("dns_resolvers", !pb.dns_resolvers.is_empty()),
        ("dns_resolution_config", pb.dns_resolution_config.is_some()),
        ("use_tcp_for_dns_lookups", pb.use_tcp_for_dns_lookups),
        ("lrs_server", pb.lrs_server.is_some()),
        ("preconnect_policy", pb.preconnect_policy.is_some()),
        ("track_timeout_budgets", pb.track_timeout_budgets),
        ("track_cluster_stats", pb.track_cluster_stats.is_some()),
        (
            "connection_pool_per_downstream_connection",
            pb.connection_pool_per_downstream_connection,
        ),
        ("queuing_policies", pb.queuing_policies.is_some()),
        ("stats_matcher", pb.stats_matcher.is_some()),
        (
            "per_connection_buffer_high_watermark_timeout",
            pb.per_connection_buffer_high_watermark_timeout.is_some(),
        ),
    ] {
        at.not_honoured(field, set);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
