//! What the process says of itself: `/server_info`, `/memory`, `/runtime`, and `/runtime_modify`.

use std::rc::Rc;

use http::StatusCode;
use serde::Serialize as _;
use serde_json::{Value, json};

use super::{
    Admin, Request,
    respond::{Answer, Parameters},
};
use crate::cli;

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

pub(super) fn runtime(admin: &Admin) -> String {
    pretty(&admin.runtime.borrow().shown())
}

const MODIFY_USAGE: &str = "usage: /runtime_modify?key1=value1&key2=value2&keyN=valueN\n       or send the parameters as form values\n\
       use an empty value to remove a previously added override";

/// Sets keys of the admin layer.
pub(super) fn runtime_modify(admin: &Rc<Admin>, parameters: &Parameters<'_>) -> Answer {
    let changes = parameters.all();
    if changes.is_empty() {
        return Answer::error(StatusCode::BAD_REQUEST, MODIFY_USAGE);
    }
    match admin.runtime.borrow_mut().modify(changes) {
        Ok(()) => {
            // The control thread serves the channel as long as it serves this request.
            let _ = admin.requests.send(Request::RuntimeChanged);
            Answer::text("OK\n")
        }
        Err(why) => Answer::error(StatusCode::SERVICE_UNAVAILABLE, why.to_string()),
    }
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
