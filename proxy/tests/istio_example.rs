//! `examples/istio`: its files are what they say, and what its README calls unsupported is exactly what is not taken of all
//! that istiod was seen to send (`istio/inventory.txt`: resource and type).

// Modules of a test program are public to it alone.
#![allow(unreachable_pub)]

use std::{collections::BTreeMap, path::Path};

use pillion::{
    config::{self, Context},
    stats::{StatsConfig, Store},
};
use serde_json::{Value, json};
use xds_api::json::{ReadOptions, Unknown, to_wire};

const INVENTORY: &str = include_str!("istio/inventory.txt");
const README: &str = include_str!("../../examples/istio/README.md");
/// What stands for the image that a user makes.
const IMAGE: &str = "REGISTRY/proxyv2:TAG-pillion";
const ANNOTATION: &str = "/sidecar.istio.io~1proxyImage";

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/istio")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn files_name_the_image_where_istio_looks_for_it() {
    let places = [
        ("pod.yaml", format!("/spec/template/metadata/annotations{ANNOTATION}")),
        ("mesh.yaml", "/spec/values/global/proxy/image".to_owned()),
        ("values.yaml", "/global/proxy/image".to_owned()),
        ("gateway-values.yaml", format!("/podAnnotations{ANNOTATION}")),
    ];
    for (name, place) in places {
        let file: Value = serde_saphyr::from_str(&example(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(file.pointer(&place), Some(&json!(IMAGE)), "{name}: {place}");
        assert!(README.contains(name), "README.md does not tell of {name}");
    }
    assert!(README.contains(IMAGE));
}

#[test]
fn dockerfile_replaces_envoy_and_no_more() {
    let file = example("Dockerfile");
    let lines: Vec<_> = file.lines().filter(|line| !line.starts_with('#')).collect();
    let wanted = [
        "ARG ISTIO_PROXY",
        "FROM ${ISTIO_PROXY}",
        "COPY pillion /usr/local/bin/envoy",
    ];
    assert_eq!(lines, wanted);
}

/// The README promises a way to tell the two apart.
#[test]
fn version_tells_pillion_from_envoy() {
    let version = pillion::cli::version();
    assert!(
        version.ends_with("/rustls") && version.contains("/1.40.0/"),
        "{version}"
    );
}

#[test]
fn unsupported_types_are_those_of_the_table() {
    let found: BTreeMap<_, _> = INVENTORY
        .lines()
        .filter_map(|line| outcome(line).map(|outcome| (bare(line), outcome)))
        .collect();
    let said: BTreeMap<_, _> = README.lines().filter_map(row).collect();
    let found: BTreeMap<_, _> = found.iter().map(|(name, outcome)| (*name, *outcome)).collect();
    assert_eq!(said, found, "left: the table; right: what Pillion does");
}

/// A row of the table: the type, and "refused" or "skipped".
fn row(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix("| `")?.split_once("` |")?;
    let what = rest.trim_end_matches([' ', '|']).rsplit('|').next()?.trim();
    Some((name, what.split([':', ',', ';']).next()?))
}

/// The type alone, without the resource and what it was wrapped in.
fn bare(line: &str) -> &str {
    let name = line.split_once(' ').expect("resource and type").1;
    name.trim_start_matches("TypedStruct<").trim_end_matches('>')
}

/// `None`: taken.
fn outcome(line: &str) -> Option<&'static str> {
    let (kind, wrapped) = line.split_once(' ').expect("resource and type");
    let any = if wrapped.starts_with("TypedStruct<") {
        json!({
            "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
            "typeUrl": format!("type.googleapis.com/{}", bare(line)),
            "value": least(bare(line)),
        })
    } else {
        let mut any = least(wrapped);
        any["@type"] = json!(format!("type.googleapis.com/{wrapped}"));
        any
    };
    let (type_name, resource) = holder(kind, bare(line), &any);
    let options = ReadOptions {
        fields: Unknown::Reject,
        types: Unknown::Warn,
    };
    let (bytes, _) = to_wire(type_name, &resource, options).unwrap_or_else(|e| panic!("{line}: {e}"));
    let mut context = Context::new(Store::new(1, StatsConfig::default()));
    let parsed = match kind {
        "Cluster" => config::cluster::parse(&bytes, true, &mut context).map(drop),
        "Listener" => config::listener::parse(&bytes, &mut context).map(drop),
        _ => config::route::parse(&bytes, &mut context).map(drop),
    };
    let skipped = context.notes.take().iter().any(|note| note.text.contains("is skipped"));
    match parsed {
        Ok(()) if skipped => Some("skipped"),
        Ok(()) => None,
        Err(rejection) => {
            let said = rejection.to_string();
            assert!(said.contains("is not known to Pillion"), "{line}: {said}");
            Some("refused")
        }
    }
}

