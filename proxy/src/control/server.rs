//! Who serves config: a cluster or a URI of the config becomes a management server of the xDS client.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use xds_client::{Connecting, Connector, Io, ManagementServer, ServerOptions, Target};

use super::resources::Resources;
use crate::{
    address::Address,
    cluster::{Cluster, Discovery},
    config::source::{GoogleTls, GrpcApi, GrpcTarget},
    snapshot::Snapshot,
    tls::UpstreamTransport,
};

/// Why a source cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("there is no cluster {0:?}")]
    UnknownCluster(Arc<str>),
    #[error("cluster {0:?} has no endpoint")]
    NoEndpoint(Arc<str>),
    #[error("target_uri {0:?} cannot be read as host:port or unix:path")]
    BadTarget(Arc<str>),
    #[error("{uri:?}: {problem}")]
    BadCredentials { uri: Arc<str>, problem: String },
    #[error(transparent)]
    Client(#[from] xds_client::Error),
}

/// What HTTP/2 is called in a TLS handshake.
const ALPN_H2: &[u8] = b"h2";

/// # Errors
/// Where the management server cannot be told from the config.
pub fn management_server(api: &GrpcApi, resources: &Resources) -> Result<ManagementServer, ServerError> {
    let mut options = match &api.service.target {
        GrpcTarget::Cluster { name, authority } => {
            // A cluster that is not there yet, or has no endpoints, may be or have some at the next attempt to connect.
            let cluster = resources.cluster(name);
            let first = cluster.as_ref().and_then(|cluster| targets(cluster).into_iter().next());
            let default = || cluster.as_ref().map(|cluster| cluster.transport.default.clone());
            let (target, transport) = match first {
                Some((target, transport)) => (target, Some(transport)),
                None => (Target::Unix("".into()), default()),
            };
            let mut options = ServerOptions::new(name.to_string(), target);
            if let Some(cluster) = &cluster {
                options.connect_timeout = cluster.connect_timeout;
            }
            options.https = matches!(transport, Some(UpstreamTransport::Tls(_)));
            if !authority.is_empty() {
                options.authority = Some(authority.to_string());
            }
            options.connector = Some(connector(name.clone(), cluster, resources.publisher.snapshot()));
            options
        }
        GrpcTarget::Uri { uri, tls } => {
            let mut options = ServerOptions::new(uri.to_string(), uri_target(uri)?);
            options.authority = match &options.target {
                target @ Target::Tcp { .. } => Some(target.to_string()),
                Target::Unix(_) => Some("localhost".to_owned()),
            };
            if let Some(tls) = tls {
                let context = google_context(tls).map_err(|problem| ServerError::BadCredentials {
                    uri: uri.clone(),
                    problem,
                })?;
                options.https = true;
                options.connector = Some(Arc::new(move |target| {
                    let context = context.clone();
                    Box::pin(async move { secure(&context, &target, Some(&host_of(&target))).await })
                }));
            }
            options
        }
    };
    options.initial_metadata = api
        .service
        .initial_metadata
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    Ok(options_to_server(options)?)
}

