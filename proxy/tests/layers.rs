//! Runtime layers of every kind, and config that is polled by REST, with Envoy as the referee.

// Modules of a test program are public to it alone.
#![allow(unreachable_pub)]

#[path = "layers/rest.rs"]
mod rest;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rest::{Answer, Server};
use serde_json::{Value, json};
use support::bootstrap::Bootstrap;
use support::{h1, peers, proxy::Proxy};

const LIMIT: Duration = Duration::from_secs(20);

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ours and Envoy.
fn both(test: &str) -> Option<[PathBuf; 2]> {
    Some([peers::pillion(test)?, peers::need(test, "envoy")?])
}

fn stats(proxy: &Proxy) -> BTreeMap<String, String> {
    let (_, text) = proxy.get("/stats?filter=^runtime\\.").unwrap();
    let pair = |line: &str| {
        line.split_once(": ")
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    text.lines().filter_map(pair).collect()
}

fn runtime(proxy: &Proxy) -> Value {
    let (status, body) = proxy.get("/runtime").unwrap();
    assert_eq!(status, 200);
    let mut shown: Value = serde_json::from_str(&body).unwrap();
    // Envoy prints structs in a form that differs from run to run on purpose.
    shown["entries"]
        .as_object_mut()
        .unwrap()
        .retain(|key, _| !key.starts_with("struct"));
    shown
}

/// A directory of values, with an override for the node's cluster, behind a symlink.
fn directories(dir: &Path) {
    let write = |path: &str, text: &str| {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("v1/a", "5\n");
    write("v1/sub/b", " hello\n");
    write("v1/sub/fraction", "numerator: 3\ndenominator: TEN_THOUSAND\n");
    write("v1/comment", "# a note\n7\n");
    write("v1/override/c9/a", "6");
    write("v2/a", "77");
    std::os::unix::fs::symlink("v1", dir.join("current")).unwrap();
}

/// What `/runtime`, `/runtime_modify` and the statistics say from step to step.
fn told(binary: &Path) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    directories(dir.path());
    let root = dir.path().join("current");
    let layers = json!([
        {"name": "base", "static_layer": {
            "a": 1, "s": "text", "t": true, "n": {"x": 1, "y": {"z": 2.25}}, "big": 12_345_678_901_u64, "neg": -4, "est": "",
            "struct": {"numerator": 20, "denominator": "HUNDRED"}, "struct2": {},
        }},
        {"name": "disk", "disk_layer": {"symlink_root": root}},
        {"name": "over", "disk_layer": {"symlink_root": root, "append_service_cluster": true, "subdirectory": "override"}},
        {"name": "adm", "admin_layer": {}},
    ]);
    let text =
        format!("admin: {{{{admin}}}}\nnode: {{id: node1, cluster: c9}}\nlayered_runtime: {{layers: {layers}}}\n");
    let bootstrap = Bootstrap::new(&text, dir.path(), "");
    let proxy = Proxy::start(binary, &bootstrap.text, dir.path());
    let mut told = vec![runtime(&proxy), json!(stats(&proxy))];
    for (method, path) in [
        ("POST", "/runtime_modify?a=9&new.key=hello&est="),
        ("GET", "/runtime_modify?a=9"),
        ("POST", "/runtime_modify"),
    ] {
        let (status, body) = match method {
            "POST" => proxy.post(path).unwrap(),
            _ => proxy.get(path).unwrap(),
        };
        told.push(json!([path, status, body]));
    }
    told.extend([runtime(&proxy), json!(stats(&proxy))]);
    proxy.post("/runtime_modify?a=&j=true").unwrap();
    told.push(runtime(&proxy));
    std::os::unix::fs::symlink("v2", dir.path().join("new")).unwrap();
    fs::rename(dir.path().join("new"), &root).unwrap();
    eventually("the directories are read again", || {
        runtime(&proxy)["entries"]["a"]["final_value"] == "77" && proxy.stat("runtime.load_success") >= 6
    });
    told.extend([runtime(&proxy), json!(stats(&proxy))]);
    told
}

#[test]
fn layers_are_what_envoy_takes_them_for() {
    let Some([ours, envoy]) = both("layers_are_what_envoy_takes_them_for") else {
        return;
    };
    for (ours, theirs) in told(&ours).iter().zip(&told(&envoy)) {
        assert_eq!(ours, theirs);
    }
}

#[test]
fn without_an_admin_layer_nothing_is_modified() {
    let Some([ours, envoy]) = both("without_an_admin_layer_nothing_is_modified") else {
        return;
    };
    let answers = [ours, envoy].map(|binary| {
        let dir = tempfile::tempdir().unwrap();
        let bootstrap = Bootstrap::new("admin: {{admin}}\n", dir.path(), "");
        let proxy = Proxy::start(&binary, &bootstrap.text, dir.path());
        proxy.post("/runtime_modify?a=1").unwrap()
    });
    assert_eq!(answers[0], answers[1]);
}

fn polled() -> Value {
    json!({"resource_api_version": "V3", "api_config_source": {
        "api_type": "REST", "transport_api_version": "V3", "cluster_names": ["xds"], "refresh_delay": "0.1s", "request_timeout": "5s",
    }})
}

fn typed(message: &str, mut resource: Value) -> Value {
    resource["@type"] = format!("type.googleapis.com/{message}").into();
    resource
}

fn layer(values: Value) -> Value {
    typed(
        "envoy.service.runtime.v3.Runtime",
        json!({"name": "remote", "layer": values}),
    )
}

fn ask(port: u16) -> Option<u16> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    Some(
        runtime
            .block_on(h1::ask(([127, 0, 0, 1], port).into(), request))?
            .status(),
    )
}