const ADDRESS: &str = "127.0.0.1";

fn extension(any: &Value) -> Value {
    json!({"name": "x", "typed_config": any})
}

fn network(name: &str, config: Value) -> Value {
    let mut any = config;
    any["@type"] = json!(format!("type.googleapis.com/envoy.extensions.filters.network.{name}"));
    extension(&any)
}

fn terminal() -> Value {
    network("tcp_proxy.v3.TcpProxy", json!({"stat_prefix": "t", "cluster": "c"}))
}

fn router() -> Value {
    extension(&json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}))
}

fn http(more: Value) -> Value {
    let mut config = json!({"stat_prefix": "h", "route_config": {"name": "r"}, "http_filters": [router()]});
    for (field, value) in more.as_object().expect("fields") {
        config[field] = value.clone();
    }
    network("http_connection_manager.v3.HttpConnectionManager", config)
}

fn log(any: &Value) -> Value {
    http(json!({"access_log": [extension(any)]}))
}

/// The least resource that has the type in a place where istiod puts it.
fn holder(kind: &str, name: &str, any: &Value) -> (&'static str, Value) {
    match kind {
        "Cluster" => {
            let mut cluster = json!({"name": "c"});
            let (field, value) = match name {
                n if n.contains(".clusters.") => ("cluster_type", extension(any)),
                n if n.contains(".dns_resolver.") => {
                    cluster["type"] = json!("STRICT_DNS");
                    cluster["load_assignment"] = json!({"cluster_name": "c"});
                    ("typed_dns_resolver_config", extension(any))
                }
                n if n.contains(".transport_sockets.") => ("transport_socket", extension(any)),
                n if n.contains(".upstreams.http.") => ("typed_extension_protocol_options", json!({name: any})),
                n if n.contains("metadataexchange") => ("filters", json!([extension(any)])),
                other => panic!("where in a cluster does {other} stand?"),
            };
            if field == "cluster_type" {
                cluster["lb_policy"] = json!("CLUSTER_PROVIDED");
            }
            cluster[field] = value;
            ("envoy.config.cluster.v3.Cluster", cluster)
        }
        "RouteConfiguration" => {
            let mut route = json!({"match": {"prefix": "/"}, "route": {"cluster": "c"}});
            match name {
                n if n.contains(".retry.host.") => {
                    route["route"]["retry_policy"] = json!({"retry_host_predicate": [extension(any)]});
                }
                n if n.contains(".retry.priority.") => {
                    route["route"]["retry_policy"] = json!({"retry_priority": extension(any)});
                }
                _ => route["typed_per_filter_config"] = json!({name: any}),
            }
            let hosts = json!([{"name": "v", "domains": ["*"], "routes": [route]}]);
            (
                "envoy.config.route.v3.RouteConfiguration",
                json!({"name": "r", "virtual_hosts": hosts}),
            )
        }
        _ => ("envoy.config.listener.v3.Listener", listener(name, any)),
    }
}

