//! `ClusterLoadAssignment`: the endpoints of a cluster by priority and locality, before they meet what is known of each.

use std::{sync::Arc, time::Duration};

use xds_api::envoy::{
    config::{core::v3 as core, endpoint::v3 as pb},
    r#type::v3::FractionalPercent,
};

use super::{
    Context,
    address::{self, Written},
    at::{At, Scope},
    metadata,
    rejection::Rejection,
    wire,
};
use crate::{
    address::Address,
    cluster::{DnsTarget, EdsHealth, EndpointConfig, Locality},
};

pub(crate) const KIND: &str = "cluster load assignment";
/// The message of such a resource.
const TYPE: &str = "envoy.config.endpoint.v3.ClusterLoadAssignment";

/// Percent. Envoy's default.
const OVERPROVISIONING_FACTOR: u32 = 140;

/// `envoy.config.endpoint.v3.ClusterLoadAssignment`, parsed.
#[derive(Debug)]
pub struct LoadAssignment {
    pub cluster_name: Arc<str>,
    /// Index is the priority; a priority that nobody named is empty.
    pub priorities: Vec<Vec<LocalityAssignment>>,
    pub policy: AssignmentPolicy,
    /// Hash of the received resource.
    pub hash: u64,
}

#[derive(Debug, Clone)]
pub struct AssignmentPolicy {
    /// Percent.
    pub overprovisioning_factor: u32,
    /// Share of requests to drop by category, in millionths.
    pub drop_overloads: Vec<(Box<str>, u32)>,
    /// The health of a priority is the share of its weight, not of its hosts.
    pub weighted_priority_health: bool,
    /// Forget the assignment when no update came for this long.
    pub stale_after: Option<Duration>,
}

/// One locality of one priority.
#[derive(Debug)]
pub struct LocalityAssignment {
    pub locality: Arc<Locality>,
    /// 0: none given.
    pub weight: u32,
    pub endpoints: Vec<(Address, EndpointConfig)>,
}

/// # Errors
/// The first thing in it that cannot be honoured.
pub fn parse(bytes: &[u8], context: &mut Context) -> Result<LoadAssignment, Rejection> {
    let pb =
        xds_api::decode_cluster_load_assignment(bytes).map_err(|e| Scope::new(KIND, "", context).root().reject(e))?;
    let scope = Scope::new(KIND, &pb.cluster_name, context);
    scope.root().conform(TYPE, bytes)?;
    let mut assignment = written(&pb, &scope.root())?.resolved("STRICT_DNS or LOGICAL_DNS", &scope.root())?;
    assignment.hash = wire::hash(bytes);
    scope.finish(context);
    Ok(assignment)
}

/// An assignment whose addresses may still be names.
pub(crate) struct WrittenAssignment {
    cluster_name: Arc<str>,
    localities: Vec<WrittenLocality>,
    policy: AssignmentPolicy,
}

struct WrittenLocality {
    priority: u32,
    locality: Arc<Locality>,
    weight: u32,
    endpoints: Vec<(Written, EndpointConfig)>,
}

impl WrittenAssignment {
    pub(crate) fn localities(&self) -> usize {
        self.localities.len()
    }

    pub(crate) fn endpoints(&self) -> usize {
        self.localities.iter().map(|l| l.endpoints.len()).sum()
    }

