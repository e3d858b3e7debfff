//! `node`: who this proxy is, to control planes and in logs.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};
use xds_api::{
    Message,
    envoy::{
        config::core::v3::{self as core, node::UserAgentVersionType},
        r#type::v3::SemanticVersion,
    },
    json::from_struct,
};

use super::Options;
use crate::{cluster::Locality, config::endpoint::locality_name};

/// What Envoy says of itself, and control planes branch on.
const USER_AGENT: &str = "envoy";
const VERSION: SemanticVersion = SemanticVersion {
    major_number: 1,
    minor_number: 40,
    patch: 0,
};
/// Envoy's, as far as they hold here.
const CLIENT_FEATURES: [&str; 1] = ["envoy.lb.does_not_support_overprovisioning"];

/// `envoy.config.core.v3.Node`.
#[derive(Debug, Clone)]
pub struct Node {
    pub id: Box<str>,
    pub cluster: Box<str>,
    pub locality: Arc<Locality>,
    pub metadata: Map<String, Value>,
    /// As sent in discovery requests: the bootstrap's, with what we are added.
    pub bytes: Bytes,
}

pub(super) fn parse(pb: Option<&core::Node>, options: &Options) -> Node {
    let mut node = pb.cloned().unwrap_or_default();
    let replace = |field: &mut String, by: &str| {
        if !by.is_empty() {
            by.clone_into(field);
        }
    };
    replace(&mut node.id, options.service_node);
    replace(&mut node.cluster, options.service_cluster);
    if !options.service_zone.is_empty() {
        let locality = node.locality.get_or_insert_default();
        replace(&mut locality.zone, options.service_zone);
    }
    node.user_agent_name = USER_AGENT.to_owned();
    node.user_agent_version_type = Some(UserAgentVersionType::UserAgentBuildVersion(Box::new(
        core::BuildVersion {
            version: Some(VERSION),
            metadata: None,
        },
    )));
    node.client_features.extend(CLIENT_FEATURES.map(str::to_owned));
    Node {
        id: node.id.as_str().into(),
        cluster: node.cluster.as_str().into(),
        locality: Arc::new(node.locality.as_deref().map(locality_name).unwrap_or_default()),
        metadata: node.metadata.as_ref().map(from_struct).unwrap_or_default(),
        bytes: node.encode_to_vec().into(),
    }
}
