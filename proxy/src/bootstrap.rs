//! The bootstrap: what the process is told once, before any control plane.
//!
//! [`load`] reads it; [`Bootstrap::static_resources`] parses what stands in it like any other resource. Between the two the
//! caller makes the stats store, which the one describes and the other needs.

use std::{path::Path, sync::Arc, time::Duration};

use serde_json::{Map, Value};
use xds_api::envoy::config::bootstrap::v3 as pb;

mod admin;
mod document;
mod dynamic;
mod node;
mod overload;
mod skipped;
mod static_resources;
mod stats;

pub use admin::Admin;
pub use document::{Received, Source, message};
pub use dynamic::DynamicResources;
pub use node::Node;
pub use static_resources::StaticResources;

use crate::{
    config::{
        Dependencies, Notes, Rejection, Rejections,
        at::{At, Scope},
        runtime::{self, Runtime},
    },
    stats::{StatsConfig, Store},
};

const KIND: &str = "bootstrap";

/// Envoy's default of `stats_flush_interval`, and its bounds.
const STATS_FLUSH_INTERVAL: Duration = Duration::from_secs(5);
const STATS_FLUSH_MIN: Duration = Duration::from_millis(1);
const STATS_FLUSH_END: Duration = Duration::from_secs(300);

/// How to read a bootstrap: the command line's part in it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// `-c`: YAML or JSON, or by its extension `.pb` protobuf bytes.
    pub config_path: Option<&'a Path>,
    /// `--config-yaml`: merged over the file as protobuf merges messages: lists are joined, messages merged, scalars replaced.
    pub config_yaml: Option<&'a str>,
    /// Unknown fields are noted rather than refused.
    pub allow_unknown_static_fields: bool,
    /// `--service-node`, `--service-cluster`, `--service-zone`: replace what `node` says; empty: do not.
    pub service_node: &'a str,
    pub service_cluster: &'a str,
    pub service_zone: &'a str,
}

/// `envoy.config.bootstrap.v3.Bootstrap`, parsed but for its static resources.
#[derive(Debug)]
pub struct Bootstrap {
    /// The whole, for config_dump.
    pub received: Received,
    pub node: Node,
    pub admin: Option<Admin>,
    pub dynamic: DynamicResources,
    pub runtime: Runtime,
    pub stats: StatsConfig,
    pub stats_flush_interval: Duration,
    /// Flush when `/stats` is asked instead of by the clock.
    pub stats_flush_on_admin: bool,
    /// `cluster_manager.local_cluster_name`.
    pub local_cluster: Option<Arc<str>>,
    /// `cluster_manager.outlier_detection.event_log_path`.
    pub outlier_event_log: Option<Arc<str>>,
    /// Of the whole process (`global_downstream_max_connections`); `None`: no limit.
    pub max_downstream_connections: Option<u64>,
    /// `application_log_config`; `None`: the command line's format.
    pub log_format: Option<ApplicationLogFormat>,
    /// `tracing.http`: of connection managers that trace and name no provider.
    tracer: Option<xds_api::pb::Any>,
    /// Clusters that config comes over.
    dependencies: Dependencies,
}

/// Of the process's own log.
#[derive(Debug, Clone, PartialEq)]
pub enum ApplicationLogFormat {
    Text(Box<str>),
    Json(Map<String, Value>),
}

/// # Errors
/// What cannot be read, or the first thing in it that cannot be honoured.
pub fn load(options: &Options) -> Result<(Bootstrap, Notes), Rejections> {
    let source = Source::read(options)?;
    let mut context = crate::config::Context::new(Store::new(1, StatsConfig::default()));
    let scope = Scope::new(KIND, "", &context);
    for warning in &source.warnings {
        scope.root().note(warning);
    }
    // What is wrong with a static resource is said of the resource, when it is parsed.
    if let Err(rejection) = scope.root().conform(document::BOOTSTRAP, &source.bytes)
        && !rejection.path.starts_with("static_resources.")
    {
        return Err(rejection.into());
    }
    let pb = xds_api::decode_bootstrap(&source.bytes).map_err(|e| scope.root().reject(e))?;
    let mut bootstrap = parse(&pb, source, options, &scope.root())?;
    bootstrap.dependencies = scope.finish(&mut context);
    Ok((bootstrap, context.notes))
}

