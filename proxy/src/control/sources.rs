//! Where config comes from: one stream per source and kind, one per secret as Envoy has it, the aggregated one for all that
//! say `ads`, and files. Updates become resources; every update is answered resource by resource.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hashbrown::HashMap;
use tokio::{sync::mpsc, task::AbortHandle};
use xds_client::{Ack, Client, Event, Handle, Name, Options, Protocol, Service, Source, Update, WILDCARD};

use super::{
    file,
    interest::{ALL_VIRTUAL_HOSTS, Changes, Kind, Need},
    origin::OriginId,
    resources::Resources,
    server::{ServerError, management_server},
    subscription_stats::Outcome,
};
use crate::{
    config::source::{GrpcApi, SourceSpecifier},
    stats::{ControlPlaneStat, Group, Prefix},
};

mod taking;

/// All streams.
pub struct Sources {
    node: Bytes,
    ads: Option<GrpcApi>,
    streams: HashMap<StreamId, Stream>,
    inbox: mpsc::Receiver<(StreamId, Heard)>,
    outbox: mpsc::Sender<(StreamId, Heard)>,
    /// Kinds of which a first answer has been dealt with, or waited for in vain.
    clusters_known: bool,
    listeners_known: bool,
}

/// A stream by what it carries.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StreamId {
    origin: OriginId,
    carries: Carries,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Carries {
    Everything,
    Kind(Kind),
    Secret(Arc<str>),
    /// Of one route configuration: what is asked of them at first has no name.
    VirtualHosts(Arc<str>),
}

struct Stream {
    link: Link,
    name: String,
    /// Subscriptions; the stream ends with the last.
    needs: usize,
    /// Said to be gone: further attempts that fail are no news.
    gone: bool,
    control_plane: Group<ControlPlaneStat>,
}

enum Link {
    Grpc(Handle),
    File(AbortHandle),
}

/// What a stream or a file says.
#[derive(Debug)]
pub enum Heard {
    Stream(Event),
    File(Result<file::Document, String>),
}

/// Events of all streams that may wait for the control thread.
const INBOX: usize = 16;

impl Sources {
    pub fn new(ads: Option<GrpcApi>, node: Bytes) -> Self {
        let (outbox, inbox) = mpsc::channel(INBOX);
        Self {
            node,
            ads,
            streams: HashMap::new(),
            inbox,
            outbox,
            clusters_known: true,
            listeners_known: true,
        }
    }

    /// Readiness waits for clusters, and for listeners, from now on.
    pub fn expect(&mut self, kind: Kind) {
        self.know(kind, false);
    }

    pub fn knows(&self, kind: Kind) -> bool {
        match kind {
            Kind::Cluster => self.clusters_known,
            Kind::Listener => self.listeners_known,
            _ => true,
        }
    }

    /// Waits for news. Safe to cancel.
    pub async fn news(&mut self) -> (StreamId, Heard) {
        match self.inbox.recv().await {
            Some(news) => news,
            // `outbox` is held here, so the inbox stays open.
            None => std::future::pending().await,
        }
    }

    /// News that are there already.
    pub fn more_news(&mut self) -> Option<(StreamId, Heard)> {
        self.inbox.try_recv().ok()
    }

