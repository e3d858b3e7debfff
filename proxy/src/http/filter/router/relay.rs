//! Carries the response down, and what is left of the request up, until both are done.

use std::{future::poll_fn, task::Poll, time::Instant};

use super::{
    Plan,
    attempt::{BodyError, HIGH_WATERMARK_BYTES, poll_request_body},
    deadline::{Deadlines, Expired},
};
use crate::{
    failure::ResponseFlags,
    http::{
        codec::{CodecError, h2},
        message::{Frame, Incoming},
        stream::{Stream, StreamEnd},
    },
    stats::ClusterStat,
    upstream::Exchange,
};

enum Event {
    Done,
    Upstream(CodecError),
    Downstream(CodecError),
    Expired(Expired),
}

/// Sends the head of the response to the client and relays the bodies.
pub(super) async fn run(
    stream: &mut Stream<'_>,
    plan: &Plan,
    end: bool,
    exchange: &mut Exchange,
    deadlines: &mut Deadlines<'_>,
) -> StreamEnd {
    let accepted = match stream.response.as_ref().map(|head| head.status) {
        Some(http::StatusCode::SWITCHING_PROTOCOLS) => true,
        Some(status) => stream.request.method == http::Method::CONNECT && status.is_success(),
        None => false,
    };
    let upgraded = accepted && !end;
    if upgraded {
        // A tunnel lives as long as its ends want: only idleness and duration limits remain (Envoy: the route's timeout
        // does not apply to upgrades).
        deadlines.tunnelled();
    }
    let told = stream.is_told();
    if let Some(head) = &mut stream.response
        && let Err(e) = stream.down.send_head(head, end, told)
    {
        // Nothing of it was sent.
        stream.response = None;
        return stream.downstream_failed(&e).await;
    }
    let first_tx = Instant::now();
    stream.info.times.first_downstream_tx = Some(first_tx);
    let mut response_done = end;
    let mut clock = Some(first_tx);
    let event = poll_fn(|cx| {
        // One reading a poll is exact enough for deadlines; the first poll follows at once.
        let mut clock = clock.take();
        loop {
            let body = poll_request_body(cx, stream, exchange, None, deadlines);
            match body {
                Poll::Ready(Err(BodyError::Downstream(e))) => return Poll::Ready(Event::Downstream(e)),
                // The upstream may answer in full without reading the whole request.
                Poll::Ready(Err(BodyError::Upstream(e))) if !response_done => return Poll::Ready(Event::Upstream(e)),
                _ => {}
            }
            if let Poll::Ready(Err(e)) = exchange.poll_flush(cx)
                && !response_done
                && upgraded
            {
                return Poll::Ready(Event::Upstream(e));
            }
            let mut waits_for_upstream = response_done;
            while !response_done && stream.down.queued() < HIGH_WATERMARK_BYTES {
                match exchange.poll_body(cx) {
                    Poll::Ready(Ok(incoming)) => {
                        deadlines.active(*clock.get_or_insert_with(Instant::now));
                        match pass_down(stream, incoming, exchange.body_over()) {
                            Ok(ended) => response_done = ended,
                            Err(e) => return Poll::Ready(Event::Downstream(e)),
                        }
                    }
                    Poll::Ready(Err(e)) => return Poll::Ready(Event::Upstream(e)),
                    Poll::Pending => {
                        waits_for_upstream = true;
                        break;
                    }
                }
            }
            match stream.down.poll_flush(cx) {
                Poll::Ready(Ok(())) if response_done => return Poll::Ready(Event::Done),
                Poll::Ready(Ok(())) if waits_for_upstream => {}
                // Room again: the upstream may have more.
                Poll::Ready(Ok(())) => continue,
                Poll::Ready(Err(e)) => return Poll::Ready(Event::Downstream(e)),
                Poll::Pending => {}
            }
            if stream.request_done
                && !response_done
                && let Poll::Ready(e) = stream.down.poll_closed(cx)
            {
                return Poll::Ready(Event::Downstream(e));
            }
            return deadlines.poll_expired(cx).map(Event::Expired);
        }
    })
    .await;
    let now = Instant::now();
    stream.info.times.last_downstream_tx = Some(now);
    stream.info.times.last_upstream_rx = Some(now);
    stream.info.bytes.add_upstream(exchange.wire_bytes());
    match event {
        Event::Done => StreamEnd::Complete,
        Event::Downstream(e) => {
            plan.cluster.state.stats.inc(ClusterStat::UpstreamRqTxReset);
            exchange.written().await;
            stream.downstream_failed(&e).await
        }
        Event::Upstream(e) => {
            plan.cluster.state.stats.inc(ClusterStat::UpstreamRqRxReset);
            upstream_broke(stream, &e).await
        }
        Event::Expired(expired) => timed_out(stream, plan, expired).await,
    }
}

