//! Providers: `ZipkinConfig` and `OpenTelemetryConfig`.

use std::{collections::BTreeMap, env, time::Duration};

use http::{HeaderName, HeaderValue, header::USER_AGENT};
use xds_api::envoy::{
    config::{
        core::v3::{HttpService, HttpUri, TypedExtensionConfig, http_uri::HttpUpstreamType},
        trace::v3::{
            OpenTelemetryConfig, ZipkinConfig,
            zipkin_config::{CollectorEndpointVersion as Version, TraceContextOption},
        },
    },
    extensions::tracers::opentelemetry::{
        resource_detectors::v3::StaticConfigResourceDetectorConfig,
        samplers::v3::{ParentBasedSamplerConfig, TraceIdRatioBasedSamplerConfig},
    },
};

use crate::{
    config::{
        at::At,
        extension::{self, Category, Extension, Kind},
        rejection::Rejection,
        source, wire,
    },
    stats::Prefix,
    trace::{
        Tracer,
        otlp::{self, Export, Otlp, Sampler},
        sender::Collector,
        tracer::Exporter,
        zipkin::{Encoding, Zipkin},
    },
    upstream::call::grpc::Destination,
};

pub(super) const TRACERS: &[Kind<Tracer>] = &[
    Kind {
        type_name: "envoy.config.trace.v3.ZipkinConfig",
        parse: zipkin,
    },
    Kind {
        type_name: "envoy.config.trace.v3.OpenTelemetryConfig",
        parse: opentelemetry,
    },
];

fn zipkin(extension: &Extension, at: &At) -> Result<Tracer, Rejection> {
    let pb: ZipkinConfig = extension.message(at)?;
    let collector = match pb.collector_service.as_deref() {
        Some(service) => self::service(service, &at.field("collector_service"))?.0,
        None if pb.collector_cluster.is_empty() || pb.collector_endpoint.is_empty() => {
            return Err(at.reject("needs collector_cluster and collector_endpoint, or a collector_service"));
        }
        None => Collector {
            cluster: pb.collector_cluster.as_str().into(),
            authority: match pb.collector_hostname.as_str() {
                "" => at.header_value("collector_cluster", &pb.collector_cluster)?,
                host => at.header_value("collector_hostname", host)?,
            },
            path: at.header_value("collector_endpoint", &pb.collector_endpoint)?,
            headers: Vec::new(),
        },
    };
    at.depend(|dependencies| {
        dependencies.require_cluster(&collector.cluster, || {
            at.reject(format_args!(
                "spans go to the cluster {:?}, which is not known",
                collector.cluster
            ))
        });
    });
    let zipkin = Zipkin {
        collector,
        encoding: match at.enumeration("collector_endpoint_version", pb.collector_endpoint_version)? {
            Version::HttpJson => Encoding::Json,
            Version::HttpProto => Encoding::Proto,
            Version::DeprecatedAndUnavailableDoNotUse | Version::Grpc => {
                return Err(at
                    .field("collector_endpoint_version")
                    .reject("is neither HTTP_JSON nor HTTP_PROTO"));
            }
        },
        trace_id_128bit: pb.trace_id_128bit,
        timestamp_trace_ids: pb.timestamp_trace_ids,
        shared_span_context: pb.shared_span_context.unwrap_or(true),
        split_spans_for_request: pb.split_spans_for_request,
        w3c: at.enumeration::<TraceContextOption>("trace_context_option", pb.trace_context_option)?
            == TraceContextOption::UseB3WithW3cPropagation,
        stats: at.stats(Prefix::root("tracing.zipkin.")),
    };
    Ok(Tracer::new(Exporter::Zipkin(zipkin), wire::hash(&extension.bytes)))
}

