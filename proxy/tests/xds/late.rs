//! A source over a cluster that comes later than who needs it.

use super::*;

#[test]
fn a_source_is_asked_once_its_cluster_is_there() {
    let Some(binary) = peers::pillion("a_source_is_asked_once_its_cluster_is_there") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let server = Server::tcp(None);
    let ca = CertificateAuthority::root("root").unwrap();
    server.set(
        Kind::Secret.type_url(),
        &certificate("default", &issue(&ca, "first.test")),
    );
    let clusters = dir.path().join("cds.json");
    let place = |version: &str, resources: Value| {
        let new = dir.path().join("new");
        let document = json!({"version_info": version, "resources": resources});
        std::fs::write(&new, document.to_string()).unwrap();
        std::fs::rename(&new, &clusters).unwrap();
    };
    place("1", json!([]));
    let mut source = own_stream();
    source["initial_fetch_timeout"] = json!("0.5s");
    let common = json!({"tls_certificate_sds_secret_configs": [{"name": "default", "sds_config": source}]});
    let template = format!(
        "admin: {{{{admin}}}}\nnode: {{id: sidecar, cluster: test}}\n\
         dynamic_resources: {{cds_config: {{path_config_source: {{path: {}}}}}}}\nstatic_resources:\n{}",
        clusters.display(),
        tls_listener("{{port:tls}}", &common)
    );
    let bootstrap = Bootstrap::new(&template, dir.path(), "");
    let proxy = Proxy::start(&binary, &bootstrap.text, dir.path());
    assert_ne!(proxy.stat("sds.default.update_failure"), 0);
    let http2 = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }});
    let endpoint = json!({"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": server.address.unwrap().port()}}}});
    place(
        "2",
        json!([{
            "@type": Kind::Cluster.type_url(),
            "name": "xds",
            "type": "STATIC",
            "typed_extension_protocol_options": http2,
            "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [endpoint]}]},
        }]),
    );
    eventually("the secret came", || {
        presented(bootstrap.port("port:tls")).as_deref() == Some("first.test")
    });
    assert_eq!(proxy.stat("sds.default.update_success"), 1);
}
