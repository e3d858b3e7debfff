//! What the process says of itself: `/server_info`, `/memory`, `/runtime`.

use serde::Serialize as _;
use serde_json::{Value, json};

use super::Admin;
use crate::{cli, config::runtime::RuntimeLayerKind};

/// Bytes, as the allocator and the kernel count them.
pub(super) struct Memory {
    pub(super) allocated: u64,
    pub(super) heap_size: u64,
    pub(super) physical: u64,
}

impl Memory {
    pub(super) fn read() -> Self {
        // Where another allocator serves the process these read as 0.
        let _ = tikv_jemalloc_ctl::epoch::advance();
        let allocated = tikv_jemalloc_ctl::stats::allocated::read().unwrap_or(0) as u64;
        let heap_size = tikv_jemalloc_ctl::stats::resident::read().unwrap_or(0) as u64;
        Self {
            allocated,
            heap_size,
            physical: resident_bytes().unwrap_or(0),
        }
    }
}

/// VmRSS.
fn resident_bytes() -> Option<u64> {
    const KIB: u64 = 1024;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * KIB)
}

pub(super) fn memory() -> String {
    let memory = Memory::read();
    pretty(&json!({
        "allocated": memory.allocated.to_string(),
        "heap_size": memory.heap_size.to_string(),
        "pageheap_unmapped": "0",
        "pageheap_free": "0",
        "total_thread_cache": "0",
        "total_physical_bytes": memory.physical.to_string(),
    }))
}

pub(super) fn server_info(admin: &Admin) -> String {
    let uptime = format!("{}s", admin.started.elapsed().as_secs());
    let node = xds_api::json::from_wire(
        "envoy.config.core.v3.Node",
        &admin.node,
        xds_api::json::WriteOptions::ADMIN,
    );
    pretty(&json!({
        "version": cli::version(),
        "state": admin.shown_state().name(),
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "hot_restart_version": "disabled",
        "command_line_options": admin.options.command_line,
        "node": node.unwrap_or(Value::Null),
    }))
}

/// Every key with its value in each layer; the last that has one wins.
pub(super) fn runtime(admin: &Admin) -> String {
    let layers = &admin.runtime.layers;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut entries = serde_json::Map::new();
    for (key, value) in admin.runtime.merged() {
        let values = layers.iter().map(|layer| match &layer.kind {
            RuntimeLayerKind::Static(values) => values.get(&key).map(text).unwrap_or_default(),
            RuntimeLayerKind::Admin | RuntimeLayerKind::Disk | RuntimeLayerKind::Rtds(_) => String::new(),
        });
        let values: Vec<String> = values.collect();
        entries.insert(key, json!({"final_value": text(&value), "layer_values": values}));
    }
    let names: Vec<&str> = layers.iter().map(|layer| &*layer.name).collect();
    pretty(&json!({"entries": entries, "layers": names}))
}

/// As Envoy's admin prints JSON: one member a line, indented by one space a level.
pub(super) fn pretty(value: &Value) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    // Writing to memory cannot fail, nor can a Value that is one already.
    let _ = value.serialize(&mut serializer);
    bytes.push(b'\n');
    String::from_utf8(bytes).unwrap_or_default()
}
