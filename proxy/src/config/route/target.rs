//! Which cluster a route sends to.

use xds_api::envoy::config::route::v3 as pb;

use super::{
    super::{
        at::At,
        header_edit::{self, header_fields},
        metadata,
        rejection::Rejection,
    },
    Defaults, per_filter,
};
use crate::route::action::{Target, WeightedCluster, WeightedClusters};

pub(super) fn parse(pb: &pb::RouteAction, defaults: &Defaults, at: &At) -> Result<Target, Rejection> {
    use pb::route_action::ClusterSpecifier as C;
    match &pb.cluster_specifier {
        None => Err(at.reject("names no cluster: set cluster, cluster_header or weighted_clusters")),
        Some(C::Cluster(name)) => {
            let name = at.non_empty("cluster", name)?;
            require(name, defaults, &at.field("cluster"));
            Ok(Target::Cluster(name.into()))
        }
        Some(C::ClusterHeader(name)) => Ok(Target::Header(at.header_name("cluster_header", name)?)),
        Some(C::WeightedClusters(weighted)) => Ok(Target::Weighted(self::weighted(
            weighted,
            defaults,
            &at.field("weighted_clusters"),
        )?)),
        Some(C::ClusterSpecifierPlugin(_)) => Err(at
            .field("cluster_specifier_plugin")
            .reject("is not supported by Pillion")),
        Some(C::InlineClusterSpecifierPlugin(_)) => Err(at
            .field("inline_cluster_specifier_plugin")
            .reject("is not supported by Pillion")),
    }
}

/// Notes that the cluster must exist, where the configuration asks for that.
pub(super) fn require(name: &str, defaults: &Defaults, at: &At) {
    if defaults.require_clusters {
        at.depend(|dependencies| {
            dependencies.require_cluster(name, || {
                at.reject(format_args!(
                    "there is no cluster {name:?}; define it, or set validate_clusters: false where it comes later"
                ))
            });
        });
    }
}

fn weighted(pb: &pb::WeightedCluster, defaults: &Defaults, at: &At) -> Result<WeightedClusters, Rejection> {
    use pb::weighted_cluster::{RandomValueSpecifier as R, cluster_weight::HostRewriteSpecifier as H};
    let (mut clusters, mut total) = (Vec::with_capacity(pb.clusters.len()), 0_u64);
    for (i, cluster) in pb.clusters.iter().enumerate() {
        let at = at.item("clusters", i);
        let cluster_header = match (cluster.name.as_str(), cluster.cluster_header.as_str()) {
            ("", "") => return Err(at.reject("names no cluster: set name or cluster_header")),
            ("", header) => Some(at.header_name("cluster_header", header)?),
            (name, "") => {
                require(name, defaults, &at.field("name"));
                None
            }
            _ => return Err(at.field("cluster_header").reject("stands beside name; keep one")),
        };
        let weight = *at.required("weight", cluster.weight.as_ref())?;
        total += u64::from(weight);
        clusters.push(WeightedCluster {
            name: cluster.name.as_str().into(),
            cluster_header,
            weight,
            runtime_key: match pb.runtime_key_prefix.as_str() {
                "" => None,
                prefix => Some(format!("{prefix}.{}", cluster.name).into()),
            },
            header_edits: header_edit::parse(&header_fields!(cluster), &at)?,
            per_filter: per_filter::parse(&cluster.typed_per_filter_config, &at)?,
            host_rewrite: match &cluster.host_rewrite_specifier {
                Some(H::HostRewriteLiteral(host)) => Some(at.header_value("host_rewrite_literal", host)?),
                None => None,
            },
            metadata_match: metadata::parse(cluster.metadata_match.as_deref()),
        });
    }
    let total_weight = match u32::try_from(total) {
        Ok(0) => {
            return Err(at
                .field("clusters")
                .reject("the sum of the weights must be more than 0"));
        }
        Ok(total) => total,
        Err(_) => {
            return Err(at.field("clusters").reject(format_args!(
                "the sum of the weights, {total}, is more than {}",
                u32::MAX
            )));
        }
    };
    at.not_honoured(
        "use_hash_policy",
        matches!(pb.random_value_specifier, Some(R::UseHashPolicy(true))),
    );
    Ok(WeightedClusters {
        clusters,
        total_weight,
        random_value_header: match &pb.random_value_specifier {
            Some(R::HeaderName(name)) => Some(at.header_name("header_name", name)?),
            _ => None,
        },
    })
}
