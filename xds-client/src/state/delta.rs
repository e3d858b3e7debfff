//! Delta (incremental) xDS: requests say what changed, and ACKs are requests of their own that change nothing; resources
//! have versions, and the client names those that it holds when a stream opens.

use super::pending::{Acknowledgement, Digest};
use super::sotw::NACK_CODE;
use super::subscription::SubscriptionState;
use super::{Name, Resource};
use crate::message::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Status};
use hashbrown::HashSet;
use std::sync::Arc;

/// A request for a change of interest; it carries no nonce. The first of a stream also says which resources are held,
/// so it waits until the application has answered what an earlier stream brought: a resource that is accepted later
/// would be missing from the list, and its removal would never be heard of.
pub(super) fn request(subscription: &mut SubscriptionState) -> Option<DeltaDiscoveryRequest> {
    let mut request = DeltaDiscoveryRequest {
        type_url: subscription.type_url.to_string(),
        ..DeltaDiscoveryRequest::default()
    };
    if subscription.opened {
        if subscription.subscribe.is_empty() && subscription.unsubscribe.is_empty() {
            return None;
        }
        request.resource_names_subscribe = subscription.subscribe.iter().map(|it| it.to_string()).collect();
        // To subscribe again is to drop and to want again: the server must send the resource in any case.
        let dropped = subscription.unsubscribe.difference(&subscription.subscribe);
        request.resource_names_unsubscribe = dropped.map(|it| it.to_string()).collect();
    } else {
        if subscription.names.is_empty() || !subscription.pending.is_empty() {
            return None;
        }
        request.resource_names_subscribe = subscription.name_list();
        let known = subscription.known.iter();
        request.initial_resource_versions = known
            .map(|(name, it)| (name.to_string(), it.version.to_string()))
            .collect();
    }
    subscription.told();
    Some(request)
}

pub(super) fn acknowledge(subscription: &SubscriptionState, ack: Acknowledgement) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: subscription.type_url.to_string(),
        response_nonce: ack.nonce.to_string(),
        error_detail: ack.error.map(|message| Status {
            code: NACK_CODE,
            message,
        }),
        ..DeltaDiscoveryRequest::default()
    }
}

pub(super) fn digest(subscription: &SubscriptionState, response: DeltaDiscoveryResponse) -> Digest {
    let mut digest = Digest::new(&response.system_version_info, &response.nonce);
    let mut present: HashSet<Name> = HashSet::with_capacity(response.resources.len());
    for resource in response.resources {
        let name: Name = resource.name.into();
        if name.is_empty() {
            return digest.refuse("a resource has no name".into());
        }
        if !present.insert(name.clone()) {
            return digest.refuse(format!("resource {name} appears more than once in the response"));
        }
        let ttl = resource.ttl.map(|it| it.to_std());
        let Some(any) = resource.resource else {
            match ttl {
                Some(ttl) => digest.heartbeats.push((name, ttl)),
                // How a VHDS server says that a virtual host does not exist: the alias is the name that was asked for.
                None => {
                    let names = resource.aliases.into_iter().map(Name::from).chain([name]);
                    digest.removed.extend(names.filter(|it| subscription.wants(it, &[])));
                }
            }
            continue;
        };
        if any.type_url != *subscription.type_url {
            return digest.refuse(format!("resource {name} is of type {}", any.type_url));
        }
        if subscription.wants(&name, &resource.aliases) {
            let version: Arc<str> = resource.version.into();
            digest.resources.push(Resource {
                name,
                aliases: resource.aliases,
                version,
                body: any.value,
                ttl,
            });
        } else {
            digest.dropped.push(name);
        }
    }
    for name in response.removed_resources {
        if present.contains(name.as_str()) {
            return digest.refuse(format!("resource {name} is both updated and removed by the response"));
        }
        match subscription.wants(&name, &[]) {
            true => digest.removed.push(name.into()),
            false => digest.dropped.push(name.into()),
        }
    }
    digest
}
