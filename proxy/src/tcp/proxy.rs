//! One TCP connection: cluster, endpoint, upstream connection, copy, log.

use std::{
    cell::Cell,
    future::Future,
    pin::pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::{Duration, Instant},
};

use tokio::io::AsyncWriteExt;

use super::{
    TcpProxy, TcpTarget, copy,
    report::{Peers, Reports},
};
use crate::{
    cluster::{Cluster, Endpoint, Priority, balance, outlier},
    drain::DrainWatch,
    failure::{ResetReason, ResponseFlags},
    format::Facts,
    io::Stream,
    listener::FilterChain,
    network,
    route::action::{HashInput, HashPolicy},
    stats::{ClusterStat, TcpStat},
    stream_info::{ConnectionInfo, StreamInfo},
    upstream::{
        connect::{self, ConnectFailure, ConnectOptions, Connected},
        permit::{OpenConnection, Permit, Resource},
    },
    worker::Worker,
};

/// Serves a connection until either side is done with it.
pub async fn serve(
    worker: Rc<Worker>,
    proxy: Arc<TcpProxy>,
    chain: Arc<FilterChain>,
    connection: Rc<ConnectionInfo>,
    mut down: Stream,
    mut drain: DrainWatch,
) {
    let stats = &proxy.stats;
    stats.inc(TcpStat::DownstreamCxTotal);
    let mut info = StreamInfo::new(connection);
    if let Some((cluster, upstream, open)) = Box::pin(establish(&worker, &proxy, &mut info)).await {
        let mut upstream = upstream;
        let peers = Peers {
            client: info
                .connection
                .state
                .borrow()
                .as_ref()
                .and_then(|state| state.peer.clone()),
            server: upstream.exchange(&cluster, &worker.shared.node),
        };
        let mut up = upstream.stream;
        let limits = copy::Limits {
            idle: proxy.idle_timeout,
            close_at: proxy.max_downstream_connection_duration.map(|d| info.start + d),
        };
        let copied = copy::Copied::default();
        let ended = {
            let mut copying = pin!(copy::both_ways(&mut down, &mut up, limits, &copied));
            let order = Cell::new(drain.order());
            let mut cut = pin!(drain.cut(&order));
            let host = info.upstream.endpoint.clone().filter(|_| cluster.close_on_host_failure);
            let mut failing = host.map(|endpoint| Box::pin(host_failure(endpoint)));
            let mut reports = Reports::new(&chain);
            std::future::poll_fn(|cx| {
                if let ended @ Poll::Ready(_) = copying.as_mut().poll(cx) {
                    return ended;
                }
                if let Some(failing) = &mut failing
                    && failing.as_mut().poll(cx).is_ready()
                {
                    return Poll::Ready(copy::Ended::HostFailed);
                }
                if reports.poll_due(cx) {
                    peers.tell(&mut info, &worker);
                    info.bytes.received = copied.up.get();
                    info.bytes.sent = copied.down.get();
                    reports.report(&peers, &mut info, &worker);
                }
                cut.as_mut().poll(cx).map(|()| copy::Ended::Drained)
            })
            .await
        };
        peers.tell(&mut info, &worker);
        let refused = info.connection.state.borrow().as_ref().is_some_and(|s| s.closed);
        if !refused && matches!(ended, copy::Ended::Closed | copy::Ended::Failed) {
            open.ended_by_peer();
        }
        drop(open);
        match ended {
            copy::Ended::Idle => stats.inc(TcpStat::IdleTimeout),
            copy::Ended::Deadline => stats.inc(TcpStat::MaxDownstreamConnectionDuration),
            copy::Ended::Drained => stats.inc(TcpStat::DownstreamCxDrainClose),
            copy::Ended::Closed | copy::Ended::Failed | copy::Ended::HostFailed => {}
        }
        let (received, sent) = (copied.up.get(), copied.down.get());
        info.bytes.received = received;
        info.bytes.sent = sent;
        info.bytes.downstream_wire_received = received;
        info.bytes.downstream_wire_sent = sent;
        info.bytes.upstream_wire_received = sent;
        info.bytes.upstream_wire_sent = received;
        stats.add(TcpStat::DownstreamCxRxBytesTotal, received);
        stats.add(TcpStat::DownstreamCxTxBytesTotal, sent);
        cluster.state.stats.add(ClusterStat::UpstreamCxTxBytesTotal, received);
        cluster.state.stats.add(ClusterStat::UpstreamCxRxBytesTotal, sent);
    } else {
        // The client sees an orderly end; the reason stands in the log.
        let _ = down.shutdown().await;
    }
    info.adopt_connection();
    info.times.end = Some(Instant::now());
    network::ended(&chain, &mut info, &worker);
    for log in &proxy.access_log {
        log.write(&Facts::of_connection(&info), &worker);
    }
}

/// How often a connection looks whether its host is out, where the cluster asks for that: at once, to a person.
const LOOK_AT_HOST: Duration = Duration::from_millis(100);

/// Ends when the host is ejected.
async fn host_failure(endpoint: Arc<Endpoint>) {
    while !endpoint.state.ejected.load(Ordering::Relaxed)
        && !endpoint.state.failed_active_health_check.load(Ordering::Relaxed)
    {
        tokio::time::sleep(LOOK_AT_HOST).await;
    }
}

