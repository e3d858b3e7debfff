//! Who serves a resource: `ConfigSource` and the gRPC services behind it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hashbrown::HashSet;
use http::{HeaderName, HeaderValue};
use xds_api::envoy::config::core::v3 as core;

use super::{at::At, rejection::Rejection};

/// Envoy's default for `initial_fetch_timeout`.
const INITIAL_FETCH_TIMEOUT: Duration = Duration::from_secs(15);
/// Envoy's default for `request_timeout` of a REST source.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// `envoy.config.core.v3.ConfigSource`, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConfigSource {
    pub specifier: SourceSpecifier,
    /// How long warming waits for a first answer. `None`: for ever (`0s`).
    pub initial_fetch_timeout: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SourceSpecifier {
    /// The one aggregated stream (`dynamic_resources.ads_config`).
    Ads,
    /// A stream of its own.
    Grpc(GrpcApi),
    /// Polled over HTTP.
    Rest(RestApi),
    /// A file that holds a `DiscoveryResponse`, read again when it is replaced.
    File {
        path: Arc<str>,
        /// Watch this directory for moves instead of the file.
        watched_directory: Option<Arc<str>>,
    },
}

/// `ApiConfigSource` over gRPC.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GrpcApi {
    /// Incremental xDS rather than state of the world.
    pub delta: bool,
    pub service: GrpcService,
    pub set_node_on_first_message_only: bool,
}

/// `ApiConfigSource` over HTTP with JSON.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RestApi {
    pub cluster: Arc<str>,
    /// Between two requests; up to as much again is added at random.
    pub refresh_delay: Duration,
    /// Envoy's default: 1 s.
    pub request_timeout: Duration,
}

/// `envoy.config.core.v3.GrpcService`, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GrpcService {
    pub target: GrpcTarget,
    /// Of a unary call; `None`: no limit.
    pub timeout: Option<Duration>,
    pub initial_metadata: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum GrpcTarget {
    /// Through a cluster of ours.
    Cluster {
        name: Arc<str>,
        /// `:authority`; empty: the cluster's name.
        authority: Box<str>,
    },
    /// `google_grpc`: directly, by URI.
    Uri {
        uri: Arc<str>,
        /// TLS towards the target; its PEM sources.
        tls: Option<Box<GoogleTls>>,
    },
}

/// `GoogleGrpc.SslCredentials`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct GoogleTls {
    pub root_certs: Option<super::DataSource>,
    pub private_key: Option<super::DataSource>,
    pub cert_chain: Option<super::DataSource>,
}

/// A secret that a TLS context refers to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SecretReference {
    pub name: Arc<str>,
    /// `None`: a static secret of the bootstrap.
    pub source: Option<Arc<ConfigSource>>,
}

/// Sources that references share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources(Arc<Mutex<HashSet<Arc<ConfigSource>>>>);

impl Sources {
    pub(crate) fn shared(&self, source: ConfigSource) -> Arc<ConfigSource> {
        /// More distinct ones than any mesh has; past it, those that nobody holds are let go.
        const MANY: usize = 64;
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = held.get(&source) {
            return known.clone();
        }
        if held.len() >= MANY {
            held.retain(|source| Arc::strong_count(source) > 1);
        }
        let source = Arc::new(source);
        held.insert(source.clone());
        source
    }
}

/// A source that is asked as soon as it is known, so that the cluster behind it must be there.
pub(crate) fn parse(source: &core::ConfigSource, at: &At) -> Result<ConfigSource, Rejection> {
    let source = parse_lazy(source, at)?;
    let at = at.field("api_config_source");
    match &source.specifier {
        SourceSpecifier::Grpc(grpc) => require_backing(grpc, &at),
        SourceSpecifier::Rest(rest) => require_cluster(&rest.cluster, &at.item("cluster_names", 0)),
        SourceSpecifier::Ads | SourceSpecifier::File { .. } => {}
    }
    Ok(source)
}

