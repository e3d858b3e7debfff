//! A connection from accept to its network filter: inspection, hand-off, filter chain, TLS.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::{Instant, SystemTime},
};

use super::{
    ConnectionFacts, FilterChain, Listener, ListenerFilterKind, TerminalFilter,
    exact_balance::Place,
    filter_chain,
    inspect::{self, InspectError, Peek},
};
use crate::{
    address::Address,
    drain::DrainWatch,
    failure::ResponseFlags,
    format::Facts,
    http,
    io::{Raw, Socket, Stream},
    network::{self, NetworkFilterKind},
    snapshot::Snapshot,
    stats::{Group, ListenerStat, SslSocketFactoryStat},
    stream_info::{ConnectionInfo, StreamInfo, TlsInfo},
    tcp,
    tls::{self, DownstreamTls},
    worker::Worker,
};

/// Serves one accepted connection to its end; then `place` is free.
///
/// A task keeps the room of its largest moment to its end, and most connections idle. So what is large and soon over is
/// boxed, and what only hands its arguments on is no `async fn`, which would keep them beside what they became.
pub fn serve(
    worker: Rc<Worker>,
    listener: Arc<str>,
    socket: Socket,
    local: Address,
    remote: Address,
    place: Option<Place>,
) -> impl Future<Output = ()> {
    let admitted = Box::pin(admit(worker, listener, socket, local, remote));
    async move {
        if let Some(served) = admitted.await {
            served.connection.await;
        }
        drop(place);
    }
}

/// A connection on its way, and what has to outlive it.
struct Served {
    connection: Pin<Box<dyn Future<Output = ()>>>,
    _chain: Arc<FilterChain>,
    _counted: Counted,
    _listener: Arc<Listener>,
    _admitted: Admitted,
}

/// What comes before a connection's network filter; none where it closes before.
async fn admit(
    worker: Rc<Worker>,
    listener: Arc<str>,
    socket: Socket,
    local: Address,
    remote: Address,
) -> Option<Served> {
    let snapshot = worker.snapshot();
    let listener = snapshot.listeners.get(&listener).cloned()?;
    let admitted = Admitted::new(&worker, &listener, &snapshot.runtime)?;
    let start = Instant::now();
    let accepted = Accepted {
        direct_local: local.clone(),
        local,
        restored: false,
        remote,
        socket,
        start,
    };
    let (listener, accepted) = hand_off(&snapshot, listener, accepted);
    drop(snapshot);
    let ready = accepted.prepare(&worker, &listener).await?;
    ready.serve(worker, listener, admitted)
}

/// A place under the limits of connections, given up when dropped. One beyond them is closed before a byte is read, so
/// that a flood costs no memory.
struct Admitted {
    worker: Rc<Worker>,
    /// Under the limit of all listeners.
    counted: bool,
}

impl Admitted {
    fn new(worker: &Rc<Worker>, listener: &Listener, runtime: &Runtime) -> Option<Self> {
        let stats = &listener.stats;
        if !runtime.is_empty() {
            // Envoy's only way to limit one listener.
            let key = format!("envoy.resource_limits.listener.{}.connection_limit", listener.name);
            let limit = runtime.get(&key).and_then(serde_json::Value::as_u64);
            if limit.is_some_and(|limit| stats.value(ListenerStat::DownstreamCxActive) >= limit) {
                stats.inc(ListenerStat::DownstreamCxOverflow);
                return None;
            }
        }
        let counted = !listener.ignore_global_conn_limit;
        if counted && !worker.shared.downstream_connections.try_take() {
            stats.inc(ListenerStat::DownstreamGlobalCxOverflow);
            return None;
        }
        Some(Self {
            worker: worker.clone(),
            counted,
        })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if self.counted {
            self.worker.shared.downstream_connections.give_back();
        }
    }
}

type Runtime = serde_json::Map<String, serde_json::Value>;

