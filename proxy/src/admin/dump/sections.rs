//! The sections of a config dump (`envoy.admin.v3.*ConfigDump`), each resource printed when its turn comes.

use std::{collections::BTreeMap, rc::Rc, sync::Arc, time::SystemTime};

use bytes::Bytes;
use serde_json::{Map, Value, json};
use xds_api::json::{WriteOptions, from_wire};

use super::{endpoints, redact::redact};
use crate::{
    admin::Admin,
    control::ledger::{Entry, Ledger, Record, Refusal},
};

pub(super) const VERSION_INFO: &str = "version_info";

/// One entry of `configs`.
pub(super) struct Section {
    /// Below `envoy.admin.v3.`
    pub(super) type_name: &'static str,
    pub(super) scalars: Vec<(&'static str, Value)>,
    pub(super) lists: Vec<List>,
}

pub(super) struct List {
    pub(super) field: &'static str,
    /// The message of its elements, below `envoy.admin.v3.`
    pub(super) element: &'static str,
    pub(super) items: Vec<Item>,
}

/// Prints elements, usually one.
pub(super) type Item = Box<dyn FnOnce() -> Vec<Value>>;

/// `name_regex`: which resources are printed; `None`: all.
#[derive(Clone, Default)]
pub(super) struct Filter(pub(super) Option<Rc<regex::bytes::Regex>>);

impl Filter {
    fn takes(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|regex| regex.is_match(name.as_bytes()))
    }
}

pub(super) fn type_url(type_name: &str) -> String {
    format!("type.googleapis.com/envoy.admin.v3.{type_name}")
}

const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";
const LISTENER: &str = "envoy.config.listener.v3.Listener";
const ROUTE: &str = "envoy.config.route.v3.RouteConfiguration";
const SCOPED_ROUTE: &str = "envoy.config.route.v3.ScopedRouteConfiguration";
const EXTENSION: &str = "envoy.config.core.v3.TypedExtensionConfig";
const SECRET: &str = "envoy.extensions.transport_sockets.tls.v3.Secret";

/// In Envoy's order.
pub(super) fn all(admin: &Rc<Admin>, filter: &Filter, include_eds: bool) -> Vec<Section> {
    let mut sections = vec![bootstrap(admin), clusters(admin, filter)];
    sections.extend(extensions(admin, filter));
    if include_eds {
        sections.push(all_endpoints(admin, filter));
    }
    sections.push(listeners(admin, filter));
    sections.push(scoped_routes(admin, filter));
    sections.push(routes(admin, filter));
    sections.push(secrets(admin, filter));
    sections
}

fn bootstrap(admin: &Admin) -> Section {
    let mut bootstrap = print("envoy.config.bootstrap.v3.Bootstrap", &admin.bootstrap.bytes);
    if let Some(bootstrap) = bootstrap.as_object_mut() {
        // With what the process says of itself, as a control plane sees it; what it can do is said in requests only.
        let mut node = print("envoy.config.core.v3.Node", &admin.node);
        if let Some(node) = node.as_object_mut() {
            node.remove("client_features");
        }
        bootstrap.insert("node".to_owned(), node);
    }
    let read = SystemTime::now() - admin.started.elapsed();
    Section {
        type_name: "BootstrapConfigDump",
        scalars: vec![("bootstrap", bootstrap), ("last_updated", time(read))],
        lists: Vec::new(),
    }
}

/// What of a record stands in which list.
fn gather(
    records: &BTreeMap<Arc<str>, Record>,
    filter: &Filter,
    mut item: impl FnMut(&Arc<str>, &Record) -> Option<Item>,
) -> Vec<Item> {
    let named = records.iter().filter(|(name, _)| filter.takes(name));
    named.filter_map(|(name, record)| item(name, record)).collect()
}

