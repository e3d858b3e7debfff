//! Connections to one endpoint that requests share: an idle list for HTTP/1, multiplexed connections for HTTP/2.
//!
//! The task that needs a connection opens it itself. Where a breaker forbids another, or an HTTP/2 connect is under way,
//! it waits for a place; whoever gives a connection back hands it to the one that waited longest.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

mod key;
mod parked;
mod tunnel;

pub use self::{
    key::{PoolKey, Wanted},
    tunnel::TunnelConnection,
};

use self::parked::Parked;
use super::{
    codec_stats::CodecStats,
    connect::{self, ConnectFailure, Connected},
    permit::{OpenConnection, Permit, Resource},
};
use crate::{
    address::Address,
    cluster::{Cluster, Endpoint, Priority},
    failure::ResetReason,
    http::{
        codec::{h1, h2},
        message::Protocol,
    },
    io::Stream,
    stats::ClusterStat,
    stream_info::TlsInfo,
    worker,
};

/// What is known of an upstream connection, for logs.
#[derive(Debug)]
pub struct ConnectionFacts {
    pub id: u64,
    pub local_address: Option<Address>,
    pub tls: Option<Arc<TlsInfo>>,
    /// None: it carries a tunnel.
    pub protocol: Option<Protocol>,
    pub connect: (Instant, Instant),
}

/// An HTTP/1 connection, busy or idle.
pub struct Http1Connection {
    pub codec: h1::ClientConnection<Stream>,
    pub facts: Rc<ConnectionFacts>,
    requests: u32,
    idle_since: Instant,
    open: OpenConnection,
}

impl Http1Connection {
    /// The peer ended the connection, or broke its protocol, within an exchange.
    pub(super) fn broken_by_peer(&self) {
        self.open.ended_by_peer();
    }
}

/// An HTTP/2 connection, shared by its streams. Its driver task ends with it.
pub struct Http2Connection {
    pub handle: h2::ClientConnection,
    pub facts: Rc<ConnectionFacts>,
    requests: Cell<u32>,
    idle_since: Cell<Instant>,
}

/// A connection for one request.
pub enum Lease {
    Http1(Box<Http1Connection>),
    Http2(Rc<Http2Connection>),
    Tunnel(Box<TunnelConnection>),
}

/// Why no connection could be leased.
#[derive(Debug, Clone)]
pub enum AcquireFailure {
    /// A circuit breaker refused: which one.
    Overflow(Resource),
    Connect(ConnectFailure),
}

/// What a waiting request is told.
enum Wake {
    Connection(Box<Http1Connection>),
    /// There may be room now: look again.
    Retry,
    Failed(ConnectFailure),
}

pub struct Pool {
    key: PoolKey,
    codecs: Rc<CodecStats>,
    /// Its health decides whether connections may stay; it keeps the TLS context alive whose address stands in the key.
    endpoint: Arc<Endpoint>,
    // Boxed once when the connection is made: leases and waiters pass it on by pointer.
    #[allow(clippy::vec_box)]
    idle: RefCell<Vec<Box<Http1Connection>>>,
    /// Idle for longer, the longest first.
    parked: RefCell<Vec<Parked>>,
    shared: RefCell<Vec<Rc<Http2Connection>>>,
    waiters: RefCell<VecDeque<oneshot::Sender<Wake>>>,
    /// HTTP/1 connections that carry a request.
    busy: Cell<usize>,
    connecting: Cell<usize>,
    draining: Cell<bool>,
}

impl Pool {
    /// `codecs` are the cluster's, shared by its pools.
    pub fn new(key: PoolKey, endpoint: Arc<Endpoint>, codecs: Rc<CodecStats>) -> Rc<Self> {
        Rc::new(Self {
            key,
            codecs,
            endpoint,
            idle: RefCell::default(),
            parked: RefCell::default(),
            shared: RefCell::default(),
            waiters: RefCell::default(),
            busy: Cell::new(0),
            connecting: Cell::new(0),
            draining: Cell::new(false),
        })
    }

