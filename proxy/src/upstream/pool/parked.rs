//! Idle HTTP/1 connections that nobody has wanted for a while: only the socket stays. After a burst a pool may hold
//! thousands of them for an hour, and with a codec and a place in the runtime each takes four times as much.

use std::{
    os::fd::AsRawFd,
    rc::Rc,
    time::{Duration, Instant},
};

use super::{ConnectionFacts, Http1Connection};
use crate::{
    cluster::Cluster,
    http::{codec::h1, message::Protocol},
    io::Asleep,
    sys,
    upstream::{exchange, permit::OpenConnection},
};

/// How long a connection idles before it is parked: longer than the pauses of steady traffic, so that only what a burst
/// left is parked, and woken by the next.
const AFTER: Duration = Duration::from_secs(5);

/// Times are counted from when the connection was opened, in the fewest bytes that tell them.
pub(super) struct Parked {
    socket: Asleep,
    /// What cannot be asked of the socket again.
    id: u64,
    connect_us: (u32, u32),
    requests: u32,
    idle_since_s: u32,
    open: OpenConnection,
}

impl Parked {
    /// `None`: the connection is closed, since the runtime does not let go of its socket.
    fn new(connection: Http1Connection) -> Option<Self> {
        let (stream, _) = connection.codec.into_upgraded();
        let after = |time: Instant| time.saturating_duration_since(connection.open.since());
        let us = |time| u32::try_from(after(time).as_micros()).unwrap_or(u32::MAX);
        let (started, connected) = connection.facts.connect;
        Some(Self {
            socket: stream.sleep()?,
            id: connection.facts.id,
            connect_us: (us(started), us(connected)),
            requests: connection.requests,
            // Rounded up: late rather than early is it closed for having idled.
            idle_since_s: u32::try_from(after(connection.idle_since).as_millis().div_ceil(1000)).unwrap_or(u32::MAX),
            open: connection.open,
        })
    }

    fn idle_since(&self) -> Instant {
        self.open.since() + Duration::from_secs(self.idle_since_s.into())
    }

    /// The connection as it was; `None` where the runtime cannot watch its socket.
    pub(super) fn wake(self, cluster: &Cluster) -> Option<Box<Http1Connection>> {
        let local_address = self.socket.local_address();
        let idle_since = self.idle_since();
        let connect = |us: u32| self.open.since() + Duration::from_micros(us.into());
        let (started, connected) = self.connect_us;
        let stream = self.socket.wake().ok()?;
        Some(Box::new(Http1Connection {
            codec: h1::ClientConnection::new(stream, exchange::http1_settings(cluster)),
            facts: Rc::new(ConnectionFacts {
                id: self.id,
                local_address,
                tls: None,
                protocol: Some(Protocol::Http11),
                connect: (connect(started), connect(connected)),
            }),
            requests: self.requests,
            idle_since,
            open: self.open,
        }))
    }
}

/// Parks what has idled for long. What has TLS, whose state is the larger part, stays as it is.
#[expect(clippy::vec_box, reason = "the pool's idle connections are boxed when they are made")]
pub(super) fn park(idle: &mut Vec<Box<Http1Connection>>, parked: &mut Vec<Parked>, now: Instant) {
    // The least recently used stand first.
    let old = |c: &Http1Connection| now.duration_since(c.idle_since) >= AFTER && c.codec.io().may_sleep();
    let count = idle.iter().take_while(|c| old(c)).count();
    if count == 0 {
        return;
    }
    parked.reserve_exact(count);
    parked.extend(idle.drain(..count).filter_map(|connection| Parked::new(*connection)));
    idle.shrink_to_fit();
}

/// Closes what idled too long, and what the peer closed.
pub(super) fn sweep(parked: &mut Vec<Parked>, expired: impl Fn(Instant) -> bool, all: bool) {
    if parked.is_empty() {
        return;
    }
    for some in parked.chunks(sys::ASKED_AT_ONCE) {
        let readable = sys::readable(some.iter().map(|p| p.socket.as_raw_fd()));
        // The peer closed it, or sent what nobody asked for.
        for (parked, _) in some.iter().zip(readable).filter(|(_, readable)| *readable) {
            parked.open.ended_by_peer();
        }
    }
    parked.retain(|p| {
        let expired = expired(p.idle_since());
        if expired && !all {
            p.open.idled_out();
        }
        !expired && !p.open.is_ended_by_peer()
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::{
        cluster::{Priority, from_json},
        io::{Raw, Socket, Stream},
        upstream::permit::{Permit, Resource},
    };

    async fn connection(cluster: &Arc<Cluster>, listener: &TcpListener) -> (Box<Http1Connection>, TcpStream) {
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (peer, _) = listener.accept().await.unwrap();
        let stream = Stream::plain(Raw::new(Socket::Tcp(socket), bytes::Bytes::new()));
        let permit = Permit::force(&cluster.state, Priority::Default, Resource::Connection);
        let now = Instant::now();
        let facts = ConnectionFacts {
            id: 7,
            local_address: None,
            tls: None,
            protocol: Some(Protocol::Http11),
            connect: (now, now),
        };
        let ours = Http1Connection {
            codec: h1::ClientConnection::new(stream, exchange::http1_settings(cluster)),
            facts: Rc::new(facts),
            requests: 3,
            idle_since: now,
            open: OpenConnection::new(&from_json::host(cluster, 0).state, permit),
        };
        (Box::new(ours), peer)
    }

    #[tokio::test]
    async fn a_parked_connection_wakes_as_it_was_and_a_closed_one_is_noticed() {
        let cluster = from_json::cluster(1, &json!({}));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (first, peer) = connection(&cluster, &listener).await;
        let (second, other) = connection(&cluster, &listener).await;
        let (mut idle, mut parked) = (vec![first, second], Vec::new());
        park(&mut idle, &mut parked, Instant::now());
        assert_eq!((idle.len(), parked.len()), (2, 0), "parked too early");
        park(&mut idle, &mut parked, Instant::now() + AFTER);
        assert_eq!((idle.len(), parked.len()), (0, 2));
        sweep(&mut parked, |_| false, false);
        assert_eq!(parked.len(), 2);
        drop(other);
        let watched: Vec<_> = parked.iter().map(|p| p.socket.as_raw_fd()).collect();
        while !sys::readable(watched.iter().copied()).contains(&true) {
            tokio::task::yield_now().await;
        }
        sweep(&mut parked, |_| false, false);
        assert_eq!(parked.len(), 1);
        let mut awake = parked.pop().unwrap().wake(&cluster).unwrap();
        assert_eq!((awake.facts.id, awake.requests), (7, 3));
        let local = awake.facts.local_address.as_ref().and_then(crate::address::Address::ip);
        assert_eq!(local, peer.peer_addr().ok());
        assert!(!awake.codec.is_stale());
    }
}
