//! HTTP filters: an enum, run in order on the request and in reverse on the response. The last is the router.
//!
//! A filter has up to three moments: [`run`] hands it the request, [`encode`] every response (also the proxy's own), and
//! [`ended`] the finished stream. What it must remember from one to the next stands in [`Kept`]. What a route says to it
//! is found by [`Stream::per_route`].

use std::sync::Arc;

use super::{
    cached_route,
    local_reply::LocalReply,
    message::ResponseHead,
    stream::{Stream, StreamEnd},
    tracing::{self, Decoration},
};
use crate::{cluster::Cluster, failure::ResponseFlags, route::per_filter::PerRoute};

pub mod alpn;
pub mod cors;
pub mod discovered;
pub mod fault;
pub mod grpc_stats;
pub mod istio_stats;
pub mod jwt_authn;
pub mod on_demand;
pub mod peer_metadata;
pub mod rbac;
pub mod router;

/// One filter of a connection manager, parsed.
#[derive(Debug)]
pub struct HttpFilter {
    /// Under which routes speak to it.
    pub name: Arc<str>,
    /// Runs only where a route enables it.
    pub disabled: bool,
    pub kind: FilterKind,
}

#[derive(Debug)]
pub enum FilterKind {
    /// Known, and without any effect: what it is configured to do needs nothing done.
    Inert,
    Alpn(alpn::Alpn),
    GrpcStats(grpc_stats::GrpcStats),
    IstioStats(crate::istio::stats::IstioStats),
    PeerMetadata(peer_metadata::PeerMetadata),
    OnDemand,
    Cors(cors::Cors),
    Fault(fault::Fault),
    JwtAuthn(Box<jwt_authn::JwtAuthn>),
    Rbac(Box<rbac::Rbac>),
    Router(router::Router),
    /// Whatever its config says that it is.
    Discovered(Arc<discovered::Discovered>),
}

impl FilterKind {
    /// Whether nothing may come after the filter, because no request passes it.
    pub fn is_terminal(&self) -> bool {
        match self {
            Self::Router(_) => true,
            Self::Discovered(place) => place.last,
            Self::Alpn(_)
            | Self::GrpcStats(_)
            | Self::IstioStats(_)
            | Self::PeerMetadata(_)
            | Self::Inert
            | Self::OnDemand
            | Self::Cors(_)
            | Self::Fault(_)
            | Self::JwtAuthn(_)
            | Self::Rbac(_) => false,
        }
    }
}

/// What a filter made of a request.
pub enum Step {
    Continue,
    /// Nothing after it sees the request.
    Reply(Box<LocalReply>),
    /// The request begins anew, with a route that was not there before.
    Again,
    /// The stream ended while the filter waited.
    End(StreamEnd),
}

/// What filters keep of a request until its response or its end.
#[derive(Debug, Default)]
pub struct Kept {
    /// The request came to the filters, whichever of them answered it.
    pub begun: bool,
    /// Where the request will go, once a filter asked: see [`cached_route::cluster`].
    pub cluster: Option<Arc<Cluster>>,
    /// ALPN to offer upstream instead of the context's.
    pub alpn: Option<Arc<[Vec<u8>]>>,
    /// Which of Istio's headers the request had.
    pub asked: peer_metadata::Asked,
    /// Where the request is a gRPC call that is watched.
    pub grpc: Option<grpc_stats::Grpc>,
    /// What discovered filters were when the stream came to them, by their place among the filters.
    discovered: Vec<(usize, Arc<FilterKind>)>,
    /// Nothing is fetched for a request twice.
    pub asked_on_demand: bool,
    pub cors: Option<Box<cors::Allowed>>,
    pub fault: Option<fault::Active>,
    pub decoration: Decoration,
    pub copies: router::mirror::Copies,
}

/// Hands the request to one filter after the other; the router answers it if none did before.
pub async fn run(stream: &mut Stream<'_>) -> StreamEnd {
    stream.kept.begun = true;
    loop {
        if let Some(end) = pass(stream).await {
            return end;
        }
    }
}