    /// A connection for one request: a pooled one at once, a new one, or the next that is given back.
    ///
    /// # Errors
    /// A breaker's overflow, or the connect's failure.
    pub async fn acquire(
        self: &Rc<Self>,
        cluster: &Arc<Cluster>,
        endpoint: &Arc<Endpoint>,
        priority: Priority,
        shared: &worker::Shared,
    ) -> Result<Lease, AcquireFailure> {
        if let Some(lease) = self.pooled(cluster) {
            return Ok(lease);
        }
        let _pending = pending(cluster, priority)?;
        loop {
            // A multiplexed connection that is being opened will take this request too.
            let single_flight = self.key.protocol != Wanted::Http1 && self.connecting.get() > 0;
            let permit = if single_flight {
                None
            } else {
                self.connection_permit(cluster, priority)
            };
            if let Some(permit) = permit {
                // Boxed, so that a request which finds a pooled connection has no room for a handshake in its future.
                let opened = Box::pin(self.open(cluster, endpoint, permit, shared)).await;
                return opened.map_err(|failure| failed(cluster, failure));
            }
            match self.woken().await {
                Wake::Connection(connection) => {
                    self.busy.set(self.busy.get() + 1);
                    return Ok(Lease::Http1(connection));
                }
                Wake::Failed(failure) => return Err(failed(cluster, failure)),
                Wake::Retry => {}
            }
            if let Some(lease) = self.pooled(cluster) {
                return Ok(lease);
            }
        }
    }

    /// Waits in line for what comes free.
    async fn woken(&self) -> Wake {
        let (wake, woken) = oneshot::channel();
        self.waiters.borrow_mut().push_back(wake);
        woken.await.unwrap_or(Wake::Retry)
    }

    /// A usable pooled connection, the most recently used first. Dead ones are dropped on the way.
    fn pooled(&self, cluster: &Cluster) -> Option<Lease> {
        while let Some(mut connection) = self.next_idle(cluster) {
            if connection.codec.is_stale() {
                connection.open.ended_by_peer();
                continue;
            }
            connection.requests += 1;
            connection.open.busy(true);
            self.busy.set(self.busy.get() + 1);
            return Some(Lease::Http1(connection));
        }
        let mut shared = self.shared.borrow_mut();
        shared.retain(|c| c.handle.is_open());
        let free = shared.iter().find(|c| c.handle.has_capacity())?;
        free.requests.set(free.requests.get() + 1);
        let lease = free.clone();
        if exhausted(lease.requests.get(), cluster) {
            shared.retain(|c| !Rc::ptr_eq(c, &lease));
        }
        Some(Lease::Http2(lease))
    }

    fn next_idle(&self, cluster: &Cluster) -> Option<Box<Http1Connection>> {
        let idle = self.idle.borrow_mut().pop();
        idle.or_else(|| self.parked.borrow_mut().pop()?.wake(cluster))
    }

    fn connection_permit(&self, cluster: &Cluster, priority: Priority) -> Option<Permit> {
        let permit = Permit::take(&cluster.state, priority, Resource::Connection);
        let none_open = self.busy.get() + self.connecting.get() + self.shared.borrow().len() == 0;
        permit.or_else(|| none_open.then(|| Permit::force(&cluster.state, priority, Resource::Connection)))
    }

    async fn open(
        self: &Rc<Self>,
        cluster: &Arc<Cluster>,
        endpoint: &Arc<Endpoint>,
        permit: Permit,
        shared: &worker::Shared,
    ) -> Result<Lease, ConnectFailure> {
        let connecting = Connecting::new(self);
        self.codecs.announce(self.key.protocol, cluster, shared);
        let open = OpenConnection::new(&endpoint.state, permit);
        let result = match connect::connect(cluster, endpoint, &self.key.options).await {
            Ok(mut connected) => {
                connected.exchange(cluster, &shared.node);
                self.start(cluster, connected, open, shared).await
            }
            Err(failure) => {
                if failure.reason != ResetReason::ConnectTimeout {
                    open.ended_by_peer();
                }
                Err(failure)
            }
        };
        drop(connecting);
        match &result {
            Ok(Lease::Http2(_)) => self.wake_all(|| Wake::Retry),
            Ok(Lease::Http1(_) | Lease::Tunnel(_)) => {}
            Err(failure) if self.key.protocol == Wanted::Http1 => {
                let _ = failure;
                self.wake_one();
            }
            Err(failure) => self.wake_all(|| Wake::Failed(failure.clone())),
        }
        result
    }

