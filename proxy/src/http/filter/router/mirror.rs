//! Copies of requests to other clusters (`request_mirror_policies`), whose answers nobody waits for.

use std::{cell::Cell, future::poll_fn, rc::Rc, sync::Arc, time::Duration};

use http::HeaderValue;
use tokio::sync::mpsc;

use super::Plan;
use crate::{
    http::{
        message::{Frame, RequestHead},
        stream::Stream,
    },
    route::{RouteFacts, action::Mirror},
    upstream::call::{CallFailure, Streaming},
    worker::Worker,
};

/// What a copy may lag behind its request, in bytes of the body; one that lags further is given up.
const MAX_LAG: usize = 1 << 20;
/// What is told apart from the request in the mirror's logs.
const SUFFIX: &str = "-shadow";

/// The copies of one request that are under way, while its body comes.
#[derive(Debug, Default)]
pub struct Copies(Vec<Lagging>);

#[derive(Debug)]
struct Lagging {
    frames: mpsc::UnboundedSender<(Frame, bool)>,
    /// Bytes in the channel.
    lag: Rc<Cell<usize>>,
}

impl Copies {
    /// A piece of the request's body; `end`: the last one.
    pub(super) fn push(&mut self, frame: &Frame, end: bool) {
        self.0.retain(|copy| copy.push(frame, end));
        if end {
            self.0.clear();
        }
    }
}

impl Lagging {
    /// Whether the copy goes on.
    fn push(&self, frame: &Frame, end: bool) -> bool {
        let lag = self.lag.get() + len(frame);
        self.lag.set(lag);
        lag <= MAX_LAG && self.frames.send((frame.clone(), end)).is_ok()
    }
}

fn len(frame: &Frame) -> usize {
    match frame {
        Frame::Data(data) => data.len(),
        Frame::Trailers(_) => 0,
    }
}

/// Begins the copies that the route asks for: its own policies, else its virtual host's, else its configuration's.
pub(super) fn begin(stream: &mut Stream<'_>, plan: &Plan) {
    let own = &*plan.action().mirrors;
    let hosts = &*plan.virtual_host.mirrors;
    let configuration = stream.info.route_configuration.clone();
    let all = configuration.as_deref().map_or(&[][..], |c| &*c.mirrors);
    let Some(mirrors) = [own, hosts, all].into_iter().find(|mirrors| !mirrors.is_empty()) else {
        return;
    };
    // What becomes a tunnel has no copy.
    if stream.request.upgrade.is_some() || stream.request.method == http::Method::CONNECT {
        return;
    }
    for mirror in mirrors {
        let Some(cluster) = mirror.cluster(stream) else {
            continue;
        };
        let mut head = mirror.head(&stream.request);
        crate::http::tracing::copy(stream, &mut head.headers, mirror.trace_sampled);
        let (sender, frames) = mpsc::unbounded_channel();
        let lag = Rc::new(Cell::new(0));
        let body = (!stream.request_done).then(|| (frames, lag.clone()));
        let sending = send(stream.worker.clone(), cluster, head, body, plan.timeouts.global);
        tokio::task::spawn_local(sending);
        if !stream.request_done {
            stream.kept.copies.0.push(Lagging { frames: sender, lag });
        }
    }
}

type Body = (mpsc::UnboundedReceiver<(Frame, bool)>, Rc<Cell<usize>>);

async fn send(worker: Rc<Worker>, cluster: Arc<str>, head: RequestHead, body: Option<Body>, timeout: Option<Duration>) {
    let copy = copy(&worker, &cluster, head, body);
    let sent = match timeout {
        Some(timeout) => tokio::time::timeout(timeout, copy).await.unwrap_or(Ok(())),
        None => copy.await,
    };
    if let Err(failure) = sent {
        tracing::debug!(cluster = &*cluster, "a mirrored request failed: {failure}");
    }
}

async fn copy(worker: &Rc<Worker>, cluster: &str, head: RequestHead, body: Option<Body>) -> Result<(), CallFailure> {
    let mut call = Streaming::open(worker, cluster, head, body.is_none()).await?;
    if let Some((mut frames, lag)) = body {
        loop {
            // The client left, or the copy lagged too far: what was begun is broken off.
            let Some((frame, end)) = frames.recv().await else {
                return Ok(());
            };
            lag.set(lag.get().saturating_sub(len(&frame)));
            call.send(frame, end)?;
            if end {
                break;
            }
            poll_fn(|cx| call.poll_flush(cx)).await?;
        }
    }
    call.head().await?;
    while call.frame().await?.is_some() {}
    Ok(())
}

impl Mirror {
    /// Where this request is copied to; `None`: it is not.
    fn cluster(&self, stream: &Stream<'_>) -> Option<Arc<str>> {
        if let Some(fraction) = &self.runtime_fraction {
            let snapshot = stream.worker.snapshot();
            let facts = RouteFacts {
                request: &stream.request,
                tls: None,
                random: stream.worker.random(),
                runtime: &snapshot.runtime,
                dynamic_metadata: None,
            };
            if !fraction.holds(&facts) {
                return None;
            }
        }
        match &self.cluster_header {
            None => Some(self.cluster.clone()),
            Some(name) => {
                let named = stream.request.headers.get(name)?.to_str().ok()?;
                (!named.is_empty()).then(|| named.into())
            }
        }
    }

    fn head(&self, request: &RequestHead) -> RequestHead {
        let mut head = request.clone();
        if let Some(host) = &self.host_rewrite {
            head.authority = host.clone();
        } else if !self.disable_shadow_host_suffix_append {
            let host = request.authority_str();
            let host = match host.split_once(':') {
                Some((name, port)) if !port.contains(':') => format!("{name}{SUFFIX}:{port}"),
                _ => format!("{host}{SUFFIX}"),
            };
            if let Ok(host) = HeaderValue::try_from(host) {
                head.authority = host;
            }
        }
        head
    }
}