fn opentelemetry(extension: &Extension, at: &At) -> Result<Tracer, Rejection> {
    let pb: OpenTelemetryConfig = extension.message(at)?;
    at.unsupported("exporter", pb.exporter.is_some())?;
    let agent = format!("OTel-OTLP-Exporter-Envoy/{}", crate::cli::version());
    let agent = HeaderValue::try_from(agent).unwrap_or(HeaderValue::from_static("Envoy"));
    let (export, timeout) = match (pb.grpc_service.as_deref(), pb.http_service.as_deref()) {
        (Some(grpc), None) => {
            let at = at.field("grpc_service");
            let mut service = source::grpc_service(grpc, &at)?;
            let timeout = service.timeout.take().unwrap_or(GRPC_TIMEOUT);
            let destination = Destination::new(&service).ok_or_else(|| {
                at.reject(
                    "google_grpc is not served; name a cluster in envoy_grpc, and an authority that a header can hold",
                )
            })?;
            (Export::Grpc(destination.with_metadata(USER_AGENT, agent)), timeout)
        }
        (None, Some(http)) => {
            let (mut collector, timeout) = service(http, &at.field("http_service"))?;
            collector.headers.push((USER_AGENT, agent));
            (Export::Http(collector), timeout)
        }
        _ => return Err(at.reject("needs one of grpc_service and http_service")),
    };
    let otlp = Otlp {
        export,
        timeout,
        sampler: match pb.sampler.as_deref() {
            Some(sampler) => self::sampler(sampler, &at.field("sampler"))?,
            None => None,
        },
        max_cache_size: pb.max_cache_size.map_or(MAX_CACHE_SIZE, u64::from),
        resource: resource(&pb, at)?.into(),
        scope: pb
            .set_instrumentation_scope
            .unwrap_or(true)
            .then(|| otlp::scope("envoy", &crate::cli::version()).into()),
        stats: at.stats(Prefix::root("tracing.opentelemetry.")),
    };
    Ok(Tracer::new(
        Exporter::Otlp(Box::new(otlp)),
        wire::hash(&extension.bytes),
    ))
}

/// A collector that never answers must not hold spans for ever.
const GRPC_TIMEOUT: Duration = Duration::from_secs(5);

/// Envoy's default, in spans.
const MAX_CACHE_SIZE: u64 = 1024;

/// Envoy's default of `service_name`.
const UNKNOWN_SERVICE: &str = "unknown_service:envoy";

/// Later detectors have the last word.
fn resource(pb: &OpenTelemetryConfig, at: &At) -> Result<Vec<u8>, Rejection> {
    let mut attributes = BTreeMap::new();
    let mut set = |name: &str, value: &str| attributes.insert(name.to_owned(), value.to_owned());
    if pb.set_service_name_resource_attribute.unwrap_or(true) {
        let name = match pb.service_name.as_str() {
            "" => UNKNOWN_SERVICE,
            name => name,
        };
        set("service.name", name);
    }
    if pb.set_telemetry_sdk_resource_attributes.unwrap_or(true) {
        set("telemetry.sdk.language", "cpp");
        set("telemetry.sdk.name", "envoy");
        set("telemetry.sdk.version", &crate::cli::version());
    }
    for (i, detector) in pb.resource_detectors.iter().enumerate() {
        let at = at.item("resource_detectors", i);
        let (any, at) = (detector.typed_config.as_ref(), at.field("typed_config"));
        let found = extension::dispatch(Category::ResourceDetector, any, false, DETECTORS, &at)?;
        for (name, value) in found.unwrap_or_default() {
            set(&name, &value);
        }
    }
    Ok(otlp::resource(
        attributes.iter().map(|(name, value)| (&**name, &**value)),
    ))
}

type Attributes = BTreeMap<String, String>;

const DETECTORS: &[Kind<Attributes>] = &[
    Kind {
        type_name: "envoy.extensions.tracers.opentelemetry.resource_detectors.v3.EnvironmentResourceDetectorConfig",
        parse: |_, at| environment(&env::var("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default(), at),
    },
    Kind {
        type_name: "envoy.extensions.tracers.opentelemetry.resource_detectors.v3.StaticConfigResourceDetectorConfig",
        parse: |extension, at| {
            let pb: StaticConfigResourceDetectorConfig = extension.message(at)?;
            Ok(pb.attributes)
        },
    },
    Kind {
        type_name: "envoy.extensions.tracers.opentelemetry.resource_detectors.v3.DynatraceResourceDetectorConfig",
        parse: |_, at| {
            at.note("Dynatrace's attributes are not read");
            Ok(Attributes::new())
        },
    },
];

/// `name=value`, with commas between.
pub(super) fn environment(text: &str, at: &At) -> Result<Attributes, Rejection> {
    let pairs = text.split(',').filter(|pair| !pair.is_empty());
    let told = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').ok_or_else(|| {
            at.reject(format_args!(
                "the variable OTEL_RESOURCE_ATTRIBUTES holds {pair:?}, which is no name=value"
            ))
        })?;
        Ok((name.to_owned(), value.to_owned()))
    });
    told.collect()
}

