use std::io::Write;

use serde_json::{Value, json};

use super::*;
use crate::config::{Context, source::SourceSpecifier};

fn loaded(yaml: &str) -> Result<(Bootstrap, Notes), Rejections> {
    load(&Options {
        config_yaml: Some(yaml),
        ..Options::default()
    })
}

fn resources(value: &Value) -> Result<StaticResources, Rejections> {
    loaded(&value.to_string())?
        .0
        .static_resources(&mut Context::for_tests())
}

/// A listener that routes everything to the cluster `c`.
fn base() -> Value {
    json!({
        "static_resources": {
            "listeners": [{
                "name": "l",
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
                "filter_chains": [{"filters": [{
                    "name": "hcm",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                        "stat_prefix": "s",
                        "route_config": {"virtual_hosts": [{
                            "name": "v",
                            "domains": ["*"],
                            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "c"}}]
                        }]},
                        "http_filters": [{
                            "name": "router",
                            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
                        }]
                    }
                }]}]
            }],
            "clusters": [{
                "name": "c",
                "load_assignment": {"cluster_name": "c", "endpoints": [{"lb_endpoints": [
                    {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 80}}}}
                ]}]}
            }]
        }
    })
}

/// The one rejection of the base with `value` at `pointer`.
fn rejected(pointer: &str, value: Value) -> String {
    let mut bootstrap = base();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match bootstrap.pointer_mut(parent).unwrap() {
        Value::Object(object) => drop(object.insert(key.to_owned(), value)),
        Value::Array(list) => list.push(value),
        _ => panic!("{parent} holds nothing"),
    }
    resources(&bootstrap).unwrap_err().to_string()
}

const HCM: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
const HOST: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0";

#[test]
fn the_base_is_taken_with_its_bytes() {
    let (bootstrap, _) = loaded(&base().to_string()).unwrap();
    let parsed = bootstrap.static_resources(&mut Context::for_tests()).unwrap();
    let (received, listener) = &parsed.listeners[0];
    assert_eq!((&*received.name, &*listener.stat_prefix), ("l", "127.0.0.1_0"));
    assert!(xds_api::decode_listener(&received.bytes).unwrap().name == "l");
    assert_eq!(listener.dependencies.clusters.len(), 1);
    let (_, cluster) = &parsed.clusters[0];
    assert_eq!(cluster.cluster.connect_timeout, Duration::from_secs(5));
    assert_eq!(cluster.assignment.as_ref().unwrap().priorities[0][0].endpoints.len(), 1);
    assert_eq!(cluster.limits.clone().map(|l| l.retries), [3, 3]);
}

#[test]
fn rejections_name_the_field_path() {
    let prefix = "listener \"l\": filter_chains[0].filters[0].typed_config";
    let cases = [
        (
            HCM.to_owned() + "/stat_prefix",
            json!(""),
            format!("{prefix}.stat_prefix: must be at least 1 characters"),
        ),
        (
            HOST.to_owned() + "/domains",
            json!([]),
            format!("{prefix}.route_config.virtual_hosts[0].domains: must have at least 1"),
        ),
        (
            HOST.to_owned() + "/domains/-",
            json!("*"),
            format!(
                "{prefix}.route_config.virtual_hosts[0].domains[1]: \"*\" already stands in virtual host \"v\"; \
                 a domain may stand in one place only"
            ),
        ),
        (
            HOST.to_owned() + "/routes/0/route",
            json!({"cluster": "nope"}),
            format!(
                "{prefix}.route_config.virtual_hosts[0].routes[0].route.cluster: there is no cluster \"nope\"; \
                 define it, or set validate_clusters: false where it comes later"
            ),
        ),
        (
            "/static_resources/clusters/0/connect_timeout".to_owned(),
            json!("0s"),
            "cluster \"c\": connect_timeout: must be greater than 0".to_owned(),
        ),
        (
            "/static_resources/clusters/0/lb_policy".to_owned(),
            json!("CLUSTER_PROVIDED"),
            "cluster \"c\": lb_policy: CLUSTER_PROVIDED needs a cluster that provides hosts itself: type ORIGINAL_DST"
                .to_owned(),
        ),
        (
            "/static_resources/foo".to_owned(),
            json!(1),
            "bootstrap: static_resources.foo: unknown field".to_owned(),
        ),
        (
            "/cluster_manager".to_owned(),
            json!({"local_cluster_name": "x"}),
            "bootstrap: cluster_manager.local_cluster_name: there is no cluster \"x\" in static_resources".to_owned(),
        ),
    ];
    for (pointer, value, expected) in cases {
        let said = rejected(&pointer, value);
        assert!(said.starts_with(&expected), "{said}\n  wanted\n{expected}");
    }
}

