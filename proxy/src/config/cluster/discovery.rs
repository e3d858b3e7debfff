//! Where a cluster's endpoints come from.

use std::{sync::Arc, time::Duration};

use xds_api::envoy::{
    config::cluster::v3::{self as pb, cluster::DiscoveryType},
    extensions::clusters::{
        common::dns::v3::DnsLookupFamily, dns::v3::DnsCluster, original_dst::v3::OriginalDstCluster,
    },
};

use super::super::{
    at::At,
    dependencies::Reference,
    endpoint::{LoadAssignment, WrittenAssignment},
    extension::{self, Category, Extension, Kind},
    rejection::Rejection,
    source,
};
use crate::cluster::{Discovery, DnsConfig, DnsFamily};

/// Envoy's defaults.
const DNS_REFRESH: Duration = Duration::from_secs(5);
const CLEANUP_INTERVAL: Duration = Duration::from_secs(5);
/// Shorter refresh intervals are refused by Envoy.
const DNS_REFRESH_MIN: Duration = Duration::from_millis(1);

/// The discovery, and the endpoints where they stand in the cluster.
pub(super) fn parse(
    pb: &pb::Cluster,
    assignment: Option<WrittenAssignment>,
    at: &At,
) -> Result<(Discovery, Option<LoadAssignment>), Rejection> {
    use pb::cluster::ClusterDiscoveryType as T;
    let kind = match &pb.cluster_discovery_type {
        None => DiscoveryType::Static,
        Some(T::Type(value)) => at.enumeration("type", *value)?,
        Some(T::ClusterType(custom)) => {
            let at = at.field("cluster_type");
            at.non_empty("name", &custom.name)?;
            let (config, at) = (custom.typed_config.as_ref(), at.field("typed_config"));
            let parsed = extension::dispatch(Category::ClusterType, config, false, CLUSTER_TYPES, &at)?;
            return match parsed {
                Some(Custom::Dns(dns)) => dns_discovery(dns, assignment, &at),
                Some(Custom::OriginalDst(discovery)) => without_assignment(discovery, assignment, &at),
                None => Err(at.reject("names no cluster type")),
            };
        }
    };
    if pb.eds_cluster_config.is_some() && kind != DiscoveryType::Eds {
        return Err(at
            .field("eds_cluster_config")
            .reject("stands in a cluster whose type is not EDS"));
    }
    match kind {
        DiscoveryType::Static => {
            let assignment = assignment
                .map(|written| written.resolved("STRICT_DNS or LOGICAL_DNS", &at.field("load_assignment")))
                .transpose()?;
            Ok((Discovery::Static, assignment))
        }
        DiscoveryType::Eds => Ok((eds(pb, at)?, None)),
        DiscoveryType::StrictDns => dns_discovery(
            Dns {
                config: deprecated_dns(pb, at)?,
                logical: false,
            },
            assignment,
            at,
        ),
        DiscoveryType::LogicalDns => dns_discovery(
            Dns {
                config: deprecated_dns(pb, at)?,
                logical: true,
            },
            assignment,
            at,
        ),
        DiscoveryType::OriginalDst => {
            let cleanup_interval = at.duration("cleanup_interval", pb.cleanup_interval.as_ref())?;
            let config = match &pb.lb_config {
                Some(pb::cluster::LbConfig::OriginalDstLbConfig(config)) => OriginalDstCluster {
                    use_http_header: config.use_http_header,
                    http_header_name: config.http_header_name.clone(),
                    upstream_port_override: config.upstream_port_override,
                    metadata_key: config.metadata_key.clone(),
                },
                _ => OriginalDstCluster::default(),
            };
            let discovery = original_dst(&config, cleanup_interval, &at.field("original_dst_lb_config"))?;
            without_assignment(discovery, assignment, at)
        }
    }
}

enum Custom {
    Dns(Dns),
    OriginalDst(Discovery),
}

struct Dns {
    config: DnsConfig,
    /// One host whose address changes, rather than one host an address.
    logical: bool,
}

