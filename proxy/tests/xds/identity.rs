//! What is said of identities: that nobody renews them, and that a peer refused them.

use std::io::Write;
use std::net::TcpStream;
use std::time::SystemTime;

use certs::SpiffeId;

use super::*;

fn svid(ca: &CertificateAuthority, id: &str, age: Duration, left: Duration) -> Issued {
    let now = SystemTime::now();
    let template = Template {
        spiffe_id: Some(SpiffeId::parse(id).unwrap()),
        not_before: now - age,
        not_after: now + left,
        ..Template::default()
    };
    ca.issue(&template).unwrap()
}

#[test]
fn a_certificate_that_nobody_renews_is_told_of() {
    let Some(binary) = peers::pillion("a_certificate_that_nobody_renews_is_told_of") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("sds.sock");
    let server = Server::unix(&socket);
    let ca = CertificateAuthority::root("root").unwrap();
    let old = svid(&ca, "spiffe://td/web", Duration::from_secs(100), Duration::from_secs(3));
    server.set(Kind::Secret.type_url(), &certificate("default", &old));
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
    let told = |text: &str| {
        let log = proxy.log();
        let lines: Vec<_> = log
            .lines()
            .filter(|line| line.contains(text))
            .map(str::to_owned)
            .collect();
        lines
    };

    let provider = "secret \"default\" of the SDS server behind cluster \"xds\"";
    eventually("the renewal that did not come", || {
        let lines = told("nobody has renewed it");
        matches!(&*lines, [line] if line.contains("\"spiffe://td/web\"") && line.contains(provider))
    });
    eventually("the end", || {
        let lines = told("peers will refuse it");
        matches!(&*lines, [line] if line.contains("\"spiffe://td/web\" expired at") && line.contains(provider))
    });
    assert_eq!(proxy.stat("server.certificates_overdue"), 1);

    let new = svid(
        &ca,
        "spiffe://td/web",
        Duration::from_secs(1),
        Duration::from_secs(1000),
    );
    server.set(Kind::Secret.type_url(), &certificate("default", &new));
    proxy.wait_stat("server.certificates_overdue", |n| n == 0);
    assert!(!told(&format!("a new certificate has come from {provider}")).is_empty());
    assert_eq!(told("nobody has renewed it").len(), 1, "said once");
    let address = format!("127.0.0.1_{}", bootstrap.port("port:tls"));
    assert_eq!(
        proxy.stat(&format!(
            "listener.{address}.server_ssl_socket_factory.ssl_context_update_by_sds"
        )),
        3,
        "two that arrived, one that was renewed"
    );
    let expires = proxy.stat(&format!(
        "listener.{address}.ssl.certificate.default.expiration_unix_time_seconds"
    ));
    let identity = certs::Identity::from_pem(new.chain_pem.as_bytes(), new.key_pem.as_bytes()).unwrap();
    let wanted = identity.expires_at().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(expires, wanted.as_secs());
    assert_ne!(
        proxy.stat(&format!(
            "listener.{address}.ssl.certificate.ROOTCA.expiration_unix_time_seconds"
        )),
        0
    );
}

#[test]
fn both_sides_of_a_refusal_name_both_identities() {
    let Some(binary) = peers::pillion("both_sides_of_a_refusal_name_both_identities") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let ca = CertificateAuthority::root("root").unwrap();
    let hour = Duration::from_secs(3600);
    let given = |id: &str| {
        let issued = svid(&ca, id, hour, hour);
        json!([{"certificate_chain": {"inline_string": issued.chain_pem}, "private_key": {"inline_string": issued.key_pem}}])
    };
    let trust = json!({"inline_string": ca.bundle_pem()});
    let wanted = json!([{"san_type": "URI", "matcher": {"exact": "spiffe://td/web"}}]);
    let server = json!({
        "tls_certificates": given("spiffe://td/api"),
        "validation_context": {"trusted_ca": trust, "match_typed_subject_alt_names": wanted},
    });
    let client = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {"tls_certificates": given("spiffe://td/intruder"), "validation_context": {"trusted_ca": trust}},
    });
    let tcp = json!([{"name": "tcp", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "tcp", "cluster": "mtls",
    }}]);
    let template = format!(
        "admin: {{{{admin}}}}\nnode: {{id: sidecar, cluster: test}}\nstatic_resources:\n  clusters:\n  - name: mtls\n    type: STATIC\n\
         \x20   load_assignment: {{cluster_name: mtls, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {{{{port:tls}}}}}}}}}}}}]}}]}}\n\
         \x20   transport_socket: {{name: tls, typed_config: {client}}}\n{}\
         \x20 - name: plain\n    address: {{socket_address: {{address: 127.0.0.1, port_value: {{{{port:plain}}}}}}}}\n    filter_chains: [{{filters: {tcp}}}]\n",
        tls_listener("{{port:tls}}", &server),
    );
    let bootstrap = Bootstrap::new(&template, dir.path(), "");
    let proxy = Proxy::start(&binary, &bootstrap.text, dir.path());
    let mut stream = TcpStream::connect(("127.0.0.1", bootstrap.port("port:plain"))).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    for said in [
        "as \"spiffe://td/api\": client's certificate is refused: no subject alternative name matches: wanted URI exact \"spiffe://td/web\", got URI:spiffe://td/intruder",
        "peer \"spiffe://td/api\" ended TLS with alert certificate_unknown (46): it refused our certificate \"spiffe://td/intruder\"",
    ] {
        eventually(said, || proxy.log().contains(said));
    }
    let address = format!("127.0.0.1_{}", bootstrap.port("port:tls"));
    assert_eq!(proxy.stat(&format!("listener.{address}.ssl.fail_verify_san")), 1);
}