#[test]
fn an_unknown_filter_rejects_unless_it_is_optional() {
    let filter = |optional| {
        json!([
            {"name": "x", "is_optional": optional, "typed_config": {"@type": "type.googleapis.com/acme.Guard"}},
            {"name": "r", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}
        ])
    };
    let said = rejected(&format!("{HCM}/http_filters"), filter(false));
    assert!(
        said.contains("http_filters[0].typed_config.@type: the HTTP filter acme.Guard is not known"),
        "{said}"
    );
    let mut bootstrap = base();
    bootstrap.pointer_mut(HCM).unwrap()["http_filters"] = filter(true);
    let mut context = Context::for_tests();
    let (loaded, _) = loaded(&bootstrap.to_string()).unwrap();
    loaded.static_resources(&mut context).unwrap();
    assert!(context.notes.take()[0].to_string().contains("acme.Guard"));
}

#[test]
fn the_overlay_is_merged_as_protobuf_merges() {
    let mut file = tempfile::NamedTempFile::with_suffix(".json").unwrap();
    write!(file, "{}", base()).unwrap();
    let overlay = r#"
        node: {id: other}
        static_resources:
          clusters:
          - {name: d, type: static, connect_timeout: 1s}
    "#;
    let (bootstrap, _) = load(&Options {
        config_path: Some(file.path()),
        config_yaml: Some(overlay),
        service_zone: "z",
        ..Options::default()
    })
    .unwrap();
    let parsed = bootstrap.static_resources(&mut Context::for_tests()).unwrap();
    let names: Vec<_> = parsed.clusters.iter().map(|(received, _)| &*received.name).collect();
    assert_eq!((names, parsed.listeners.len()), (vec!["c", "d"], 1));
    assert_eq!((&*bootstrap.node.id, &*bootstrap.node.locality.zone), ("other", "z"));
}

#[test]
fn ads_names_a_static_cluster_that_is_not_eds() {
    let ads = |cluster| {
        json!({
            "lds_config": {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"},
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{"envoy_grpc": {"cluster_name": cluster}}]
            }
        })
    };
    let mut bootstrap = base();
    bootstrap["dynamic_resources"] = ads("c");
    let (taken, _) = loaded(&bootstrap.to_string()).unwrap();
    taken.static_resources(&mut Context::for_tests()).unwrap();
    let grpc = taken.dynamic.ads.unwrap();
    assert!(grpc.delta && grpc.set_node_on_first_message_only);
    let listeners = taken.dynamic.listeners.unwrap();
    assert_eq!(
        (&listeners.specifier, listeners.initial_fetch_timeout),
        (&SourceSpecifier::Ads, None)
    );
    let said = rejected("/dynamic_resources", ads("nope"));
    assert!(
        said.starts_with("bootstrap: dynamic_resources.ads_config.grpc_services[0].envoy_grpc.cluster_name: \"nope\""),
        "{said}"
    );
}

#[test]
fn text_that_is_no_bootstrap_says_so() {
    assert!(loaded("[1]").unwrap_err().to_string().contains("holds no object"));
    assert!(
        loaded("a: [")
            .unwrap_err()
            .to_string()
            .contains("neither YAML nor JSON")
    );
    assert!(
        load(&Options::default())
            .unwrap_err()
            .to_string()
            .contains("give one with -c")
    );
    // A trailing comma is YAML's liberty.
    assert!(loaded("{\"node\": {\"id\": \"a\",},}").is_ok());
}

#[test]
fn stats_tags_with_look_ahead_are_taken_and_broken_ones_are_not() {
    let tag = |regex: &str| json!({"stats_config": {"stats_tags": [{"tag_name": "t", "regex": regex}]}}).to_string();
    assert!(loaded(&tag(r"^listener(?=\.).*?\.http\.(a)")).is_ok());
    let said = loaded(&tag("((")).unwrap_err().to_string();
    assert!(
        said.starts_with("bootstrap: stats_config.stats_tags[0].regex: "),
        "{said}"
    );
}
