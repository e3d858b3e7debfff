//! Tracing: of connection managers, routes and the bootstrap. `tracer` parses providers.

use std::{env, sync::Arc};

use xds_api::{
    envoy::{
        config::route::v3 as route_pb,
        extensions::filters::network::http_connection_manager::v3::http_connection_manager as pb,
        r#type::{
            metadata::v3::{metadata_key::path_segment::Segment, metadata_kind::Kind as MetadataKind},
            tracing::v3::{CustomTag as CustomTagPb, custom_tag as tag},
            v3::{FractionalPercent, Percent, fractional_percent::DenominatorType},
        },
    },
    pb::Any,
};

use super::{
    at::At,
    extension::{self, Category},
    rejection::Rejection,
};
use crate::{
    format::Format,
    trace::{
        CustomTag, Decorator, Operations, RouteTracing, Sampling, Tracer, Tracing,
        custom_tag::{Holder, Source, Step},
        decision::Fraction,
        span::ValueType,
    },
};

mod tracer;

/// Envoy's default of `max_path_tag_length`.
const MAX_PATH_TAG_LENGTH: u32 = 256;

pub(crate) fn parse(pb: Option<&pb::Tracing>, at: &At) -> Result<Option<Tracing>, Rejection> {
    use xds_api::envoy::config::trace::v3::tracing::http::ConfigType::TypedConfig;
    let Some(pb) = pb else { return Ok(None) };
    Ok(Some(Tracing {
        sampling: Sampling {
            client: share(pb.client_sampling.as_ref(), 100),
            random: share(pb.random_sampling.as_ref(), 10_000),
            overall: share(pb.overall_sampling.as_ref(), 10_000),
        },
        custom_tags: custom_tags(&pb.custom_tags, at)?,
        operations: operations(&pb.operation, &pb.upstream_operation, at)?,
        max_path_tag_length: pb.max_path_tag_length.unwrap_or(MAX_PATH_TAG_LENGTH) as usize,
        verbose: pb.verbose,
        spawn_upstream_span: pb.spawn_upstream_span.unwrap_or(false),
        no_context_propagation: pb.no_context_propagation,
        tracer: match pb.provider.as_deref() {
            Some(provider) => {
                let any = provider.config_type.as_ref().map(|TypedConfig(any)| any);
                tracer(any, &at.field("provider.typed_config"))?
            }
            None => None,
        },
    }))
}

/// A provider. `None`: it is not known, and nothing is exported.
pub(crate) fn tracer(any: Option<&Any>, at: &At) -> Result<Option<Arc<Tracer>>, Rejection> {
    Ok(extension::dispatch(Category::Tracer, any, false, tracer::TRACERS, at)?.map(Arc::new))
}

pub(crate) fn route(pb: &route_pb::Tracing, at: &At) -> Result<RouteTracing, Rejection> {
    Ok(RouteTracing {
        sampling: Sampling {
            client: fraction("client_sampling", pb.client_sampling.as_ref(), at)?,
            random: fraction("random_sampling", pb.random_sampling.as_ref(), at)?,
            overall: fraction("overall_sampling", pb.overall_sampling.as_ref(), at)?,
        },
        custom_tags: custom_tags(&pb.custom_tags, at)?,
        operations: operations(&pb.operation, &pb.upstream_operation, at)?,
    })
}

pub(crate) fn decorator(pb: &route_pb::Decorator, at: &At) -> Result<Decorator, Rejection> {
    at.non_empty("operation", &pb.operation)?;
    Ok(Decorator {
        operation: at.header_value("operation", &pb.operation)?,
        propagate: pb.propagate.unwrap_or(true),
    })
}

/// What is left over after the denominator is cut off, as in Envoy. Unset: all.
fn share(percent: Option<&Percent>, denominator: u32) -> Fraction {
    let percent = percent.map_or(100.0, |percent| percent.value);
    Fraction {
        numerator: (f64::from(denominator) * (percent / 100.0)) as u64,
        denominator: denominator.into(),
    }
}

