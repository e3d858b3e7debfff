//! The control thread: everything that is not a request. Config comes in, becomes runtime types, and is published.
//!
//! `sources` hears control planes and files, `resources` knows every resource and when it is warm, `interest` who needs it;
//! `expiry` tells of certificates
//! that nobody renews; `publisher` owns the next snapshot, the listening sockets and the drains; workers hear of it by [`Command`]s.

pub mod demand;
pub mod expiry;
pub mod file;
pub mod interest;
pub mod key_files;
pub mod ledger;
pub mod lost;
pub mod origin;
pub mod publisher;
pub mod resources;
pub mod rest;
pub mod runtime;
pub mod server;
pub mod sources;
pub mod subscription_stats;

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use tokio::sync::{mpsc, watch};
use xds_client::WILDCARD;

use crate::{
    bootstrap::{Bootstrap, StaticResources},
    config::{Context, source::ConfigSource},
    listener::{accept::HandedOver, exact_balance::ExactBalance, socket::Listening},
    worker::Worker,
};
use demand::Demand;
use interest::{Kind, Need};
use ledger::Ledger;
use publisher::Publisher;
use resources::Resources;
use runtime::RuntimeLayers;
use sources::Sources;

/// What the control thread tells a worker.
#[derive(Debug)]
pub enum Command {
    /// Accept on these sockets for the listener `name` until `stop`.
    Listen {
        name: Arc<str>,
        sockets: Vec<Listening>,
        balance: Option<Arc<ExactBalance>>,
        stop: watch::Receiver<bool>,
    },
    /// Another worker accepted this connection, and this one has fewer.
    Serve(HandedOver),
    /// The snapshot changed: let go of the old one, and of clusters that left.
    Swapped,
    /// Nothing goes on: memory that the thread keeps at hand goes back.
    Quiet,
    /// Finish and end the thread.
    Stop,
}

/// A worker's inbox.
pub type Commands = mpsc::UnboundedReceiver<Command>;

/// The config path after the bootstrap.
pub struct Control {
    resources: Resources,
    sources: Sources,
    demands: mpsc::UnboundedReceiver<Demand>,
    housekeeping: tokio::time::Interval,
}

/// What the config path shares with the rest of the process.
pub struct Neighbours {
    /// What it has, for the admin interface.
    pub ledger: Rc<RefCell<Ledger>>,
    pub runtime: Rc<RefCell<RuntimeLayers>>,
    /// Sends requests for it.
    pub caller: Rc<Worker>,
    /// What clients' requests wait for.
    pub demands: mpsc::UnboundedReceiver<Demand>,
}

/// How often replaced snapshots are looked at and outliers are judged.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

impl Control {
    /// Takes the static resources, and opens the streams to the control planes. Must be called inside a `LocalRuntime`.
    ///
    /// # Errors
    /// A static secret whose material cannot be used, a static listener whose address cannot be bound.
    pub fn start(
        publisher: Publisher,
        context: Context,
        bootstrap: &Bootstrap,
        statics: StaticResources,
        neighbours: Neighbours,
    ) -> anyhow::Result<Self> {
        let Neighbours {
            ledger,
            runtime,
            caller,
            demands,
        } = neighbours;
        let mut resources = Resources::new(publisher, context, ledger, runtime, caller);
        for (received, secret) in statics.secrets {
            resources.add_secret(&received, secret, None)?;
        }
        for (received, parsed) in statics.clusters {
            resources.add_cluster(received, parsed, None);
        }
        for (received, listener) in statics.listeners {
            resources.publisher.probe(&listener)?;
            resources.add_listener(received, listener, None);
        }
        let dynamic = &bootstrap.dynamic;
        resources.ads_is_delta = dynamic.ads.as_ref().is_some_and(|ads| ads.delta);
        let mut sources = Sources::new(dynamic.ads.clone(), bootstrap.node.bytes.clone());
        let mut everything = |kind, source: &Option<Arc<ConfigSource>>| {
            if let Some(source) = source {
                let need = Need {
                    kind,
                    origin: resources.origins.id(source),
                    name: WILDCARD.into(),
                };
                sources.expect(need, source.initial_fetch_timeout.unwrap_or(Duration::ZERO));
            }
        };
        everything(Kind::Cluster, &dynamic.clusters);
        everything(Kind::Listener, &dynamic.listeners);
        resources.want_runtime();
        let mut control = Self {
            resources,
            sources,
            demands,
            housekeeping: tokio::time::interval(HOUSEKEEPING),
        };
        control.publish();
        Ok(control)
    }

    pub fn publisher(&mut self) -> &mut Publisher {
        &mut self.resources.publisher
    }

    /// Whether the first config is complete: clusters and listeners were told of, and all of them are warm.
    pub fn initialized(&self) -> bool {
        let told = self.resources.runtime_is_complete()
            && self.sources.knows(Kind::Cluster)
            && self.sources.knows(Kind::Listener);
        told && self.resources.clusters_are_warm() && self.resources.listeners_are_warm()
    }

    /// Makes public what was changed in the runtime layers from outside.
    pub fn runtime_changed(&mut self) {
        self.resources.publish_runtime();
        self.publish();
    }

    /// Whether the clusters are complete; listeners follow.
    pub fn clusters_initialized(&self) -> bool {
        self.sources.knows(Kind::Cluster) && self.resources.clusters_are_warm()
    }

    /// Waits for one thing to happen and deals with it. Safe to cancel.
    pub async fn step(&mut self) {
        let resolved = self.resources.resolved.clone();
        let news = tokio::select! {
            news = self.sources.news() => Some(news),
            () = resolved.notified() => None,
            owners = self.resources.watches.changed() => {
                self.resources.reload(owners);
                None
            }
            Some(demand) = self.demands.recv() => {
                self.resources.demand(demand);
                // What was asked together is fetched together.
                while let Ok(demand) = self.demands.try_recv() {
                    self.resources.demand(demand);
                }
                None
            }
            _ = self.housekeeping.tick() => {
                self.resources.housekeep();
                None
            }
        };
        if let Some((stream, heard)) = news {
            self.sources.hear(&stream, heard, &mut self.resources);
            // What arrived together is published together.
            while let Some((stream, heard)) = self.sources.more_news() {
                self.sources.hear(&stream, heard, &mut self.resources);
            }
        }
        self.publish();
    }

    fn publish(&mut self) {
        self.sources.settle(&mut self.resources);
        // Static listeners open with the first complete config, as Envoy's do.
        self.resources.publish();
        for note in self.resources.context.notes.take() {
            tracing::warn!("{note}");
        }
    }
}
