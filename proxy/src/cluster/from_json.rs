//! Clusters written as JSON, with hosts at 10.0.0.0, 10.0.0.1 and so on, for tests.

use std::{ops::Range, sync::Arc};

use serde_json::{Value, json};

use super::{Cluster, Endpoint, endpoint_set};
use crate::config::{self, from_json};

/// A STATIC cluster `c` with what `patch` has over it.
pub(crate) fn cluster(hosts: usize, patch: &Value) -> Arc<Cluster> {
    let json = from_json::patched(json!({"name": "c"}), patch);
    let parse = |bytes: &[u8], context: &mut config::Context| config::cluster::parse(bytes, true, context);
    let (parsed, _) = from_json::parsed("envoy.config.cluster.v3.Cluster", &json, parse);
    let cluster = Arc::new(parsed.unwrap().cluster);
    set_hosts(&cluster, 0..hosts);
    cluster
}

/// Replaces the hosts by one locality of these.
pub(crate) fn set_hosts(cluster: &Cluster, hosts: Range<usize>) {
    let endpoints: Vec<_> = hosts.map(|i| endpoint(i, 1)).collect();
    assign(cluster, &json!([{"lb_endpoints": endpoints}]));
}

pub(crate) fn endpoint(host: usize, weight: u32) -> Value {
    let address = format!("10.0.0.{host}");
    json!({"endpoint": {"address": {"socket_address": {"address": address, "port_value": 80}}}, "load_balancing_weight": weight})
}

/// `endpoints` of a `ClusterLoadAssignment`.
pub(crate) fn assign(cluster: &Cluster, localities: &Value) {
    let json = json!({"cluster_name": "c", "endpoints": localities});
    let (parsed, _) = from_json::parsed(
        "envoy.config.endpoint.v3.ClusterLoadAssignment",
        &json,
        config::endpoint::parse,
    );
    endpoint_set::apply(cluster, &parsed.unwrap());
}

/// The host at this place of the first priority.
pub(crate) fn host(cluster: &Cluster, place: usize) -> Arc<Endpoint> {
    cluster.endpoints.load().priorities[0].endpoints[place].clone()
}
