//! Where config comes from, over real sockets: streams of one type, one per secret, over TLS, from files; key material that
//! is rotated; what the admin interface then shows.

// Modules of a test program are public to it alone.
#![allow(unreachable_pub)]

#[path = "xds/binding.rs"]
mod binding;
#[path = "xds/cut.rs"]
mod cut;
#[path = "xds/identity.rs"]
mod identity;
#[path = "xds/late.rs"]
mod late;
#[path = "xds/server.rs"]
mod server;
mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use certs::ca::{CertificateAuthority, Issued, Template};
use pillion::control::interest::Kind;
use serde_json::{Value, json};
use server::Server;
use support::bootstrap::Bootstrap;
use support::{h1, peers, proxy::Proxy};

const LIMIT: Duration = Duration::from_secs(20);

fn issue(ca: &CertificateAuthority, name: &str) -> Issued {
    let mut template = Template::lasting(Duration::from_secs(3600));
    template.dns_names.push(name.to_owned());
    ca.issue(&template).unwrap()
}

fn certificate(name: &str, issued: &Issued) -> Value {
    json!({"name": name, "tls_certificate": {
        "certificate_chain": {"inline_string": issued.chain_pem},
        "private_key": {"inline_string": issued.key_pem},
    }})
}

fn trusted(name: &str, ca: &CertificateAuthority) -> Value {
    json!({"name": name, "validation_context": {"trusted_ca": {"inline_string": ca.bundle_pem()}}})
}

/// A cluster `xds` whose one endpoint is the server; `more` stands in it too.
fn xds_cluster(address: &str, more: &str) -> String {
    format!(
        r#"
  - name: xds
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment: {{cluster_name: xds, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {address}}}}}]}}]}}
    {more}
"#
    )
}

fn own_stream() -> Value {
    json!({"resource_api_version": "V3", "api_config_source": {
        "api_type": "GRPC", "transport_api_version": "V3", "set_node_on_first_message_only": true,
        "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
    }})
}

fn hcm(routes: Value) -> Value {
    let mut config = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "ingress",
        "http_filters": [{"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
    });
    config
        .as_object_mut()
        .unwrap()
        .extend(routes.as_object().unwrap().clone());
    json!([{"name": "hcm", "typed_config": config}])
}

fn answering(body: &str) -> Value {
    json!({"name": "routes", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": body}}},
    ]}]})
}

fn ask(port: u16) -> Option<(u16, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let response = runtime.block_on(h1::ask(([127, 0, 0, 1], port).into(), request))?;
    Some((response.status(), String::from_utf8_lossy(&response.body).into_owned()))
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The DNS name of the certificate that a TLS listener presents.
fn presented(port: u16) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let context = certs::ClientContext::new(certs::ClientSettings::new()).unwrap();
        let socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        let stream = context.connect(socket, certs::ConnectOptions::default()).await.ok()?;
        let peer = stream.peer()?;
        peer.certificate.dns_names().next().map(str::to_owned)
    })
}

