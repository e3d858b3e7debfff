//! Istio's telemetry between two of our sidecars over mutual TLS: what both report is compared with what was sent, label
//! by label, for HTTP, gRPC and TCP; and what of it reaches the applications.

// Modules of a test program are public to it alone.
#![allow(unreachable_pub)]

mod support;

#[path = "istio/dashboards.rs"]
mod dashboards;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use support::bootstrap::Bootstrap;
use support::proxy::Proxy;
use support::upstream::{Act, Recorder, Reply, serve_h1, serve_h2};
use support::{h1, h2c, peers};

/// A functional deadline with much slack.
const LIMIT: Duration = Duration::from_secs(20);

type Labels = BTreeMap<String, String>;

/// Two sidecars and what is behind them.
struct Mesh {
    runtime: tokio::runtime::Runtime,
    recorder: Arc<Recorder>,
    client: Proxy,
    server: Proxy,
    client_ports: Bootstrap,
    server_ports: Bootstrap,
    client_text: String,
    _dirs: [tempfile::TempDir; 2],
}

impl Mesh {
    fn start(test: &str, overrides: &str) -> Option<Self> {
        let binary = peers::pillion(test)?;
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let stats = include_str!("istio/stats_config.yaml");
        let server = include_str!("istio/server.yaml")
            .replace("STATS_CONFIG", stats)
            .replace("ECHO_PORT", &echo().port().to_string());
        let server_ports = Bootstrap::new(&server, dirs[0].path(), "");
        let client = include_str!("istio/client.yaml")
            .replace("STATS_CONFIG", stats)
            .replace("OVERRIDES", overrides)
            .replace("SERVER_HTTP", &server_ports.port("port:http").to_string())
            .replace("SERVER_PLAIN", &server_ports.port("port:plain_http").to_string())
            .replace("SERVER_TCP", &server_ports.port("port:tcp").to_string());
        let client_ports = Bootstrap::new(&client, dirs[1].path(), "");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let recorder = Arc::new(Recorder::default());
        runtime.block_on(async {
            serve_h1(server_ports.port("h1:app"), "app", &recorder);
            serve_h2(server_ports.port("h2:grpc"), "grpc", &recorder);
            serve_h1(client_ports.port("h1:external"), "external", &recorder);
            serve_h1(client_ports.port("h1:silent"), "silent", &recorder);
        });
        Some(Self {
            server: Proxy::start(&binary, &server_ports.text, dirs[0].path()),
            client: Proxy::start(&binary, &client_ports.text, dirs[1].path()),
            runtime,
            recorder,
            client_ports,
            server_ports,
            client_text: client,
            _dirs: dirs,
        })
    }

    /// GETs of a path through both, each on a connection of its own; the last answer.
    fn get(&self, path: &str, times: usize, reply: Reply) -> support::message::Message {
        self.recorder.begin(vec![reply]);
        let address = self.client_ports.listener("http");
        let request = format!("GET {path} HTTP/1.1\r\nhost: server.demo:80\r\nconnection: close\r\n\r\n");
        let mut last = None;
        for _ in 0..times {
            last = self.runtime.block_on(h1::ask(address, request.as_bytes()));
        }
        last.expect("an answer")
    }
}

/// Sends back what comes.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut other = stream.try_clone().unwrap();
                let _ = std::io::copy(&mut stream, &mut other);
                let _ = other.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    address
}

/// The series of a metric in Prometheus output.
fn series(proxy: &Proxy, metric: &str) -> Vec<(Labels, f64)> {
    let (_, text) = proxy.get("/stats/prometheus").unwrap();
    let of = |line: &str| {
        let (labels, value) = line.strip_prefix(metric)?.strip_prefix('{')?.rsplit_once("} ")?;
        let pairs = labels.split("\",").map(|pair| {
            let (name, value) = pair.split_once("=\"").unwrap();
            (name.to_owned(), value.trim_end_matches('"').to_owned())
        });
        Some((pairs.collect(), value.parse().unwrap()))
    };
    text.lines().filter_map(of).collect()
}

