//! What of a bootstrap is recognised and has no effect, and what cannot be left out.

use xds_api::envoy::config::bootstrap::v3 as pb;

use crate::config::{
    Rejection,
    at::At,
    extension::{self, Category, Kind},
    source,
};

pub(super) fn parse(pb: &pb::Bootstrap, at: &At) -> Result<(), Rejection> {
    extensions(pb, at)?;
    if let Some(resolver) = pb.typed_dns_resolver_config.as_deref() {
        crate::config::cluster::dns_resolver(resolver, &at.field("typed_dns_resolver_config"))?;
    }
    if let Some(hds) = pb.hds_config.as_deref() {
        let at = at.field("hds_config");
        source::api_source(hds, &at)?;
        at.note("health discovery is not done yet");
    }
    let manager = pb.cluster_manager.as_deref();
    for (field, set) in [
        ("header_prefix", !pb.header_prefix.is_empty()),
        ("flags_path", !pb.flags_path.is_empty()),
        ("watchdog", pb.watchdog.is_some()),
        ("watchdogs", pb.watchdogs.is_some()),
        ("fatal_actions", !pb.fatal_actions.is_empty()),
        ("config_sources", !pb.config_sources.is_empty()),
        ("default_config_source", pb.default_config_source.is_some()),
        (
            "certificate_provider_instances",
            !pb.certificate_provider_instances.is_empty(),
        ),
        ("inline_headers", !pb.inline_headers.is_empty()),
        ("enable_dispatcher_stats", pb.enable_dispatcher_stats),
        (
            "stats_server_version_override",
            pb.stats_server_version_override.is_some(),
        ),
        ("stats_eviction_interval", pb.stats_eviction.is_some()),
        ("use_tcp_for_dns_lookups", pb.use_tcp_for_dns_lookups),
        ("dns_resolution_config", pb.dns_resolution_config.is_some()),
        ("node_context_params", !pb.node_context_params.is_empty()),
        ("xds_delegate_extension", pb.xds_delegate_extension.is_some()),
        (
            "xds_config_tracker_extension",
            pb.xds_config_tracker_extension.is_some(),
        ),
        ("memory_allocator_manager", pb.memory_allocator_manager.is_some()),
        (
            "cluster_manager.load_stats_config",
            manager.is_some_and(|m| m.load_stats_config.is_some()),
        ),
        (
            "cluster_manager.upstream_bind_config",
            manager.is_some_and(|m| m.upstream_bind_config.is_some()),
        ),
        (
            "cluster_manager.outlier_detection.event_service",
            manager.is_some_and(|m| {
                m.outlier_detection
                    .as_deref()
                    .is_some_and(|o| o.event_service.is_some())
            }),
        ),
    ] {
        at.not_honoured(field, set);
    }
    at.unsupported("default_socket_interface", !pb.default_socket_interface.is_empty())?;
    at.unsupported("listener_manager", pb.listener_manager.is_some())
}

fn extensions(pb: &pb::Bootstrap, at: &At) -> Result<(), Rejection> {
    use xds_api::envoy::config::metrics::v3::stats_sink;
    /// Internal listeners are accepted in config; what the extension sets is their buffers.
    const BOOTSTRAP_EXTENSIONS: &[Kind<()>] = &[Kind {
        type_name: "envoy.extensions.bootstrap.internal_listener.v3.InternalListener",
        parse: |_, _| Ok(()),
    }];
    const REGEX_ENGINES: &[Kind<()>] = &[Kind {
        type_name: "envoy.extensions.regex_engines.v3.GoogleRE2",
        parse: |_, _| Ok(()),
    }];
    for (i, extension) in pb.bootstrap_extensions.iter().enumerate() {
        let at = at.item("bootstrap_extensions", i);
        let (any, at) = (extension.typed_config.as_ref(), at.field("typed_config"));
        extension::dispatch(Category::BootstrapExtension, any, false, BOOTSTRAP_EXTENSIONS, &at)?;
    }
    for (i, sink) in pb.stats_sinks.iter().enumerate() {
        let at = at.item("stats_sinks", i);
        let any = sink
            .config_type
            .as_ref()
            .map(|stats_sink::ConfigType::TypedConfig(any)| any);
        extension::dispatch::<()>(Category::StatsSink, any, false, &[], &at.field("typed_config"))?;
    }
    if let Some(engine) = pb.default_regex_engine.as_deref() {
        let at = at.field("default_regex_engine.typed_config");
        extension::dispatch(
            Category::RegexEngine,
            engine.typed_config.as_ref(),
            false,
            REGEX_ENGINES,
            &at,
        )?;
    }
    Ok(())
}