fn dump(proxy: &Proxy, query: &str) -> Value {
    let (status, body) = proxy.get(&format!("/config_dump{query}")).unwrap();
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

fn section(dump: &Value, name: &str) -> Value {
    let sections = dump["configs"].as_array().unwrap();
    let found = sections
        .iter()
        .find(|s| s["@type"].as_str().unwrap().ends_with(&format!(".{name}")));
    found.unwrap_or_else(|| panic!("no {name} in {dump}")).clone()
}

fn tls_listener(port: &str, common: &Value) -> String {
    let context = json!({"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", "common_tls_context": common});
    format!(
        r#"
  listeners:
  - name: tls
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - transport_socket: {{name: tls, typed_config: {context}}}
      filters: {}
"#,
        hcm(json!({"route_config": answering("hello")}))
    )
}

#[test]
fn each_secret_has_a_stream_of_its_own() {
    let Some(binary) = peers::pillion("each_secret_has_a_stream_of_its_own") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("sds.sock");
    let server = Server::unix(&socket);
    let ca = CertificateAuthority::root("root").unwrap();
    server.set(
        Kind::Secret.type_url(),
        &certificate("default", &issue(&ca, "first.test")),
    );
    server.set(Kind::Secret.type_url(), &trusted("ROOTCA", &ca));
    let secret = |name: &str| json!({"name": name, "sds_config": own_stream()});
    let common = json!({
        "tls_certificate_sds_secret_configs": [secret("default")],
        "validation_context_sds_secret_config": secret("ROOTCA"),
    });
    let template = format!(
        "admin: {{{{admin}}}}\nnode: {{id: sidecar, cluster: test}}\nstatic_resources:\n  clusters:{}{}",
        xds_cluster(&format!("{{pipe: {{path: {}}}}}", socket.display()), ""),
        tls_listener("{{port:tls}}", &common)
    );
    let bootstrap = Bootstrap::new(&template, dir.path(), "");
    let proxy = Proxy::start(&binary, &bootstrap.text, dir.path());

    let streams = server.open("StreamSecrets");
    assert_eq!(streams.len(), 2, "{streams:#?}");
    let mut names: Vec<_> = streams.iter().map(|s| s.requests[0].resource_names.clone()).collect();
    names.sort();
    assert_eq!(names, [["ROOTCA"], ["default"]]);
    server.wait("both are acknowledged", |s| {
        s.open("StreamSecrets").iter().all(|s| s.requests.len() >= 2)
    });
    for stream in server.open("StreamSecrets") {
        assert!(!stream.requests[0].node.is_empty(), "the first request names the node");
        assert!(
            stream.requests[1..].iter().all(|request| request.node.is_empty()),
            "{stream:#?}"
        );
        assert!(
            stream.requests.iter().all(|request| request.error_detail.is_none()),
            "{stream:#?}"
        );
    }
    let port = bootstrap.port("port:tls");
    assert_eq!(presented(port).as_deref(), Some("first.test"));

    server.set(
        Kind::Secret.type_url(),
        &certificate("default", &issue(&ca, "second.test")),
    );
    eventually("the new certificate is presented", || {
        presented(port).as_deref() == Some("second.test")
    });
    assert_eq!(proxy.stat("sds.default.update_success"), 2);
    assert_eq!(proxy.stat("sds.ROOTCA.update_success"), 1);

    let mut broken = certificate("default", &issue(&ca, "third.test"));
    broken["tls_certificate"]["private_key"] = json!({"inline_string": issue(&ca, "other.test").key_pem});
    server.set(Kind::Secret.type_url(), &broken);
    proxy.wait_stat("sds.default.update_rejected", |n| n == 1);
    assert_eq!(
        presented(port).as_deref(),
        Some("second.test"),
        "the last good one stays"
    );
    let dump = dump(&proxy, "");
    let secrets = section(&dump, "SecretsConfigDump");
    let active = secrets["dynamic_active_secrets"].as_array().unwrap();
    let default = active.iter().find(|s| s["name"] == "default").unwrap();
    let details = default["error_state"]["details"].as_str().unwrap();
    assert!(details.contains("private_key"), "{details}");
    assert!(
        !dump.to_string().contains("PRIVATE KEY"),
        "a private key left the process"
    );
    let (_, certs) = proxy.get("/certs").unwrap();
    assert!(certs.contains("second.test"), "{certs}");
}

#[test]
fn types_have_streams_of_their_own() {
    let Some(binary) = peers::pillion("types_have_streams_of_their_own") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let server = Server::tcp(None);
    let template = format!(
        "admin: {{{{admin}}}}\nnode: {{id: sidecar, cluster: test}}\ndynamic_resources: {{cds_config: {0}, lds_config: {0}}}\n\
         static_resources:\n  clusters:{1}# {{{{port:web}}}}",
        own_stream(),
        xds_cluster(&socket_address(&server), "")
    );
    let bootstrap = Bootstrap::new(&template, dir.path(), "");
    let port = bootstrap.port("port:web");
    server.set(
        Kind::Cluster.type_url(),
        &json!({
            "name": "api", "type": "EDS", "eds_cluster_config": {"eds_config": own_stream(), "service_name": "svc"},
        }),
    );
    server.set(
        Kind::Endpoints.type_url(),
        &json!({"cluster_name": "svc", "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 9}}}},
        ]}]}),
    );
    let listener = |routes: &str| {
        json!({
            "name": "web",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
            "filter_chains": [{"filters": hcm(json!({"rds": {"route_config_name": routes, "config_source": own_stream()}}))}],
        })
    };
    server.set(Kind::Listener.type_url(), &listener("routes"));
    server.set(Kind::Routes.type_url(), &answering("one"));
    let proxy = Proxy::start(&binary, &bootstrap.text, dir.path());
    assert_eq!(ask(port), Some((200, "one".to_owned())));
    for method in ["StreamClusters", "StreamEndpoints", "StreamListeners", "StreamRoutes"] {
        assert_eq!(server.open(method).len(), 1, "{method}: {:#?}", server.streams());
    }
    server.set(Kind::Routes.type_url(), &answering("two"));
    eventually("new routes", || ask(port) == Some((200, "two".to_owned())));
    for (stat, least) in [
        ("cluster_manager.cds.update_success", 1),
        ("listener_manager.lds.update_success", 1),
        ("cluster.api.update_success", 1),
        ("http.ingress.rds.routes.update_success", 2),
        ("cluster_manager.cds.control_plane.connected_state", 1),
    ] {
        assert!(proxy.stat(stat) >= least, "{stat}");
    }
    assert!(proxy.stat("control_plane.config_age_seconds") < 20);

    let mut bad = listener("routes");
    bad["filter_chains"][0]["filters"][0]["typed_config"]["@type"] =
        json!("type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager");
    bad["filter_chains"][0]["filters"][0]["typed_config"]["stat_prefix"] = json!("");
    server.set(Kind::Listener.type_url(), &bad);
    proxy.wait_stat("listener_manager.lds.update_rejected", |n| n >= 1);
    let shown = dump(&proxy, "?include_eds");
    let listeners = section(&shown, "ListenersConfigDump");
    let web = &listeners["dynamic_listeners"][0];
    assert_eq!(web["name"], "web");
    assert!(web["active_state"]["version_info"].is_string(), "{web}");
    assert!(
        web["error_state"]["details"].as_str().unwrap().contains("stat_prefix"),
        "{web}"
    );
    let clusters = section(&shown, "ClustersConfigDump");
    assert_eq!(clusters["dynamic_active_clusters"][0]["cluster"]["name"], "api");
    assert_eq!(clusters["static_clusters"][0]["cluster"]["name"], "xds");
    let routes = section(&shown, "RoutesConfigDump");
    assert_eq!(routes["dynamic_route_configs"][0]["route_config"]["name"], "routes");
    let endpoints = section(&shown, "EndpointsConfigDump");
    assert_eq!(
        endpoints["dynamic_endpoint_configs"][0]["endpoint_config"]["cluster_name"],
        "svc"
    );

    server.set(Kind::Listener.type_url(), &listener("routes"));
    server.remove(Kind::Cluster.type_url(), "api");
    server.wait("nobody asks for endpoints", |s| s.open("StreamEndpoints").is_empty());
    eventually("it is gone from the dump", || {
        section(&dump(&proxy, ""), "ClustersConfigDump")
            .get("dynamic_active_clusters")
            .is_none()
    });
}