fn clusters(admin: &Admin, filter: &Filter) -> Section {
    let ledger = admin.ledger.borrow();
    let of = |wanted: fn(&Record) -> Option<&Entry>, dynamic: bool| {
        gather(&ledger.clusters, filter, |_, record| {
            let entry = wanted(record).filter(|entry| entry.dynamic == dynamic)?.clone();
            let error = record.error.as_deref().cloned();
            Some(one(move || state("cluster", CLUSTER, &entry, error.as_ref())))
        })
    };
    let mut warming = of(|record| record.warming.as_deref(), true);
    // Never accepted: nothing but the rejection can be shown.
    warming.extend(gather(&ledger.clusters, filter, |name, record| {
        let error = refused_only(record)?.clone();
        let name = name.clone();
        Some(one(move || stub("cluster", CLUSTER, &name, &error)))
    }));
    // A static cluster is shown from its first moment.
    let statics = |record: &Record| {
        record
            .active
            .as_ref()
            .or(record.warming.as_deref())
            .is_some_and(|e| !e.dynamic)
    };
    let list = |field, element, items| List { field, element, items };
    Section {
        type_name: "ClustersConfigDump",
        scalars: version(&ledger.cluster_version),
        lists: vec![
            list(
                "static_clusters",
                "ClustersConfigDump.StaticCluster",
                gather(&ledger.clusters, filter, |_, record| {
                    let entry = record
                        .active
                        .as_ref()
                        .or(record.warming.as_deref())
                        .filter(|_| statics(record))?
                        .clone();
                    Some(one(move || state("cluster", CLUSTER, &entry, None)))
                }),
            ),
            list(
                "dynamic_active_clusters",
                "ClustersConfigDump.DynamicCluster",
                of(|record| record.active.as_ref(), true),
            ),
            list("dynamic_warming_clusters", "ClustersConfigDump.DynamicCluster", warming),
        ],
    }
}

fn listeners(admin: &Admin, filter: &Filter) -> Section {
    let ledger = admin.ledger.borrow();
    let statics = gather(&ledger.listeners, filter, |_, record| {
        let entry = static_entry(record)?.clone();
        Some(one(move || state("listener", LISTENER, &entry, None)))
    });
    let dynamic = gather(&ledger.listeners, filter, |name, record| {
        if static_entry(record).is_some() {
            return None;
        }
        let (name, active, warming) = (name.clone(), record.active.clone(), record.warming.as_deref().cloned());
        let error = record.error.as_deref().cloned();
        Some(one(move || {
            let mut shown = json!({"name": &*name});
            for (field, entry) in [("active_state", active), ("warming_state", warming)] {
                if let Some(entry) = entry {
                    shown[field] = state("listener", LISTENER, &entry, None);
                }
            }
            if let Some(error) = error {
                shown["error_state"] = error_state(LISTENER, &error);
            }
            shown
        }))
    });
    Section {
        type_name: "ListenersConfigDump",
        scalars: version(&ledger.listener_version),
        lists: vec![
            List {
                field: "static_listeners",
                element: "ListenersConfigDump.StaticListener",
                items: statics,
            },
            List {
                field: "dynamic_listeners",
                element: "ListenersConfigDump.DynamicListener",
                items: dynamic,
            },
        ],
    }
}

fn scoped_routes(admin: &Admin, filter: &Filter) -> Section {
    let ledger = admin.ledger.borrow();
    let of_inline = filter.clone();
    let inline = of_listeners(&ledger, move |entry| {
        let filter = &of_inline;
        let mut found = Vec::new();
        find_field(&print(LISTENER, &entry.bytes), "scoped_routes", &mut found);
        let shown = found.into_iter().filter_map(|scoped| {
            let list = scoped["scoped_route_configurations_list"]["scoped_route_configurations"].as_array()?;
            let takes = |config: &&Value| filter.takes(config["name"].as_str().unwrap_or_default());
            let configs = list
                .iter()
                .filter(takes)
                .map(|config| typed(SCOPED_ROUTE, config.clone()));
            Some(json!({
                "name": scoped["name"],
                "scoped_route_configs": configs.collect::<Vec<_>>(),
                "last_updated": time(entry.updated),
            }))
        });
        shown.collect()
    });
    let dynamic = ledger
        .scopes
        .values()
        .filter(|entry| entry.updated.is_some())
        .map(|entry| {
            let configs = entry.configs.iter().filter(|(name, _)| filter.takes(name));
            let configs: Vec<Bytes> = configs.map(|(_, bytes)| bytes.clone()).collect();
            let (name, version, updated) = (entry.name.clone(), entry.version.clone(), entry.updated);
            one(move || {
                let configs = configs
                    .iter()
                    .map(|bytes| typed(SCOPED_ROUTE, print(SCOPED_ROUTE, bytes)));
                let mut shown = json!({"name": &*name, VERSION_INFO: &*version});
                shown["scoped_route_configs"] = configs.collect::<Vec<_>>().into();
                shown["last_updated"] = updated.map_or(Value::Null, time);
                shown
            })
        });
    Section {
        type_name: "ScopedRoutesConfigDump",
        scalars: Vec::new(),
        lists: vec![
            List {
                field: "inline_scoped_route_configs",
                element: "ScopedRoutesConfigDump.InlineScopedRouteConfigs",
                items: inline,
            },
            List {
                field: "dynamic_scoped_route_configs",
                element: "ScopedRoutesConfigDump.DynamicScopedRouteConfigs",
                items: dynamic.collect(),
            },
        ],
    }
}

