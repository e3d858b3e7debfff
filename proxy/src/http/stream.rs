//! One request, from its head to its access-log line.

use std::{cell::Cell, future::Future, pin::Pin, rc::Rc, sync::Arc, time::Instant};

use http::StatusCode;

use super::{
    HttpConnectionManager, admission,
    cached_route::CachedRoute,
    codec::{CodecError, ServerStream, h2},
    connection,
    filter::{self, Kept},
    local_reply::LocalReply,
    message::{Frame, Protocol, RequestHead, ResponseHead},
    response,
    tracing::{self, Spans},
};
use crate::{
    drain::DrainOrder,
    failure::ResponseFlags,
    format::Facts,
    route::per_filter::{self, PerRoute},
    stats::{Group, HttpStat},
    stream_info::{ConnectionInfo, StreamInfo},
    timer::Timer,
    worker::Worker,
};

/// How a stream left its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// Response complete; an HTTP/1 connection may carry another request.
    Complete,
    /// The connection ends with this response.
    Answered,
    /// The codec must not be used further.
    Broken,
    /// So, and because the client is gone.
    Left,
}

/// Counts a request as active, also where its connection is cut.
struct Active<'a>(&'a Group<HttpStat>);

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.gauge_add(HttpStat::DownstreamRqActive, -1);
    }
}

/// A request in progress and everything around it. Lives in the task that serves it.
pub struct Stream<'a> {
    pub worker: &'a Rc<Worker>,
    pub manager: &'a Arc<HttpConnectionManager>,
    pub down: ServerStream<'a>,
    pub request: RequestHead,
    /// The request's body has been read to its end (or there is none).
    pub request_done: bool,
    /// The request could not be parsed: there is nothing to log of it.
    unparsed: bool,
    pub response: Option<ResponseHead>,
    pub response_trailers: Option<http::HeaderMap>,
    pub info: StreamInfo,
    pub cached_route: CachedRoute,
    pub kept: Kept,
    /// Where a tracer knows of the request.
    pub spans: Option<Box<Spans>>,
    /// Index of the weighted cluster that was chosen, whose header edits apply.
    pub weighted: Option<usize>,
    /// The connection takes no further request: tell the client to go.
    pub last: bool,
    /// The drain's order as it stands when the response begins; HTTP/2 connections look after it themselves.
    pub drain: Option<&'a Cell<Option<DrainOrder>>>,
    /// The connection's timer; the streams of an HTTP/2 connection have each their own.
    pub timer: Option<&'a Cell<Timer>>,
    /// The connection ends then: a response that begins later tells the client to go.
    pub closing_at: Option<Instant>,
    active: Option<Active<'a>>,
}

impl<'a> Stream<'a> {
    pub fn new(
        worker: &'a Rc<Worker>,
        manager: &'a Arc<HttpConnectionManager>,
        connection: &Rc<ConnectionInfo>,
        down: ServerStream<'a>,
        request: RequestHead,
        request_done: bool,
    ) -> Self {
        let mut info = StreamInfo::new(connection.clone());
        info.protocol = Some(request.protocol);
        if request_done {
            info.times.last_downstream_rx = Some(info.start);
        }
        Self {
            worker,
            manager,
            down,
            request,
            request_done,
            unparsed: false,
            response: None,
            response_trailers: None,
            info,
            cached_route: CachedRoute::None,
            kept: Kept::default(),
            spans: None,
            weighted: None,
            last: false,
            drain: None,
            timer: None,
            closing_at: None,
            active: None,
        }
    }

    fn begin(&mut self) {
        let stats: &'a Group<HttpStat> = &self.manager.stats;
        stats.inc(HttpStat::DownstreamRqTotal);
        stats.gauge_add(HttpStat::DownstreamRqActive, 1);
        self.active = Some(Active(stats));
    }

    /// Whether the response must tell the client that the connection drains.
    pub fn drains(&self) -> bool {
        let order = self.drain.and_then(Cell::get);
        connection::drains(order, self.worker, &self.manager.stats)
    }

    /// Serves the request.
    pub async fn serve(&mut self) -> StreamEnd {
        self.begin();
        let end = match admission::admit(self) {
            Ok(()) => filter::run(self).await,
            Err(reply) => self.reply(*reply).await,
        };
        self.finish(end)
    }