/// All kinds over REST; a route that a runtime key switches; what fails and what is rejected.
fn polls(binary: &Path) -> Value {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let cluster = json!({"name": "xds", "type": "STATIC", "load_assignment": {"cluster_name": "xds", "endpoints": [
        {"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": server.port}}}}]},
    ]}});
    let text = format!(
        "admin: {{{{admin}}}}\nnode: {{id: node1, cluster: c9}}\ndynamic_resources: {{cds_config: {0}, lds_config: {0}}}\n\
         layered_runtime: {{layers: [{{name: base, static_layer: {{a: 1}}}}, {{name: last, rtds_layer: {{name: remote, rtds_config: {0}}}}}]}}\n\
         static_resources: {{clusters: [{cluster}]}}\n# {{{{port:web}}}}",
        polled()
    );
    let bootstrap = Bootstrap::new(&text, dir.path(), "");
    let port = bootstrap.port("port:web");
    server.set(
        "runtime",
        Answer::Resources("r1", vec![layer(json!({"switch": 0, "a": 2}))]),
    );
    let eds = typed(
        "envoy.config.cluster.v3.Cluster",
        json!({
            "name": "api", "type": "EDS", "eds_cluster_config": {"eds_config": polled(), "service_name": "svc"},
        }),
    );
    server.set("clusters", Answer::Resources("c1", vec![eds]));
    let assignment = typed(
        "envoy.config.endpoint.v3.ClusterLoadAssignment",
        json!({"cluster_name": "svc"}),
    );
    server.set("endpoints", Answer::Resources("e1", vec![assignment]));
    let hcm = typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({
            "stat_prefix": "ingress",
            "rds": {"route_config_name": "routes", "config_source": polled()},
            "http_filters": [{"name": "router", "typed_config": typed("envoy.extensions.filters.http.router.v3.Router", json!({}))}],
        }),
    );
    let listener = typed(
        "envoy.config.listener.v3.Listener",
        json!({
            "name": "web",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
            "filter_chains": [{"filters": [{"name": "hcm", "typed_config": hcm}]}],
        }),
    );
    server.set("listeners", Answer::Resources("l1", vec![listener]));
    let switched =
        json!({"prefix": "/", "runtime_fraction": {"default_value": {"numerator": 0}, "runtime_key": "switch"}});
    let routes = |domains: Value| {
        typed(
            "envoy.config.route.v3.RouteConfiguration",
            json!({"name": "routes", "virtual_hosts": [{"name": "all", "domains": domains, "routes": [
                {"match": switched, "direct_response": {"status": 201}},
                {"match": {"prefix": "/"}, "direct_response": {"status": 202}},
            ]}]}),
        )
    };
    server.set("routes", Answer::Resources("d1", vec![routes(json!(["*"]))]));
    let proxy = Proxy::start(binary, &bootstrap.text, dir.path());
    let mut told = vec![json!(ask(port)), runtime(&proxy)];
    // The order in which kinds were first asked for, and what the requests said.
    let mut kinds: Vec<String> = Vec::new();
    for asked in server.asked() {
        let known = kinds.contains(&asked.kind);
        if !known {
            let header = |name: &str| asked.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
            told.push(json!([
                asked.kind,
                asked.body["type_url"],
                asked.body["resource_names"],
                asked.body["version_info"],
                asked.body["node"]["id"],
                header("content-type"),
                header("host"),
                header("x-envoy-internal"),
                header("x-envoy-expected-rq-timeout-ms")
            ]));
            kinds.push(asked.kind);
        }
    }
    server.set(
        "runtime",
        Answer::Resources(
            "r2",
            vec![layer(
                json!({"switch": {"numerator": 1_000_000, "denominator": "MILLION"}}),
            )],
        ),
    );
    eventually("the fraction follows the runtime", || ask(port) == Some(201));
    told.push(json!(runtime(&proxy)["entries"]["a"]));
    eventually("the version is said", || {
        server
            .asked()
            .iter()
            .any(|asked| asked.kind == "runtime" && asked.body["version_info"] == "r2")
    });
    // The last good one stays whatever comes next.
    server.set("runtime", Answer::Raw("nonsense"));
    proxy.wait_stat("runtime.update_rejected", |n| n > 0);
    server.set("runtime", Answer::Resources("r3", vec![layer(json!({"switch": [1]}))]));
    let rejected = proxy.stat("runtime.update_rejected");
    proxy.wait_stat("runtime.update_rejected", |n| n > rejected + 1);
    server.set("runtime", Answer::Status("304 Not Modified"));
    server.set("routes", Answer::Status("503 Service Unavailable"));
    proxy.wait_stat("http.ingress.rds.routes.update_failure", |n| n > 0);
    told.push(json!(ask(port)));
    let said = server
        .asked()
        .into_iter()
        .rfind(|asked| asked.kind == "runtime")
        .unwrap();
    told.push(json!(said.body["version_info"]));
    for (attempts, outcomes) in [
        (
            "cluster_manager.cds.update_attempt",
            [
                "cluster_manager.cds.update_success",
                "cluster_manager.cds.update_failure",
            ],
        ),
        (
            "cluster.api.update_attempt",
            ["cluster.api.update_success", "cluster.api.update_failure"],
        ),
    ] {
        eventually("every attempt has its outcome", || {
            proxy.stat(attempts) == outcomes.iter().map(|name| proxy.stat(name)).sum::<u64>()
        });
    }
    server.set("routes", Answer::Resources("d2", vec![routes(json!(["b"]))]));
    eventually("it goes on where the server is back", || ask(port) == Some(404));
    json!(told)
}