fn listener(name: &str, any: &Value) -> Value {
    let mut filters = vec![terminal()];
    let mut listener_filters = vec![];
    let mut transport_socket = Value::Null;
    match name {
        n if n.contains(".filters.listener.") => listener_filters.push(extension(any)),
        n if n.contains(".transport_sockets.") => transport_socket = extension(any),
        n if n.contains(".http_connection_manager.") || n.contains(".tcp_proxy.") => filters = vec![extension(any)],
        n if n.contains(".filters.network.") || n.contains("metadataexchange") => filters.insert(0, extension(any)),
        n if n.contains(".router.") => filters = vec![http(json!({"http_filters": [extension(any)]}))],
        n if n.contains(".filters.http.")
            || n.contains(".peer_metadata.")
            || n.contains("filter.http.alpn")
            || n == "stats.PluginConfig" =>
        {
            filters = vec![http(json!({"http_filters": [extension(any), router()]}))];
        }
        n if n.contains(".trace.") => {
            filters = vec![http(json!({"tracing": {"provider": extension(any)}}))];
        }
        n if n.contains(".request_id.") => {
            filters = vec![http(json!({"request_id_extension": {"typed_config": any}}))];
        }
        n if n.contains(".access_loggers.filters.") => {
            let to = json!({"@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"});
            let mut log = extension(&to);
            log["filter"] = json!({"extension_filter": extension(any)});
            filters = vec![http(json!({"access_log": [log]}))];
        }
        n if n.contains(".access_loggers.") => filters = vec![log(any)],
        n if n.contains(".formatter.") => {
            let format = json!({"text_format_source": {"inline_string": "x"}, "formatters": [extension(any)]});
            let to = json!({
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
                "log_format": format,
            });
            filters = vec![log(&to)];
        }
        n if n.contains(".path.match.") => {
            let policy = json!({"permissions": [{"uri_template": extension(any)}], "principals": [{"any": true}]});
            let rbac = extension(&json!({
                "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
                "rules": {"policies": {"p": policy}},
            }));
            filters = vec![http(json!({"http_filters": [rbac, router()]}))];
        }
        other => panic!("where in a listener does {other} stand?"),
    }
    json!({
        "name": "l",
        "address": {"socket_address": {"address": ADDRESS, "port_value": 1}},
        "listener_filters": listener_filters,
        "filter_chains": [{"filters": filters, "transport_socket": transport_socket}],
    })
}

/// The least content that Envoy takes of a type; nothing for most.
fn least(name: &str) -> Value {
    let service = || json!({"envoy_grpc": {"cluster_name": "c"}});
    let logs = || json!({"log_name": "l", "grpc_service": service(), "transport_api_version": "V3"});
    let cache = || json!({"name": "d", "dns_lookup_family": "V4_ONLY"});
    match name.rsplit('.').next().unwrap_or_default() {
        "ZipkinConfig" => {
            json!({"collector_cluster": "c", "collector_endpoint": "/", "collector_endpoint_version": "HTTP_JSON"})
        }
        "OpenTelemetryConfig" => json!({"grpc_service": service()}),
        "FileAccessLog" => json!({"path": "/dev/stdout"}),
        "HttpGrpcAccessLogConfig" | "TcpGrpcAccessLogConfig" => json!({"common_config": logs()}),
        "OpenTelemetryAccessLogConfig" => json!({"common_config": logs()}),
        "ExtAuthz" => json!({"grpc_service": service(), "transport_api_version": "V3", "stat_prefix": "e"}),
        "HttpConnectionManager" => {
            json!({"stat_prefix": "h", "route_config": {"name": "r"}, "http_filters": [router()]})
        }
        "TcpProxy" => json!({"stat_prefix": "t", "cluster": "c"}),
        "RBAC" if name.contains(".network.") => json!({"stat_prefix": "r"}),
        "MongoProxy" => json!({"stat_prefix": "m"}),
        "LocalRateLimit" => json!({"stat_prefix": "l"}),
        "UriTemplateMatchConfig" => json!({"path_template": "/*"}),
        "PreviousPrioritiesConfig" => json!({"update_frequency": 1}),
        "ProxyProtocolUpstreamTransport" => json!({"config": {"version": "V2"}, "transport_socket": extension(
            &json!({"@type": "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"}))}),
        "DownstreamTlsContext" => json!({"common_tls_context": {"tls_certificate_sds_secret_configs": [
            {"name": "default", "sds_config": {"api_config_source": {
                "api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [service()]}}}]}}),
        "HttpProtocolOptions" => json!({"explicit_http_config": {"http_protocol_options": {}}}),
        "ClusterConfig" => json!({"dns_cache_config": cache()}),
        "FilterConfig" if name.contains("dynamic_forward_proxy") => json!({"dns_cache_config": cache()}),
        _ => json!({}),
    }
}

/// The whole inventory, where it lies beside the repository.
#[test]
fn inventory_is_what_istiod_was_seen_to_send() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/istiod/inventory.types.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: there is no {}", path.display());
        return;
    };
    let seen: BTreeMap<String, Value> = serde_json::from_str(&text).expect("JSON");
    // What wraps another is counted with what it wraps.
    let seen: Vec<_> = seen.keys().filter(|name| !name.ends_with("TypedStruct")).collect();
    assert_eq!(INVENTORY.lines().collect::<Vec<_>>(), seen);
}