/// Counts a connection that a filter chain took, and its end, however it comes.
struct Counted {
    stats: Group<ListenerStat>,
    start: Instant,
    /// What the connection manager counts, where one serves it.
    http: Option<http::connection::Counted>,
}

impl Counted {
    fn new(listener: &Listener, chain: &FilterChain, start: Instant) -> Self {
        listener.stats.inc(ListenerStat::DownstreamCxTotal);
        listener.stats.gauge_add(ListenerStat::DownstreamCxActive, 1);
        let http = match &chain.filter {
            TerminalFilter::Http(manager) => Some(http::connection::Counted::new(manager, chain.tls.is_some())),
            TerminalFilter::Tcp(_) | TerminalFilter::None => None,
        };
        Self {
            stats: listener.stats.clone(),
            start,
            http,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.stats.gauge_add(ListenerStat::DownstreamCxActive, -1);
        self.stats.inc(ListenerStat::DownstreamCxDestroy);
        self.stats.record(
            ListenerStat::DownstreamCxLengthMs,
            self.start.elapsed().as_millis() as u64,
        );
    }
}

/// A socket and its addresses.
struct Accepted {
    socket: Socket,
    direct_local: Address,
    local: Address,
    /// `local` is the original destination, not the socket's.
    restored: bool,
    remote: Address,
    start: Instant,
}

/// `use_original_dst`: the listener of the original destination takes the connection, where there is one.
fn hand_off(snapshot: &Snapshot, listener: Arc<Listener>, mut accepted: Accepted) -> (Arc<Listener>, Accepted) {
    let filtered = listener
        .listener_filters
        .iter()
        .any(|f| f.kind == ListenerFilterKind::OriginalDst);
    if listener.use_original_dst || filtered {
        accepted.restore_destination();
    }
    if !listener.use_original_dst || !accepted.restored {
        return (listener, accepted);
    }
    let taker = snapshot
        .listener_for(&accepted.local)
        .filter(|taker| taker.name != listener.name)
        .cloned();
    (taker.unwrap_or(listener), accepted)
}

impl Accepted {
    /// What a connection was sent to: SO_ORIGINAL_DST where REDIRECT changed it; where TPROXY took it, the socket's own
    /// address, as is that of a connection that came straight here.
    fn restore_destination(&mut self) {
        let Socket::Tcp(stream) = &self.socket else { return };
        let sock = socket2::SockRef::from(stream);
        let original = match self.direct_local.ip() {
            Some(ip) if ip.is_ipv4() => sock.original_dst_v4(),
            _ => sock.original_dst_v6(),
        };
        match original.ok().and_then(|a| a.as_socket()) {
            Some(original) => {
                self.local = Address::from(original);
                self.restored = true;
            }
            // Nothing is kept of where TPROXY's connections went, since it did not change.
            None => self.restored = sock.ip_transparent_v4().unwrap_or(false),
        }
    }