    /// For clusters that resolve no names.
    pub(crate) fn resolved(self, instead: &str, at: &At) -> Result<LoadAssignment, Rejection> {
        let mut priorities: Vec<Vec<LocalityAssignment>> = Vec::new();
        for (i, written) in self.localities.into_iter().enumerate() {
            let mut endpoints = Vec::with_capacity(written.endpoints.len());
            for (j, (address, config)) in written.endpoints.into_iter().enumerate() {
                match address {
                    Written::Resolved(address) => endpoints.push((address, config)),
                    Written::Name { host, .. } => {
                        let at = at.item("endpoints", i);
                        let at = at.item("lb_endpoints", j);
                        return Err(at.field("endpoint.address.socket_address.address").reject(format_args!(
                            "{host:?} is no IP address; names are resolved in clusters of type {instead}"
                        )));
                    }
                }
            }
            let priority = written.priority as usize;
            if priorities.len() <= priority {
                priorities.resize_with(priority + 1, Vec::new);
            }
            priorities[priority].push(LocalityAssignment {
                locality: written.locality,
                weight: written.weight,
                endpoints,
            });
        }
        priorities.iter_mut().for_each(Vec::shrink_to_fit);
        Ok(LoadAssignment {
            cluster_name: self.cluster_name,
            priorities,
            policy: self.policy,
            hash: 0,
        })
    }

    /// For clusters that resolve every name.
    pub(crate) fn dns_targets(self, at: &At) -> Result<Vec<DnsTarget>, Rejection> {
        let mut targets = Vec::with_capacity(self.endpoints());
        for (i, written) in self.localities.into_iter().enumerate() {
            for (j, (address, mut template)) in written.endpoints.into_iter().enumerate() {
                let (host, port): (Box<str>, _) = match address {
                    Written::Name { host, port } => (host, port),
                    Written::Resolved(Address::Ip(socket)) => (socket.ip().to_string().into(), socket.port()),
                    Written::Resolved(_) => {
                        let at = at.item("endpoints", i);
                        let at = at.item("lb_endpoints", j);
                        return Err(at
                            .field("endpoint.address")
                            .reject("a DNS cluster resolves names; put this address in a STATIC cluster"));
                    }
                };
                // Envoy's endpoints of a name are known by it unless the config gives them another.
                if template.hostname.is_empty() {
                    template.hostname = host.as_ref().into();
                }
                targets.push(DnsTarget {
                    host,
                    port,
                    priority: written.priority,
                    locality: Arc::clone(&written.locality),
                    locality_weight: written.weight,
                    template,
                });
            }
        }
        Ok(targets)
    }
}

pub(crate) fn written(pb: &pb::ClusterLoadAssignment, at: &At) -> Result<WrittenAssignment, Rejection> {
    let mut localities = Vec::with_capacity(pb.endpoints.len());
    at.unsupported("named_endpoints", !pb.named_endpoints.is_empty())?;
    for (i, locality) in pb.endpoints.iter().enumerate() {
        localities.push(self::locality(locality, &at.item("endpoints", i))?);
    }
    Ok(WrittenAssignment {
        cluster_name: at.non_empty("cluster_name", &pb.cluster_name)?.into(),
        localities,
        policy: policy(pb.policy.as_deref(), &at.field("policy"))?,
    })
}

fn policy(pb: Option<&pb::cluster_load_assignment::Policy>, at: &At) -> Result<AssignmentPolicy, Rejection> {
    let default = pb::cluster_load_assignment::Policy::default();
    let pb = pb.unwrap_or(&default);
    let mut drop_overloads = Vec::with_capacity(pb.drop_overloads.len());
    for (i, overload) in pb.drop_overloads.iter().enumerate() {
        let at = at.item("drop_overloads", i);
        let share = overload.drop_percentage.as_ref();
        drop_overloads.push((
            at.non_empty("category", &overload.category)?.into(),
            share.map_or(Ok(0), |share| drop_share(share, &at.field("drop_percentage")))?,
        ));
    }
    Ok(AssignmentPolicy {
        overprovisioning_factor: pb.overprovisioning_factor.unwrap_or(OVERPROVISIONING_FACTOR),
        drop_overloads,
        weighted_priority_health: pb.weighted_priority_health,
        stale_after: at.duration("endpoint_stale_after", pb.endpoint_stale_after.as_ref())?,
    })
}

