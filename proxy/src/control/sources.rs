//! Where config comes from: one stream per source and kind, one per secret, runtime layer and config of a filter as Envoy
//! has them, the aggregated one for all that say `ads`, files, and polls. Updates become resources; every update is answered
//! resource by resource.

use std::{cell::RefCell, fmt, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use hashbrown::HashMap;
use tokio::{sync::mpsc, task::AbortHandle};
use xds_client::{Ack, Client, Event, Handle, Name, Options, Protocol, Rejection, Service, Source, WILDCARD};

mod hear;
mod taking;

use super::{
    file,
    interest::{ALL_VIRTUAL_HOSTS, Changes, Kind, Need, User},
    lost::Lost,
    origin::OriginId,
    resources::Resources,
    rest::{self, Poll, Polled},
    server::{ServerError, management_server},
    subscription_stats::Outcome,
};
use crate::{
    config::source::{GrpcApi, RestApi, SourceSpecifier},
    stats::{ControlPlaneStat, Group, Prefix},
};

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
    /// `cds_config`, until it is asked.
    clusters: Option<(Need, Duration)>,
    /// `lds_config`, until it is asked.
    listeners: Option<(Need, Duration)>,
    /// Answers to clusters that warm.
    held: Vec<(Ack, Vec<Rejection>)>,
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
    One(Kind, Arc<str>),
}

struct Stream {
    link: Link,
    name: String,
    /// Subscriptions; the stream ends with the last.
    needs: usize,
    /// Of a stream: why its server is said to be gone.
    lost: Lost,
    /// A poll's server is said to be gone: further attempts that fail are no news.
    gone: bool,
    /// Of gRPC.
    control_plane: Option<Group<ControlPlaneStat>>,
}

enum Link {
    Grpc(Handle),
    File(AbortHandle),
    Rest {
        polling: AbortHandle,
        /// Of the last answer.
        accepted: Rc<RefCell<Arc<str>>>,
        /// There was one.
        answered: bool,
    },
}