    /// The client left in the middle of a head: there is only a line to log.
    pub fn abandon(mut self, error: &CodecError) {
        self.unparsed = true;
        self.begin();
        let end = self.cut(error);
        self.finish(end);
    }

    /// Answers a request that could not be parsed.
    pub async fn refuse(mut self, reply: LocalReply) {
        self.unparsed = true;
        self.begin();
        let end = self.reply(reply).await;
        self.finish(end);
    }

    /// What the request's route says to the filter of this name.
    pub fn per_route(&self, filter: &str) -> Option<&PerRoute> {
        let weighted = match &self.cached_route {
            CachedRoute::Route { target } => target.as_ref().and_then(|t| t.weighted),
            CachedRoute::None | CachedRoute::TlsRedirect => None,
        };
        let info = &self.info;
        let (host, configuration) = (info.virtual_host.as_deref(), info.route_configuration.as_deref());
        per_filter::most_specific(filter, weighted, info.route.as_deref()?, host, configuration)
    }

    /// The request, where it was one.
    pub fn heard(&self) -> Option<&RequestHead> {
        Some(&self.request).filter(|_| !self.unparsed)
    }

    /// What formats and expressions may tell of the request.
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            info: &self.info,
            node: Some(&self.worker.shared.node),
            request: self.heard(),
            response: self.response.as_ref(),
            response_trailers: self.response_trailers.as_ref(),
            local_reply_body: "",
        }
    }

    /// Whether somebody will ask for the response once it is sent.
    pub fn is_told(&self) -> bool {
        !self.manager.access_log.is_empty() || tracing::tells(self)
    }

    /// Sends a reply of the proxy's own and ends the stream. Boxed: rare, and no other request's future has room for it.
    pub fn reply(&mut self, reply: LocalReply) -> Pin<Box<dyn Future<Output = StreamEnd> + '_>> {
        Box::pin(self.send_reply(reply))
    }

    async fn send_reply(&mut self, mut reply: LocalReply) -> StreamEnd {
        self.info.flags.insert(reply.flags);
        self.info.response_code_details = Some(reply.details.clone());
        self.info.failure = reply.sentence.clone().map(Into::into);
        // A client may be sending what nobody will read; one that is told of a bad request may have sent more of them.
        if reply.close || !self.request_done || reply.status == StatusCode::BAD_REQUEST {
            self.down.close_after_response();
        }
        let mut head = reply.head(self.request.protocol);
        crate::route::finalize_response(self, &mut head, self.weighted);
        let manager = self.manager;
        if !manager.local_reply.is_plain() {
            reply.rewrite(&manager.local_reply, self, &mut head);
        }
        let (mut head, body) = reply.render(head, &self.request);
        let bare = body.is_empty() || self.request.method == http::Method::HEAD;
        filter::encode(self, &mut head);
        response::finish_head(self, &mut head);
        self.info.response_code = Some(head.status.as_u16());
        let sent = self.send(head, body, bare).await;
        if let Err(e) = sent {
            return self.cut(&e);
        }
        StreamEnd::Complete
    }

    async fn send(
        &mut self,
        mut head: ResponseHead,
        body: std::borrow::Cow<'static, str>,
        bare: bool,
    ) -> Result<(), CodecError> {
        let told = self.is_told();
        self.down.send_head(&mut head, bare, told)?;
        self.response = Some(head);
        let now = Instant::now();
        self.info.times.first_downstream_tx = Some(now);
        self.info.times.last_downstream_tx = Some(now);
        if !bare {
            let data = match body {
                std::borrow::Cow::Borrowed(s) => bytes::Bytes::from_static(s.as_bytes()),
                std::borrow::Cow::Owned(s) => bytes::Bytes::from(s),
            };
            self.info.bytes.sent += data.len() as u64;
            self.down.send_frame(Frame::Data(data), true)?;
        }
        std::future::poll_fn(|cx| self.down.poll_flush(cx)).await
    }

    /// The downstream went away, or broke the protocol. A broken request is answered where no response has begun.
    pub async fn downstream_failed(&mut self, error: &CodecError) -> StreamEnd {
        if let CodecError::Protocol {
            status,
            details,
            sentence,
        } = error
            && self.response.is_none()
            && self.request.protocol != Protocol::Http2
        {
            self.reply(LocalReply::unparsable(*status, details, sentence)).await;
            return StreamEnd::Answered;
        }
        self.cut(error)
    }

    fn cut(&mut self, error: &CodecError) -> StreamEnd {
        match error {
            CodecError::Protocol { details, .. } => self.reset(violation_flag(details), details),
            CodecError::Reset(_) => self.reset(ResponseFlags::DOWNSTREAM_REMOTE_RESET, "http2.remote_reset"),
            _ => {
                self.disconnected("downstream_remote_disconnect");
                return StreamEnd::Left;
            }
        }
        StreamEnd::Broken
    }

    /// The connection ended under the request.
    fn disconnected(&mut self, details: &'static str) {
        self.reset(ResponseFlags::DOWNSTREAM_CONNECTION_TERMINATION, details);
        // An HTTP/2 connection counts once, however many streams it had.
        if self.request.protocol != Protocol::Http2 {
            let stats = &self.manager.stats;
            stats.inc(HttpStat::DownstreamCxDestroyActiveRq);
            // Envoy calls it remote whoever did it.
            stats.inc(HttpStat::DownstreamCxDestroyRemoteActiveRq);
        }
    }

    fn reset(&mut self, flag: ResponseFlags, details: &'static str) {
        self.info.flags.insert(flag);
        self.info.response_code_details = Some(details.into());
        if self.response.is_none() {
            self.info.response_code = Some(0);
        }
        self.manager.stats.inc(HttpStat::DownstreamRqRxReset);
    }

    fn finish(&mut self, end: StreamEnd) -> StreamEnd {
        let now = Instant::now();
        self.info.times.end = Some(now);
        let stats = &self.manager.stats;
        self.active = None;
        filter::ended(self);
        if let Some(code) = self.info.response_code.filter(|code| *code != 0) {
            response::count_code(self.manager, code);
        }
        stats.record(HttpStat::DownstreamRqTime, (now - self.info.start).as_millis() as u64);
        if !self.manager.access_log.is_empty() {
            let wire = self.down.wire_bytes();
            self.info.bytes.downstream_wire_received = wire.received;
            self.info.bytes.downstream_wire_sent = wire.sent;
            let facts = self.facts();
            for log in &self.manager.access_log {
                log.write(&facts, self.worker);
            }
        }
        tracing::end(self, end);
        end
    }
}