/// Names of clusters may hold what an authority may not; Envoy sends them all the same, servers look at neither.
fn options_to_server(mut options: ServerOptions) -> Result<ManagementServer, xds_client::Error> {
    let fit = |name: &str| name.parse::<http::uri::Authority>().is_ok();
    if options.authority.is_none() && !fit(&options.name) {
        options.authority = Some(options.name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
    }
    ManagementServer::new(options)
}

/// Connects to the cluster's endpoints in turn, as they are at that time, with their transport socket. `warming`: the cluster
/// before it is public, since what it waits for may come over it.
fn connector(name: Arc<str>, warming: Option<Arc<Cluster>>, snapshot: Arc<ArcSwap<Snapshot>>) -> Connector {
    let next = AtomicUsize::new(0);
    Arc::new(move |_| -> Connecting {
        let name = name.clone();
        let public = snapshot.load().clusters.get(&name).cloned();
        let Some(cluster) = public.or_else(|| warming.clone()) else {
            return Box::pin(async move { Err(io::Error::other(ServerError::UnknownCluster(name))) });
        };
        let mut known = targets(&cluster);
        if known.is_empty() {
            return Box::pin(async move { Err(io::Error::other(ServerError::NoEndpoint(name))) });
        }
        let (target, transport) = known.swap_remove(next.fetch_add(1, Ordering::Relaxed) % known.len());
        Box::pin(async move {
            let UpstreamTransport::Tls(tls) = transport else {
                return target.connect().await;
            };
            let context = tls.context.load_full();
            let context =
                context.ok_or_else(|| io::Error::other(format!("{name}: its TLS secrets have not arrived")))?;
            let host = tls.config.auto_host_sni.then(|| host_of(&target));
            secure(&context, &target, host.as_deref()).await
        })
    })
}

async fn secure(context: &certs::ClientContext, target: &Target, sni: Option<&str>) -> io::Result<Box<dyn Io>> {
    let alpn = [ALPN_H2.to_vec()];
    let wanted = certs::ConnectOptions {
        sni,
        // What the context names goes before it.
        alpn: context.alpn().is_empty().then_some(&alpn),
        verify_sans: &[],
    };
    let io = target.connect().await?;
    let stream = context.connect(io, wanted).await;
    let stream = stream.map_err(|e| io::Error::other(format!("TLS with {target}: {e}")))?;
    Ok(Box::new(stream))
}

fn host_of(target: &Target) -> String {
    match target {
        Target::Tcp { host, .. } => host.clone(),
        Target::Unix(_) => String::new(),
    }
}

/// Where the cluster's endpoints listen, and how they are spoken to.
fn targets(cluster: &Cluster) -> Vec<(Target, UpstreamTransport)> {
    if let Discovery::StrictDns(dns) | Discovery::LogicalDns(dns) = &cluster.discovery {
        // The client resolves names itself, at every connection.
        let named = dns.targets.iter().map(|target| Target::Tcp {
            host: target.host.to_string(),
            port: target.port,
        });
        return named
            .map(|target| (target, cluster.transport.default.clone()))
            .collect();
    }
    let set = cluster.endpoints.load();
    let endpoints = set.priorities.iter().flat_map(|p| &p.endpoints);
    let known = endpoints.filter_map(|endpoint| {
        let target = match &endpoint.address {
            Address::Ip(ip) => Target::Tcp {
                host: ip.ip().to_string(),
                port: ip.port(),
            },
            Address::Pipe(path) => Target::Unix((**path).into()),
            Address::Internal(_) => return None,
        };
        Some((target, endpoint.transport.clone()))
    });
    known.collect()
}

/// `host:port`, `dns:///host:port` or `unix:path`.
fn uri_target(uri: &Arc<str>) -> Result<Target, ServerError> {
    if let Some(path) = uri.strip_prefix("unix:") {
        return Ok(Target::Unix(path.strip_prefix("//").unwrap_or(path).into()));
    }
    let plain = uri.rsplit('/').next().unwrap_or(uri);
    let (host, port) = plain
        .rsplit_once(':')
        .ok_or_else(|| ServerError::BadTarget(uri.clone()))?;
    let port = port.parse().map_err(|_| ServerError::BadTarget(uri.clone()))?;
    Ok(Target::Tcp {
        host: host.trim_matches(['[', ']']).to_owned(),
        port,
    })
}

/// gRPC's own TLS: the system's roots where the config names none, and the server's name verified.
fn google_context(tls: &GoogleTls) -> Result<certs::ClientContext, String> {
    let identity = match (&tls.cert_chain, &tls.private_key) {
        (Some(chain), Some(key)) => {
            Some(certs::Identity::with_ocsp_staple(&chain.read()?, &key.read()?, None).map_err(|e| e.to_string())?)
        }
        _ => None,
    };
    let bundle = match &tls.root_certs {
        Some(roots) => certs::TrustBundle::from_pem(&roots.read()?).map_err(|e| e.to_string())?,
        None => certs::TrustBundle::from_system().map_err(|e| e.to_string())?,
    };
    let validation = certs::Validation {
        trust: Some(certs::Trust::Bundle(Arc::new(bundle))),
        match_sni: true,
        ..certs::Validation::default()
    };
    certs::ClientContext::new(certs::ClientSettings {
        identity,
        validation: Some(Arc::new(validation)),
        ..certs::ClientSettings::new()
    })
    .map_err(|e| e.to_string())
}
