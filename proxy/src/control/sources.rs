//! Where config comes from: one stream per source and kind, one per secret as Envoy has it, the aggregated one for all that
//! say `ads`, files, and polls. Updates become resources; every update is answered resource by resource.

use std::{cell::RefCell, fmt, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use hashbrown::HashMap;
use tokio::{sync::mpsc, task::AbortHandle};
use xds_client::{Client, Event, Handle, Options, Protocol, Service, Source};

mod hear;

use super::{
    file,
    interest::{Changes, Kind, Need},
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
            Kind::Endpoints | Kind::Extension | Kind::Routes | Kind::Runtime | Kind::Secret => true,
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
        for need in &changes.unwanted {
            self.unsubscribe(need, resources);
            resources.forget(need);
        }
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
                    handle.subscribe(need.kind.type_url(), [need.name], timeout);
                }
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
        if let Link::Grpc(handle) = &stream.link {
            handle.unsubscribe(need.kind.type_url(), [need.name.clone()]);
        }
        if stream.needs == 0 && id.carries != Carries::Everything {
            self.streams.remove(&id);
        }
    }

    /// `None`: the bootstrap, which sends nothing.
    fn stream_of(&self, need: &Need, resources: &Resources) -> Option<StreamId> {
        let carries = match (resources.origins.get(need.origin)?, need.kind) {
            (SourceSpecifier::Ads, _) => Carries::Everything,
            (SourceSpecifier::Grpc(_), Kind::Secret) | (SourceSpecifier::Rest(_), _) => {
                Carries::One(need.kind, need.name.clone())
            }
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
            Carries::Kind(Kind::Runtime) => Prefix::root("runtime.control_plane."),
            Carries::One(Kind::Secret, name) => Prefix::new("sds.", name.clone(), ".control_plane."),
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
            Kind::Endpoints | Kind::Extension | Kind::Routes | Kind::Runtime | Kind::Secret => {}
        }
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

impl Drop for Link {
    fn drop(&mut self) {
        match self {
            Self::Grpc(_) => {}
            Self::File(task) | Self::Rest { polling: task, .. } => task.abort(),
        }
    }
}