/// What stands in listeners, whose bytes are kept once.
fn of_listeners(ledger: &Ledger, print: impl Fn(&Entry) -> Vec<Value> + Clone + 'static) -> Vec<Item> {
    let records = ledger.listeners.values();
    let entries = records.filter_map(|record| record.active.as_ref().or(record.warming.as_deref()));
    let items = entries.map(|entry| {
        let (entry, print) = (entry.clone(), print.clone());
        let item: Item = Box::new(move || print(&entry));
        item
    });
    items.collect()
}

/// Every object that stands in a field of this name, at any depth.
fn find_field(value: &Value, field: &str, found: &mut Vec<Value>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get(field).filter(|value| value.is_object()).cloned());
            object.values().for_each(|value| find_field(value, field, found));
        }
        Value::Array(list) => list.iter().for_each(|value| find_field(value, field, found)),
        _ => {}
    }
}

fn routes(admin: &Admin, filter: &Filter) -> Section {
    let ledger = admin.ledger.borrow();
    let inline = {
        let filter = filter.clone();
        of_listeners(&ledger, move |entry| inline_routes(entry, &filter))
    };
    let dynamic = gather(&ledger.routes, filter, |name, record| {
        let (name, active, error) = (name.clone(), record.active.clone(), record.error.as_deref().cloned());
        Some(one(move || match (active, error) {
            (Some(entry), error) => state("route_config", ROUTE, &entry, error.as_ref()),
            (None, Some(error)) => stub("route_config", ROUTE, &name, &error),
            (None, None) => Value::Null,
        }))
        .filter(|_| record.active.is_some() || record.error.is_some())
    });
    Section {
        type_name: "RoutesConfigDump",
        scalars: Vec::new(),
        lists: vec![
            List {
                field: "static_route_configs",
                element: "RoutesConfigDump.StaticRouteConfig",
                items: inline,
            },
            List {
                field: "dynamic_route_configs",
                element: "RoutesConfigDump.DynamicRouteConfig",
                items: dynamic,
            },
        ],
    }
}

fn inline_routes(listener: &Entry, filter: &Filter) -> Vec<Value> {
    let mut found = Vec::new();
    let listener_as_json = print(LISTENER, &listener.bytes);
    for field in ["route_config", "route_configuration"] {
        find_field(&listener_as_json, field, &mut found);
    }
    found.retain(|routes| filter.takes(routes["name"].as_str().unwrap_or_default()));
    let shown = found
        .into_iter()
        .map(|routes| json!({"route_config": typed(ROUTE, routes), "last_updated": time(listener.updated)}));
    shown.collect()
}

fn secrets(admin: &Admin, filter: &Filter) -> Section {
    let ledger = admin.ledger.borrow();
    let named = |name: &Arc<str>, entry: &Entry, error: Option<&Refusal>| {
        let mut shown = json!({"name": &**name});
        if let (Some(shown), Value::Object(state)) = (shown.as_object_mut(), state("secret", SECRET, entry, error)) {
            shown.extend(state);
        }
        shown
    };
    let held = |dynamic: bool| {
        gather(&ledger.secrets, filter, |name, record| {
            let entry = record.active.as_ref().filter(|entry| entry.dynamic == dynamic)?.clone();
            let (name, error) = (name.clone(), record.error.as_deref().cloned());
            Some(one(move || named(&name, &entry, error.as_ref())))
        })
    };
    let warming = gather(&ledger.secrets, filter, |name, record| {
        let since = record.wanted_since.filter(|_| record.active.is_none())?;
        let (name, error) = (name.clone(), record.error.as_deref().cloned());
        Some(one(move || {
            let mut shown = json!({
                "name": &*name,
                "version_info": "uninitialized",
                "last_updated": time(since),
                "secret": typed(SECRET, json!({"name": &*name})),
            });
            if let Some(error) = &error {
                shown["error_state"] = error_state(SECRET, error);
            }
            shown
        }))
    });
    let list = |field, element, items| List { field, element, items };
    Section {
        type_name: "SecretsConfigDump",
        scalars: Vec::new(),
        lists: vec![
            list("static_secrets", "SecretsConfigDump.StaticSecret", held(false)),
            list("dynamic_active_secrets", "SecretsConfigDump.DynamicSecret", held(true)),
            list("dynamic_warming_secrets", "SecretsConfigDump.DynamicSecret", warming),
        ],
    }
}

