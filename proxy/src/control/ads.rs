//! The aggregated stream: updates become resources, in Envoy's order (clusters, endpoints, listeners, routes), and every
//! update is answered resource by resource.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;
use xds_client::{
    Ack, Client, Event, Handle, ManagementServer, Name, Options, Protocol, Rejection, ServerOptions, Service, Source,
    Target, Update, resource_type,
};

use super::resources::{Resources, Wanted};
use crate::{
    address::Address,
    bootstrap::DynamicResources,
    cluster::Cluster,
    config::source::{GrpcApi, GrpcTarget, SourceSpecifier},
    stats::{CdsStat, ControlPlaneStat, Group, SubscriptionStat},
};

/// The stream and what is subscribed on it.
pub struct Ads {
    handle: Handle,
    pub events: mpsc::Receiver<Event>,
    name: String,
    clusters: bool,
    listeners: bool,
    listeners_asked: bool,
    /// The first answer about clusters, and about listeners, has been dealt with (or waited for in vain).
    pub clusters_known: bool,
    pub listeners_known: bool,
    control_plane: Group<ControlPlaneStat>,
    cds: Group<CdsStat>,
    lds: Group<SubscriptionStat>,
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub enum AdsError {
    #[error("dynamic_resources.ads_config: cluster {0:?} is not among static_resources.clusters")]
    UnknownCluster(Arc<str>),
    #[error("dynamic_resources.ads_config: cluster {0:?} has no endpoint")]
    NoEndpoint(Arc<str>),
    #[error("dynamic_resources.ads_config: {0:?} cannot be read as host:port or unix:path")]
    BadTarget(Arc<str>),
    #[error("dynamic_resources.ads_config: {0}")]
    Client(#[from] xds_client::Error),
}

/// How long a first answer is waited for where the source does not say.
const NO_LIMIT: Duration = Duration::ZERO;

impl Ads {
    /// Opens the stream in the background of the current `LocalSet` and subscribes to clusters.
    ///
    /// # Errors
    /// Where the management server cannot be told from the config.
    pub fn start(
        api: &GrpcApi,
        dynamic: &DynamicResources,
        node: bytes::Bytes,
        resources: &Resources,
    ) -> Result<Self, AdsError> {
        let server = ManagementServer::new(server_options(api, resources)?)?;
        let name = server.to_string();
        let protocol = if api.delta {
            Protocol::Delta
        } else {
            Protocol::StateOfTheWorld
        };
        let source = Source::Grpc {
            server,
            protocol,
            service: Service::Aggregated,
        };
        let mut options = Options::new(source, node);
        options.set_node_on_first_message_only = api.set_node_on_first_message_only;
        let (client, handle, events) = Client::new(options)?;
        tokio::task::spawn_local(client.run());
        let over_ads = |source: &Option<Arc<crate::config::source::ConfigSource>>| {
            source.as_ref().is_some_and(|s| s.specifier == SourceSpecifier::Ads)
        };
        let stats = &resources.context.stats;
        let root = crate::stats::Prefix::root;
        let mut ads = Self {
            handle,
            events,
            name,
            clusters: over_ads(&dynamic.clusters),
            listeners: over_ads(&dynamic.listeners),
            listeners_asked: false,
            clusters_known: false,
            listeners_known: false,
            control_plane: stats.group(root("control_plane.")),
            cds: stats.group(root("cluster_manager.cds.")),
            lds: stats.group(root("listener_manager.lds.")),
        };
        ads.control_plane.set(ControlPlaneStat::ConnectedState, 0);
        let timeout = |source: &Option<Arc<crate::config::source::ConfigSource>>| {
            source
                .as_ref()
                .and_then(|s| s.initial_fetch_timeout)
                .unwrap_or(NO_LIMIT)
        };
        if ads.clusters {
            ads.handle
                .subscribe_all(resource_type::CLUSTER, timeout(&dynamic.clusters));
        } else {
            ads.clusters_known = true;
        }
        ads.listeners_known = !ads.listeners;
        Ok(ads)
    }

    /// Deals with one event. The caller publishes afterwards, and asks [`Self::ask_for_listeners`].
    pub fn hear(&mut self, event: Event, resources: &mut Resources) {
        match event {
            Event::Connected => {
                tracing::info!(server = self.name, "connected to the control plane");
                self.control_plane.set(ControlPlaneStat::ConnectedState, 1);
            }
            Event::Disconnected { reason, retry_in } => {
                tracing::warn!(
                    server = self.name,
                    "the control plane is gone ({reason}); the last config stays, next attempt in {retry_in:?}"
                );
                self.control_plane.set(ControlPlaneStat::ConnectedState, 0);
            }
            Event::ControlPlane { identifier } => self.control_plane.set_text(ControlPlaneStat::Identifier, identifier),
            Event::Update(update, ack) => self.update(update, ack, resources),
            Event::FetchTimeout { type_url, names } => {
                tracing::warn!("no answer to {type_url} {names:?} within initial_fetch_timeout: going on without");
                match &*type_url {
                    resource_type::CLUSTER => self.clusters_known = true,
                    resource_type::LISTENER => self.listeners_known = true,
                    _ => names.iter().for_each(|name| resources.give_up(name)),
                }
            }
            Event::Expired { type_url, names } => remove(&type_url, &names, resources),
            Event::Refused(refused) => tracing::warn!("a response was unreadable: {refused:?}"),
            _ => {}
        }
    }

    /// Subscribes to listeners once the first clusters are warm, as Envoy does.
    pub fn ask_for_listeners(&mut self, resources: &Resources) {
        let due = self.listeners && !self.listeners_asked && self.clusters_known && resources.clusters_are_warm();
        if due {
            self.listeners_asked = true;
            self.handle.subscribe_all(resource_type::LISTENER, NO_LIMIT);
        }
    }

    /// Subscribes to what static resources want of this stream.
    pub fn want(&self, wanted: &Wanted) {
        let subscribe = |type_url: &str, names: &[Arc<str>]| {
            if !names.is_empty() {
                self.handle.subscribe(type_url, names.iter().cloned(), NO_LIMIT);
            }
        };
        subscribe(resource_type::ENDPOINT, &wanted.endpoints);
        subscribe(resource_type::ROUTE, &wanted.routes);
        subscribe(resource_type::SECRET, &wanted.secrets);
    }

    fn update(&mut self, update: Update, ack: Ack, resources: &mut Resources) {
        let mut wanted = Wanted::default();
        let mut rejections = Vec::new();
        for resource in &update.resources {
            let body = &resource.body;
            let taken = match &*update.type_url {
                resource_type::CLUSTER => resources.take_cluster(body, &mut wanted),
                resource_type::ENDPOINT => resources.take_assignment(body),
                resource_type::LISTENER => resources.take_listener(body, &mut wanted),
                resource_type::ROUTE => resources.take_routes(body),
                resource_type::SECRET => resources.take_secret(body),
                _ => Ok(()),
            };
            if let Err(rejection) = taken {
                tracing::warn!("rejected: {rejection}");
                rejections.push(Rejection {
                    name: resource.name.clone(),
                    reason: rejection.to_string(),
                });
            }
        }
        remove(&update.type_url, &update.removed, resources);
        // Before the ACK, as Envoy does: the server then knows what the update made us want.
        self.want(&wanted);
        self.count(&update.type_url, rejections.is_empty());
        match &*update.type_url {
            resource_type::CLUSTER => self.clusters_known = true,
            resource_type::LISTENER => self.listeners_known = true,
            _ => {}
        }
        ack.reject(rejections);
    }

    fn count(&self, type_url: &str, accepted: bool) {
        match (type_url, accepted) {
            (resource_type::CLUSTER, true) => self.cds.inc(CdsStat::UpdateSuccess),
            (resource_type::CLUSTER, false) => self.cds.inc(CdsStat::UpdateRejected),
            (resource_type::LISTENER, true) => self.lds.inc(SubscriptionStat::UpdateSuccess),
            (resource_type::LISTENER, false) => self.lds.inc(SubscriptionStat::UpdateRejected),
            _ => {}
        }
    }
}

/// Clusters and listeners can be removed by the server; other kinds go when nobody names them.
fn remove(type_url: &str, names: &[Name], resources: &mut Resources) {
    for name in names {
        match type_url {
            resource_type::CLUSTER => resources.remove_cluster(name),
            resource_type::LISTENER => resources.remove_listener(name),
            _ => {}
        }
    }
}

fn server_options(api: &GrpcApi, resources: &Resources) -> Result<ServerOptions, AdsError> {
    let mut options = match &api.service.target {
        GrpcTarget::Cluster { name, authority } => {
            let cluster = resources
                .cluster(name)
                .ok_or_else(|| AdsError::UnknownCluster(name.clone()))?;
            let mut options = ServerOptions::new(name.to_string(), target(&cluster)?);
            if !authority.is_empty() {
                options.authority = Some(authority.to_string());
            }
            options
        }
        GrpcTarget::Uri { uri, .. } => ServerOptions::new(uri.to_string(), uri_target(uri)?),
    };
    options.initial_metadata = api
        .service
        .initial_metadata
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    Ok(options)
}

/// Where a cluster's first endpoint listens.
fn target(cluster: &Cluster) -> Result<Target, AdsError> {
    use crate::cluster::Discovery;
    if let Discovery::StrictDns(dns) | Discovery::LogicalDns(dns) = &cluster.discovery {
        let first = dns
            .targets
            .first()
            .ok_or_else(|| AdsError::NoEndpoint(cluster.name.clone()))?;
        return Ok(Target::Tcp {
            host: first.host.to_string(),
            port: first.port,
        });
    }
    let set = cluster.endpoints.load();
    let first = set.priorities.iter().flat_map(|p| &p.endpoints).next();
    match first.map(|endpoint| &endpoint.address) {
        Some(Address::Ip(ip)) => Ok(Target::Tcp {
            host: ip.ip().to_string(),
            port: ip.port(),
        }),
        Some(Address::Pipe(path)) => Ok(Target::Unix((**path).into())),
        Some(Address::Internal(_)) | None => Err(AdsError::NoEndpoint(cluster.name.clone())),
    }
}

/// `host:port`, `dns:///host:port` or `unix:path`.
fn uri_target(uri: &Arc<str>) -> Result<Target, AdsError> {
    if let Some(path) = uri.strip_prefix("unix:") {
        return Ok(Target::Unix(path.trim_start_matches("//").into()));
    }
    let plain = uri.rsplit('/').next().unwrap_or(uri);
    let (host, port) = plain.rsplit_once(':').ok_or_else(|| AdsError::BadTarget(uri.clone()))?;
    let port = port.parse().map_err(|_| AdsError::BadTarget(uri.clone()))?;
    Ok(Target::Tcp {
        host: host.to_owned(),
        port,
    })
}