/// Unlike other fractions one beyond the whole is refused, as in Envoy.
fn drop_share(share: &FractionalPercent, at: &At) -> Result<u32, Rejection> {
    use xds_api::envoy::r#type::v3::fractional_percent::DenominatorType as D;
    let whole = match at.enumeration("denominator", share.denominator)? {
        D::Hundred => 100,
        D::TenThousand => 10_000,
        D::Million => 1_000_000,
    };
    at.within("numerator", Some(share.numerator), 0, whole)?;
    at.millionths("", share)
}

fn locality(pb: &pb::LocalityLbEndpoints, at: &At) -> Result<WrittenLocality, Rejection> {
    use pb::locality_lb_endpoints::LbConfig;
    let list = match &pb.lb_config {
        None => &pb.lb_endpoints,
        Some(LbConfig::LoadBalancerEndpoints(list)) => &list.lb_endpoints,
        Some(LbConfig::LedsClusterLocalityConfig(_)) => {
            return Err(at
                .field("leds_cluster_locality_config")
                .reject("is not supported by Pillion; send lb_endpoints"));
        }
    };
    let mut endpoints = Vec::with_capacity(list.len());
    for (i, endpoint) in list.iter().enumerate() {
        endpoints.push(self::endpoint(endpoint, &at.item("lb_endpoints", i))?);
    }
    Ok(WrittenLocality {
        priority: pb.priority,
        locality: Arc::new(pb.locality.as_deref().map(locality_name).unwrap_or_default()),
        weight: pb.load_balancing_weight.unwrap_or(0),
        endpoints,
    })
}

pub(crate) fn locality_name(pb: &core::Locality) -> Locality {
    Locality {
        region: pb.region.as_str().into(),
        zone: pb.zone.as_str().into(),
        sub_zone: pb.sub_zone.as_str().into(),
    }
}

fn endpoint(pb: &pb::LbEndpoint, at: &At) -> Result<(Written, EndpointConfig), Rejection> {
    use core::HealthStatus as H;
    use pb::lb_endpoint::HostIdentifier as I;
    let endpoint = match &pb.host_identifier {
        Some(I::Endpoint(endpoint)) => endpoint,
        Some(I::EndpointName(_)) => {
            return Err(at
                .field("endpoint_name")
                .reject("is not supported; write the endpoint out"));
        }
        None => return Err(at.field("endpoint").reject("is required and not set")),
    };
    let health = match at.enumeration("health_status", pb.health_status)? {
        H::Unknown => EdsHealth::Unknown,
        H::Healthy => EdsHealth::Healthy,
        H::Unhealthy => EdsHealth::Unhealthy,
        H::Draining => EdsHealth::Draining,
        H::Timeout => EdsHealth::Timeout,
        H::Degraded => EdsHealth::Degraded,
    };
    let at = at.field("endpoint");
    let mut additional_addresses = Vec::with_capacity(endpoint.additional_addresses.len());
    for (i, additional) in endpoint.additional_addresses.iter().enumerate() {
        let at = at.item("additional_addresses", i);
        let address = at.required("address", additional.address.as_deref())?;
        additional_addresses.push(address::resolved(address, &at.field("address"))?);
    }
    at.not_honoured("health_check_config", endpoint.health_check_config.is_some());
    let address = address::parse(
        at.required("address", endpoint.address.as_deref())?,
        &at.field("address"),
    )?;
    let config = EndpointConfig {
        hostname: endpoint.hostname.as_str().into(),
        weight: pb.load_balancing_weight.unwrap_or(1),
        health,
        canary: is_canary(pb.metadata.as_deref()),
        metadata: metadata::compact(pb.metadata.as_deref()),
        additional_addresses,
    };
    Ok((address, config))
}

/// `envoy.lb` metadata `canary: true`.
fn is_canary(metadata: Option<&core::Metadata>) -> bool {
    use xds_api::pb::value::Kind;
    let lb = metadata.and_then(|m| m.filter_metadata.get("envoy.lb"));
    let canary = lb.and_then(|lb| lb.fields.get("canary")).and_then(|v| v.kind.as_ref());
    matches!(canary, Some(Kind::BoolValue(true)))
}

#[cfg(test)]
mod tests;