    /// Subscribes to what is newly needed and lets go of what no longer is. Must be called inside a `LocalRuntime`.
    pub fn apply(&mut self, changes: Changes, resources: &mut Resources) {
        // First what is needed, so that a stream whose last subscription goes serves the next one.
        for (need, timeout) in changes.wanted {
            let Some(id) = self.stream_of(&need, resources) else {
                continue;
            };
            resources.count_start(&need);
            if !self.streams.contains_key(&id) {
                match self.open(&id, &need, resources) {
                    Ok(stream) => _ = self.streams.insert(id.clone(), stream),
                    Err(why) => {
                        let (kind, name) = (need.kind, &need.name);
                        tracing::error!("nothing will be heard of {kind:?} {name:?}: {why}");
                        resources.count(&need, Outcome::Failed);
                        self.give_up(need, resources);
                        continue;
                    }
                }
            }
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.needs += 1;
                if let Link::Grpc(handle) = &stream.link {
                    handle.subscribe(need.kind.type_url(), [name_on_wire(&need)], timeout);
                }
            }
        }
        for need in &changes.unwanted {
            self.unsubscribe(need, resources);
            resources.forget(need);
        }
        for need in changes.again {
            let id = self.stream_of(&need, resources);
            if let Some(Link::Grpc(handle)) = id.and_then(|id| self.streams.get(&id)).map(|stream| &stream.link) {
                handle.resubscribe(need.kind.type_url(), [need.name], Duration::ZERO);
            }
        }
    }

    fn unsubscribe(&mut self, need: &Need, resources: &Resources) {
        let Some(id) = self.stream_of(need, resources) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.needs = stream.needs.saturating_sub(1);
        let name = name_on_wire(need);
        // On a shared stream others may still want all virtual hosts.
        let others =
            |other: &Need| other.kind == need.kind && other.origin == need.origin && name_on_wire(other) == name;
        let is_shared = id.carries == Carries::Everything && need.kind == Kind::VirtualHosts;
        if let Link::Grpc(handle) = &stream.link
            && !(is_shared && resources.interest.needs().any(others))
        {
            handle.unsubscribe(need.kind.type_url(), [name]);
        }
        if stream.needs == 0 && id.carries != Carries::Everything {
            self.streams.remove(&id);
        }
    }

    /// `None`: the bootstrap, which sends nothing.
    fn stream_of(&self, need: &Need, resources: &Resources) -> Option<StreamId> {
        let carries = match (resources.origins.get(need.origin)?, need.kind) {
            (SourceSpecifier::Ads, _) => Carries::Everything,
            (SourceSpecifier::Grpc(_), Kind::Secret) => Carries::Secret(need.name.clone()),
            (SourceSpecifier::Grpc(_), Kind::VirtualHosts) => Carries::VirtualHosts(need.virtual_host()?.0.into()),
            (_, kind) => Carries::Kind(kind),
        };
        Some(StreamId {
            origin: need.origin,
            carries,
        })
    }

    fn open(&self, id: &StreamId, need: &Need, resources: &Resources) -> Result<Stream, OpenError> {
        let specifier = resources.origins.get(id.origin).ok_or(OpenError::NoAds)?;
        let (api, service) = match specifier {
            SourceSpecifier::Ads => (self.ads.as_ref().ok_or(OpenError::NoAds)?, Service::Aggregated),
            SourceSpecifier::Grpc(api) => (api, Service::Own(need.kind.type_url().into())),
            SourceSpecifier::Rest { .. } => return Err(OpenError::Rest),
            SourceSpecifier::File {
                path,
                watched_directory,
            } => {
                let watch = file::follow(path.clone(), watched_directory.clone(), id.clone(), self.outbox.clone());
                return Ok(Stream {
                    link: Link::File(tokio::task::spawn_local(watch).abort_handle()),
                    name: path.to_string(),
                    needs: 0,
                    gone: false,
                    control_plane: self.control_plane(id, resources),
                });
            }
        };
        let server = management_server(api, resources)?;
        let name = server.to_string();
        let protocol = if api.delta {
            Protocol::Delta
        } else {
            Protocol::StateOfTheWorld
        };
        let mut options = Options::new(
            Source::Grpc {
                server,
                protocol,
                service,
            },
            self.node.clone(),
        );
        options.set_node_on_first_message_only = api.set_node_on_first_message_only;
        let (client, handle, mut events) = Client::new(options).map_err(ServerError::from)?;
        tokio::task::spawn_local(client.run());
        let (id_of_events, outbox) = (id.clone(), self.outbox.clone());
        tokio::task::spawn_local(async move {
            while let Some(event) = events.recv().await {
                if outbox.send((id_of_events.clone(), Heard::Stream(event))).await.is_err() {
                    return;
                }
            }
        });
        let control_plane = self.control_plane(id, resources);
        control_plane.set(ControlPlaneStat::ConnectedState, 0);
        Ok(Stream {
            link: Link::Grpc(handle),
            name,
            needs: 0,
            gone: false,
            control_plane,
        })
    }

    /// Each stream's state stands where its subscription's statistics stand, as in Envoy.
    fn control_plane(&self, id: &StreamId, resources: &Resources) -> Group<ControlPlaneStat> {
        let prefix = match &id.carries {
            Carries::Kind(Kind::Cluster) => Prefix::root("cluster_manager.cds.control_plane."),
            Carries::Kind(Kind::Listener) => Prefix::root("listener_manager.lds.control_plane."),
            Carries::Secret(name) => Prefix::new("sds.", name.clone(), ".control_plane."),
            Carries::VirtualHosts(routes) => return resources.stats.virtual_hosts_control_plane(routes),
            Carries::Kind(Kind::Scopes) => return resources.stats.scopes_control_plane(id.origin),
            Carries::Everything | Carries::Kind(_) => Prefix::root("control_plane."),
        };
        resources.context.stats.group(prefix)
    }

    /// Deals with news. The caller publishes afterwards.
    pub fn hear(&mut self, id: &StreamId, heard: Heard, resources: &mut Resources) {
        let Some(stream) = self.streams.get_mut(id) else {
            // Let go of in the meantime.
            return;
        };
        match heard {
            Heard::File(Ok(document)) => self.document(id, document, resources),
            Heard::File(Err(why)) => {
                tracing::warn!("{why}");
                self.for_each_need(id, resources, |need, resources| {
                    resources.count(need, Outcome::Rejected)
                });
            }
            Heard::Stream(event) => match event {
                Event::Connected => {
                    tracing::info!(server = stream.name, "connected to the control plane");
                    stream.gone = false;
                    stream.control_plane.set(ControlPlaneStat::ConnectedState, 1);
                }
                Event::Disconnected { reason, retry_in } => {
                    if !std::mem::replace(&mut stream.gone, true) {
                        tracing::warn!(
                            server = stream.name,
                            "the control plane is gone ({reason}); the last config stays, next attempt in {retry_in:?}"
                        );
                    }
                    stream.control_plane.set(ControlPlaneStat::ConnectedState, 0);
                    self.for_each_need(id, resources, |need, resources| resources.count(need, Outcome::Failed));
                }
                Event::ControlPlane { identifier } => {
                    stream.control_plane.set_text(ControlPlaneStat::Identifier, identifier);
                }
                Event::Update(update, ack) => self.update(id, &update, ack, resources),
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
        let rejections = match kind {
            Kind::Scopes | Kind::VirtualHosts => {
                let (arrived, removed) = (&update.resources, &update.removed);
                self.take_together(id, kind, &update.version, arrived, removed, resources)
            }
            _ => self.take(id.origin, kind, &update.version, &update.resources, resources),
        };
        for name in update
            .removed
            .iter()
            .filter(|_| !matches!(kind, Kind::Scopes | Kind::VirtualHosts))
        {
            resources.remove(kind, id.origin, name);
        }
        self.know(kind, true);
        // Before the ACK, as Envoy does: the server then knows what the update made us want.
        let changes = resources.interest.changes();
        self.apply(changes, resources);
        ack.reject(rejections);
    }

    fn give_up(&mut self, need: Need, resources: &mut Resources) {
        self.know(need.kind, true);
        resources.give_up(need);
    }

    fn know(&mut self, kind: Kind, known: bool) {
        match kind {
            Kind::Cluster => self.clusters_known = known,
            Kind::Listener => self.listeners_known = known,
            _ => {}
        }
    }

    /// What is asked for under these names on a stream.
    fn needs(&self, id: &StreamId, type_url: &str, names: &[Name], resources: &Resources) -> Vec<Need> {
        let Some(kind) = Kind::of(type_url) else {
            return Vec::new();
        };
        if kind != Kind::VirtualHosts {
            let need = |name: &Name| Need {
                kind,
                origin: id.origin,
                name: name.clone(),
            };
            return names.iter().map(need).collect();
        }
        let named = |need: &&Need| need.kind == kind && need.origin == id.origin && names.contains(&name_on_wire(need));
        let subscribed = resources.interest.needs().filter(named);
        let on_it = |need: &&Need| self.stream_of(need, resources).as_ref() == Some(id);
        subscribed.filter(on_it).cloned().collect()
    }

    /// What is subscribed on a stream.
    fn for_each_need(&self, id: &StreamId, resources: &mut Resources, each: impl Fn(&Need, &mut Resources)) {
        let on_it = |need: &&Need| self.stream_of(need, resources).as_ref() == Some(id);
        let needs: Vec<Need> = resources.interest.needs().filter(on_it).cloned().collect();
        needs.iter().for_each(|need| each(need, resources));
    }
}

/// Why nothing will come from a source.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("its source is ADS, and the bootstrap has no ads_config")]
    NoAds,
    #[error("REST sources are not served yet")]
    Rest,
    #[error(transparent)]
    Server(#[from] ServerError),
}

/// What a need is called in requests.
fn name_on_wire(need: &Need) -> Name {
    match need.virtual_host() {
        Some((_, ALL_VIRTUAL_HOSTS)) => WILDCARD.into(),
        _ => need.name.clone(),
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Self::File(watch) = self {
            watch.abort();
        }
    }
}