/// What a stream or a file says.
#[derive(Debug)]
pub enum Heard {
    Stream(Event),
    File(Result<file::Document, String>),
    Poll(Polled),
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
            clusters: None,
            listeners: None,
            held: Vec::new(),
        }
    }

    /// All clusters, or all listeners, are to come from a source: readiness waits for them from now on.
    pub fn expect(&mut self, need: Need, timeout: Duration) {
        self.know(need.kind, false);
        match need.kind {
            Kind::Cluster => self.clusters = Some((need, timeout)),
            _ => self.listeners = Some((need, timeout)),
        }
    }

    /// Makes warm what can be, and asks for what is needed, until neither leads to more: a source that cannot be asked is
    /// given up, and makes others warm.
    pub fn settle(&mut self, resources: &mut Resources) {
        loop {
            resources.warm();
            self.ask_for_more(resources);
            if resources.clusters_are_warm() {
                self.held.drain(..).for_each(|(ack, rejections)| ack.reject(rejections));
            }
            let changes = resources.interest.changes();
            if changes == Changes::default() {
                return;
            }
            self.apply(changes, resources);
        }
    }

    /// Clusters are asked for once the runtime is known, listeners once the first clusters are warm, as Envoy does.
    fn ask_for_more(&mut self, resources: &mut Resources) {
        if !resources.complete_runtime() {
            return;
        }
        if let Some((need, timeout)) = self.clusters.take() {
            resources.interest.want(need, User::Bootstrap, timeout);
        }
        if self.clusters_known
            && resources.clusters_are_warm()
            && let Some((need, timeout)) = self.listeners.take()
        {
            resources.interest.want(need, User::Bootstrap, timeout);
        }
    }

    /// After the start, an ADS server hears of clusters that they are taken only once they are warm, as from Envoy: routes
    /// to them may then follow.
    fn answer_clusters(&mut self, ack: Ack, rejections: Vec<Rejection>, resources: &Resources) {
        let started = self.listeners.is_none();
        if started && !resources.clusters_are_warm() {
            self.held.push((ack, rejections));
        } else {
            ack.reject(rejections);
        }
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
                match self.open(&id, &need, timeout, resources) {
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
            (SourceSpecifier::Grpc(_), Kind::VirtualHosts) => Carries::One(need.kind, need.virtual_host()?.0.into()),
            (SourceSpecifier::Grpc(_), Kind::Secret | Kind::Runtime | Kind::Extension)
            | (SourceSpecifier::Rest(_), _) => Carries::One(need.kind, need.name.clone()),
            (_, kind) => Carries::Kind(kind),
        };
        Some(StreamId {
            origin: need.origin,
            carries,
        })
    }

    fn open(&self, id: &StreamId, need: &Need, timeout: Duration, resources: &Resources) -> Result<Stream, OpenError> {
        let specifier = resources.origins.get(id.origin).ok_or(OpenError::NoAds)?;
        let (api, service) = match specifier {
            SourceSpecifier::Ads => (self.ads.as_ref().ok_or(OpenError::NoAds)?, Service::Aggregated),
            SourceSpecifier::Grpc(api) => (api, Service::Own(need.kind.type_url().into())),
            SourceSpecifier::Rest(api) => return Ok(self.poll(id, need, timeout, api, resources)),
            SourceSpecifier::File {
                path,
                watched_directory,
            } => {
                let watch = file::follow(path.clone(), watched_directory.clone(), id.clone(), self.outbox.clone());
                return Ok(Stream {
                    link: Link::File(tokio::task::spawn_local(watch).abort_handle()),
                    name: path.to_string(),
                    needs: 0,
                    lost: Lost::default(),
                    gone: false,
                    control_plane: None,
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
            lost: Lost::default(),
            gone: false,
            control_plane: Some(control_plane),
        })
    }

    fn poll(&self, id: &StreamId, need: &Need, timeout: Duration, api: &RestApi, resources: &Resources) -> Stream {
        let accepted = Rc::<RefCell<Arc<str>>>::default();
        let poll = Poll {
            api: api.clone(),
            need: need.clone(),
            node: self.node.clone(),
            accepted: accepted.clone(),
            initial_fetch_timeout: timeout,
        };
        let polling = rest::run(poll, resources.caller.clone(), id.clone(), self.outbox.clone());
        Stream {
            link: Link::Rest {
                polling: tokio::task::spawn_local(polling).abort_handle(),
                accepted,
                answered: false,
            },
            name: api.cluster.to_string(),
            needs: 0,
            lost: Lost::default(),
            gone: false,
            control_plane: None,
        }
    }

    /// Each stream's state stands where its subscription's statistics stand, as in Envoy.
    fn control_plane(&self, id: &StreamId, resources: &Resources) -> Group<ControlPlaneStat> {
        let prefix = match &id.carries {
            Carries::Kind(Kind::Cluster) => Prefix::root("cluster_manager.cds.control_plane."),
            Carries::Kind(Kind::Listener) => Prefix::root("listener_manager.lds.control_plane."),
            Carries::Kind(Kind::Scopes) => return resources.stats.scopes_control_plane(id.origin),
            Carries::One(Kind::Runtime, _) => Prefix::root("runtime.control_plane."),
            Carries::One(Kind::Extension, name) => Prefix::new(
                "extension_config_discovery.http_filter.",
                name.clone(),
                ".control_plane.",
            ),
            Carries::One(Kind::Secret, name) => Prefix::new("sds.", name.clone(), ".control_plane."),
            Carries::One(Kind::VirtualHosts, routes) => return resources.stats.virtual_hosts_control_plane(routes),
            Carries::Everything | Carries::Kind(_) | Carries::One(..) => Prefix::root("control_plane."),
        };
        resources.context.stats.group(prefix)
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

/// For people.
impl fmt::Display for Carries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("all that it serves"),
            Self::Kind(kind) => write!(f, "everything of kind {kind:?}"),
            Self::One(Kind::Secret, name) => write!(f, "the secret {name:?}"),
            Self::One(kind, name) => write!(f, "{kind:?} {name:?}"),
        }
    }
}

impl Stream {
    fn set_connected(&self, connected: bool) {
        if let Some(stats) = &self.control_plane {
            stats.set(ControlPlaneStat::ConnectedState, u64::from(connected));
        }
    }
}

/// Why nothing will come from a source.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("its source is ADS, and the bootstrap has no ads_config")]
    NoAds,
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
        match self {
            Self::Grpc(_) => {}
            Self::File(task) | Self::Rest { polling: task, .. } => task.abort(),
        }
    }
}