/// An upstream connection, tried as often as `max_connect_attempts` allows. `None`: the reason stands in `info`.
async fn establish(
    worker: &Rc<Worker>,
    proxy: &TcpProxy,
    info: &mut StreamInfo,
) -> Option<(Arc<Cluster>, Connected, OpenConnection)> {
    let named = info.connection.state.borrow().as_ref().and_then(|s| s.cluster.clone());
    let name = named
        .as_deref()
        .unwrap_or_else(|| target(&proxy.target, worker.random()));
    let Some(cluster) = worker.snapshot().clusters.get(name).cloned() else {
        proxy.stats.inc(TcpStat::DownstreamCxNoRoute);
        info.flags.insert(ResponseFlags::NO_CLUSTER_FOUND);
        info.failure = Some(format!("cluster {name:?} is not known: has the control plane sent it?").into());
        return None;
    };
    info.upstream.cluster = Some(cluster.clone());
    let local = worker.local_cluster(&cluster);
    for _ in 0..proxy.max_connect_attempts.max(1) {
        let facts = balance::Facts {
            hash: source_hash(proxy, &info.connection),
            avoid: &[],
            max_attempts: 1,
            original_destination: balance::original_destination(&cluster, &info.connection, None),
            random: &mut || worker.random(),
        };
        let chosen = balance::choose(&cluster, &mut local.balancer.borrow_mut(), facts, &mut ());
        let Some(endpoint) = chosen else {
            cluster.state.stats.inc(ClusterStat::UpstreamCxNoneHealthy);
            info.flags.insert(ResponseFlags::NO_HEALTHY_UPSTREAM);
            info.failure = Some(format!("cluster {}: no endpoint can take the connection", cluster.name).into());
            return None;
        };
        info.upstream.attempts += 1;
        info.upstream.endpoint = Some(endpoint.clone());
        let Some(permit) = Permit::take(&cluster.state, Priority::Default, Resource::Connection) else {
            info.flags.insert(ResponseFlags::UPSTREAM_OVERFLOW);
            info.failure = Some(
                format!(
                    "cluster {}: circuit breaker open: max_connections reached",
                    cluster.name
                )
                .into(),
            );
            return None;
        };
        let open = OpenConnection::new(&endpoint.state, permit);
        let stats = &cluster.state.stats;
        stats.inc(ClusterStat::UpstreamRqPendingTotal);
        let options = ConnectOptions {
            source: info.connection.upstream_source,
            ..ConnectOptions::default()
        };
        match connect::connect(&cluster, &endpoint, &options).await {
            Ok(connected) => {
                stats.inc(ClusterStat::UpstreamRqTotal);
                open.busy(true);
                outlier::report(&cluster, &endpoint, outlier::Seen::Connected, worker.random());
                info.upstream.local_address.clone_from(&connected.local_address);
                info.upstream.tls.clone_from(&connected.tls);
                info.upstream.connection_id = worker.shared.connection_ids.fetch_add(1, Ordering::Relaxed);
                info.times.upstream_connect = Some((connected.started, connected.finished));
                return Some((cluster, connected, open));
            }
            Err(failure) => {
                if failure.reason != ResetReason::ConnectTimeout {
                    open.ended_by_peer();
                }
                stats.inc(ClusterStat::UpstreamRqPendingFailureEject);
                note_failure(&cluster, &endpoint, failure, info, worker.random());
            }
        }
    }
    cluster.state.stats.inc(ClusterStat::UpstreamCxConnectAttemptsExceeded);
    None
}

fn note_failure(cluster: &Cluster, endpoint: &Endpoint, failure: ConnectFailure, info: &mut StreamInfo, random: u64) {
    let seen = match failure.reason {
        ResetReason::ConnectTimeout => outlier::Seen::Timeout,
        reason => outlier::Seen::Reset(reason),
    };
    outlier::report(cluster, endpoint, seen, random);
    info.flags.insert(ResponseFlags::UPSTREAM_CONNECTION_FAILURE);
    info.upstream.transport_failure = failure.transport;
    info.failure = Some(failure.sentence.into());
}

/// `hash_policy`: by the source address is the one that a connection has.
fn source_hash(proxy: &TcpProxy, connection: &ConnectionInfo) -> Option<u64> {
    let by_source = |policy: &HashPolicy| matches!(policy.input, HashInput::SourceIp);
    let source = connection
        .remote_address
        .ip()
        .filter(|_| proxy.hash_policy.iter().any(by_source))?;
    Some(xxhash_rust::xxh64::xxh64(source.ip().to_string().as_bytes(), 0))
}

/// The cluster, by weight where several are configured.
fn target(target: &TcpTarget, random: u64) -> &str {
    match target {
        TcpTarget::Cluster(name) => name,
        TcpTarget::Weighted(clusters, total) => {
            let mut point = random % total;
            for (name, weight) in clusters {
                let weight = u64::from(*weight);
                if point < weight {
                    return name;
                }
                point -= weight;
            }
            // The weights add up to the total, so that a cluster was found above.
            ""
        }
    }
}
