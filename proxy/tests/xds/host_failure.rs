//! `close_connections_on_host_health_failure`: a TCP connection ends when its host is ejected, where the cluster says so.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use super::*;

#[test]
fn a_connection_to_an_ejected_host_ends() {
    let Some(binary) = peers::pillion("a_connection_to_an_ejected_host_ends") else {
        return;
    };
    assert!(is_closed(&binary, true));
    assert!(!is_closed(&binary, false));
    let Some(envoy) = peers::need("a_connection_to_an_ejected_host_ends", "envoy") else {
        return;
    };
    assert!(is_closed(&envoy, true));
    assert!(!is_closed(&envoy, false));
}

/// Whether a connection ends once others to the same host have failed to connect too often.
fn is_closed(binary: &Path, wanted: bool) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let upstream = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let cluster = json!({
        "name": "c", "type": "STATIC", "close_connections_on_host_health_failure": wanted,
        "outlier_detection": {"consecutive_5xx": 3, "max_ejection_percent": 100, "always_eject_one_host": true},
        "load_assignment": {"cluster_name": "c", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address":
            {"address": "127.0.0.1", "port_value": upstream.local_addr().unwrap().port()}}}}]}]},
    });
    let tcp = json!([{"name": "tcp", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "t", "cluster": "c",
    }}]);
    let template = format!(
        "admin: {{{{admin}}}}\nnode: {{id: sidecar, cluster: test}}\nstatic_resources:\n  clusters: [{cluster}]\n  listeners:\n  \
         - name: t\n    address: {{socket_address: {{address: 127.0.0.1, port_value: {{{{port:t}}}}}}}}\n    filter_chains: [{{filters: {tcp}}}]\n"
    );
    let bootstrap = Bootstrap::new(&template, dir.path(), "");
    let proxy = Proxy::start(binary, &bootstrap.text, dir.path());
    let connect = || TcpStream::connect(("127.0.0.1", bootstrap.port("port:t"))).unwrap();
    let mut live = connect();
    live.write_all(b"hello").unwrap();
    let (mut served, _) = upstream.accept().unwrap();
    served.read_exact(&mut [0; 5]).unwrap();
    drop(upstream);
    for _ in 0..3 {
        let mut refused = connect();
        refused.set_read_timeout(Some(LIMIT)).unwrap();
        let _ = refused.read(&mut [0]);
    }
    proxy.wait_stat("cluster.c.outlier_detection.ejections_active", |n| n == 1);
    // Where it does not end, this is how long one waits to see it.
    let patience = if wanted { LIMIT } else { Duration::from_millis(500) };
    live.set_read_timeout(Some(patience)).unwrap();
    match live.read(&mut [0]) {
        Ok(0) => true,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => false,
        other => panic!("{other:?}"),
    }
}