    async fn prepare(mut self, worker: &Rc<Worker>, listener: &Arc<Listener>) -> Option<Ready> {
        let mut facts = ConnectionFacts {
            destination: self.local.clone(),
            direct_source: self.remote.ip().map(|a| a.ip()),
            source: self.remote.clone(),
            transport_protocol: inspect::RAW_BUFFER,
            server_name: None,
            application_protocols: Vec::new(),
            upstream_source: None,
        };
        let mut peek = Peek::default();
        if !self.inspect(listener, &mut facts, &mut peek).await {
            return None;
        }
        let mut info = ConnectionInfo {
            id: worker.shared.connection_ids.fetch_add(1, Ordering::Relaxed),
            local_address: self.local,
            direct_local_address: self.direct_local,
            remote_address: self.remote,
            local_address_restored: self.restored,
            upstream_source: facts.upstream_source,
            requested_server_name: facts.server_name.as_deref().map(Into::into),
            tls: None,
            listener_name: listener.name.clone(),
            direction: listener.direction,
            filter_chain_name: "".into(),
            buffer_limit: listener.per_connection_buffer_limit,
            start_time: SystemTime::now(),
            start: self.start,
            state: RefCell::default(),
        };
        let Some(chain) = filter_chain::find(listener, &facts, &mut ()).cloned() else {
            listener.stats.inc(ListenerStat::NoFilterChainMatch);
            log_unmatched(worker, listener, info);
            return None;
        };
        info.filter_chain_name = chain.name.clone();
        let counted = Counted::new(listener, &chain, self.start);
        let mut drain = chain.drain.watch();
        let raw = Raw::new(self.socket, peek.into_bytes());
        let stream = match &chain.tls {
            None => Stream::plain(raw),
            Some(tls) => {
                let terminated = tokio::select! {
                    stream = Box::pin(terminate(&chain, tls, listener, raw)) => stream,
                    () = drain.cut_handshake() => None,
                };
                let Some(stream) = terminated else {
                    if let Some(http) = &counted.http {
                        http.ended_by_peer();
                    }
                    return None;
                };
                drain.rewind();
                info.tls = Some(Arc::new(stream.1));
                Stream::tls(stream.0)
            }
        };
        Some(Ready {
            chain,
            info: Rc::new(info),
            stream,
            drain,
            counted,
        })
    }

    /// Runs the listener filters under their timeout; false where the connection must close.
    async fn inspect(&mut self, listener: &Listener, facts: &mut ConnectionFacts, peek: &mut Peek) -> bool {
        if listener.listener_filters.is_empty() {
            return true;
        }
        let stats = &listener.stats;
        stats.gauge_add(ListenerStat::DownstreamPreCxActive, 1);
        let run = inspect::run(&listener.listener_filters, &mut self.socket, facts, peek);
        let outcome = match listener.listener_filters_timeout {
            Some(limit) => tokio::time::timeout(limit, run).await,
            None => Ok(run.await),
        };
        stats.gauge_add(ListenerStat::DownstreamPreCxActive, -1);
        match outcome {
            Ok(Ok(())) => true,
            Ok(Err(InspectError::Closed)) => {
                stats.inc(ListenerStat::DownstreamListenerFilterRemoteClose);
                false
            }
            Ok(Err(InspectError::Refused(why))) => {
                stats.inc(ListenerStat::DownstreamListenerFilterError);
                tracing::debug!(
                    listener = &*listener.name,
                    "connection refused by a listener filter: {why}"
                );
                false
            }
            Err(_) => {
                stats.inc(ListenerStat::DownstreamPreCxTimeout);
                listener.continue_on_listener_filters_timeout
            }
        }
    }
}

/// Terminates TLS under the chain's `transport_socket_connect_timeout`.
async fn terminate(
    chain: &FilterChain,
    own: &DownstreamTls,
    listener: &Listener,
    raw: Raw,
) -> Option<(certs::TlsStream<Raw>, TlsInfo)> {
    let Some(context) = own.context.load_full() else {
        own.factory.inc(SslSocketFactoryStat::DownstreamContextSecretsNotReady);
        tracing::warn!(
            listener = &*listener.name,
            filter_chain = &*chain.name,
            "connection closed: the filter chain's TLS secrets have not arrived yet"
        );
        return None;
    };
    let remote = raw.socket().peer_address();
    let handshake = context.accept(raw);
    let outcome = match chain.transport_socket_connect_timeout {
        Some(limit) => match tokio::time::timeout(limit, handshake).await {
            Ok(outcome) => outcome,
            Err(_) => {
                listener
                    .stats
                    .inc(ListenerStat::DownstreamCxTransportSocketConnectTimeout);
                return None;
            }
        },
        None => handshake.await,
    };
    match outcome {
        Ok(stream) => {
            tls::count_handshake(&own.stats, &stream);
            let identity = context.identities().first();
            let info = TlsInfo::of(&stream, identity, chain.keeps_client_chain());
            Some((stream, info))
        }
        Err(e) => {
            if let Some(stat) = e.stat() {
                own.stats.inc(tls::failure_stat(stat));
            }
            tracing::debug!(listener = &*listener.name, "downstream TLS handshake failed: {e}");
            tls::refused::say(&e, context.identities().first(), || {
                let peer = remote.map_or_else(String::new, |address| format!(" with {address}"));
                format!("listener {:?}: TLS{peer}", listener.name)
            });
            None
        }
    }
}

/// Nobody takes the connection: that is said in the listener's access log only.
fn log_unmatched(worker: &Rc<Worker>, listener: &Listener, info: ConnectionInfo) {
    if listener.access_log.is_empty() {
        return;
    }
    let mut stream = StreamInfo::new(Rc::new(info));
    stream.flags.insert(ResponseFlags::NO_ROUTE_FOUND);
    stream.response_code_details = Some("filter_chain_not_found".into());
    stream.response_code = Some(0);
    stream.times.end = Some(Instant::now());
    for log in &listener.access_log {
        log.write(&Facts::of_connection(&stream), worker);
    }
}

/// A connection that its filter chain has taken.
struct Ready {
    chain: Arc<FilterChain>,
    info: Rc<ConnectionInfo>,
    stream: Stream,
    drain: DrainWatch,
    counted: Counted,
}

impl Ready {
    /// Istio's metadata exchange, where the chain has it and the client speaks it.
    fn begin_exchange(&mut self, worker: &Worker) {
        let filter = self.chain.network_filters.iter().find_map(|filter| match &filter.kind {
            NetworkFilterKind::MetadataExchange(filter) => Some(filter),
            _ => None,
        });
        let Some(filter) = filter else { return };
        let (exchange, learned) = filter.begin(self.info.tls.as_deref(), &worker.shared.node);
        self.stream.set_exchange(exchange);
        self.info.state.borrow_mut().get_or_insert_default().peer = Some(learned);
    }

