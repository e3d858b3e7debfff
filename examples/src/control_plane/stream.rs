//! One client's stream: what it subscribed to, what it has, and what it must be told.

use std::collections::{BTreeMap, BTreeSet};

use xds_api::{
    envoy::service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource as PbResource,
    },
    google::rpc::Status,
    pb::Any,
};

use super::{
    Shared,
    grpc::{Receiver, Sender},
    store::{Named, Resource},
};
use crate::resources;

/// Order of a push that touches several types: make before break.
const ORDER: [&str; 5] = [
    resources::CLUSTER,
    resources::ENDPOINT,
    resources::LISTENER,
    resources::ROUTE,
    resources::SECRET,
];

/// One type's subscription.
#[derive(Debug, Default)]
struct Subscription {
    wildcard: bool,
    names: BTreeSet<String>,
    /// What the client was told: name to version.
    told: BTreeMap<String, u64>,
    responses: u64,
    answered: bool,
}

impl Subscription {
    fn wants(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    fn wanted(&self, named: Named) -> BTreeMap<String, Resource> {
        named.into_iter().filter(|(name, _)| self.wants(name)).collect()
    }

    fn nonce(&mut self) -> String {
        self.responses += 1;
        self.responses.to_string()
    }
}

/// State of the world: every response carries everything that the client subscribed to of a type.
pub(super) async fn world(mut receive: Receiver, mut send: Sender, shared: &Shared) -> anyhow::Result<()> {
    let mut changes = shared.changes.subscribe();
    let mut node = String::new();
    let mut types: BTreeMap<String, Subscription> = BTreeMap::new();
    loop {
        tokio::select! {
            request = receive.next::<DiscoveryRequest>() => {
                let Some(request) = request? else { return Ok(()) };
                note_node(&mut node, request.node.as_deref());
                note_rejection(shared, &request.type_url, request.error_detail.as_deref());
                let subscription = types.entry(request.type_url.clone()).or_default();
                let names: BTreeSet<String> = request.resource_names.into_iter().collect();
                let stale = !request.response_nonce.is_empty() && request.response_nonce != subscription.responses.to_string();
                if stale {
                    continue;
                }
                let grew = names.iter().any(|name| !subscription.names.contains(name));
                subscription.wildcard = names.is_empty() || names.contains("*");
                subscription.names = names;
                if grew || !subscription.answered {
                    tell_world(&node, &request.type_url, subscription, &mut send, shared, true)?;
                }
            }
            changed = changes.changed() => {
                changed?;
                for type_url in ORDER {
                    if let Some(subscription) = types.get_mut(type_url) {
                        tell_world(&node, type_url, subscription, &mut send, shared, false)?;
                    }
                }
            }
        }
    }
}

fn tell_world(
    node: &str,
    type_url: &str,
    subscription: &mut Subscription,
    send: &mut Sender,
    shared: &Shared,
    always: bool,
) -> anyhow::Result<()> {
    let wanted = subscription.wanted(shared.get(node, type_url));
    let versions: BTreeMap<String, u64> = wanted.iter().map(|(name, r)| (name.clone(), r.version)).collect();
    if !always && versions == subscription.told {
        return Ok(());
    }
    let nonce = subscription.nonce();
    subscription.told = versions;
    subscription.answered = true;
    send.send(&DiscoveryResponse {
        version_info: nonce.clone(),
        resources: wanted.into_values().map(|r| any(type_url, r)).collect(),
        type_url: type_url.to_owned(),
        nonce,
        ..DiscoveryResponse::default()
    })
}

/// Delta: every response carries what changed since the last.
pub(super) async fn delta(mut receive: Receiver, mut send: Sender, shared: &Shared) -> anyhow::Result<()> {
    let mut changes = shared.changes.subscribe();
    let mut node = String::new();
    let mut types: BTreeMap<String, Subscription> = BTreeMap::new();
    loop {
        tokio::select! {
            request = receive.next::<DeltaDiscoveryRequest>() => {
                let Some(request) = request? else { return Ok(()) };
                note_node(&mut node, request.node.as_deref());
                note_rejection(shared, &request.type_url, request.error_detail.as_deref());
                let first = !types.contains_key(&request.type_url);
                let subscription = types.entry(request.type_url.clone()).or_default();
                let added = request.resource_names_subscribe;
                if first {
                    subscription.wildcard = added.is_empty();
                    // Versions of an earlier stream mean nothing to this one: everything is told again.
                }
                subscription.wildcard |= added.iter().any(|name| name == "*");
                for name in &request.resource_names_unsubscribe {
                    subscription.names.remove(name);
                    subscription.told.remove(name);
                }
                for name in &added {
                    subscription.told.remove(name);
                }
                let asked = first || !added.is_empty();
                subscription.names.extend(added);
                if asked {
                    tell_delta(&node, &request.type_url, subscription, &mut send, shared)?;
                }
            }
            changed = changes.changed() => {
                changed?;
                for type_url in ORDER {
                    if let Some(subscription) = types.get_mut(type_url) {
                        tell_delta(&node, type_url, subscription, &mut send, shared)?;
                    }
                }
            }
        }
    }
}

fn tell_delta(
    node: &str,
    type_url: &str,
    subscription: &mut Subscription,
    send: &mut Sender,
    shared: &Shared,
) -> anyhow::Result<()> {
    let wanted = subscription.wanted(shared.get(node, type_url));
    let removed: Vec<String> = subscription
        .told
        .keys()
        .filter(|name| !wanted.contains_key(*name))
        .cloned()
        .collect();
    let changed: Vec<(String, Resource)> = wanted
        .into_iter()
        .filter(|(name, r)| subscription.told.get(name) != Some(&r.version))
        .collect();
    if changed.is_empty() && removed.is_empty() && subscription.answered {
        return Ok(());
    }
    subscription.answered = true;
    for name in &removed {
        subscription.told.remove(name);
    }
    subscription
        .told
        .extend(changed.iter().map(|(name, r)| (name.clone(), r.version)));
    let nonce = subscription.nonce();
    let resource = |(name, r): (String, Resource)| PbResource {
        name,
        version: r.version.to_string(),
        resource: Some(any(type_url, r)),
        ..PbResource::default()
    };
    send.send(&DeltaDiscoveryResponse {
        system_version_info: nonce.clone(),
        resources: changed.into_iter().map(resource).collect(),
        type_url: type_url.to_owned(),
        removed_resources: removed,
        nonce,
        ..DeltaDiscoveryResponse::default()
    })
}

fn any(type_url: &str, resource: Resource) -> Any {
    Any {
        type_url: type_url.to_owned(),
        value: resource.body,
    }
}

/// The node is named on a stream's first message only.
fn note_node(node: &mut String, sent: Option<&xds_api::envoy::config::core::v3::Node>) {
    if let Some(sent) = sent {
        node.clone_from(&sent.id);
    }
}

fn note_rejection(shared: &Shared, type_url: &str, error: Option<&Status>) {
    if let Some(error) = error {
        shared.reject(format!("{type_url}: {}", error.message));
    }
}