    /// Puts the negotiated codec on a connected stream.
    async fn start(
        &self,
        cluster: &Arc<Cluster>,
        connected: Connected,
        open: OpenConnection,
        shared: &worker::Shared,
    ) -> Result<Lease, ConnectFailure> {
        let negotiated = connected.tls.as_ref().and_then(|t| t.alpn.as_deref());
        let http2 = match self.key.protocol {
            Wanted::Http1 => false,
            Wanted::Http2 => true,
            Wanted::Auto => negotiated == Some("h2"),
        };
        let facts = Rc::new(ConnectionFacts {
            id: shared.connection_ids.fetch_add(1, Ordering::Relaxed),
            local_address: connected.local_address,
            tls: connected.tls,
            protocol: Some(if http2 { Protocol::Http2 } else { Protocol::Http11 }),
            connect: (connected.started, connected.finished),
        });
        if self.key.protocol == Wanted::Auto {
            let spoken = if http2 { Wanted::Http2 } else { Wanted::Http1 };
            self.codecs.announce(spoken, cluster, shared);
        }
        if http2 {
            let settings = super::exchange::http2_settings(cluster);
            let codec_stats = self.codecs.http2(cluster, shared);
            let (handle, driver) = h2::ClientConnection::handshake(connected.stream, &settings, codec_stats.clone())
                .await
                .map_err(|e| ConnectFailure {
                    reason: ResetReason::ProtocolError,
                    transport: None,
                    sentence: format!("cluster {}: HTTP/2 preface failed: {e}", cluster.name),
                })?;
            tokio::task::spawn_local(async move {
                if let Err(e) = driver.await {
                    open.ended_by_peer();
                    tracing::debug!("upstream HTTP/2 connection ended: {e}");
                }
                drop(open);
            });
            let idle_since = Cell::new(Instant::now());
            let connection = Rc::new(Http2Connection {
                handle,
                facts,
                requests: Cell::new(1),
                idle_since,
            });
            if !exhausted(1, cluster) {
                self.shared.borrow_mut().push(connection.clone());
            }
            return Ok(Lease::Http2(connection));
        }
        let codec = h1::ClientConnection::new(connected.stream, super::exchange::http1_settings(cluster));
        self.busy.set(self.busy.get() + 1);
        open.busy(true);
        Ok(Lease::Http1(Box::new(Http1Connection {
            codec,
            facts,
            requests: 1,
            idle_since: Instant::now(),
            open,
        })))
    }

    fn host_stays(&self) -> bool {
        let host = &self.endpoint.state;
        ![&host.removed, &host.ejected, &host.failed_active_health_check]
            .iter()
            .any(|flag| flag.load(Ordering::Relaxed))
    }

    /// Takes back a connection on which nothing was sent, with its request uncounted.
    pub fn give_back_unused(&self, lease: Lease, cluster: &Cluster) {
        match lease {
            Lease::Http1(mut connection) => {
                connection.requests = connection.requests.saturating_sub(1);
                self.give_back(connection, cluster);
            }
            Lease::Http2(connection) => {
                connection.requests.set(connection.requests.get().saturating_sub(1));
                self.stream_ended(&connection);
            }
            Lease::Tunnel(connection) => {
                drop(connection);
                self.tunnel_ended();
            }
        }
    }

    /// Takes an HTTP/1 connection back after its exchange; one that cannot be reused closes here.
    pub fn give_back(&self, mut connection: Box<Http1Connection>, cluster: &Cluster) {
        self.busy.set(self.busy.get() - 1);
        let expired = cluster
            .max_connection_duration
            .is_some_and(|max| connection.facts.connect.1.elapsed() >= max);
        let spent = exhausted(connection.requests, cluster);
        if spent {
            cluster.state.stats.inc(ClusterStat::UpstreamCxMaxRequests);
        }
        let complete = connection.codec.body_complete();
        connection.open.busy(!complete);
        if complete && !connection.codec.is_reusable() {
            cluster.state.stats.inc(ClusterStat::UpstreamCxCloseNotify);
        }
        if self.draining.get() || !self.host_stays() || expired || spent || !connection.codec.is_reusable() {
            drop(connection);
            return self.wake_one();
        }
        while let Some(waiter) = self.waiters.borrow_mut().pop_front() {
            connection.open.busy(true);
            match waiter.send(Wake::Connection(connection)) {
                Ok(()) => return,
                Err(Wake::Connection(back)) => connection = back,
                Err(_) => return,
            }
        }
        connection.open.busy(false);
        connection.idle_since = Instant::now();
        self.idle.borrow_mut().push(connection);
    }

