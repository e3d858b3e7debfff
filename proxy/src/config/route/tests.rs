use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    super::from_json::{parsed, patched},
    *,
};
use crate::route::{
    Action, RetryPolicy, RouteAction,
    action::{HashInput, HostRewrite, PathRewrite, RedirectPath, RetryOn, Target},
    matcher::{HeaderCondition, HeaderField, PathMatch},
};

fn parse_json(json: &Value) -> Result<ParsedRouteConfiguration, String> {
    parsed(TYPE, json, parse).0
}

/// A configuration of one virtual host with one route.
fn one(route: &Value) -> Value {
    let route = patched(json!({"match": {"prefix": "/"}}), route);
    json!({"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]})
}

fn taken(route: Value) -> crate::route::Route {
    let parsed = parse_json(&one(&route)).unwrap();
    let mut hosts = parsed.routes.virtual_hosts;
    let host = Arc::try_unwrap(hosts.remove(0)).unwrap();
    Arc::try_unwrap(host.routes.into_iter().next().unwrap()).unwrap()
}

fn refused(route: Value) -> String {
    parse_json(&one(&route)).unwrap_err()
}

fn forwarded(patch: Value) -> RouteAction {
    match taken(json!({"route": patched(json!({"cluster": "c"}), &patch)})).action {
        Action::Route(action) => *action,
        other => panic!("{other:?}"),
    }
}

#[test]
fn hosts_are_indexed_in_the_order_of_their_search() {
    let host = |name: &str, domains: &[&str]| json!({"name": name, "domains": domains});
    let parsed = parse_json(&json!({"name": "r", "virtual_hosts": [
        host("exact", &["A.example", "b*c"]),
        host("suffix", &["*.example", "*.a.example"]),
        host("prefix", &["www.*", "w*"]),
        host("any", &["*"])
    ]}))
    .unwrap();
    let index = &parsed.routes.hosts;
    assert_eq!(
        (index.exact.get("a.example"), index.exact.get("b*c")),
        (Some(&0), Some(&0))
    );
    assert_eq!(index.suffixes, [(".a.example".into(), 1), (".example".into(), 1)]);
    assert_eq!(index.prefixes, [("www.".into(), 2), ("w".into(), 2)]);
    assert_eq!(index.any, Some(3));
    let twice = json!({"name": "r", "virtual_hosts": [host("a", &["X"]), host("b", &["y", "x"])]});
    let said = parse_json(&twice).unwrap_err();
    assert!(
        said.starts_with("route configuration \"r\": virtual_hosts[1].domains[1]: \"x\" already stands in"),
        "{said}"
    );
}

#[test]
fn matches() {
    let route = taken(json!({
        "match": {
            "prefix": null,
            "path_separated_prefix": "/a/b",
            "case_sensitive": false,
            "headers": [{"name": "Host", "string_match": {"suffix": "x"}}, {"name": "x-n", "range_match": {"start": 1, "end": 3}}],
            "query_parameters": [{"name": "q", "present_match": true}],
            "cookies": [{"name": "k", "string_match": {"exact": "v"}, "invert_match": true}],
            "runtime_fraction": {"default_value": {"numerator": 30}, "runtime_key": "k"},
            "grpc": {},
            "tls_context": {"presented": true}
        },
        "direct_response": {"status": 404}
    }));
    let m = &route.matches;
    assert!(matches!(&m.path, PathMatch::PathSeparatedPrefix(p) if &**p == "/a/b"));
    assert!(!m.case_sensitive && m.grpc_only && m.cookies[0].invert);
    assert_eq!(m.headers[0].name, HeaderField::Authority);
    assert!(matches!(
        m.headers[1].condition,
        HeaderCondition::Range { start: 1, end: 3 }
    ));
    assert_eq!(m.runtime_fraction.as_ref().unwrap().default_millionths, 300_000);
    for (patch, said) in [
        (
            json!({"prefix": null, "path_separated_prefix": "/a/"}),
            "path_separated_prefix",
        ),
        (
            json!({"prefix": null, "safe_regex": {"regex": "/a("}}),
            "safe_regex.regex: \"/a(\" is no regular expression",
        ),
        (
            json!({"prefix": null, "path_match_policy": {
                "name": "u", "typed_config": {"@type": "type.googleapis.com/acme.Path"}
            }}),
            "path_match_policy.typed_config.@type: the path matcher acme.Path is not known",
        ),
    ] {
        let refusal = refused(json!({"match": patch, "direct_response": {"status": 200}}));
        assert!(refusal.contains(said), "{refusal}");
    }
}

#[test]
fn forwarding_has_envoys_defaults() {
    let action = forwarded(json!({}));
    assert!(matches!(&action.target, Target::Cluster(name) if &**name == "c"));
    assert_eq!(action.timeout, Some(Duration::from_secs(15)));
    assert_eq!(action.cluster_not_found, StatusCode::SERVICE_UNAVAILABLE);
    assert!(action.idle_timeout.is_none() && action.retry.is_none() && action.max_grpc_timeout.is_none());
    let action = forwarded(json!({"timeout": "0s", "idle_timeout": "0s", "max_grpc_timeout": "0s"}));
    assert_eq!((action.timeout, action.idle_timeout), (None, Some(Duration::ZERO)));
    assert_eq!(action.max_grpc_timeout, Some(Duration::ZERO));
}

#[test]
fn weights() {
    let weighted = |clusters: Value| json!({"route": {"weighted_clusters": {"clusters": clusters}}});
    let Action::Route(action) = taken(weighted(
        json!([{"name": "a", "weight": 1}, {"name": "b", "weight": 3}]),
    ))
    .action
    else {
        panic!("a forwarding route")
    };
    assert!(matches!(&action.target, Target::Weighted(w) if w.total_weight == 4 && &*w.clusters[1].name == "b"));
    let path = "virtual_hosts[0].routes[0].route.weighted_clusters.clusters";
    for (clusters, said) in [
        (
            json!([{"name": "a", "weight": 0}]),
            ": the sum of the weights must be more than 0",
        ),
        (
            json!([{"name": "a", "weight": 4_294_967_295_u32}, {"name": "b", "weight": 1}]),
            ": the sum of the weights, 4294967296",
        ),
        (json!([{"name": "a"}]), "[0].weight: is required"),
        (
            json!([{"name": "a", "cluster_header": "h", "weight": 1}]),
            "[0].cluster_header: stands beside name",
        ),
    ] {
        let refusal = refused(weighted(clusters));
        assert!(refusal.contains(&format!("{path}{said}")), "{refusal}");
    }
}

#[test]
fn connect_may_end_here() {
    let action = forwarded(json!({
        "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {"allow_post": true}}]
    }));
    assert!(action.terminates(&http::Method::CONNECT) && action.terminates(&http::Method::POST));
    assert!(!action.terminates(&http::Method::GET));
    let forwarded = forwarded(json!({"upgrade_configs": [{"upgrade_type": "CONNECT"}]}));
    assert!(!forwarded.terminates(&http::Method::CONNECT));
}

#[test]
fn rewrites_and_hashes() {
    let action = forwarded(json!({
        "regex_rewrite": {"pattern": {"regex": "^/a(.*)$"}, "substitution": "\\1"},
        "host_rewrite_header": "x-host",
        "hash_policy": [
            {"header": {"header_name": "x-h"}, "terminal": true},
            {"cookie": {"name": "k", "ttl": "0s"}},
            {"connection_properties": {"source_ip": false}}
        ],
        "upgrade_configs": [{"upgrade_type": "WebSocket", "enabled": false}]
    }));
    assert!(matches!(action.path_rewrite, Some(PathRewrite::Regex(_))));
    assert!(matches!(action.host_rewrite, Some(HostRewrite::Header(_))));
    assert_eq!(action.upgrades[..], [("websocket".into(), false)]);
    assert_eq!(action.hash_policy.len(), 2);
    assert!(action.hash_policy[0].terminal);
    assert!(matches!(
        &action.hash_policy[1].input,
        HashInput::Cookie {
            ttl: Some(Duration::ZERO),
            ..
        }
    ));
    let both = json!({"route": {"cluster": "c", "prefix_rewrite": "/", "regex_rewrite": {"pattern": {"regex": "a"}}}});
    assert!(refused(both).contains("route.regex_rewrite: stands beside prefix_rewrite"));
}

#[test]
fn retries() {
    let retry = |patch: Value| forwarded(json!({"retry_policy": patch})).retry.unwrap();
    let policy: Arc<RetryPolicy> = retry(json!({"retry_on": "5xx,connect-failure,nonsense"}));
    assert_eq!(
        (policy.num_retries, policy.back_off_base),
        (1, Duration::from_millis(25))
    );
    assert_eq!(policy.back_off_max, Duration::from_millis(250));
    assert!(policy.retry_on.has(RetryOn::CONNECT_FAILURE) && !policy.retry_on.has(RetryOn::RESET));
    let policy = retry(json!({
        "num_retries": 0,
        "retry_back_off": {"base_interval": "0.0001s"},
        "per_try_timeout": "0s",
        "host_selection_retry_max_attempts": 5,
        "retry_host_predicate": [{
            "name": "p",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"}
        }]
    }));
    assert_eq!(
        (policy.num_retries, policy.back_off_base),
        (0, Duration::from_millis(1))
    );
    assert!(policy.avoid_previous_hosts && policy.per_try_timeout.is_none());
    assert_eq!(policy.host_selection_max_attempts, 5);
    let unknown = refused(
        json!({"route": {"cluster": "c", "retry_policy": {"retry_host_predicate": [
            {"name": "x", "typed_config": {"@type": "type.googleapis.com/acme.Predicate"}}
        ]}}}),
    );
    assert!(
        unknown.contains("the retry host predicate acme.Predicate is not known"),
        "{unknown}"
    );
}

#[test]
fn a_virtual_hosts_retry_policy_is_that_of_its_routes() {
    let mut config = one(&json!({"route": {"cluster": "c"}}));
    config["virtual_hosts"][0]["retry_policy"] = json!({"retry_on": "reset", "num_retries": 4});
    let parsed = parse_json(&config).unwrap();
    let Action::Route(action) = &parsed.routes.virtual_hosts[0].routes[0].action else {
        panic!("a forwarding route")
    };
    assert_eq!(action.retry.as_ref().unwrap().num_retries, 4);
}

#[test]
fn redirects_and_direct_responses() {
    let redirect = json!({"redirect": {"https_redirect": true, "prefix_rewrite": "/x", "response_code": "SEE_OTHER"}});
    let Action::Redirect(redirect) = taken(redirect).action else {
        panic!("a redirect")
    };
    assert_eq!((redirect.https, redirect.code), (true, StatusCode::SEE_OTHER));
    assert!(matches!(&redirect.path, RedirectPath::Prefix(p) if &**p == "/x"));
    let Action::DirectResponse(direct) =
        taken(json!({"direct_response": {"status": 418, "body": {"inline_string": "tea"}}})).action
    else {
        panic!("a direct response")
    };
    assert_eq!((direct.status.as_u16(), &direct.body[..]), (418, &b"tea"[..]));
    let long = refused(json!({"direct_response": {"status": 200, "body": {"inline_string": "x".repeat(4097)}}}));
    assert!(
        long.contains("direct_response.body: 4097 bytes are more than the 4096 allowed"),
        "{long}"
    );
}

#[test]
fn headers_that_routes_own_are_not_edited() {
    for name in ["host", "Host", ":path"] {
        let add = json!({"request_headers_to_add": [{"header": {"key": name, "value": "x"}}], "direct_response": {"status": 200}});
        let said = refused(add);
        assert!(
            said.contains("request_headers_to_add[0].header.key") && said.contains("may not be modified"),
            "{said}"
        );
    }
    let both = json!({
        "response_headers_to_add": [{"header": {"key": "a"}, "append": true, "append_action": "ADD_IF_ABSENT"}],
        "direct_response": {"status": 200}
    });
    assert!(refused(both).contains("response_headers_to_add[0].append: is set beside append_action"));
}

#[test]
fn clusters_are_required_only_where_that_is_asked_for() {
    let mut config = one(&json!({"route": {"cluster": "c", "request_mirror_policies": [{"cluster": "m"}]}}));
    assert!(parse_json(&config).unwrap().dependencies.clusters.is_empty());
    config["validate_clusters"] = json!(true);
    let dependencies = parse_json(&config).unwrap().dependencies;
    let names: Vec<_> = dependencies.clusters.iter().map(|c| &*c.name).collect();
    assert_eq!(names, ["c", "m"]);
    let rejection = dependencies.check_clusters(|name| name == "c").unwrap_err();
    assert_eq!(
        &*rejection.path,
        "virtual_hosts[0].routes[0].route.request_mirror_policies[0].cluster"
    );
}

#[test]
fn config_for_a_filter_that_is_not_known_is_refused_unless_it_is_optional() {
    let per_filter =
        |config: Value| json!({"direct_response": {"status": 200}, "typed_per_filter_config": {"f": config}});
    let guard = json!({"@type": "type.googleapis.com/acme.Guard"});
    let wrapped = |optional| {
        json!({
            "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": guard.clone(), "is_optional": optional
        })
    };
    assert!(
        refused(per_filter(guard.clone()))
            .contains("typed_per_filter_config[\"f\"].@type: the per-route filter config acme.Guard")
    );
    assert!(refused(per_filter(wrapped(false))).contains("typed_per_filter_config[\"f\"].config.@type"));
    taken(per_filter(wrapped(true)));
    taken(per_filter(
        json!({"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true}),
    ));
}
