//! What streams, files and polls say: updates become resources, every one answered resource by resource.

use std::{sync::Arc, time::Instant};

use xds_client::{Ack, Event, Name, Rejection, Resource, Update, WILDCARD};

use super::{Carries, Heard, Link, Sources, StreamId};
use crate::{
    control::{
        file,
        interest::{Kind, Need},
        origin::OriginId,
        resources::{Arrival, Resources},
        rest::Polled,
        subscription_stats::Outcome,
    },
    stats::ControlPlaneStat,
};

impl Sources {
    /// Deals with news. The caller publishes afterwards.
    pub fn hear(&mut self, id: &StreamId, heard: Heard, resources: &mut Resources) {
        let Some(stream) = self.streams.get_mut(id) else {
            // Let go of in the meantime.
            return;
        };
        match heard {
            Heard::File(Ok(document)) => {
                self.document(id, document, resources);
            }
            Heard::Poll(polled) => self.polled(id, polled, resources),
            Heard::File(Err(why)) => {
                tracing::warn!("{why}");
                self.for_each_need(id, resources, |need, resources| {
                    resources.count(need, Outcome::Rejected)
                });
            }
            Heard::Stream(event) => match event {
                Event::Connected => {
                    stream.lost.connected(&stream.name);
                    stream.set_connected(true);
                }
                Event::Disconnected { reason, retry_in } => {
                    let asked = id.carries.to_string();
                    stream.lost.disconnected(&stream.name, &asked, reason, retry_in);
                    stream.set_connected(false);
                    self.for_each_need(id, resources, |need, resources| resources.count(need, Outcome::Failed));
                }
                Event::ControlPlane { identifier } => {
                    if let Some(stats) = &stream.control_plane {
                        stats.set_text(ControlPlaneStat::Identifier, identifier);
                    }
                }
                Event::Update(update, ack) => {
                    stream.lost.answered(&stream.name);
                    self.update(id, &update, ack, resources);
                }
                Event::FetchTimeout { type_url, names } => {
                    tracing::warn!("no answer to {type_url} {names:?} within initial_fetch_timeout: going on without");
                    for need in needs(id, &type_url, &names) {
                        resources.count(&need, Outcome::TimedOut);
                        self.give_up(need, resources);
                    }
                }
                Event::Expired { type_url, names } => {
                    for need in needs(id, &type_url, &names) {
                        resources.remove(need.kind, need.origin, &need.name);
                    }
                }
                Event::Refused(refused) => {
                    tracing::warn!("a response was unreadable: {refused:?}");
                    if let Some(kind) = Kind::of(&refused.type_url) {
                        self.for_each_need(id, resources, |need, resources| {
                            if need.kind == kind {
                                resources.count(need, Outcome::Rejected);
                            }
                        });
                    }
                }
                _ => {}
            },
        }
    }

    fn update(&mut self, id: &StreamId, update: &Update, ack: Ack, resources: &mut Resources) {
        let Some(kind) = Kind::of(&update.type_url) else {
            return ack.accept();
        };
        let rejections = self.take(id.origin, kind, &update.version, &update.resources, resources);
        for name in &update.removed {
            resources.remove(kind, id.origin, name);
        }
        self.know(kind, true);
        // Before the ACK, as Envoy does: the server then knows what the update made us want.
        let changes = resources.interest.changes();
        self.apply(changes, resources);
        ack.reject(rejections);
    }

    fn polled(&mut self, id: &StreamId, polled: Polled, resources: &mut Resources) {
        let (Carries::One(kind, name), Some(stream)) = (&id.carries, self.streams.get_mut(id)) else {
            return;
        };
        let Link::Rest { accepted, answered, .. } = &mut stream.link else {
            return;
        };
        let need = Need {
            kind: *kind,
            origin: id.origin,
            name: name.clone(),
        };
        match polled {
            Polled::Asking => resources.count_start(&need),
            Polled::Answer(document) => {
                *answered = true;
                stream.gone = false;
                let (accepted, version) = (accepted.clone(), document.version.clone());
                let told = document
                    .resources
                    .iter()
                    .any(|(_, resource)| resource.name == need.name);
                if self.document(id, document, resources) {
                    *accepted.borrow_mut() = version;
                }
                // What the server does not have nobody waits for.
                if !told {
                    self.give_up(need, resources);
                }
            }
            Polled::Unreadable(why) => {
                *answered = true;
                tracing::warn!(server = stream.name, "{kind:?} {name:?}: {why}");
                resources.count(&need, Outcome::Rejected);
                self.give_up(need, resources);
            }
            Polled::Failed(why) => {
                if !std::mem::replace(&mut stream.gone, true) {
                    tracing::warn!(
                        server = stream.name,
                        "{kind:?} {name:?} cannot be fetched ({why}); the last config stays"
                    );
                }
                resources.count(&need, Outcome::Failed);
            }
            Polled::TimedOut if !*answered => {
                tracing::warn!("no answer to {kind:?} {name:?} within initial_fetch_timeout: going on without");
                resources.count(&need, Outcome::TimedOut);
                self.give_up(need, resources);
            }
            Polled::TimedOut => {}
        }
    }

    /// A file, or an answer to a poll, holds what it holds of any kind; what nobody needs is read over. Whether all was
    /// accepted.
    fn document(&mut self, id: &StreamId, document: file::Document, resources: &mut Resources) -> bool {
        let (Carries::Kind(kind) | Carries::One(kind, _)) = id.carries else {
            return true;
        };
        let (version, all) = (document.version, document.resources);
        let mut of_kind: Vec<Resource> = all
            .into_iter()
            .filter(|(type_url, _)| Kind::of(type_url) == Some(kind))
            .map(|(_, resource)| resource)
            .collect();
        if matches!(kind, Kind::Cluster | Kind::Listener) {
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
        let changes = resources.interest.changes();
        self.apply(changes, resources);
        rejections.is_empty()
    }

    fn take(
        &mut self,
        origin: OriginId,
        kind: Kind,
        version: &Arc<str>,
        arrived: &[Resource],
        resources: &mut Resources,
    ) -> Vec<Rejection> {
        let started = Instant::now();
        let mut rejections = Vec::new();
        let whole = matches!(kind, Kind::Cluster | Kind::Listener);
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
}

fn needs(id: &StreamId, type_url: &str, names: &[Name]) -> Vec<Need> {
    let Some(kind) = Kind::of(type_url) else {
        return Vec::new();
    };
    let need = |name: &Name| Need {
        kind,
        origin: id.origin,
        name: name.clone(),
    };
    names.iter().map(need).collect()
}
