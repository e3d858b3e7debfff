//! One request and its response over an upstream connection of either protocol, or of none where a CONNECT ends here.

use std::{
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use super::{
    permit::{ActiveRequest, Permit},
    pool::{ConnectionFacts, Http1Connection, Http2Connection, Lease, Pool, TunnelConnection},
};
use crate::{
    cluster::{Cluster, Endpoint, Http1Options, Http2Keepalive, UpstreamProtocol},
    http::{
        codec::{CodecError, h1, h2},
        message::{Frame, Incoming, RequestHead, ResponseHead},
    },
};

/// A request in flight. Dropping it gives the connection back where it can be reused, and resets the stream otherwise.
pub struct Exchange {
    side: Side,
    pool: Rc<Pool>,
    cluster: Arc<Cluster>,
    _request: Permit,
    _active: ActiveRequest,
}

// One a request, on the stack of its task: a box for the larger variant would cost more than it saves.
#[allow(clippy::large_enum_variant)]
enum Side {
    Http1(Option<Box<Http1Connection>>),
    Http2 {
        connection: Rc<Http2Connection>,
        stream: h2::ClientStream,
    },
    Tunnel(Box<TunnelConnection>),
}

impl Exchange {
    /// Sends the head of `request` on a leased connection (queues it: [`Self::poll_flush`] writes).
    ///
    /// # Errors
    /// The connection's, where it cannot take the request.
    pub fn start(
        lease: Lease,
        pool: Rc<Pool>,
        cluster: &Arc<Cluster>,
        endpoint: &Arc<Endpoint>,
        request_permit: Permit,
        request: &RequestHead,
        end: bool,
    ) -> Result<Self, CodecError> {
        let side = match lease {
            Lease::Http1(mut connection) => {
                connection.codec.send_head(request, end);
                Side::Http1(Some(connection))
            }
            Lease::Http2(connection) => {
                let stream = connection.handle.start(request, end)?;
                Side::Http2 { connection, stream }
            }
            Lease::Tunnel(mut connection) => {
                if end {
                    connection.codec.send_frame(Frame::Data(bytes::Bytes::new()), true);
                }
                Side::Tunnel(connection)
            }
        };
        Ok(Self {
            side,
            pool,
            cluster: cluster.clone(),
            _request: request_permit,
            _active: ActiveRequest::new(&endpoint.state),
        })
    }

    pub fn facts(&self) -> Option<&Rc<ConnectionFacts>> {
        match &self.side {
            Side::Http1(c) => c.as_ref().map(|c| &c.facts),
            Side::Http2 { connection, .. } => Some(&connection.facts),
            Side::Tunnel(c) => Some(&c.facts),
        }
    }

    /// Queues a piece of the request body.
    ///
    /// # Errors
    /// The connection's.
    pub fn send_frame(&mut self, frame: Frame, end: bool) -> Result<(), CodecError> {
        match &mut self.side {
            Side::Http1(c) => {
                open(c)?.codec.send_frame(frame, end);
                Ok(())
            }
            Side::Http2 { stream, .. } => stream.send_frame(frame, end),
            Side::Tunnel(c) => {
                c.codec.send_frame(frame, end);
                Ok(())
            }
        }
    }

    /// Bytes on the wire; of HTTP/2 they are not known.
    pub fn wire_bytes(&self) -> h1::WireBytes {
        match &self.side {
            Side::Http1(c) => c.as_ref().map_or_else(h1::WireBytes::default, |c| c.codec.wire_bytes()),
            Side::Http2 { .. } | Side::Tunnel(_) => h1::WireBytes::default(),
        }
    }

    /// Bytes queued and not written.
    pub fn queued(&self) -> usize {
        match &self.side {
            Side::Http1(c) => c.as_ref().map_or(0, |c| c.codec.queued()),
            Side::Http2 { stream, .. } => stream.queued(),
            Side::Tunnel(c) => c.codec.queued(),
        }
    }

    /// Before the first write of a request over HTTP/1: every task that is ready now goes first, so that the requests of one
    /// round of the scheduler go out together. An upstream that hears of one at a time sleeps between them, and waking it
    /// each time is work of the writer's. Where nothing else is ready, this waits for nothing.
    pub async fn round_over(&self) {
        let Side::Http1(_) = self.side else {
            return;
        };
        let mut again = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut again, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Writes what is queued; ready when all of it is written.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CodecError>> {
        match &mut self.side {
            Side::Http1(c) => open(c)?.codec.poll_flush(cx),
            Side::Http2 { stream, .. } => stream.poll_flush(cx),
            Side::Tunnel(c) => c.codec.poll_flush(cx),
        }
    }

    /// Waits, before the exchange is given up, until what was sent is on its way: a reset would overtake it.
    pub async fn written(&self) {
        if let Side::Http2 { .. } = self.side {
            h2::written().await;
        }
    }

    /// The next head: informational ones first, then the final one and whether the response ends with it.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(ResponseHead, bool), CodecError>> {
        match &mut self.side {
            Side::Http1(c) => {
                let connection = open(c)?;
                let polled = connection.codec.poll_head(cx);
                if let Poll::Ready(Err(_)) = &polled {
                    connection.broken_by_peer();
                }
                polled
            }
            Side::Http2 { stream, .. } => stream.poll_head(cx),
            Side::Tunnel(c) => c.codec.poll_head(),
        }
    }

    /// Nothing follows the pieces of the body that were delivered: the last of them can be sent with the end.
    pub fn body_over(&self) -> bool {
        match &self.side {
            Side::Http1(c) => c.as_ref().is_some_and(|c| c.codec.body_complete()),
            Side::Http2 { stream, .. } => stream.body_over(),
            Side::Tunnel(_) => false,
        }
    }

    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, CodecError>> {
        match &mut self.side {
            Side::Http1(c) => {
                let connection = open(c)?;
                let polled = connection.codec.poll_body(cx);
                if let Poll::Ready(Err(_)) = &polled {
                    connection.broken_by_peer();
                }
                polled
            }
            Side::Http2 { stream, .. } => stream.poll_body(cx),
            Side::Tunnel(c) => c.codec.poll_body(cx),
        }
    }
}

fn open(connection: &mut Option<Box<Http1Connection>>) -> Result<&mut Http1Connection, CodecError> {
    connection.as_deref_mut().ok_or(CodecError::Closed)
}

impl Drop for Exchange {
    fn drop(&mut self) {
        match &mut self.side {
            Side::Http1(connection) => {
                if let Some(connection) = connection.take() {
                    self.pool.give_back(connection, &self.cluster);
                }
            }
            Side::Http2 { connection, stream } => {
                // Envoy's code for a stream that it gives up; one that is over has nothing to reset.
                stream.reset(h2::Reason::INTERNAL_ERROR);
                self.pool.stream_ended(connection);
            }
            Side::Tunnel(_) => self.pool.tunnel_ended(),
        }
    }
}

/// Codec settings of a cluster's HTTP/1 connections.
pub fn http1_settings(cluster: &Cluster) -> h1::ClientSettings {
    let default = Http1Options::default();
    let options = match &cluster.protocol {
        UpstreamProtocol::Http1(o) => o,
        UpstreamProtocol::UseDownstream { http1, .. } | UpstreamProtocol::Auto { http1, .. } => http1,
        UpstreamProtocol::Http2(_) => &default,
    };
    h1::ClientSettings {
        max_headers_kb: cluster.max_response_headers_kb,
        max_headers_count: cluster.max_headers_count,
        header_case: options.header_case,
        enable_trailers: options.enable_trailers,
        allow_chunked_length: options.allow_chunked_length,
        send_fully_qualified_url: false,
    }
}

/// Codec settings of a cluster's HTTP/2 connections.
pub fn http2_settings(cluster: &Cluster) -> h2::ClientSettings {
    let limits = h2::ClientSettings {
        max_headers_kb: cluster.max_response_headers_kb,
        max_headers_count: cluster.max_headers_count,
        ..h2::ClientSettings::default()
    };
    match &cluster.protocol {
        UpstreamProtocol::Http2(o)
        | UpstreamProtocol::UseDownstream { http2: o, .. }
        | UpstreamProtocol::Auto { http2: o, .. } => h2::ClientSettings {
            max_concurrent_streams: o.max_concurrent_streams,
            initial_stream_window: o.initial_stream_window,
            initial_connection_window: o.initial_connection_window,
            hpack_table_size: o.hpack_table_size,
            floods: o.floods,
            keepalive: o.keepalive.map(Http2Keepalive::for_codec),
            ..limits
        },
        UpstreamProtocol::Http1(_) => limits,
    }
}
