//! State of the world: every request carries all names of its type, and is the ACK or NACK of the response whose nonce
//! it echoes; responses are full for some types and partial for others.

use super::pending::{Acknowledgement, Digest};
use super::subscription::SubscriptionState;
use super::{Name, Rejection, Resource};
use crate::message::{Any, DiscoveryRequest, DiscoveryResponse, RESOURCE_TYPE_URL, Resource as Wrapper, Status};
use bytes::Bytes;
use hashbrown::HashSet;
use prost::Message;

/// `google.rpc.Code.INTERNAL`, the code that Envoy gives every NACK.
pub(super) const NACK_CODE: i32 = 13;

/// A request for a change of interest. While a response is unanswered there is none: its nonce would be stale (servers
/// ignore such a request), and the answer carries the names anyway.
pub(super) fn request(subscription: &mut SubscriptionState) -> Option<DiscoveryRequest> {
    if !subscription.pending.is_empty() {
        return None;
    }
    if subscription.opened {
        if subscription.subscribe.is_empty() && subscription.unsubscribe.is_empty() {
            return None;
        }
        // An empty list would still mean everything: a wildcard that was never spelt out cannot be taken back.
        if subscription.names.is_empty() && !subscription.named {
            return None;
        }
    } else if subscription.names.is_empty() {
        return None;
    }
    let (nonce, version) = (subscription.nonce.clone(), subscription.version.clone());
    Some(compose(
        subscription,
        Acknowledgement {
            nonce,
            version,
            error: None,
        },
    ))
}

/// `stale`: the answer to a later response follows, so the server will heed the names of that one only.
pub(super) fn acknowledge(subscription: &mut SubscriptionState, ack: Acknowledgement, stale: bool) -> DiscoveryRequest {
    let request = compose(subscription, ack);
    if stale {
        subscription.unsubscribe = subscription.subscribe.clone();
    }
    request
}

/// Names that were dropped and are wanted again are left out, and stay due for the next request.
fn compose(subscription: &mut SubscriptionState, ack: Acknowledgement) -> DiscoveryRequest {
    let mut resource_names = subscription.name_list();
    subscription.named |= !resource_names.is_empty();
    let again = subscription.dropped_and_wanted();
    resource_names.retain(|name| !again.contains(name.as_str()));
    subscription.told();
    subscription.subscribe = again;
    DiscoveryRequest {
        version_info: ack.version.to_string(),
        node: Bytes::new(),
        resource_names,
        type_url: subscription.type_url.to_string(),
        response_nonce: ack.nonce.to_string(),
        error_detail: ack.error.map(|message| Status {
            code: NACK_CODE,
            message,
        }),
    }
}

pub(super) fn digest(subscription: &SubscriptionState, response: DiscoveryResponse) -> Digest {
    let mut digest = Digest::new(&response.version_info, &response.nonce);
    let mut present: HashSet<Name> = HashSet::with_capacity(response.resources.len());
    for (position, any) in response.resources.into_iter().enumerate() {
        let resource = match resource(any, &subscription.type_url, &digest) {
            Ok(resource) => resource,
            Err(Unreadable::Resource(reason)) => {
                digest.malformed.push(Rejection {
                    name: format!("resource {position}").into(),
                    reason,
                });
                continue;
            }
            Err(Unreadable::Response(reason)) => return digest.refuse(reason),
        };
        if !present.insert(resource.name.clone()) {
            let reason = "appears more than once in the response: the first one counts".into();
            digest.malformed.push(Rejection {
                name: resource.name,
                reason,
            });
        } else if !subscription.wants(&resource.name, &resource.aliases) {
            digest.dropped.push(resource.name);
        } else if let (true, Some(ttl)) = (resource.body.is_empty(), resource.ttl) {
            digest.heartbeats.push((resource.name, ttl));
        } else {
            digest.resources.push(resource);
        }
    }
    if subscription.resource_type.full_state {
        let mut gone = subscription.held();
        let awaited = subscription
            .names
            .iter()
            .filter(|(name, it)| it.awaited && ***name != *super::WILDCARD);
        gone.extend(awaited.map(|(name, _)| name.clone()));
        digest.removed = gone.into_iter().filter(|name| !present.contains(name)).collect();
        digest.removed.sort_unstable();
    }
    digest
}

enum Unreadable {
    Resource(String),
    Response(String),
}

fn resource(any: Any, type_url: &str, digest: &Digest) -> Result<Resource, Unreadable> {
    if any.type_url == RESOURCE_TYPE_URL {
        let wrapper = Wrapper::decode(any.value)
            .map_err(|error| Unreadable::Resource(format!("is not an envoy.service.discovery.v3.Resource: {error}")))?;
        let body = match wrapper.resource {
            Some(any) => body_of(any, type_url)?,
            None => Bytes::new(),
        };
        let name = if wrapper.name.is_empty() {
            name_in(&body)?
        } else {
            wrapper.name.into()
        };
        let version = digest.version.clone();
        let ttl = wrapper.ttl.map(|it| it.to_std());
        return Ok(Resource {
            name,
            aliases: wrapper.aliases,
            version,
            body,
            ttl,
        });
    }
    let body = body_of(any, type_url)?;
    let version = digest.version.clone();
    Ok(Resource {
        name: name_in(&body)?,
        aliases: Vec::new(),
        version,
        body,
        ttl: None,
    })
}

fn body_of(any: Any, type_url: &str) -> Result<Bytes, Unreadable> {
    if any.type_url == type_url {
        return Ok(any.value);
    }
    let inner = any.type_url;
    Err(Unreadable::Response(format!(
        "a resource of type {inner} in a response of type {type_url}"
    )))
}

/// The name inside a resource. It is field 1 in every type that xDS carries (Cluster.name,
/// ClusterLoadAssignment.cluster_name, Secret.name, ...).
fn name_in(body: &Bytes) -> Result<Name, Unreadable> {
    #[derive(Clone, PartialEq, Message)]
    struct Named {
        #[prost(string, tag = "1")]
        name: String,
    }
    let named = Named::decode(&**body).map_err(|error| Unreadable::Resource(format!("cannot be decoded: {error}")))?;
    if named.name.is_empty() {
        return Err(Unreadable::Resource("has no name".into()));
    }
    Ok(named.name.into())
}
