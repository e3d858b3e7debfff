//! An xDS client: ADS, SDS and every other discovery service of Envoy's v3 API, state of the world and delta, over TCP,
//! TLS and Unix sockets. It moves resources by name and version and never looks inside them; what a cluster *is*, the
//! application knows.
//!
//! One future does the work; a [`Handle`] says what to subscribe to, [`Event`]s tell what came. The application answers
//! each update when it has judged it, resource by resource: what it rejects by name is NACKed by name and the rest is
//! in use.
//!
//! ```no_run
//! use std::time::Duration;
//! use xds_client::{Client, Event, ManagementServer, Options, Rejection, ServerOptions, Service, Source, Target};
//! use xds_client::{Protocol, resource_type};
//!
//! # async fn example(node: Vec<u8>, check: impl Fn(&[u8]) -> Result<(), String>) -> Result<(), xds_client::Error> {
//! let target = Target::Tcp { host: "istiod.istio-system".into(), port: 15010 };
//! let server = ManagementServer::new(ServerOptions::new("istiod", target))?;
//! let source = Source::Grpc { server, protocol: Protocol::Delta, service: Service::Aggregated };
//! let (client, handle, mut events) = Client::new(Options::new(source, node))?; // node: an encoded core.v3.Node
//! tokio::spawn(client.run());
//! handle.subscribe_all(resource_type::CLUSTER, Duration::from_secs(15));
//! while let Some(event) = events.recv().await {
//!     match event {
//!         Event::Update(update, ack) => {
//!             let rejected = update.resources.iter().filter_map(|resource| {
//!                 let reason = check(&resource.body).err()?;
//!                 Some(Rejection { name: resource.name.clone(), reason })
//!             });
//!             ack.reject(rejected.collect()); // an empty list is an ACK
//!         }
//!         Event::Disconnected { reason, retry_in } => eprintln!("{reason}; next attempt in {retry_in:?}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The protocol itself is [`state`], a pure state machine.

mod backoff;
mod client;
mod connection;
mod error;
pub mod grpc;
mod handle;
mod link;
pub mod message;
pub mod resource_type;
mod server;
pub mod state;
mod target;

pub use backoff::Backoff;
pub use client::{Client, Options, Service, Source};
pub use connection::Keepalive;
pub use error::Error;
pub use handle::{Ack, Event, Handle};
pub use server::{Connecting, Connector, ManagementServer, ServerOptions};
pub use state::{Name, Protocol, Refused, Rejection, Resource, Update, WILDCARD};
pub use target::{Io, Target};
