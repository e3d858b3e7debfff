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
    http::codec::h1,
    io::Asleep,
    sys,
    upstream::{exchange, permit::OpenConnection},
};

/// How long a connection idles before it is parked: longer than the pauses of steady traffic, so that only what a burst
/// left is parked, and woken by the next.
const AFTER: Duration = Duration::from_secs(5);

pub(super) struct Parked {
    socket: Asleep,
    facts: Rc<ConnectionFacts>,
    requests: u32,
    idle_since: Instant,
    open: OpenConnection,
}

impl Parked {
    /// `None`: the connection is closed, since the runtime does not let go of its socket.
    fn new(connection: Http1Connection) -> Option<Self> {
        let (stream, _) = connection.codec.into_upgraded();
        Some(Self {
            socket: stream.sleep()?,
            facts: connection.facts,
            requests: connection.requests,
            idle_since: connection.idle_since,
            open: connection.open,
        })
    }

    /// The connection as it was; `None` where the runtime cannot watch its socket.
    pub(super) fn wake(self, cluster: &Cluster) -> Option<Box<Http1Connection>> {
        let stream = self.socket.wake().ok()?;
        Some(Box::new(Http1Connection {
            codec: h1::ClientConnection::new(stream, exchange::http1_settings(cluster)),
            facts: self.facts,
            requests: self.requests,
            idle_since: self.idle_since,
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
    let mut stale = sys::readable(parked.iter().map(|p| p.socket.as_raw_fd())).into_iter();
    parked.retain(|p| {
        let stale = stale.next().unwrap_or(true);
        if expired(p.idle_since) {
            if !all {
                p.open.idled_out();
            }
            return false;
        }
        if stale {
            p.open.ended_by_peer();
        }
        !stale
    });
}
