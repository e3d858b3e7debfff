//! Endpoints as they are now, in the words of a `ClusterLoadAssignment`.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::{
    admin::hosts::{address_json, eds_health, locality_json},
    cluster::{Cluster, Discovery, Endpoint, LocalityEndpoints},
};

/// Envoy's default.
const OVERPROVISIONING_FACTOR: u32 = 140;

pub(super) fn assignment(cluster: &Cluster) -> Value {
    let name = match &cluster.discovery {
        Discovery::Eds { service_name, .. } => service_name,
        _ => &cluster.name,
    };
    let set = cluster.endpoints.load();
    let by_priority = set.priorities.iter().enumerate();
    let mut localities: Vec<Value> = by_priority
        .flat_map(|(priority, set)| set.localities.iter().map(move |of| locality(priority, of)))
        .collect();
    let originals = cluster.originals.endpoints();
    if !originals.is_empty() {
        let endpoints: Vec<Value> = originals.iter().map(|endpoint| lb_endpoint(endpoint)).collect();
        localities.push(json!({"locality": {}, "lb_endpoints": endpoints}));
    }
    let mut assignment = json!({
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": &**name,
    });
    if !localities.is_empty() {
        assignment["endpoints"] = json!(localities);
    }
    let factor = match set.overprovisioning_factor {
        // No assignment came yet.
        0 => OVERPROVISIONING_FACTOR,
        factor => factor,
    };
    assignment["policy"] = json!({"overprovisioning_factor": factor});
    assignment
}

fn locality(priority: usize, of: &LocalityEndpoints) -> Value {
    let endpoints: Vec<Value> = of.endpoints.iter().map(|endpoint| lb_endpoint(endpoint)).collect();
    let mut entry = json!({
        "locality": locality_json(&of.locality),
        "lb_endpoints": endpoints,
        "load_balancing_weight": of.weight,
    });
    if priority > 0 {
        entry["priority"] = json!(priority);
    }
    entry
}

fn lb_endpoint(endpoint: &Endpoint) -> Value {
    let mut inner = json!({"address": address_json(&endpoint.address), "health_check_config": {}});
    if !endpoint.config.hostname.is_empty() {
        inner["hostname"] = json!(&*endpoint.config.hostname);
    }
    let mut shown = json!({
        "endpoint": inner,
        "health_status": health(endpoint),
        "load_balancing_weight": endpoint.config.weight,
    });
    if let Some(metadata) = &endpoint.config.metadata {
        shown["metadata"] = json!({"filter_metadata": Value::from(&**metadata)});
    }
    shown
}

/// Ejected ones are unhealthy too, whatever the control plane says of them.
fn health(endpoint: &Endpoint) -> &'static str {
    let state = &endpoint.state;
    let failed = [&state.ejected, &state.failed_active_health_check];
    if failed.iter().any(|flag| flag.load(Ordering::Relaxed)) {
        return "UNHEALTHY";
    }
    eds_health(endpoint)
}
