//! Connections for a CONNECT that ends here: each carries one tunnel, and none is pooled.

use std::{rc::Rc, sync::Arc};

use super::{AcquireFailure, Connecting, ConnectionFacts, Lease, Pool, Wake, failed, pending};
use crate::{
    cluster::{Cluster, Endpoint, Priority},
    http::codec::h1,
    io::Stream,
    upstream::{connect, permit::OpenConnection},
    worker,
};

/// A connection without messages.
pub struct TunnelConnection {
    pub codec: h1::Tunnel<Stream>,
    pub facts: Rc<ConnectionFacts>,
    _open: OpenConnection,
}

impl Pool {
    /// A connection of its own, once the breaker allows one.
    ///
    /// # Errors
    /// A breaker's overflow, or the connect's failure.
    pub async fn connect_tunnel(
        self: &Rc<Self>,
        cluster: &Arc<Cluster>,
        endpoint: &Arc<Endpoint>,
        priority: Priority,
        shared: &worker::Shared,
    ) -> Result<Lease, AcquireFailure> {
        let _pending = pending(cluster, priority)?;
        let permit = loop {
            if let Some(permit) = self.connection_permit(cluster, priority) {
                break permit;
            }
            match self.woken().await {
                // A tunnel cannot use it; that it closes makes the room.
                Wake::Connection(connection) => drop(connection),
                Wake::Failed(failure) => return Err(failed(cluster, failure)),
                Wake::Retry => {}
            }
        };
        let open = OpenConnection::new(&endpoint.state, permit);
        let connecting = Connecting::new(self);
        let connected = connect::connect(cluster, endpoint, &self.key.options).await;
        drop(connecting);
        let connected = connected.map_err(|failure| failed(cluster, failure))?;
        self.busy.set(self.busy.get() + 1);
        let facts = Rc::new(ConnectionFacts {
            id: shared.connection_ids.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            local_address: connected.local_address,
            tls: connected.tls,
            protocol: None,
            connect: (connected.started, connected.finished),
        });
        Ok(Lease::Tunnel(Box::new(TunnelConnection {
            codec: h1::Tunnel::new(connected.stream),
            facts,
            _open: open,
        })))
    }

    /// A tunnel's connection closed.
    pub fn tunnel_ended(&self) {
        self.busy.set(self.busy.get() - 1);
        self.wake_one();
    }
}
