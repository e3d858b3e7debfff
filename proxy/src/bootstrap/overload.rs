//! `overload_manager`: of its monitors the one that counts connections is known.

use xds_api::envoy::{
    config::overload::v3 as pb, extensions::resource_monitors::downstream_connections::v3::DownstreamConnectionsConfig,
};

use crate::config::{
    Rejection,
    at::At,
    extension::{self, Category, Kind},
};

/// Actions that Envoy knows.
const ACTIONS: [&str; 8] = [
    "envoy.overload_actions.stop_accepting_requests",
    "envoy.overload_actions.disable_http_keepalive",
    "envoy.overload_actions.stop_accepting_connections",
    "envoy.overload_actions.reject_incoming_connections",
    "envoy.overload_actions.shrink_heap",
    "envoy.overload_actions.reduce_timeouts",
    "envoy.overload_actions.reset_high_memory_stream",
    "envoy.overload_actions.close_idle_http_connections",
];

/// The most connections that listeners together may have.
pub(super) fn parse(pb: Option<&pb::OverloadManager>, at: &At) -> Result<Option<u64>, Rejection> {
    use pb::resource_monitor::ConfigType::TypedConfig;
    const MONITORS: &[Kind<u64>] = &[Kind {
        type_name: "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        parse: |extension, at| {
            let pb: DownstreamConnectionsConfig = extension.message(at)?;
            let limit = u64::try_from(pb.max_active_downstream_connections)
                .ok()
                .filter(|limit| *limit > 0);
            limit.ok_or_else(|| {
                at.field("max_active_downstream_connections").reject(format_args!(
                    "{} is not more than 0",
                    pb.max_active_downstream_connections
                ))
            })
        },
    }];
    let Some(pb) = pb else { return Ok(None) };
    if pb.resource_monitors.is_empty() {
        return Err(at.field("resource_monitors").reject("must not be empty"));
    }
    let mut limit = None;
    for (i, monitor) in pb.resource_monitors.iter().enumerate() {
        let at = at.item("resource_monitors", i);
        let name = at.non_empty("name", &monitor.name)?;
        if pb.resource_monitors[..i].iter().any(|other| other.name == name) {
            return Err(at.field("name").reject(format_args!("{name:?} names two monitors")));
        }
        let any = monitor.config_type.as_ref().map(|TypedConfig(any)| any);
        let at = at.field("typed_config");
        limit = extension::dispatch(Category::ResourceMonitor, any, false, MONITORS, &at)?.or(limit);
    }
    for (i, action) in pb.actions.iter().enumerate() {
        let at = at.item("actions", i);
        if !ACTIONS.contains(&action.name.as_str()) {
            return Err(at
                .field("name")
                .reject(format_args!("{:?} is no overload action", action.name)));
        }
        if action.triggers.is_empty() {
            return Err(at.field("triggers").reject("must not be empty"));
        }
        for (j, trigger) in action.triggers.iter().enumerate() {
            if pb.resource_monitors.iter().all(|monitor| monitor.name != trigger.name) {
                let at = at.item("triggers", j);
                return Err(at
                    .field("name")
                    .reject(format_args!("{:?} names no resource monitor", trigger.name)));
            }
        }
        at.note("overload actions are not taken yet");
    }
    at.not_honoured("loadshed_points", !pb.loadshed_points.is_empty());
    Ok(limit)
}