pub(super) fn fraction(field: &'static str, pb: Option<&FractionalPercent>, at: &At) -> Result<Fraction, Rejection> {
    let Some(pb) = pb else { return Ok(Fraction::ALL) };
    Ok(Fraction {
        numerator: pb.numerator.into(),
        denominator: match at.field(field).enumeration("denominator", pb.denominator)? {
            DenominatorType::Hundred => 100,
            DenominatorType::TenThousand => 10_000,
            DenominatorType::Million => 1_000_000,
        },
    })
}

fn operations(downstream: &str, upstream: &str, at: &At) -> Result<Operations, Rejection> {
    let format = |field, text: &str| (!text.is_empty()).then(|| format(text, &at.field(field))).transpose();
    Ok(Operations {
        downstream: format("operation", downstream)?,
        upstream: format("upstream_operation", upstream)?,
    })
}

fn format(text: &str, at: &At) -> Result<Format, Rejection> {
    let format = Format::parse(text).map_err(|problem| at.reject(problem))?;
    Ok(format.omitting_empty())
}

/// Of several with one name the first counts, as in Envoy.
fn custom_tags(pbs: &[CustomTagPb], at: &At) -> Result<Vec<CustomTag>, Rejection> {
    let mut tags: Vec<CustomTag> = Vec::with_capacity(pbs.len());
    for (i, pb) in pbs.iter().enumerate() {
        let tag = custom_tag(pb, &at.item("custom_tags", i))?;
        if tags.iter().all(|known| known.name != tag.name) {
            tags.push(tag);
        }
    }
    Ok(tags)
}

fn custom_tag(pb: &CustomTagPb, at: &At) -> Result<CustomTag, Rejection> {
    use tag::Type as T;
    let source = match &pb.r#type {
        None => return Err(at.reject("has no value: set literal, environment, request_header, metadata or value")),
        Some(T::Literal(literal)) => Source::Literal(literal.value.as_str().into()),
        Some(T::Environment(variable)) => {
            let found = env::var(&variable.name);
            Source::Literal(found.unwrap_or_else(|_| variable.default_value.clone()).into())
        }
        Some(T::RequestHeader(header)) => Source::RequestHeader {
            format: format(&format!("%REQ({})%", header.name), &at.field("request_header.name"))?,
            default: header.default_value.as_str().into(),
        },
        Some(T::Metadata(metadata)) => self::metadata(metadata, &at.field("metadata"))?,
        Some(T::Value(value)) => Source::Format(format(value, &at.field("value"))?),
    };
    Ok(CustomTag {
        name: at.non_empty("tag", &pb.tag)?.into(),
        value_type: match at.enumeration("value_type", pb.value_type)? {
            tag::ValueType::Unspecified | tag::ValueType::String => ValueType::String,
            tag::ValueType::Int => ValueType::Int,
            tag::ValueType::Double => ValueType::Double,
            tag::ValueType::Bool => ValueType::Bool,
        },
        source,
    })
}

fn metadata(pb: &tag::Metadata, at: &At) -> Result<Source, Rejection> {
    let kind = at.required("kind", pb.kind.as_ref())?;
    let key = at.required("metadata_key", pb.metadata_key.as_deref())?;
    let mut path = Vec::with_capacity(key.path.len());
    for (i, segment) in key.path.iter().enumerate() {
        match &segment.segment {
            Some(Segment::Key(key)) => path.push(Step::Key(key.as_str().into())),
            Some(Segment::Index(index)) => path.push(Step::Index(*index as usize)),
            None => return Err(at.item("metadata_key.path", i).reject("has no key")),
        }
    }
    Ok(Source::Metadata {
        of: match kind.kind {
            None => return Err(at.field("kind").reject("is empty: set request, route, cluster or host")),
            Some(MetadataKind::Request(_)) => Holder::Request,
            Some(MetadataKind::Route(_)) => Holder::Route,
            Some(MetadataKind::Cluster(_)) => Holder::Cluster,
            Some(MetadataKind::Host(_)) => Holder::Host,
        },
        filter: at.non_empty("metadata_key.key", &key.key)?.into(),
        path: path.into(),
        default: pb.default_value.as_str().into(),
    })
}

#[cfg(test)]
mod tests;
