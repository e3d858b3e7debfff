//! A request whose connection a drain cuts is logged, as by Envoy.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::*;

#[test]
fn a_request_that_a_drain_cuts_is_logged() {
    let Some(binary) = peers::pillion("a_request_that_a_drain_cuts_is_logged") else {
        return;
    };
    let ours = logged(&binary);
    assert!(ours.contains("/cut 0 DC downstream_local_disconnect"), "{ours}");
    let Some(envoy) = peers::need("a_request_that_a_drain_cuts_is_logged", "envoy") else {
        return;
    };
    assert_eq!(ours, logged(&envoy));
}

/// The line of a request that was waiting for its upstream when its listener was gone for the drain time.
fn logged(binary: &Path) -> String {
    let dir = tempfile::tempdir().unwrap();
    let upstream = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let listeners = dir.path().join("lds.json");
    let place = |version: &str, resources: Value| {
        let new = dir.path().join("new");
        std::fs::write(
            &new,
            json!({"version_info": version, "resources": resources}).to_string(),
        )
        .unwrap();
        std::fs::rename(&new, &listeners).unwrap();
    };
    let template = format!(
        "admin: {{{{admin}}}}\nnode: {{id: sidecar, cluster: test}}\n\
         dynamic_resources: {{lds_config: {{path_config_source: {{path: {}}}}}}}\nstatic_resources: {{clusters: [{}]}}\n# {{{{port:web}}}}",
        listeners.display(),
        json!({"name": "silent", "type": "STATIC", "load_assignment": {"cluster_name": "silent", "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": upstream.local_addr().unwrap().port()}}}}
        ]}]}}),
    );
    let bootstrap = Bootstrap::new(&template, dir.path(), "");
    let log = dir.path().join("access.log");
    let mut filters = hcm(
        json!({"route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "silent", "timeout": "0s"}},
        ]}]}}),
    );
    filters[0]["typed_config"]["access_log"] = json!([{"name": "file", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": log,
        "log_format": {"text_format_source": {"inline_string":
            "%REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %BYTES_RECEIVED% %DOWNSTREAM_WIRE_BYTES_RECEIVED%\n"}},
    }}]);
    place(
        "1",
        json!([{
            "@type": Kind::Listener.type_url(),
            "name": "web",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": bootstrap.port("port:web")}},
            "filter_chains": [{"filters": filters}],
        }]),
    );
    let flags = ["--concurrency", "1", "--drain-time-s", "1"];
    let proxy = Proxy::start_with(binary, &bootstrap.text, dir.path(), &flags);
    let mut client = TcpStream::connect(("127.0.0.1", bootstrap.port("port:web"))).unwrap();
    client
        .write_all(b"POST /cut HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc")
        .unwrap();
    let (mut served, _) = upstream.accept().unwrap();
    assert_ne!(served.read(&mut [0; 1024]).unwrap(), 0);
    place("2", json!([]));
    client.set_read_timeout(Some(LIMIT)).unwrap();
    assert_eq!(client.read(&mut [0; 16]).unwrap_or(0), 0, "cut without an answer");
    eventually("a line in the access log", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.ends_with('\n'))
    });
    assert_eq!(proxy.stat("cluster.silent.upstream_rq_active"), 0);
    std::fs::read_to_string(&log).unwrap()
}