const CLUSTER_TYPES: &[Kind<Custom>] = &[
    Kind {
        type_name: "envoy.extensions.clusters.dns.v3.DnsCluster",
        parse: |extension, at| dns_cluster(extension, at).map(Custom::Dns),
    },
    Kind {
        type_name: "envoy.extensions.clusters.original_dst.v3.OriginalDstCluster",
        parse: |extension, at| original_dst(&extension.message(at)?, None, at).map(Custom::OriginalDst),
    },
];

fn without_assignment(
    discovery: Discovery,
    assignment: Option<WrittenAssignment>,
    at: &At,
) -> Result<(Discovery, Option<LoadAssignment>), Rejection> {
    if assignment.is_some() {
        return Err(at
            .field("load_assignment")
            .reject("an ORIGINAL_DST cluster finds its hosts itself; remove the endpoints"));
    }
    Ok((discovery, None))
}

fn eds(pb: &pb::Cluster, at: &At) -> Result<Discovery, Rejection> {
    let Some(config) = pb.eds_cluster_config.as_deref() else {
        return Err(at
            .field("eds_cluster_config")
            .reject("is required where the type is EDS, and not set"));
    };
    let at = at.field("eds_cluster_config");
    let source = source::parse(
        at.required("eds_config", config.eds_config.as_deref())?,
        &at.field("eds_config"),
    )?;
    let service_name: Arc<str> = match config.service_name.as_str() {
        "" => pb.name.as_str().into(),
        name => name.into(),
    };
    at.depend(|dependencies| {
        dependencies.endpoints = Some(Reference {
            name: Arc::clone(&service_name),
            source: Arc::new(source),
            stat_prefix: Arc::default(),
        });
    });
    Ok(Discovery::Eds {
        service_name,
        named: !config.service_name.is_empty(),
    })
}

fn dns_discovery(
    mut dns: Dns,
    assignment: Option<WrittenAssignment>,
    at: &At,
) -> Result<(Discovery, Option<LoadAssignment>), Rejection> {
    if let Some(written) = assignment {
        if dns.logical && (written.localities() != 1 || written.endpoints() != 1) {
            return Err(at
                .field("load_assignment")
                .reject("a LOGICAL_DNS cluster has exactly one locality with one endpoint"));
        }
        dns.config.targets = written.dns_targets(&at.field("load_assignment"))?.into();
    } else if dns.logical {
        return Err(at
            .field("load_assignment")
            .reject("a LOGICAL_DNS cluster needs an endpoint to resolve"));
    }
    let discovery = if dns.logical {
        Discovery::LogicalDns(dns.config)
    } else {
        Discovery::StrictDns(dns.config)
    };
    Ok((discovery, None))
}

/// DNS settings as they stand in the cluster itself.
fn deprecated_dns(pb: &pb::Cluster, at: &At) -> Result<DnsConfig, Rejection> {
    use pb::cluster::DnsLookupFamily as F;
    let failure = pb.dns_failure_refresh_rate.as_ref();
    // The system's resolver tells no TTL.
    at.not_honoured("respect_dns_ttl", pb.respect_dns_ttl);
    if let Some(resolver) = pb.typed_dns_resolver_config.as_deref() {
        dns_resolver(resolver, &at.field("typed_dns_resolver_config"))?;
    }
    Ok(DnsConfig {
        refresh_rate: refresh_rate("dns_refresh_rate", pb.dns_refresh_rate.as_ref(), at)?.unwrap_or(DNS_REFRESH),
        respect_ttl: pb.respect_dns_ttl,
        failure_refresh: failure_refresh(
            failure.map(|f| (f.base_interval.as_ref(), f.max_interval.as_ref())),
            &at.field("dns_failure_refresh_rate"),
        )?,
        jitter: at.duration("dns_jitter", pb.dns_jitter.as_ref())?.unwrap_or_default(),
        family: match at.enumeration("dns_lookup_family", pb.dns_lookup_family)? {
            F::Auto => DnsFamily::Auto,
            F::V4Only => DnsFamily::V4Only,
            F::V6Only => DnsFamily::V6Only,
            F::V4Preferred => DnsFamily::V4Preferred,
            F::All => DnsFamily::All,
        },
        targets: Arc::new([]),
    })
}