fn parse(pb: &pb::Bootstrap, source: Source, options: &Options, at: &At) -> Result<Bootstrap, Rejection> {
    skipped::parse(pb, at)?;
    let (stats_flush_interval, stats_flush_on_admin) = flush(pb, at)?;
    let manager = pb.cluster_manager.as_deref();
    let outlier = manager.and_then(|m| m.outlier_detection.as_deref());
    Ok(Bootstrap {
        node: node::parse(pb.node.as_deref(), options),
        admin: match pb.admin.as_deref() {
            Some(admin) => admin::parse(admin, &at.field("admin"))?,
            None => None,
        },
        dynamic: dynamic::parse(pb.dynamic_resources.as_deref(), &at.field("dynamic_resources"))?,
        runtime: runtime::parse(pb.layered_runtime.as_deref(), &at.field("layered_runtime"))?,
        stats: stats::parse(
            pb.stats_config.as_deref(),
            pb.deferred_stat_options
                .as_ref()
                .is_some_and(|o| o.enable_deferred_creation_stats),
            &at.field("stats_config"),
        )?,
        stats_flush_interval,
        stats_flush_on_admin,
        local_cluster: manager
            .map(|m| m.local_cluster_name.as_str())
            .filter(|name| !name.is_empty())
            .map(Into::into),
        outlier_event_log: outlier
            .map(|o| o.event_log_path.as_str())
            .filter(|path| !path.is_empty())
            .map(Into::into),
        max_downstream_connections: overload::parse(pb.overload_manager.as_deref(), &at.field("overload_manager"))?,
        log_format: log_format(
            pb.application_log_config.as_deref(),
            &at.field("application_log_config.log_format"),
        )?,
        tracer: tracer(pb, at)?,
        received: source.received(),
        dependencies: Dependencies::default(),
    })
}

fn tracer(pb: &pb::Bootstrap, at: &At) -> Result<Option<xds_api::pb::Any>, Rejection> {
    use xds_api::envoy::config::trace::v3::tracing::http::ConfigType::TypedConfig;
    let Some(http) = pb.tracing.as_deref().and_then(|tracing| tracing.http.as_deref()) else {
        return Ok(None);
    };
    let any = http.config_type.as_ref().map(|TypedConfig(any)| any.clone());
    at.required("tracing.http.typed_config", any.as_ref())?;
    Ok(any)
}

fn flush(pb: &pb::Bootstrap, at: &At) -> Result<(Duration, bool), Rejection> {
    use pb::bootstrap::StatsFlush::StatsFlushOnAdmin;
    let on_admin = match pb.stats_flush {
        Some(StatsFlushOnAdmin(false)) => return Err(at.field("stats_flush_on_admin").reject("can only be true")),
        Some(StatsFlushOnAdmin(true)) => true,
        None => false,
    };
    let interval = at
        .duration("stats_flush_interval", pb.stats_flush_interval.as_ref())?
        .unwrap_or(STATS_FLUSH_INTERVAL);
    if !(STATS_FLUSH_MIN..STATS_FLUSH_END).contains(&interval) {
        return Err(at
            .field("stats_flush_interval")
            .reject(format_args!("{interval:?} is outside 1ms to 300s")));
    }
    Ok((interval, on_admin))
}

fn log_format(
    pb: Option<&pb::bootstrap::ApplicationLogConfig>,
    at: &At,
) -> Result<Option<ApplicationLogFormat>, Rejection> {
    use pb::bootstrap::application_log_config::log_format::LogFormat as F;
    let Some(format) = pb.and_then(|pb| pb.log_format.as_deref()) else {
        return Ok(None);
    };
    match &format.log_format {
        None => Err(at.reject("is empty: set text_format or json_format")),
        Some(F::TextFormat(text)) => Ok(Some(ApplicationLogFormat::Text(text.as_str().into()))),
        Some(F::JsonFormat(json)) => Ok(Some(ApplicationLogFormat::Json(xds_api::json::from_struct(json)))),
    }
}

#[cfg(test)]
mod tests;