/// A source of secrets: Envoy asks for them later, and does without where it cannot.
pub(crate) fn parse_lazy(source: &core::ConfigSource, at: &At) -> Result<ConfigSource, Rejection> {
    use core::config_source::ConfigSourceSpecifier as S;
    at.enumeration::<core::ApiVersion>("resource_api_version", source.resource_api_version)?;
    let specifier = match &source.config_source_specifier {
        None => return Err(at.reject("names no source: set ads, api_config_source or path_config_source")),
        Some(S::Ads(_)) => SourceSpecifier::Ads,
        Some(S::Path(path)) => file(path, None, &at.field("path"))?,
        Some(S::PathConfigSource(file_source)) => {
            let at = at.field("path_config_source");
            let directory = file_source.watched_directory.as_deref();
            file(&file_source.path, directory, &at)?
        }
        Some(S::ApiConfigSource(api)) => match api_source(api, &at.field("api_config_source"))? {
            Api::Ads => SourceSpecifier::Ads,
            Api::Grpc(grpc) => SourceSpecifier::Grpc(grpc),
            Api::Rest(rest) => SourceSpecifier::Rest(rest),
        },
        Some(S::Self_(_)) => return Err(at.field("self").reject("is not supported; use ads: {}")),
    };
    Ok(ConfigSource {
        specifier,
        initial_fetch_timeout: at.timeout(
            "initial_fetch_timeout",
            source.initial_fetch_timeout.as_ref(),
            Some(INITIAL_FETCH_TIMEOUT),
        )?,
    })
}

fn file(path: &str, directory: Option<&core::WatchedDirectory>, at: &At) -> Result<SourceSpecifier, Rejection> {
    Ok(SourceSpecifier::File {
        path: at.non_empty("path", path)?.into(),
        watched_directory: match directory {
            Some(d) => Some(at.non_empty("watched_directory.path", &d.path)?.into()),
            None => None,
        },
    })
}

/// What an `ApiConfigSource` turned out to be.
pub(crate) enum Api {
    /// `AGGREGATED_GRPC` and `AGGREGATED_DELTA_GRPC`.
    Ads,
    Grpc(GrpcApi),
    Rest(RestApi),
}

pub(crate) fn api_source(api: &core::ApiConfigSource, at: &At) -> Result<Api, Rejection> {
    use core::api_config_source::ApiType as T;
    match at.enumeration("transport_api_version", api.transport_api_version)? {
        core::ApiVersion::V3 => {}
        core::ApiVersion::Auto => at
            .field("transport_api_version")
            .note("is taken for V3, the only one there is"),
        core::ApiVersion::V2 => {
            return Err(at
                .field("transport_api_version")
                .reject("must be V3: V2 exists no more"));
        }
    }
    let request_timeout = at.duration("request_timeout", api.request_timeout.as_ref())?;
    let delta = match at.enumeration("api_type", api.api_type)? {
        T::Grpc => false,
        T::DeltaGrpc => true,
        T::AggregatedGrpc | T::AggregatedDeltaGrpc => return Ok(Api::Ads),
        T::Rest => {
            let [cluster] = api.cluster_names.as_slice() else {
                return Err(at
                    .field("cluster_names")
                    .reject("a REST source names the one cluster that serves it"));
            };
            if !api.grpc_services.is_empty() {
                return Err(at.field("grpc_services").reject("belongs to gRPC sources"));
            }
            let refresh_delay = at.duration("refresh_delay", api.refresh_delay.as_ref())?;
            return Ok(Api::Rest(RestApi {
                cluster: cluster.as_str().into(),
                refresh_delay: refresh_delay
                    .ok_or_else(|| at.field("refresh_delay").reject("a REST source needs it"))?,
                request_timeout: request_timeout.unwrap_or(REQUEST_TIMEOUT),
            }));
        }
        T::DeprecatedAndUnavailableDoNotUse => {
            return Err(at.field("api_type").reject("is required: GRPC, DELTA_GRPC or REST"));
        }
    };
    if !api.cluster_names.is_empty() {
        return Err(at
            .field("cluster_names")
            .reject("belongs to REST sources; name the cluster in grpc_services[0].envoy_grpc.cluster_name"));
    }
    let [service] = api.grpc_services.as_slice() else {
        return Err(at.field("grpc_services").reject(format_args!(
            "a gRPC source has exactly one service; here are {}",
            api.grpc_services.len()
        )));
    };
    at.not_honoured("rate_limit_settings", api.rate_limit_settings.is_some());
    at.not_honoured("config_validators", !api.config_validators.is_empty());
    Ok(Api::Grpc(GrpcApi {
        delta,
        service: grpc_service(service, &at.item("grpc_services", 0))?,
        set_node_on_first_message_only: api.set_node_on_first_message_only,
    }))
}

