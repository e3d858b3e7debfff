//! An xDS server in a few hundred lines: what each node shall have, pushed whenever it changes.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use examples::{ControlPlane, resources};
//! let plane = ControlPlane::start("127.0.0.1:0".parse().unwrap()).await?;
//! plane.set("sidecar-1", resources::CLUSTER, "api", resources::any(resources::CLUSTER, &serde_json::json!({
//!     "name": "api", "connect_timeout": "1s", "type": "STATIC",
//! })).expect("a cluster"));
//! println!("aggregated discovery at {}", plane.address());
//! # Ok(())
//! # }
//! ```
//!
//! `store` holds the resources, `stream` speaks to one client, `grpc` frames messages over HTTP/2.

mod grpc;
mod store;
mod stream;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use tokio::{net::TcpListener, sync::watch};

use store::Store;

/// A running control plane. Cloning shares it; it ends with the runtime.
#[derive(Clone)]
pub struct ControlPlane {
    shared: Arc<Shared>,
    address: SocketAddr,
}

struct Shared {
    store: Mutex<Store>,
    /// Counts changes; streams look again when it moves.
    changes: watch::Sender<u64>,
    rejections: Mutex<Vec<String>>,
}

impl ControlPlane {
    /// Listens and serves in the background of the current runtime.
    ///
    /// # Errors
    /// Where the address cannot be bound.
    pub async fn start(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            store: Mutex::default(),
            changes: watch::Sender::new(0),
            rejections: Mutex::default(),
        });
        let serving = shared.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let shared = serving.clone();
                tokio::spawn(async move {
                    if let Err(e) = grpc::serve(socket, shared).await {
                        tracing::debug!("control plane: connection ended: {e}");
                    }
                });
            }
        });
        Ok(Self { shared, address })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets one resource of one node, without a push: call [`Self::push`] after the last of a change.
    pub fn stage(&self, node: &str, type_url: &str, name: &str, body: Bytes) {
        self.store(|store| store.set(node, type_url, name, body));
    }

    /// Sets one resource of one node and pushes.
    pub fn set(&self, node: &str, type_url: &str, name: &str, body: Bytes) {
        self.stage(node, type_url, name, body);
        self.push();
    }

    /// Removes one resource of one node and pushes.
    pub fn remove(&self, node: &str, type_url: &str, name: &str) {
        self.store(|store| store.remove(node, type_url, name));
        self.push();
    }

    /// Tells every stream to look for changes.
    pub fn push(&self) {
        self.shared.changes.send_modify(|n| *n += 1);
    }

    /// Error texts of every NACK so far.
    pub fn rejections(&self) -> Vec<String> {
        self.shared
            .rejections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn store<T>(&self, f: impl FnOnce(&mut Store) -> T) -> T {
        f(&mut self.shared.store.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shared {
    fn get(&self, node: &str, type_url: &str) -> store::Named {
        self.store
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(node, type_url)
    }

    fn reject(&self, text: String) {
        tracing::warn!("a client rejected: {text}");
        self.rejections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(text);
    }
}