    /// An HTTP/2 stream ended: there may be room for a waiting one.
    pub fn stream_ended(&self, connection: &Http2Connection) {
        connection.idle_since.set(Instant::now());
        self.wake_one();
    }

    fn wake_one(&self) {
        while let Some(waiter) = self.waiters.borrow_mut().pop_front() {
            if waiter.send(Wake::Retry).is_ok() {
                return;
            }
        }
    }

    fn wake_all(&self, wake: impl Fn() -> Wake) {
        let waiters = std::mem::take(&mut *self.waiters.borrow_mut());
        for waiter in waiters {
            // A waiter that gave up has dropped its end.
            let _ = waiter.send(wake());
        }
    }

    /// Closes idle connections that the peer closed or that idled longer than `idle_timeout`; all of them if `all`.
    pub fn sweep(&self, now: Instant, idle_timeout: Option<Duration>, all: bool) {
        // As Envoy drains the pools of a host that left or is taken for sick.
        let all = all || !self.host_stays();
        let expired = |since: Instant| all || idle_timeout.is_some_and(|max| now.duration_since(since) >= max);
        self.idle.borrow_mut().retain_mut(|c| {
            if expired(c.idle_since) {
                if !all {
                    c.open.idled_out();
                }
                return false;
            }
            let stale = c.codec.is_stale();
            if stale {
                c.open.ended_by_peer();
            }
            !stale
        });
        parked::sweep(&mut self.parked.borrow_mut(), expired, all);
        parked::park(&mut self.idle.borrow_mut(), &mut self.parked.borrow_mut(), now);
        self.shared
            .borrow_mut()
            .retain(|c| c.handle.is_open() && (c.handle.active() > 0 || !expired(c.idle_since.get())));
    }

    /// Its endpoint is no longer among the cluster's.
    pub fn is_orphaned(&self) -> bool {
        self.endpoint.state.removed.load(Ordering::Relaxed)
    }

    /// No connection of this pool takes another request; idle ones close now.
    pub fn drain(&self) {
        self.draining.set(true);
        self.idle.borrow_mut().clear();
        self.parked.borrow_mut().clear();
        self.shared.borrow_mut().clear();
        self.wake_all(|| Wake::Retry);
    }

    pub fn is_unused(&self) -> bool {
        self.busy.get() + self.connecting.get() == 0
            && self.idle.borrow().is_empty()
            && self.parked.borrow().is_empty()
            && self.shared.borrow().is_empty()
            && self.waiters.borrow().is_empty()
    }
}

/// The right to wait for a connection.
fn pending(cluster: &Cluster, priority: Priority) -> Result<Permit, AcquireFailure> {
    let permit = Permit::take(&cluster.state, priority, Resource::Pending);
    let permit = permit.ok_or(AcquireFailure::Overflow(Resource::Pending))?;
    cluster.state.stats.inc(ClusterStat::UpstreamRqPendingTotal);
    Ok(permit)
}

/// A request that waited for a connection that did not come about.
fn failed(cluster: &Cluster, failure: ConnectFailure) -> AcquireFailure {
    cluster.state.stats.inc(ClusterStat::UpstreamRqPendingFailureEject);
    AcquireFailure::Connect(failure)
}

fn exhausted(requests: u32, cluster: &Cluster) -> bool {
    cluster.max_requests_per_connection != 0 && requests >= cluster.max_requests_per_connection
}

/// Counts a connect under way, also when its request gives up.
struct Connecting<'a>(&'a Pool);

impl<'a> Connecting<'a> {
    fn new(pool: &'a Pool) -> Self {
        pool.connecting.set(pool.connecting.get() + 1);
        Self(pool)
    }
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.0.connecting.set(self.0.connecting.get() - 1);
        // Those that waited for this connect look again, so that a cancelled one strands nobody.
        self.0.wake_one();
    }
}
