//! What streams, files and polls say: updates become resources, every one answered resource by resource.

use xds_client::{Ack, Event, Update};

use super::{Carries, Heard, Link, Sources, StreamId};
use crate::{
    control::{
        interest::{Kind, Need},
        resources::Resources,
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
                    for need in self.needs(id, &type_url, &names, resources) {
                        resources.count(&need, Outcome::TimedOut);
                        self.give_up(need, resources);
                    }
                }
                Event::Expired { type_url, names } => {
                    for need in self.needs(id, &type_url, &names, resources) {
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
        let (arrived, removed) = (&update.resources, &update.removed);
        let rejections = if matches!(kind, Kind::Scopes | Kind::VirtualHosts) {
            self.take_together(id, kind, &update.version, arrived, removed, resources)
        } else {
            let rejections = self.take(id.origin, kind, &update.version, arrived, resources);
            removed.iter().for_each(|name| resources.remove(kind, id.origin, name));
            rejections
        };
        self.know(kind, true);
        // Before the ACK, as Envoy does: the server then knows what the update made us want, and what it made warm.
        self.settle(resources);
        if kind == Kind::Cluster && id.carries == Carries::Everything {
            self.answer_clusters(ack, rejections, resources);
        } else {
            ack.reject(rejections);
        }
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
                if !told && !need.kind.is_whole() {
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
}