    fn serve(mut self, worker: Rc<Worker>, listener: Arc<Listener>, admitted: Admitted) -> Option<Served> {
        let Ok(running) = network::open(&self.chain, &self.info, &worker) else {
            ended_early(&self.chain, self.info, &worker);
            return None;
        };
        self.stream.set_filters(running);
        self.begin_exchange(&worker);
        let connection: Pin<Box<dyn Future<Output = ()>>> = match (&self.chain.filter, self.counted.http.take()) {
            (TerminalFilter::Http(manager), Some(counted)) => {
                let manager = manager.clone();
                Box::pin(http::connection::serve(
                    worker,
                    manager,
                    self.info,
                    self.stream,
                    self.drain,
                    counted,
                ))
            }
            (TerminalFilter::Tcp(proxy), _) => {
                let proxy = proxy.clone();
                let chain = self.chain.clone();
                Box::pin(tcp::proxy::serve(
                    worker,
                    proxy,
                    chain,
                    self.info,
                    self.stream,
                    self.drain,
                ))
            }
            (TerminalFilter::Http(_) | TerminalFilter::None, _) => Box::pin(std::future::ready(())),
        };
        Some(Served {
            connection,
            _chain: self.chain,
            _counted: self.counted,
            _listener: listener,
            _admitted: admitted,
        })
    }
}

/// A network filter closed the connection before its terminal filter heard of it.
fn ended_early(chain: &FilterChain, info: Rc<ConnectionInfo>, worker: &Worker) {
    let mut stream = StreamInfo::new(info);
    stream.adopt_connection();
    stream.times.end = Some(Instant::now());
    network::ended(chain, &mut stream, worker);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, C, D, E, F, R>(_: impl Fn(A, B, C, D, E, F) -> R) -> usize {
        size_of::<R>()
    }

    #[test]
    fn a_task_keeps_no_room_for_what_is_soon_over() {
        let size = size_of_future(serve);
        assert!(size <= 256, "{size}");
    }
}