/// Passes one piece of the response on, `last` where nothing but the end follows; whether it was the last.
fn pass_down(stream: &mut Stream<'_>, incoming: Incoming, last: bool) -> Result<bool, CodecError> {
    let (frame, end) = match incoming {
        Incoming::Frame(Frame::Trailers(trailers)) => {
            if let Some(grpc) = &mut stream.kept.grpc {
                grpc.told(&trailers);
            }
            if stream.is_told() {
                stream.response_trailers = Some(trailers.clone());
            }
            (Frame::Trailers(trailers), true)
        }
        Incoming::Frame(data) => (data, last),
        Incoming::End => (Frame::Data(bytes::Bytes::new()), true),
    };
    if let Frame::Data(data) = &frame {
        stream.info.bytes.sent += data.len() as u64;
        if let Some(grpc) = &mut stream.kept.grpc {
            grpc.response_data(data);
        }
    }
    stream.down.send_frame(frame, end)?;
    Ok(end)
}

/// The response was cut after its head: the client can only be told by a reset.
async fn upstream_broke(stream: &mut Stream<'_>, error: &CodecError) -> StreamEnd {
    let (flag, details) = match error {
        CodecError::Protocol { details, .. } if !h2::is_limit(details) => (
            ResponseFlags::UPSTREAM_PROTOCOL_ERROR,
            "upstream_reset_after_response_started{protocol_error}",
        ),
        CodecError::Protocol { .. } | CodecError::Reset(_) | CodecError::Refused => (
            ResponseFlags::UPSTREAM_REMOTE_RESET,
            "upstream_reset_after_response_started{remote_reset}",
        ),
        CodecError::Closed | CodecError::Io(_) => (
            ResponseFlags::UPSTREAM_CONNECTION_TERMINATION,
            "upstream_reset_after_response_started{connection_termination}",
        ),
    };
    stream.info.flags.insert(flag);
    stream.info.response_code_details = Some(details.into());
    stream.info.failure = Some(format!("the response was cut: {error}").into());
    stream.down.cut().await;
    StreamEnd::Broken
}

async fn timed_out(stream: &mut Stream<'_>, plan: &Plan, expired: Expired) -> StreamEnd {
    let (flag, details) = match expired {
        Expired::Global | Expired::PerTry | Expired::PerTryIdle => {
            plan.cluster.state.stats.inc(ClusterStat::UpstreamRqTimeout);
            (ResponseFlags::UPSTREAM_REQUEST_TIMEOUT, "response_timeout")
        }
        Expired::Idle => (ResponseFlags::STREAM_IDLE_TIMEOUT, "stream_idle_timeout"),
        Expired::MaxStreamDuration => (ResponseFlags::default(), "max_duration_timeout"),
        Expired::MaxUpstreamStreamDuration => (
            ResponseFlags::UPSTREAM_MAX_STREAM_DURATION_REACHED,
            "upstream_max_stream_duration_reached",
        ),
        Expired::Request => (ResponseFlags::default(), "request_overall_timeout"),
    };
    stream.info.flags.insert(flag);
    stream.info.response_code_details = Some(details.into());
    stream.down.cut().await;
    StreamEnd::Broken
}