pub(crate) fn grpc_service(service: &core::GrpcService, at: &At) -> Result<GrpcService, Rejection> {
    use core::grpc_service::TargetSpecifier as T;
    let target = match &service.target_specifier {
        None => return Err(at.reject("names no target: set envoy_grpc or google_grpc")),
        Some(T::EnvoyGrpc(grpc)) => {
            let at = at.field("envoy_grpc");
            GrpcTarget::Cluster {
                name: at.non_empty("cluster_name", &grpc.cluster_name)?.into(),
                authority: at.header_text("authority", &grpc.authority)?.into(),
            }
        }
        Some(T::GoogleGrpc(grpc)) => google(grpc, &at.field("google_grpc"))?,
    };
    let mut initial_metadata = Vec::with_capacity(service.initial_metadata.len());
    for (i, header) in service.initial_metadata.iter().enumerate() {
        let at = at.item("initial_metadata", i);
        let value = if header.raw_value.is_empty() {
            at.header_value("value", &header.value)?
        } else {
            HeaderValue::from_bytes(&header.raw_value)
                .map_err(|_| at.field("raw_value").reject("holds bytes that no header may hold"))?
        };
        initial_metadata.push((at.header_name("key", &header.key)?, value));
    }
    Ok(GrpcService {
        target,
        timeout: at.timeout("timeout", service.timeout.as_ref(), None)?,
        initial_metadata,
    })
}

/// Config can only come over a cluster that does not itself wait for config.
pub(crate) fn require_backing(grpc: &GrpcApi, at: &At) {
    let GrpcTarget::Cluster { name, .. } = &grpc.service.target else {
        return;
    };
    let at = at.item("grpc_services", 0);
    require_cluster(name, &at.field("envoy_grpc.cluster_name"));
}

fn require_cluster(name: &Arc<str>, at: &At) {
    at.depend(|dependencies| {
        dependencies.require_backing(name, || {
            at.reject(format_args!(
                "{name:?} is no static cluster of the bootstrap, or it is one of type EDS; config cannot come over it"
            ))
        });
    });
}

fn google(grpc: &core::grpc_service::GoogleGrpc, at: &At) -> Result<GrpcTarget, Rejection> {
    use core::grpc_service::google_grpc::channel_credentials::CredentialSpecifier as C;
    at.non_empty("stat_prefix", &grpc.stat_prefix)?;
    at.not_honoured("call_credentials", !grpc.call_credentials.is_empty());
    at.not_honoured("channel_args", grpc.channel_args.is_some());
    at.not_honoured("credentials_factory_name", !grpc.credentials_factory_name.is_empty());
    let credentials = grpc.channel_credentials.as_deref().map(|c| &c.credential_specifier);
    let tls = match credentials {
        None | Some(Some(C::LocalCredentials(_))) => None,
        Some(Some(C::SslCredentials(ssl))) => {
            let at = at.field("channel_credentials.ssl_credentials");
            let source = |field, source: &Option<Box<core::DataSource>>| {
                source
                    .as_deref()
                    .map(|s| super::data_source::parse(s, &at.field(field)))
                    .transpose()
            };
            Some(Box::new(GoogleTls {
                root_certs: source("root_certs", &ssl.root_certs)?,
                private_key: source("private_key", &ssl.private_key)?,
                cert_chain: source("cert_chain", &ssl.cert_chain)?,
            }))
        }
        Some(Some(C::GoogleDefault(()))) => Some(Box::default()),
        Some(None) => return Err(at.field("channel_credentials").reject("names no credentials")),
    };
    Ok(GrpcTarget::Uri {
        uri: at.non_empty("target_uri", &grpc.target_uri)?.into(),
        tls,
    })
}
