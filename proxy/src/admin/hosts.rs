//! `/clusters` and `/listeners`: what is active right now.

use std::{
    fmt::Write,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    Admin,
    info::pretty,
    respond::{Answer, Parameters},
};
use crate::{
    address::Address,
    cluster::{Cluster, Discovery, EdsHealth, Endpoint, Locality, Priority},
};

pub(super) fn clusters(admin: &Rc<Admin>, parameters: &Parameters<'_>) -> Answer {
    let snapshot = admin.shared.snapshot.load();
    let mut clusters: Vec<Arc<Cluster>> = snapshot.clusters.values().cloned().collect();
    clusters.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(filter) = parameters.decoded("filter") {
        match regex::bytes::Regex::new(&filter) {
            Ok(filter) => clusters.retain(|cluster| filter.is_match(cluster.name.as_bytes())),
            Err(e) => return Answer::error(StatusCode::BAD_REQUEST, format!("Invalid re2 regex: {e}\n")),
        }
    }
    if parameters.get("format") == Some("json") {
        let statuses: Vec<Value> = clusters.iter().map(|c| cluster_json(c)).collect();
        return Answer::json(pretty(&json!({"cluster_statuses": statuses})));
    }
    // A cluster a piece: ten thousand do not hold up the control thread.
    Answer::pieces(clusters.into_iter().map(|cluster| {
        let mut text = String::new();
        cluster_text(&mut text, &cluster);
        text
    }))
}

fn endpoints(cluster: &Cluster) -> Vec<Arc<Endpoint>> {
    let set = cluster.endpoints.load();
    let by_priority = set.priorities.iter().flat_map(|p| p.endpoints.iter().cloned());
    by_priority.chain(cluster.originals.endpoints()).collect()
}

fn cluster_text(out: &mut String, cluster: &Cluster) {
    let name = &cluster.name;
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{name}::observability_name::{}", cluster.stat_name);
    for (priority, label) in [
        (Priority::Default, "default_priority"),
        (Priority::High, "high_priority"),
    ] {
        let breaker = cluster.state.breaker(priority);
        for (what, limit) in [
            ("max_connections", &breaker.connections),
            ("max_pending_requests", &breaker.pending),
            ("max_requests", &breaker.requests),
            ("max_retries", &breaker.retries),
        ] {
            let _ = writeln!(out, "{name}::{label}::{what}::{}", limit.max.load(Ordering::Relaxed));
        }
    }
    let _ = writeln!(out, "{name}::added_via_api::{}", cluster.state.added_via_api);
    if let Discovery::Eds {
        service_name,
        named: true,
    } = &cluster.discovery
    {
        let _ = writeln!(out, "{name}::eds_service_name::{service_name}");
    }
    for endpoint in endpoints(cluster) {
        let at = &endpoint.address;
        let counters = &endpoint.state.counters;
        let count = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let values = [
            (
                "cx_active",
                u64::from(endpoint.state.active_connections.load(Ordering::Relaxed)),
            ),
            ("cx_connect_fail", count(&counters.cx_connect_fail)),
            ("cx_total", count(&counters.cx_total)),
            (
                "rq_active",
                u64::from(endpoint.state.active_requests.load(Ordering::Relaxed)),
            ),
            ("rq_error", count(&counters.rq_error)),
            // Requests wait for a connection of the cluster's, not of one host.
            ("rq_pending_active", 0),
            ("rq_success", count(&counters.rq_success)),
            ("rq_timeout", count(&counters.rq_timeout)),
            ("rq_total", count(&counters.rq_total)),
        ];
        for (what, value) in values {
            let _ = writeln!(out, "{name}::{at}::{what}::{value}");
        }
        let _ = writeln!(out, "{name}::{at}::hostname::{}", endpoint.config.hostname);
        let _ = writeln!(out, "{name}::{at}::health_flags::{}", health_flags(&endpoint));
        let _ = writeln!(out, "{name}::{at}::weight::{}", endpoint.config.weight);
        let _ = writeln!(out, "{name}::{at}::region::{}", endpoint.locality.region);
        let _ = writeln!(out, "{name}::{at}::zone::{}", endpoint.locality.zone);
        let _ = writeln!(out, "{name}::{at}::sub_zone::{}", endpoint.locality.sub_zone);
        let _ = writeln!(out, "{name}::{at}::canary::{}", endpoint.config.canary);
        let _ = writeln!(out, "{name}::{at}::priority::{}", endpoint.priority);
        let _ = writeln!(out, "{name}::{at}::success_rate::-1");
        let _ = writeln!(out, "{name}::{at}::local_origin_success_rate::-1");
    }
}

/// Envoy's words: `healthy`, or what is wrong, each behind a slash.
fn health_flags(endpoint: &Endpoint) -> String {
    let state = &endpoint.state;
    let flags = [
        (
            state.failed_active_health_check.load(Ordering::Relaxed),
            "/failed_active_hc",
        ),
        (state.ejected.load(Ordering::Relaxed), "/failed_outlier_check"),
        (
            matches!(endpoint.config.health, EdsHealth::Unhealthy | EdsHealth::Timeout),
            "/failed_eds_health",
        ),
        (endpoint.config.health == EdsHealth::Degraded, "/degraded_eds_health"),
        (endpoint.config.health == EdsHealth::Draining, "/eds_status_draining"),
    ];
    let text: String = flags
        .into_iter()
        .filter(|(set, _)| *set)
        .map(|(_, name)| name)
        .collect();
    if text.is_empty() { "healthy".to_owned() } else { text }
}

