//! The control thread: everything that is not a request. Config comes in, becomes runtime types, and is published.
//!
//! `ads` hears the control plane, `resources` knows every resource and when it is warm, `publisher` owns the next snapshot,
//! the listening sockets and the drains; workers hear of it by [`Command`]s.

pub mod ads;
pub mod publisher;
pub mod resources;

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, watch};

use crate::{
    bootstrap::{Bootstrap, StaticResources},
    config::Context,
    listener::{accept::HandedOver, exact_balance::ExactBalance, socket::Listening},
};
use ads::Ads;
use publisher::Publisher;
use resources::{Resources, Wanted};

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
    /// Finish and end the thread.
    Stop,
}

/// A worker's inbox.
pub type Commands = mpsc::UnboundedReceiver<Command>;

/// The config path after the bootstrap.
pub struct Control {
    resources: Resources,
    ads: Option<Ads>,
    housekeeping: tokio::time::Interval,
}

/// How often replaced snapshots are looked at and outliers are judged.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

impl Control {
    /// Takes the static resources and opens the stream to the control plane, where one is configured. Must be called inside
    /// a `LocalSet`.
    ///
    /// # Errors
    /// A static secret whose material cannot be used, or a management server that the config does not describe.
    pub fn start(
        publisher: Publisher,
        context: Context,
        bootstrap: &Bootstrap,
        statics: StaticResources,
    ) -> anyhow::Result<Self> {
        let mut resources = Resources::new(publisher, context);
        let mut wanted = Wanted::default();
        for (_, secret) in statics.secrets {
            resources.add_secret(secret)?;
        }
        for (received, parsed) in statics.clusters {
            resources.add_cluster(received, parsed, false, &mut wanted);
        }
        for (received, listener) in statics.listeners {
            resources.add_listener(received, listener, false, &mut wanted);
        }
        let ads = match &bootstrap.dynamic.ads {
            Some(api) => {
                let node = bootstrap.node.bytes.clone();
                let ads = Ads::start(api, &bootstrap.dynamic, node, &resources)?;
                ads.want(&wanted);
                Some(ads)
            }
            None => None,
        };
        let housekeeping = tokio::time::interval(HOUSEKEEPING);
        let mut control = Self {
            resources,
            ads,
            housekeeping,
        };
        control.publish();
        Ok(control)
    }

    pub fn publisher(&mut self) -> &mut Publisher {
        &mut self.resources.publisher
    }

    /// Whether the first config is complete: clusters and listeners were told of, and all of them are warm.
    pub fn initialized(&self) -> bool {
        let told = self
            .ads
            .as_ref()
            .is_none_or(|ads| ads.clusters_known && ads.listeners_known);
        told && self.resources.clusters_are_warm() && self.resources.listeners_are_warm()
    }

    /// Waits for one thing to happen and deals with it. Safe to cancel.
    pub async fn step(&mut self) {
        let resolved = self.resources.resolved.clone();
        let heard = async {
            match &mut self.ads {
                // The client ends only with its handle, which `ads` holds.
                Some(ads) => match ads.events.recv().await {
                    Some(event) => event,
                    None => std::future::pending().await,
                },
                None => std::future::pending().await,
            }
        };
        let event = tokio::select! {
            event = heard => Some(event),
            () = resolved.notified() => None,
            _ = self.housekeeping.tick() => return self.resources.housekeep(),
        };
        if let (Some(event), Some(ads)) = (event, &mut self.ads) {
            ads.hear(event, &mut self.resources);
            // What arrived together is published together.
            while let Ok(event) = ads.events.try_recv() {
                ads.hear(event, &mut self.resources);
            }
        }
        self.publish();
    }

    fn publish(&mut self) {
        // Static listeners open with the first complete config, as Envoy's do.
        self.resources.publish();
        if let Some(ads) = &mut self.ads {
            ads.ask_for_listeners(&self.resources);
        }
        for note in self.resources.context.notes.take() {
            tracing::warn!("{note}");
        }
    }
}