fn sampler(pb: &TypedExtensionConfig, at: &At) -> Result<Option<Sampler>, Rejection> {
    let (any, at) = (pb.typed_config.as_ref(), at.field("typed_config"));
    Ok(extension::dispatch(Category::Sampler, any, false, SAMPLERS, &at)?.flatten())
}

const SAMPLERS: &[Kind<Option<Sampler>>] = &[
    Kind {
        type_name: "envoy.extensions.tracers.opentelemetry.samplers.v3.AlwaysOnSamplerConfig",
        parse: |_, _| Ok(Some(Sampler::AlwaysOn)),
    },
    Kind {
        type_name: "envoy.extensions.tracers.opentelemetry.samplers.v3.TraceIdRatioBasedSamplerConfig",
        parse: |extension, at| {
            let pb: TraceIdRatioBasedSamplerConfig = extension.message(at)?;
            let share = super::fraction("sampling_percentage", pb.sampling_percentage.as_ref(), at)?;
            Ok(Some(Sampler::TraceIdRatio(share)))
        },
    },
    Kind {
        type_name: "envoy.extensions.tracers.opentelemetry.samplers.v3.ParentBasedSamplerConfig",
        parse: |extension, at| {
            let pb: ParentBasedSamplerConfig = extension.message(at)?;
            let wrapped = at.required("wrapped_sampler", pb.wrapped_sampler.as_deref())?;
            let wrapped = sampler(wrapped, &at.field("wrapped_sampler"))?;
            Ok(wrapped.map(|wrapped| Sampler::ParentBased(Box::new(wrapped))))
        },
    },
    Kind {
        type_name: "envoy.extensions.tracers.opentelemetry.samplers.v3.DynatraceSamplerConfig",
        parse: unsampled,
    },
    Kind {
        type_name: "envoy.extensions.tracers.opentelemetry.samplers.v3.CELSamplerConfig",
        parse: unsampled,
    },
];

/// Samplers that Envoy has and Pillion has not: which spans are exported guards nothing.
fn unsampled(extension: &Extension, at: &At) -> Result<Option<Sampler>, Rejection> {
    at.note(format_args!(
        "{} is not known to Pillion: spans are sampled as requests are",
        extension.type_name
    ));
    Ok(None)
}

/// Envoy reads of an URI only the host and the path.
fn service(pb: &HttpService, at: &At) -> Result<(Collector, Duration), Rejection> {
    let uri = at.required("http_uri", pb.http_uri.as_deref())?;
    let mut headers = Vec::with_capacity(pb.request_headers_to_add.len());
    for (i, option) in pb.request_headers_to_add.iter().enumerate() {
        let at = at.item("request_headers_to_add", i);
        let header = at.required("header", option.header.as_deref())?;
        let at = at.field("header");
        let value = if header.raw_value.is_empty() {
            at.header_value("value", &header.value)?
        } else {
            HeaderValue::from_bytes(&header.raw_value)
                .map_err(|_| at.field("raw_value").reject("holds bytes that no header may hold"))?
        };
        headers.push((at.header_name("key", &header.key)?, value));
    }
    at.not_honoured("formatters", !pb.formatters.is_empty());
    let at = at.field("http_uri");
    let timeout = at.duration("timeout", uri.timeout.as_ref())?;
    let timeout = timeout.ok_or_else(|| at.field("timeout").reject("is required and not set"))?;
    Ok((collector(uri, headers, &at)?, timeout))
}

fn collector(uri: &HttpUri, headers: Vec<(HeaderName, HeaderValue)>, at: &At) -> Result<Collector, Rejection> {
    let Some(HttpUpstreamType::Cluster(cluster)) = &uri.http_upstream_type else {
        return Err(at.field("cluster").reject("is required and not set"));
    };
    let rest = uri.uri.split_once("://").map_or(&*uri.uri, |(_, rest)| rest);
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    Ok(Collector {
        cluster: at.non_empty("cluster", cluster)?.into(),
        authority: at.header_value("uri", host)?,
        path: at.header_value("uri", if path.is_empty() { "/" } else { path })?,
        headers,
    })
}