fn socket_address(server: &Server) -> String {
    let port = server.address.unwrap().port();
    format!("{{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}")
}

#[test]
fn the_control_plane_speaks_tls() {
    let Some(binary) = peers::pillion("the_control_plane_speaks_tls") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let ca = CertificateAuthority::root("root").unwrap();
    let tls = certs::ServerContext::new(certs::ServerSettings {
        alpn: vec![b"h2".to_vec()],
        require_client_certificate: true,
        validation: Some(Arc::new(certs::Validation {
            trust: Some(certs::Trust::Bundle(Arc::new(ca.bundle().unwrap()))),
            ..certs::Validation::default()
        })),
        ..certs::ServerSettings::new(vec![issue(&ca, "xds.test").identity().unwrap()])
    });
    let server = Server::tcp(Some(tls.unwrap()));
    let own = issue(&ca, "sidecar.test");
    for (file, text) in [
        ("chain.pem", &own.chain_pem),
        ("key.pem", &own.key_pem),
        ("ca.pem", &ca.bundle_pem().to_owned()),
    ] {
        std::fs::write(dir.path().join(file), text).unwrap();
    }
    let file = |name: &str| json!({"filename": dir.path().join(name)});
    let context = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": "xds.test",
        "common_tls_context": {
            "tls_certificates": [{"certificate_chain": file("chain.pem"), "private_key": file("key.pem")}],
            "validation_context": {"trusted_ca": file("ca.pem"), "match_typed_subject_alt_names": [
                {"san_type": "DNS", "matcher": {"exact": "xds.test"}},
            ]},
        },
    });
    let template = format!(
        "admin: {{{{admin}}}}\nnode: {{id: sidecar, cluster: test}}\ndynamic_resources:\n  \
         ads_config: {{api_type: GRPC, transport_api_version: V3, grpc_services: [{{envoy_grpc: {{cluster_name: xds}}}}]}}\n  \
         cds_config: {{ads: {{}}, resource_api_version: V3}}\nstatic_resources:\n  clusters:{}",
        xds_cluster(
            &socket_address(&server),
            &format!("transport_socket: {{name: tls, typed_config: {context}}}")
        )
    );
    server.set(Kind::Cluster.type_url(), &json!({"name": "api", "type": "STATIC"}));
    let bootstrap = Bootstrap::new(&template, dir.path(), "");
    let proxy = Proxy::start(&binary, &bootstrap.text, dir.path());
    assert_eq!(server.open("StreamAggregatedResources").len(), 1);
    assert_eq!(proxy.stat("control_plane.connected_state"), 1);
    assert!(proxy.get("/clusters").unwrap().1.contains("api::added_via_api::true"));
}