fn dns_cluster(extension: &Extension, at: &At) -> Result<Dns, Rejection> {
    let pb: DnsCluster = extension.message(at)?;
    let failure = pb.dns_failure_refresh_rate.as_ref();
    at.not_honoured("dns_min_refresh_rate", pb.dns_min_refresh_rate.is_some());
    at.not_honoured("respect_dns_ttl", pb.respect_dns_ttl);
    if let Some(resolver) = pb.typed_dns_resolver_config.as_deref() {
        dns_resolver(resolver, &at.field("typed_dns_resolver_config"))?;
    }
    Ok(Dns {
        config: DnsConfig {
            refresh_rate: refresh_rate("dns_refresh_rate", pb.dns_refresh_rate.as_ref(), at)?.unwrap_or(DNS_REFRESH),
            respect_ttl: pb.respect_dns_ttl,
            failure_refresh: failure_refresh(
                failure.map(|f| (f.base_interval.as_ref(), f.max_interval.as_ref())),
                &at.field("dns_failure_refresh_rate"),
            )?,
            jitter: at.duration("dns_jitter", pb.dns_jitter.as_ref())?.unwrap_or_default(),
            family: match at.enumeration("dns_lookup_family", pb.dns_lookup_family)? {
                DnsLookupFamily::Unspecified | DnsLookupFamily::Auto => DnsFamily::Auto,
                DnsLookupFamily::V4Only => DnsFamily::V4Only,
                DnsLookupFamily::V6Only => DnsFamily::V6Only,
                DnsLookupFamily::V4Preferred => DnsFamily::V4Preferred,
                DnsLookupFamily::All => DnsFamily::All,
            },
            targets: Arc::new([]),
        },
        logical: pb.all_addresses_in_single_endpoint,
    })
}

/// Names are resolved by the system; what a resolver's config says beyond that has no effect.
pub(crate) fn dns_resolver(
    resolver: &xds_api::envoy::config::core::v3::TypedExtensionConfig,
    at: &At,
) -> Result<(), Rejection> {
    const RESOLVERS: &[Kind<()>] = &[
        Kind {
            type_name: "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
            parse: |_, _| Ok(()),
        },
        Kind {
            type_name: "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig",
            parse: |_, _| Ok(()),
        },
    ];
    let at = at.field("typed_config");
    extension::dispatch(
        Category::DnsResolver,
        resolver.typed_config.as_ref(),
        false,
        RESOLVERS,
        &at,
    )?;
    Ok(())
}

type PbDuration = xds_api::pb::Duration;

fn refresh_rate(field: &'static str, value: Option<&PbDuration>, at: &At) -> Result<Option<Duration>, Rejection> {
    match at.duration(field, value)? {
        Some(rate) if rate <= DNS_REFRESH_MIN => Err(at.field(field).reject("must be longer than 1ms")),
        other => Ok(other),
    }
}

fn failure_refresh(
    pb: Option<(Option<&PbDuration>, Option<&PbDuration>)>,
    at: &At,
) -> Result<Option<(Duration, Duration)>, Rejection> {
    /// Envoy's default: the longest interval is ten times the first.
    const MAX_FACTOR: u32 = 10;
    let Some((base, max)) = pb else { return Ok(None) };
    at.required("base_interval", base)?;
    let base = refresh_rate("base_interval", base, at)?.unwrap_or_default();
    let max = refresh_rate("max_interval", max, at)?.unwrap_or(base * MAX_FACTOR);
    if max < base {
        return Err(at.field("max_interval").reject("is shorter than base_interval"));
    }
    Ok(Some((base, max)))
}

fn original_dst(pb: &OriginalDstCluster, cleanup: Option<Duration>, at: &At) -> Result<Discovery, Rejection> {
    /// Envoy's default header.
    const HEADER: &str = "x-envoy-original-dst-host";
    at.unsupported("metadata_key", pb.metadata_key.is_some())?;
    Ok(Discovery::OriginalDst {
        use_http_header: match (pb.use_http_header, pb.http_header_name.as_str()) {
            (false, _) => None,
            (true, "") => Some(at.header_name("http_header_name", HEADER)?),
            (true, name) => Some(at.header_name("http_header_name", name)?),
        },
        port_override: pb.upstream_port_override.and_then(|port| u16::try_from(port).ok()),
        cleanup_interval: cleanup.unwrap_or(CLEANUP_INTERVAL),
    })
}