/// A stream that is dropped before its end was cut: a drain's time was over, or the process ends. That is logged too.
impl Drop for Stream<'_> {
    fn drop(&mut self) {
        if self.active.is_some() {
            self.disconnected(LOCAL_DISCONNECT);
            self.finish(StreamEnd::Broken);
        }
    }
}

/// Envoy's `response_code_details` of a request whose connection the proxy closed.
const LOCAL_DISCONNECT: &str = "downstream_local_disconnect(purging_socket_that_have_not_progressed_to_connections)";

/// The HTTP/2 codec refused a request by itself: there is only a line to log.
pub fn dismissed(
    worker: &Rc<Worker>,
    manager: &HttpConnectionManager,
    connection: &Rc<ConnectionInfo>,
    refusal: h2::Refusal,
) {
    let stats = &manager.stats;
    stats.inc(HttpStat::DownstreamRqTotal);
    stats.inc(HttpStat::DownstreamRqRxReset);
    let mut info = StreamInfo::new(connection.clone());
    info.protocol = Some(Protocol::Http2);
    info.flags.insert(violation_flag(refusal.details));
    info.response_code = Some(refusal.status);
    info.response_code_details = Some(refusal.details.into());
    info.failure = Some(refusal.sentence.into());
    info.times.end = Some(Instant::now());
    let facts = Facts {
        info: &info,
        node: Some(&worker.shared.node),
        request: None,
        response: None,
        response_trailers: None,
        local_reply_body: "",
    };
    for log in &manager.access_log {
        log.write(&facts, worker);
    }
}

/// A reset for a limit is, to Envoy, like one by the client.
fn violation_flag(details: &str) -> ResponseFlags {
    if h2::is_limit(details) {
        ResponseFlags::DOWNSTREAM_REMOTE_RESET
    } else {
        ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR
    }
}
