//! An update's resources, one by one or, where one may take the place of another, together.

use std::{sync::Arc, time::Instant};

use xds_client::{Name, Rejection, Resource, WILDCARD};

use super::{Carries, Sources, StreamId};
use crate::control::{
    file,
    interest::{ALL_VIRTUAL_HOSTS, Kind, Need},
    origin::OriginId,
    resources::{Arrival, Resources},
    subscription_stats::Outcome,
};

impl Sources {
    /// A file, or an answer to a poll, holds what it holds of any kind; what nobody needs is read over. Whether all was
    /// accepted.
    pub(super) fn document(&mut self, id: &StreamId, document: file::Document, resources: &mut Resources) -> bool {
        let (Carries::Kind(kind) | Carries::One(kind, _)) = id.carries else {
            return true;
        };
        let (version, all) = (document.version, document.resources);
        let mut of_kind: Vec<Resource> = all
            .into_iter()
            .filter(|(type_url, _)| Kind::of(type_url) == Some(kind))
            .map(|(_, resource)| resource)
            .collect();
        if kind == Kind::Scopes {
            let mut gone = resources.names_of_scopes(id.origin);
            gone.retain(|name| of_kind.iter().all(|r| r.name != *name));
            let rejections = self.take_together(id, kind, &version, &of_kind, &gone, resources);
            self.settle(resources);
            return rejections.is_empty();
        }
        if kind.is_whole() {
            let named = |name: &Arc<str>| of_kind.iter().any(|r| r.name == *name);
            for name in resources.names_from(kind) {
                if !named(&name) {
                    resources.remove(kind, id.origin, &name);
                }
            }
        } else {
            of_kind.retain(|resource| {
                let need = Need {
                    kind,
                    origin: id.origin,
                    name: resource.name.clone(),
                };
                !resources.interest.users(&need).is_empty()
            });
        }
        if kind == Kind::Extension {
            self.for_each_need(id, resources, |need, resources| {
                if !of_kind.iter().any(|resource| resource.name == need.name) {
                    tracing::warn!("rejected: an update without the config of the filter {:?}", need.name);
                    resources.count(need, Outcome::Rejected);
                    resources.give_up(need.clone());
                }
            });
        }
        let rejections = self.take(id.origin, kind, &version, &of_kind, resources);
        self.know(kind, true);
        self.settle(resources);
        rejections.is_empty()
    }

    pub(super) fn take(
        &mut self,
        origin: OriginId,
        kind: Kind,
        version: &Arc<str>,
        arrived: &[Resource],
        resources: &mut Resources,
    ) -> Vec<Rejection> {
        let started = Instant::now();
        let mut rejections = Vec::new();
        let whole = kind.is_whole();
        for resource in arrived {
            let arrival = Arrival {
                body: &resource.body,
                version: &resource.version,
                origin,
            };
            let taken = resources.take(kind, &resource.name, arrival);
            let need = Need {
                kind,
                origin,
                name: resource.name.clone(),
            };
            if !whole {
                let version = &resource.version;
                let took = (kind != Kind::Endpoints).then(|| started.elapsed());
                let outcome = taken
                    .as_ref()
                    .map_or(Outcome::Rejected, |()| Outcome::Accepted { version, took });
                resources.count(&need, outcome);
            }
            if let Err(rejection) = taken {
                tracing::warn!("rejected: {rejection}");
                // A listener goes on with what the filter falls back to.
                if kind == Kind::Extension {
                    resources.give_up(need);
                }
                rejections.push(Rejection {
                    name: resource.name.clone(),
                    reason: rejection.to_string(),
                });
            }
        }
        let accepted = rejections.is_empty();
        if whole {
            let took = Some(started.elapsed());
            let all = Need {
                kind,
                origin,
                name: WILDCARD.into(),
            };
            let outcome = match accepted {
                true => Outcome::Accepted { version, took },
                false => Outcome::Rejected,
            };
            resources.count(&all, outcome);
            if accepted {
                resources.ledger.borrow_mut().accept(kind, version);
            }
        }
        if accepted {
            resources.ledger.borrow_mut().accepted = Some(started);
        }
        rejections
    }

    /// Scopes and virtual hosts, of which one may take the place of another in the same update.
    pub(super) fn take_together(
        &mut self,
        id: &StreamId,
        kind: Kind,
        version: &Arc<str>,
        arrived: &[Resource],
        removed: &[Name],
        resources: &mut Resources,
    ) -> Vec<Rejection> {
        let started = Instant::now();
        let rejections = match kind {
            Kind::Scopes => resources.take_scopes(id.origin, version, arrived, removed),
            _ => {
                let only = match &id.carries {
                    Carries::One(_, routes) => Some(routes),
                    _ => None,
                };
                resources.take_virtual_hosts(id.origin, only, arrived, removed)
            }
        };
        for rejection in &rejections {
            tracing::warn!("rejected: {kind:?} {:?}: {}", rejection.name, rejection.reason);
        }
        let accepted = rejections.is_empty();
        let took = Some(started.elapsed());
        self.for_each_need(id, resources, |need, resources| {
            let on_demand = need.virtual_host().is_some_and(|(_, host)| host != ALL_VIRTUAL_HOSTS);
            if need.kind == kind && !on_demand {
                let outcome = match accepted {
                    true => Outcome::Accepted { version, took },
                    false => Outcome::Rejected,
                };
                resources.count(need, outcome);
            }
        });
        if accepted {
            resources.ledger.borrow_mut().accepted = Some(started);
        }
        rejections
    }
}