/// Configs of filters; there is such a section where a listener ever asked for one.
fn extensions(admin: &Admin, filter: &Filter) -> Option<Section> {
    let ledger = admin.ledger.borrow();
    let known = !ledger.extensions.is_empty();
    known.then(|| Section {
        type_name: "EcdsConfigDump",
        scalars: Vec::new(),
        lists: vec![List {
            field: "ecds_filters",
            element: "EcdsConfigDump.EcdsFilterConfig",
            items: gather(&ledger.extensions, filter, |_, record| {
                let entry = record.active.as_ref()?.clone();
                let error = record.error.as_deref().cloned();
                Some(one(move || state("ecds_filter", EXTENSION, &entry, error.as_ref())))
            }),
        }],
    })
}

fn all_endpoints(admin: &Admin, filter: &Filter) -> Section {
    let snapshot = admin.shared.snapshot.load();
    let mut clusters: Vec<_> = snapshot.clusters.values().cloned().collect();
    clusters.sort_by(|a, b| a.name.cmp(&b.name));
    clusters.retain(|cluster| filter.takes(&cluster.name));
    let (dynamic, fixed): (Vec<_>, Vec<_>) = clusters.into_iter().partition(|c| c.state.added_via_api);
    let item = |cluster: Arc<crate::cluster::Cluster>| {
        let ledger = admin.ledger.clone();
        one(move || {
            let mut shown = json!({"endpoint_config": endpoints::assignment(&cluster)});
            let service = shown["endpoint_config"]["cluster_name"].as_str().unwrap_or_default();
            let ledger = ledger.borrow();
            let Some(record) = ledger.endpoints.get(service) else {
                return shown;
            };
            if let Some(entry) = &record.active {
                shown[VERSION_INFO] = json!(&*entry.version);
                shown["last_updated"] = time(entry.updated);
            }
            if let Some(error) = record.error.as_deref() {
                shown["error_state"] = error_state("envoy.config.endpoint.v3.ClusterLoadAssignment", error);
            }
            shown
        })
    };
    Section {
        type_name: "EndpointsConfigDump",
        scalars: Vec::new(),
        lists: vec![
            List {
                field: "static_endpoint_configs",
                element: "EndpointsConfigDump.StaticEndpointConfig",
                items: fixed.into_iter().map(item).collect(),
            },
            List {
                field: "dynamic_endpoint_configs",
                element: "EndpointsConfigDump.DynamicEndpointConfig",
                items: dynamic.into_iter().map(item).collect(),
            },
        ],
    }
}

fn static_entry(record: &Record) -> Option<&Entry> {
    record
        .active
        .as_ref()
        .or(record.warming.as_deref())
        .filter(|e| !e.dynamic)
}

fn refused_only(record: &Record) -> Option<&Refusal> {
    record
        .error
        .as_deref()
        .filter(|_| record.active.is_none() && record.warming.is_none())
}

fn one(print: impl FnOnce() -> Value + 'static) -> Item {
    Box::new(move || vec![print()])
}

fn version(version: &str) -> Vec<(&'static str, Value)> {
    if version.is_empty() {
        return Vec::new();
    }
    vec![(VERSION_INFO, json!(version))]
}

/// A version of a resource under `field`.
fn state(field: &str, type_name: &str, entry: &Entry, error: Option<&Refusal>) -> Value {
    let mut shown = Map::new();
    if !entry.version.is_empty() {
        shown.insert(VERSION_INFO.to_owned(), json!(&*entry.version));
    }
    shown.insert(field.to_owned(), typed(type_name, print(type_name, &entry.bytes)));
    shown.insert("last_updated".to_owned(), time(entry.updated));
    if let Some(error) = error {
        shown.insert("error_state".to_owned(), error_state(type_name, error));
    }
    Value::Object(shown)
}

/// A resource of which no version was ever accepted.
fn stub(field: &str, type_name: &str, name: &str, error: &Refusal) -> Value {
    json!({field: typed(type_name, json!({"name": name})), "error_state": error_state(type_name, error)})
}

/// `UpdateFailureState`.
fn error_state(type_name: &str, error: &Refusal) -> Value {
    json!({
        "failed_configuration": typed(type_name, print(type_name, &error.bytes)),
        "last_update_attempt": time(error.at),
        "details": error.details,
        VERSION_INFO: &*error.version,
    })
}

/// As an Any is printed.
fn typed(type_name: &str, value: Value) -> Value {
    let mut shown = Map::new();
    shown.insert("@type".to_owned(), json!(format!("type.googleapis.com/{type_name}")));
    if let Value::Object(fields) = value {
        shown.extend(fields);
    }
    Value::Object(shown)
}

fn print(type_name: &str, bytes: &Bytes) -> Value {
    let mut value = from_wire(type_name, bytes, WriteOptions::ADMIN).unwrap_or(Value::Null);
    redact(&mut value);
    value
}

fn time(at: SystemTime) -> Value {
    crate::format::iso8601(at).into()
}