#[test]
fn files_are_sources_too() {
    let Some(binary) = peers::pillion("files_are_sources_too") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str, type_url: &str, resources: &[Value]| {
        let typed: Vec<Value> = resources
            .iter()
            .map(|resource| {
                let mut typed = json!({"@type": type_url});
                typed
                    .as_object_mut()
                    .unwrap()
                    .extend(resource.as_object().unwrap().clone());
                typed
            })
            .collect();
        let new = dir.path().join("new");
        std::fs::write(&new, json!({"version_info": "f1", "resources": typed}).to_string()).unwrap();
        std::fs::rename(&new, dir.path().join(name)).unwrap();
    };
    let from = |name: &str| {
        json!({"resource_api_version": "V3", "path_config_source": {
            "path": dir.path().join(name), "watched_directory": {"path": dir.path()},
        }})
    };
    let ca = CertificateAuthority::root("root").unwrap();
    let template = format!(
        "admin: {{{{admin}}}}\nnode: {{id: sidecar, cluster: test}}\n\
         dynamic_resources: {{cds_config: {}, lds_config: {{path: {}/lds.json, resource_api_version: V3}}}}\n# {{{{port:web}}}}",
        from("cds.yaml"),
        dir.path().display()
    );
    let bootstrap = Bootstrap::new(&template, dir.path(), "");
    let port = bootstrap.port("port:web");
    let secret = json!({"name": "default", "sds_config": from("sds.json")});
    let listener = json!({
        "name": "web",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{
            "filters": hcm(json!({"rds": {"route_config_name": "routes", "config_source": from("rds.json")}})),
            "transport_socket": {"name": "tls", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {"tls_certificate_sds_secret_configs": [secret]},
            }},
        }],
    });
    let cluster =
        |name: &str| json!({"name": name, "type": "EDS", "eds_cluster_config": {"eds_config": from("eds.json")}});
    place("cds.yaml", Kind::Cluster.type_url(), &[cluster("a"), cluster("b")]);
    place(
        "eds.json",
        Kind::Endpoints.type_url(),
        &[
            json!({"cluster_name": "a"}),
            json!({"cluster_name": "b"}),
            json!({"cluster_name": "c"}),
        ],
    );
    place("lds.json", Kind::Listener.type_url(), &[listener]);
    place("rds.json", Kind::Routes.type_url(), &[answering("from a file")]);
    place(
        "sds.json",
        Kind::Secret.type_url(),
        &[certificate("default", &issue(&ca, "first.test"))],
    );
    let proxy = Proxy::start(&binary, &bootstrap.text, dir.path());
    assert_eq!(presented(port).as_deref(), Some("first.test"));
    place(
        "sds.json",
        Kind::Secret.type_url(),
        &[certificate("default", &issue(&ca, "second.test"))],
    );
    eventually("the replaced secret", || {
        presented(port).as_deref() == Some("second.test")
    });
    place("cds.yaml", Kind::Cluster.type_url(), &[cluster("a")]);
    eventually("the removed cluster", || {
        !proxy.get("/clusters").unwrap().1.contains("b::")
    });
    assert!(proxy.get("/clusters").unwrap().1.contains("a::added_via_api::true"));
}

