//! The next set of a cluster's endpoints.

use std::sync::Arc;

use super::{Cluster, Endpoint, EndpointSet, EndpointState, PrioritySet};
use crate::config::endpoint::LoadAssignment;

/// Makes `assignment` the cluster's endpoints; whether anything changed.
pub fn apply(cluster: &Cluster, assignment: &LoadAssignment) -> bool {
    let old = cluster.state.endpoints.load();
    let priorities = assignment
        .priorities
        .iter()
        .enumerate()
        .map(|(priority, localities)| PrioritySet {
            endpoints: localities
                .iter()
                .flat_map(|l| {
                    l.endpoints.iter().map(|(address, config)| {
                        Arc::new(Endpoint {
                            address: address.clone(),
                            locality: l.locality.clone(),
                            priority: priority as u32,
                            config: config.clone(),
                            transport: cluster.transport.default.clone(),
                            state: Arc::new(EndpointState::default()),
                        })
                    })
                })
                .collect(),
            localities: Vec::new(),
        });
    cluster.state.endpoints.store(Arc::new(EndpointSet {
        version: old.version + 1,
        priorities: priorities.collect(),
        overprovisioning_factor: assignment.policy.overprovisioning_factor,
        drop_overloads: Vec::new(),
    }));
    true
}