/// `None`: the request begins anew.
async fn pass(stream: &mut Stream<'_>) -> Option<StreamEnd> {
    if let Err(reply) = cached_route::choose(stream) {
        return Some(stream.reply(*reply).await);
    }
    tracing::begin(stream);
    let manager = stream.manager;
    for (i, filter) in manager.filters.iter().enumerate() {
        if !filter.is_enabled(stream) {
            continue;
        }
        let discovered;
        let kind = match &filter.kind {
            FilterKind::Discovered(place) => {
                let Some(current) = place.current() else {
                    return Some(stream.reply(no_config()).await);
                };
                stream.kept.discovered.push((i, current.clone()));
                discovered = current;
                &*discovered
            }
            kind => kind,
        };
        let step = match kind {
            FilterKind::Router(router) => return Some(router::run(router, stream).await),
            FilterKind::OnDemand => on_demand::run(stream).await,
            FilterKind::Cors(own) => cors::run(filter, own, stream),
            FilterKind::Fault(own) => fault::run(filter, own, stream).await,
            FilterKind::JwtAuthn(own) => jwt_authn::run(filter, own, stream).await,
            FilterKind::Rbac(own) => rbac::run(filter, own, stream),
            // A config that is found makes no place that is to be filled.
            FilterKind::Inert | FilterKind::Discovered(_) => Step::Continue,
            FilterKind::Alpn(filter) => {
                alpn::run(filter, stream);
                Step::Continue
            }
            FilterKind::GrpcStats(filter) => {
                grpc_stats::run(filter, stream);
                Step::Continue
            }
            FilterKind::IstioStats(_) => {
                istio_stats::run(stream);
                Step::Continue
            }
            FilterKind::PeerMetadata(filter) => {
                peer_metadata::run(filter, stream);
                Step::Continue
            }
        };
        match step {
            Step::Continue => {}
            Step::Reply(reply) => {
                cached_route::tell_cluster(stream);
                return Some(stream.reply(*reply).await);
            }
            Step::Again => return None,
            Step::End(end) => return Some(end),
        }
    }
    // Config parsing admits no connection manager without a router at its end.
    let reply = LocalReply::new(http::StatusCode::NOT_FOUND, "", "filter_chain_not_found");
    Some(stream.reply(reply).await)
}

/// A filter waits for a config that has not come: what it guards stays closed.
fn no_config() -> LocalReply {
    let mut reply = LocalReply::new(http::StatusCode::INTERNAL_SERVER_ERROR, "", "")
        .with_flags(ResponseFlags::NO_FILTER_CONFIG_FOUND);
    reply.sentence = Some("the config of a filter has not come from its control plane (ECDS)".into());
    reply
}

/// Hands the head of a response to the filters, the last one first.
pub fn encode(stream: &mut Stream<'_>, head: &mut ResponseHead) {
    let manager = stream.manager;
    for (i, filter) in manager.filters.iter().enumerate().rev() {
        let discovered = found(stream, i, filter);
        match discovered.as_deref().unwrap_or(&filter.kind) {
            FilterKind::Cors(_) => cors::encode(stream, head),
            FilterKind::GrpcStats(_) => grpc_stats::encode(stream, head),
            FilterKind::PeerMetadata(filter) => peer_metadata::encode(filter, stream, &mut head.headers),
            FilterKind::Alpn(_)
            | FilterKind::IstioStats(_)
            | FilterKind::Router(_)
            | FilterKind::OnDemand
            | FilterKind::Fault(_)
            | FilterKind::JwtAuthn(_)
            | FilterKind::Rbac(_)
            | FilterKind::Inert
            | FilterKind::Discovered(_) => {}
        }
    }
    // Who answers is known now, and what the head weighs.
    for (i, filter) in manager.filters.iter().enumerate() {
        let discovered = found(stream, i, filter);
        if let FilterKind::IstioStats(filter) = discovered.as_deref().unwrap_or(&filter.kind) {
            istio_stats::answered(filter, stream, head);
        }
    }
}

/// What a discovered filter was for this stream.
fn found(stream: &Stream<'_>, place: usize, filter: &HttpFilter) -> Option<Arc<FilterKind>> {
    let FilterKind::Discovered(_) = &filter.kind else {
        return None;
    };
    let known = stream.kept.discovered.iter().find(|(i, _)| *i == place);
    known.map(|(_, kind)| kind.clone())
}

/// The stream is over: what filters count of it.
pub fn ended(stream: &mut Stream<'_>) {
    let manager = stream.manager;
    for (i, filter) in manager.filters.iter().enumerate() {
        let discovered = found(stream, i, filter);
        match discovered.as_deref().unwrap_or(&filter.kind) {
            FilterKind::GrpcStats(_) => grpc_stats::ended(stream),
            FilterKind::IstioStats(counted) if stream.kept.begun && filter.is_enabled(stream) => {
                istio_stats::ended(counted, stream);
            }
            FilterKind::Alpn(_)
            | FilterKind::IstioStats(_)
            | FilterKind::PeerMetadata(_)
            | FilterKind::Router(_)
            | FilterKind::Cors(_)
            | FilterKind::Fault(_)
            | FilterKind::JwtAuthn(_)
            | FilterKind::Rbac(_)
            | FilterKind::OnDemand
            | FilterKind::Inert
            | FilterKind::Discovered(_) => {}
        }
    }
}

impl HttpFilter {
    fn is_enabled(&self, stream: &Stream<'_>) -> bool {
        let told = stream.per_route(&self.name).and_then(PerRoute::disabled);
        !told.unwrap_or(self.disabled)
    }
}