/// `watched_directory` of a static context, and a secret of SDS that names files without one.
#[test]
fn key_files_are_rotated() {
    let Some(binary) = peers::pillion("key_files_are_rotated") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let ca = CertificateAuthority::root("root").unwrap();
    let write = |folder: &Path, name: &str| {
        let issued = issue(&ca, name);
        for (file, text) in [("key.pem", &issued.key_pem), ("chain.pem", &issued.chain_pem)] {
            let new = folder.join("new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(&new, folder.join(file)).unwrap();
        }
    };
    let folders = ["watched", "left", "sds"].map(|name| dir.path().join(name));
    for folder in &folders {
        std::fs::create_dir(folder).unwrap();
        write(folder, "first.test");
    }
    let files = |folder: &Path| json!({"certificate_chain": {"filename": folder.join("chain.pem")}, "private_key": {"filename": folder.join("key.pem")}});
    let mut watched = files(&folders[0]);
    watched["watched_directory"] = json!({"path": folders[0]});
    let sds = json!({"version_info": "1", "resources": [{
        "@type": Kind::Secret.type_url(), "name": "default", "tls_certificate": files(&folders[2]),
    }]});
    std::fs::write(dir.path().join("sds.json"), sds.to_string()).unwrap();
    let sds = json!({"name": "default", "sds_config": {"path_config_source": {"path": dir.path().join("sds.json")}, "resource_api_version": "V3"}});
    let listener = |port: &str, common: Value| {
        tls_listener(port, &common)
            .replace("  listeners:\n", "")
            .replace("name: tls\n", &format!("name: l{}\n", port.len()))
    };
    let template = format!(
        "admin: {{{{admin}}}}\nnode: {{id: sidecar, cluster: test}}\nstatic_resources:\n  listeners:{}{}{}",
        listener("{{port:a}}", json!({"tls_certificates": [watched]})),
        listener("{{port:bb}}", json!({"tls_certificates": [files(&folders[1])]})),
        listener("{{port:ccc}}", json!({"tls_certificate_sds_secret_configs": [sds]})),
    );
    let bootstrap = Bootstrap::new(&template, dir.path(), "");
    let proxy = Proxy::start(&binary, &bootstrap.text, dir.path());
    let [a, b, c] = ["port:a", "port:bb", "port:ccc"].map(|name| bootstrap.port(name));
    assert!(
        [a, b, c]
            .iter()
            .all(|port| presented(*port).as_deref() == Some("first.test")),
        "{}",
        proxy.log()
    );
    folders.iter().for_each(|folder| write(folder, "second.test"));
    eventually("files of a watched directory", || {
        presented(a).as_deref() == Some("second.test")
    });
    eventually("files of a secret", || presented(c).as_deref() == Some("second.test"));
    assert_eq!(
        presented(b).as_deref(),
        Some("first.test"),
        "as Envoy: files of a static context are read once"
    );

    std::fs::write(folders[2].join("key.pem"), "no key").unwrap();
    proxy.wait_stat("sds.default.key_rotation_failed", |n| n >= 1);
    assert_eq!(presented(c).as_deref(), Some("second.test"), "the last good one stays");
}

/// Nobody answers, or not what was asked for: warming ends after `initial_fetch_timeout`.
#[test]
fn what_never_comes_is_not_waited_for() {
    let Some(binary) = peers::pillion("what_never_comes_is_not_waited_for") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let server = Server::tcp(None);
    let mut source = own_stream();
    source["initial_fetch_timeout"] = json!("0.5s");
    let rest = json!({"resource_api_version": "V3", "initial_fetch_timeout": "0.5s", "api_config_source": {
        "api_type": "REST", "transport_api_version": "V3", "cluster_names": ["xds"], "refresh_delay": "1s",
    }});
    let template = format!(
        "admin: {{{{admin}}}}\nnode: {{id: sidecar, cluster: test}}\ndynamic_resources: {{cds_config: {rest}, lds_config: {source}}}\n\
         static_resources:\n  clusters:{}  - {}\n  listeners: [{}]",
        xds_cluster(&socket_address(&server), ""),
        json!({"name": "eds", "type": "EDS", "eds_cluster_config": {"eds_config": source}}),
        json!({
            "name": "web",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": "{{port:web}}"}},
            "filter_chains": [{"filters": hcm(json!({"rds": {"route_config_name": "none", "config_source": source}}))}],
        })
        .to_string()
        .replace("\"{{port:web}}\"", "{{port:web}}"),
    );
    let bootstrap = Bootstrap::new(&template, dir.path(), "");
    let proxy = Proxy::start(&binary, &bootstrap.text, dir.path());
    assert_eq!(ask(bootstrap.port("port:web")).map(|(status, _)| status), Some(404));
    for stat in [
        "cluster.eds.init_fetch_timeout",
        "http.ingress.rds.none.init_fetch_timeout",
        "cluster_manager.cds.init_fetch_timeout",
    ] {
        assert_eq!(proxy.stat(stat), 1, "{stat}");
    }
    assert!(proxy.stat("cluster_manager.cds.update_failure") > 0);
    let log = proxy.log();
    assert!(log.contains("cannot be fetched"), "{log}");
}