/// Waits until the series with these labels has the value.
fn wait(proxy: &Proxy, metric: &str, labels: &[(&str, &str)], value: f64) -> Labels {
    let deadline = Instant::now() + LIMIT;
    loop {
        let all = series(proxy, metric);
        let fits = |(own, seen): &&(Labels, f64)| {
            *seen == value
                && labels
                    .iter()
                    .all(|(name, value)| own.get(*name).is_some_and(|own| own == value))
        };
        if let Some((labels, _)) = all.iter().find(fits) {
            return labels.clone();
        }
        assert!(
            Instant::now() < deadline,
            "{metric} {labels:?} is not {value}: {all:#?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

const SOURCE: [(&str, &str); 8] = [
    ("source_workload", "client-v1"),
    ("source_canonical_service", "client"),
    ("source_canonical_revision", "v7"),
    ("source_workload_namespace", "apps"),
    ("source_principal", "spiffe://td.test/ns/apps/sa/client"),
    ("source_app", "client"),
    ("source_version", "v7"),
    ("source_cluster", "Kubernetes"),
];
const DESTINATION: [(&str, &str); 11] = [
    ("destination_workload", "server-v1"),
    ("destination_workload_namespace", "demo"),
    ("destination_principal", "spiffe://td.test/ns/demo/sa/server"),
    ("destination_app", "server"),
    ("destination_version", "v1"),
    ("destination_service", "server.demo.svc.cluster.local"),
    ("destination_canonical_service", "server"),
    ("destination_canonical_revision", "v1"),
    ("destination_service_name", "server"),
    ("destination_service_namespace", "demo"),
    ("destination_cluster", "Kubernetes"),
];

/// All labels that a series between the two has.
fn between(reporter: &str, more: &[(&str, &str)]) -> Labels {
    let all = [("reporter", reporter)].into_iter().chain(SOURCE).chain(DESTINATION);
    all.chain(more.iter().copied())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn both(mesh: &Mesh) -> [(&Proxy, &'static str, &'static str); 2] {
    [
        (&mesh.client, "source", "unknown"),
        (&mesh.server, "destination", "mutual_tls"),
    ]
}

#[test]
fn http_requests_count_on_both_sides_as_they_were_sent() {
    let Some(mesh) = Mesh::start("http_requests_count_on_both_sides_as_they_were_sent", "") else {
        return;
    };
    let answer = mesh.get("/", 7, Reply::h1("200 OK", "", "hello"));
    assert_eq!((answer.status(), answer.header("x-envoy-peer-metadata")), (200, None));
    let received = mesh.recorder.received();
    assert_eq!(received.len(), 7);
    for seen in &received {
        assert_eq!(
            seen.message.header("x-envoy-peer-metadata"),
            None,
            "not for the application"
        );
        assert_eq!(seen.message.header("x-envoy-peer-metadata-id"), None);
    }
    mesh.get("/", 3, Reply::h1("503 Service Unavailable", "", ""));
    for (proxy, reporter, security) in both(&mesh) {
        for (code, count) in [("200", 7.0), ("503", 3.0)] {
            let more = [
                ("request_protocol", "http"),
                ("response_code", code),
                ("grpc_response_status", ""),
                ("response_flags", "-"),
                ("connection_security_policy", security),
            ];
            let labels = wait(proxy, "istio_requests_total", &more, count);
            assert_eq!(labels, between(reporter, &more));
            assert_eq!(labels.len(), 25);
            for metric in ["request_duration_milliseconds", "request_bytes", "response_bytes"] {
                let labels = wait(proxy, &format!("istio_{metric}_count"), &more, count);
                assert_eq!(labels, between(reporter, &more));
            }
        }
        assert_eq!(series(proxy, "istio_requests_total").len(), 2);
        wait(proxy, "istio_build", &[("component", "proxy"), ("tag", "1.31.0")], 1.0);
        let (_, text) = proxy.get("/stats?usedonly&filter=istio_requests_total").unwrap();
        let start = format!("istiocustom.istio_requests_total.reporter.{reporter}.source_workload.client-v1.");
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with(&start)).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(
            lines[0].contains(".response_code.200.grpc_response_status.response_flags.-."),
            "{text}"
        );
    }
    // The connection between the two was recognised by its ALPN.
    let (_, certs) = mesh.client.get("/stats?filter=cluster.outbound").unwrap();
    assert!(certs.contains("ssl.handshake"), "{certs}");
}

#[test]
fn grpc_calls_count_with_status_and_messages() {
    let Some(mesh) = Mesh::start("grpc_calls_count_with_status_and_messages", "") else {
        return;
    };
    let message = |text: &[u8]| [&[0, 0, 0, 0, text.len() as u8], text].concat();
    let answer = [message(b"a"), message(b""), message(b"ccc")].concat();
    mesh.recorder.begin(vec![Reply::acts([
        Act::Head(200, &[("content-type", "application/grpc")]),
        Act::Data(answer),
        Act::Trailers(&[("grpc-status", "0")]),
    ])]);
    let request = h2c::Request {
        method: "POST",
        headers: vec![
            ("content-type".into(), "application/grpc".into()),
            ("te".into(), "trailers".into()),
        ],
        data: vec![(Duration::ZERO, message(b"one")), (Duration::ZERO, message(b"two"))],
        ..h2c::Request::get("/demo.Greeter/Hello")
    };
    let address = mesh.client_ports.listener("http");
    let (answers, ..) = mesh
        .runtime
        .block_on(h2c::exchange(address, &[request.clone(), request], &mesh.recorder));
    assert!(answers.iter().all(|answer| answer.reset.is_none()), "{answers:?}");
    for (proxy, reporter, security) in both(&mesh) {
        let more = [
            ("request_protocol", "grpc"),
            ("response_code", "200"),
            ("grpc_response_status", "0"),
            ("response_flags", "-"),
            ("connection_security_policy", security),
        ];
        assert_eq!(
            wait(proxy, "istio_requests_total", &more, 2.0),
            between(reporter, &more)
        );
        for (metric, count) in [("request", 4.0), ("response", 6.0)] {
            let labels = wait(
                proxy,
                &format!("istio_{metric}_messages_total"),
                &[("reporter", reporter)],
                count,
            );
            assert_eq!(labels, between(reporter, &[]));
        }
    }
    let (_, text) = mesh.server.get("/stats?filter=grpc").unwrap();
    for line in [
        "0: 2",
        "success: 2",
        "total: 2",
        "request_message_count: 4",
        "response_message_count: 6",
    ] {
        assert!(text.contains(&format!("cluster.inbound|81||.grpc.{line}\n")), "{text}");
    }
}

#[test]
fn tcp_connections_count_while_they_live() {
    let Some(mesh) = Mesh::start("tcp_connections_count_while_they_live", "") else {
        return;
    };
    let mut stream = TcpStream::connect(mesh.client_ports.listener("tcp")).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let sent = vec![b'x'; 100_000];
    let mut back = vec![0; sent.len()];
    let mut writer = stream.try_clone().unwrap();
    let bytes = sent.clone();
    let writing = std::thread::spawn(move || writer.write_all(&bytes));
    stream.read_exact(&mut back).unwrap();
    writing.join().unwrap().unwrap();
    assert_eq!(back, sent, "nothing of the exchange reaches the application");
    for (proxy, reporter, security) in both(&mesh) {
        let more = [
            ("request_protocol", "tcp"),
            ("response_flags", "-"),
            ("connection_security_policy", security),
        ];
        let opened = wait(proxy, "istio_tcp_connections_opened_total", &more, 1.0);
        assert_eq!(opened, between(reporter, &more), "while it lives");
        for metric in ["sent", "received"] {
            let labels = wait(proxy, &format!("istio_tcp_{metric}_bytes_total"), &more, 100_000.0);
            assert_eq!(labels, between(reporter, &more));
        }
        assert!(
            series(proxy, "istio_tcp_connections_closed_total")
                .iter()
                .all(|(_, count)| *count == 0.0)
        );
    }
    drop(stream);
    for (proxy, reporter, _) in both(&mesh) {
        wait(
            proxy,
            "istio_tcp_connections_closed_total",
            &[("reporter", reporter)],
            1.0,
        );
        wait(
            proxy,
            "istio_tcp_connections_opened_total",
            &[("reporter", reporter)],
            1.0,
        );
    }
}

#[test]
fn those_outside_the_mesh_are_told_nothing_and_known_by_their_endpoint() {
    let test = "those_outside_the_mesh_are_told_nothing_and_known_by_their_endpoint";
    let Some(mesh) = Mesh::start(test, "") else { return };
    mesh.get("/external", 1, Reply::h1("200 OK", "", ""));
    assert_eq!(
        mesh.recorder.received()[0].message.header("x-envoy-peer-metadata"),
        None
    );
    let labels = wait(
        &mesh.client,
        "istio_requests_total",
        &[("destination_service", "api.example.com")],
        1.0,
    );
    for (name, value) in [
        ("destination_service_name", "api"),
        ("destination_workload", "unknown"),
        ("destination_canonical_revision", "latest"),
        ("source_principal", "unknown"),
    ] {
        assert_eq!(labels[name], value, "{name}");
    }
    mesh.get("/silent", 1, Reply::h1("200 OK", "", ""));
    let told = mesh.recorder.received()[0]
        .message
        .header("x-envoy-peer-metadata")
        .map(str::len);
    assert!(told.is_some_and(|length| length > 100), "{told:?}");
    let labels = wait(
        &mesh.client,
        "istio_requests_total",
        &[("destination_workload", "old-v3")],
        1.0,
    );
    for (name, value) in [
        ("destination_workload_namespace", "legacy"),
        ("destination_canonical_service", "old"),
        ("destination_canonical_revision", "v3"),
        ("destination_cluster", "Other"),
        ("destination_service", "server.demo:80"),
        ("destination_app", "unknown"),
    ] {
        assert_eq!(labels[name], value, "{name}");
    }
    mesh.get("/nobody", 1, Reply::h1("200 OK", "", ""));
    let labels = wait(&mesh.client, "istio_requests_total", &[("response_code", "503")], 1.0);
    assert_eq!(labels["response_flags"], "UF");
    assert_eq!(labels["destination_service_name"], "server");
}

#[test]
fn telemetry_changes_metrics_and_labels() {
    let overrides = r#"metrics: [
        {name: request_bytes, drop: true},
        {tags_to_remove: [source_principal, destination_principal]},
        {name: requests_total, dimensions: {request_method: "request.method", request_host: "request.host",
          destination_port: "string(destination.port)", response_code: "response.code >= 500 ? '5xx' : 'fine'",
          role: "has(upstream_peer.app) ? upstream_peer.app : 'nobody'", absent: "request.headers['x-none']"}}]"#;
    let Some(mesh) = Mesh::start("telemetry_changes_metrics_and_labels", overrides) else {
        return;
    };
    mesh.get("/", 2, Reply::h1("200 OK", "", "hello"));
    let labels = wait(&mesh.client, "istio_requests_total", &[("response_code", "fine")], 2.0);
    for (name, value) in [
        ("request_method", "GET"),
        ("request_host", "server.demo:80"),
        ("role", "server"),
        ("absent", "unknown"),
        ("destination_service", "server.demo.svc.cluster.local"),
    ] {
        assert_eq!(labels[name], value, "{name}");
    }
    assert_eq!(
        labels["destination_port"],
        mesh.client_ports.port("port:http").to_string()
    );
    assert!(!labels.contains_key("source_principal"));
    let labels = wait(
        &mesh.client,
        "istio_response_bytes_count",
        &[("response_code", "200")],
        2.0,
    );
    assert!(!labels.contains_key("request_method") && !labels.contains_key("destination_principal"));
    assert_eq!(series(&mesh.client, "istio_request_bytes_count"), []);
}