pub(super) fn address_json(address: &Address) -> Value {
    match address {
        Address::Ip(ip) => json!({"socket_address": {"address": ip.ip().to_string(), "port_value": ip.port()}}),
        Address::Pipe(path) => json!({"pipe": {"path": &**path}}),
        Address::Internal(name) => json!({"envoy_internal_address": {"server_listener_name": &**name}}),
    }
}

fn cluster_json(cluster: &Cluster) -> Value {
    let thresholds = |priority: Priority| {
        let breaker = cluster.state.breaker(priority);
        let max = |limit: &crate::cluster::Limit| limit.max.load(Ordering::Relaxed);
        json!({
            "max_connections": max(&breaker.connections),
            "max_pending_requests": max(&breaker.pending),
            "max_requests": max(&breaker.requests),
            "max_retries": max(&breaker.retries),
        })
    };
    let hosts: Vec<Value> = endpoints(cluster).iter().map(|e| host_json(e)).collect();
    let mut status = json!({"name": &*cluster.name});
    if cluster.state.added_via_api {
        status["added_via_api"] = json!(true);
    }
    if !hosts.is_empty() {
        status["host_statuses"] = json!(hosts);
    }
    let mut high = thresholds(Priority::High);
    high["priority"] = json!("HIGH");
    status["circuit_breakers"] = json!({"thresholds": [thresholds(Priority::Default), high]});
    status["observability_name"] = json!(&*cluster.stat_name);
    if let Discovery::Eds {
        service_name,
        named: true,
    } = &cluster.discovery
    {
        status["eds_service_name"] = json!(&**service_name);
    }
    status
}

/// `HealthStatus` as the control plane says it.
pub(super) fn eds_health(endpoint: &Endpoint) -> &'static str {
    match endpoint.config.health {
        EdsHealth::Unknown | EdsHealth::Healthy => "HEALTHY",
        EdsHealth::Unhealthy => "UNHEALTHY",
        EdsHealth::Draining => "DRAINING",
        EdsHealth::Timeout => "TIMEOUT",
        EdsHealth::Degraded => "DEGRADED",
    }
}

/// What is empty is left out.
pub(super) fn locality_json(locality: &Locality) -> Value {
    let mut shown = json!({});
    for (field, value) in [
        ("region", &locality.region),
        ("zone", &locality.zone),
        ("sub_zone", &locality.sub_zone),
    ] {
        if !value.is_empty() {
            shown[field] = json!(&**value);
        }
    }
    shown
}

fn host_json(endpoint: &Endpoint) -> Value {
    let counters = &endpoint.state.counters;
    // As proto3 prints: neither zero nor the first of an enumeration.
    let value = |name: &str, kind: Option<&str>, n: u64| {
        let mut shown = json!({});
        if let Some(kind) = kind {
            shown["type"] = json!(kind);
        }
        if n > 0 {
            shown["value"] = json!(n.to_string());
        }
        shown["name"] = json!(name);
        shown
    };
    let counter = |name: &str, n: &AtomicU64| value(name, None, n.load(Ordering::Relaxed));
    let gauge = |name: &str, n: u64| value(name, Some("GAUGE"), n);
    let mut health = json!({"eds_health_status": eds_health(endpoint)});
    for (field, set) in [
        ("failed_active_health_check", &endpoint.state.failed_active_health_check),
        ("failed_outlier_check", &endpoint.state.ejected),
    ] {
        if set.load(Ordering::Relaxed) {
            health[field] = json!(true);
        }
    }
    let mut status = json!({
        "address": address_json(&endpoint.address),
        "stats": [
            counter("cx_connect_fail", &counters.cx_connect_fail),
            counter("cx_total", &counters.cx_total),
            counter("rq_error", &counters.rq_error),
            counter("rq_success", &counters.rq_success),
            counter("rq_timeout", &counters.rq_timeout),
            counter("rq_total", &counters.rq_total),
            gauge("cx_active", u64::from(endpoint.state.active_connections.load(Ordering::Relaxed))),
            gauge("rq_active", u64::from(endpoint.state.active_requests.load(Ordering::Relaxed))),
            gauge("rq_pending_active", 0),
        ],
        "health_status": health,
        "weight": endpoint.config.weight,
    });
    if !endpoint.config.hostname.is_empty() {
        status["hostname"] = json!(&*endpoint.config.hostname);
    }
    if endpoint.priority > 0 {
        status["priority"] = json!(endpoint.priority);
    }
    status["locality"] = locality_json(&endpoint.locality);
    status
}

pub(super) fn listeners(admin: &Rc<Admin>, parameters: &Parameters<'_>) -> Answer {
    let snapshot = admin.shared.snapshot.load();
    let mut listeners: Vec<_> = snapshot.listeners.values().collect();
    listeners.sort_by(|a, b| a.name.cmp(&b.name));
    if parameters.get("format") == Some("json") {
        let statuses: Vec<Value> = listeners
            .iter()
            .map(|l| {
                let local = l.addresses.first().map_or(Value::Null, |a| address_json(&a.address));
                let more: Vec<Value> = l.addresses.iter().skip(1).map(|a| address_json(&a.address)).collect();
                let mut status = json!({"name": &*l.name, "local_address": local});
                if !more.is_empty() {
                    status["additional_local_addresses"] = json!(more);
                }
                status
            })
            .collect();
        return Answer::json(pretty(&json!({"listener_statuses": statuses})));
    }
    let mut text = String::new();
    for listener in listeners {
        for address in &listener.addresses {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}::{}", listener.name, address.address);
        }
    }
    Answer::text(text)
}