#[test]
fn rest_sources_are_polled_as_envoy_polls_them() {
    let Some([ours, envoy]) = both("rest_sources_are_polled_as_envoy_polls_them") else {
        return;
    };
    let (ours, theirs) = (polls(&ours), polls(&envoy));
    assert_eq!(ours, theirs, "\n{ours:#}\n{theirs:#}");
}

/// A listener with two filters whose configs come from files: one without a default, one with one that it need not wait for.
fn discovered(binary: &Path) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, version: &str, resources: Value| {
        let new = dir.path().join("new");
        fs::write(
            &new,
            json!({"version_info": version, "resources": resources}).to_string(),
        )
        .unwrap();
        fs::rename(&new, dir.path().join(name)).unwrap();
    };
    let filter = |name: &str| format!("envoy.extensions.filters.http.{name}");
    let config = |name: &str, message: &str| {
        json!([typed(
            "envoy.config.core.v3.TypedExtensionConfig",
            json!({"name": name, "typed_config": typed(&filter(message), json!({}))})
        )])
    };
    let url = |message: &str| format!("type.googleapis.com/{}", filter(message));
    let discovery = |file: &str| {
        json!({
            "config_source": {"resource_api_version": "V3", "initial_fetch_timeout": "1s", "path_config_source": {"path": dir.path().join(file)}},
            "type_urls": [url("fault.v3.HTTPFault")],
        })
    };
    let mut defaulted = discovery("f2");
    defaulted["type_urls"] = json!([url("fault.v3.HTTPFault"), url("cors.v3.Cors")]);
    defaulted["default_config"] = typed(&filter("cors.v3.Cors"), json!({}));
    defaulted["apply_default_config_without_warming"] = true.into();
    let hcm = typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({
            "stat_prefix": "ingress",
            "route_config": {"name": "r", "virtual_hosts": [{"name": "a", "domains": ["*"], "routes": [
                {"match": {"prefix": "/"}, "direct_response": {"status": 200}},
            ]}]},
            "access_log": [{"name": "file", "typed_config": typed("envoy.extensions.access_loggers.file.v3.FileAccessLog", json!({
                "path": dir.path().join("access"),
                "log_format": {"text_format_source": {"inline_string": "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\n"}},
            }))}],
            "http_filters": [
                {"name": "f1", "config_discovery": discovery("f1")},
                {"name": "f2", "config_discovery": defaulted},
                {"name": "router", "typed_config": typed("envoy.extensions.filters.http.router.v3.Router", json!({}))},
            ],
        }),
    );
    let listener = json!({"name": "web", "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": hcm}]}]});
    let text = format!(
        "admin: {{{{admin}}}}\nnode: {{id: node1, cluster: c9}}\n# {{{{port:web}}}}\nstatic_resources: {{listeners: [{listener}]}}\n"
    );
    let bootstrap = Bootstrap::new(&text, dir.path(), "");
    let port = bootstrap.port("port:web");
    let text = bootstrap
        .text
        .replace("\"port_value\":0", &format!("\"port_value\":{port}"));
    put("f1", "v0", json!([]));
    put("f2", "v0", json!([]));
    let proxy = Proxy::start(binary, &text, dir.path());
    let stat = |name: &str| proxy.stat(&format!("extension_config_discovery.http_filter.{name}"));
    let mut told = Vec::new();
    for (what, version, resources, done) in [
        ("nothing came", "v0", json!([]), "f1.config_fail"),
        ("a config", "v1", config("f1", "fault.v3.HTTPFault"), "f1.config_reload"),
        (
            "a type that is not allowed",
            "v2",
            config("f1", "cors.v3.Cors"),
            "f1.config_fail",
        ),
        (
            "another's config",
            "v3",
            config("fx", "fault.v3.HTTPFault"),
            "f1.config_fail",
        ),
        ("no config", "v4", json!([]), "f1.config_fail"),
    ] {
        if version != "v0" {
            let before = stat(done);
            put("f1", version, resources);
            eventually(what, || stat(done) > before);
        }
        let (_, text) = proxy.get("/stats?filter=^extension_config_discovery").unwrap();
        let stats: Vec<&str> = text
            .lines()
            .filter(|line| {
                ["update_time", "update_duration", "version_text"]
                    .iter()
                    .all(|own| !line.contains(own))
            })
            .collect();
        let (_, dump) = proxy.get("/config_dump?resource=ecds_filters").unwrap();
        let mut dump: Value = serde_json::from_str(&dump).unwrap();
        if dump["configs"].is_null() {
            dump["configs"] = json!([]);
        }
        for shown in dump["configs"].as_array_mut().into_iter().flatten() {
            let shown = shown.as_object_mut().unwrap();
            shown.remove("last_updated").unwrap();
            // Ours shows what was rejected, too.
            shown.remove("error_state");
        }
        told.push(json!([what, ask(port), stats, dump]));
    }
    let log = dir.path().join("access");
    eventually("lines of every request", || {
        fs::read_to_string(&log).unwrap_or_default().lines().count() >= 5
    });
    told.push(fs::read_to_string(&log).unwrap().into());
    json!(told)
}

#[test]
fn filters_are_filled_as_envoy_fills_them() {
    let Some([ours, envoy]) = both("filters_are_filled_as_envoy_fills_them") else {
        return;
    };
    let (ours, theirs) = (discovered(&ours), discovered(&envoy));
    assert_eq!(ours, theirs, "\n{ours:#}\n{theirs:#}");
}
