//! Prometheus scrapes the sidecars; every query of Istio's dashboards and of Kiali's graph must return data.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::bootstrap::Bootstrap;
use crate::support::message::{Kind, Message};
use crate::support::proxy::Proxy;
use crate::support::upstream::{Act, Reply};
use crate::support::{h2c, peers};
use crate::{LIMIT, Mesh};

/// Of all queries together, with much slack: rates need two scrapes, one second apart.
const ANSWERED: Duration = Duration::from_secs(120);

/// What the dashboards' variables stand for, whose metrics are not a sidecar's, and what Kiali asks: here and in the suite
/// that runs an istiod.
static QUERIES: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(include_str!("queries.json")).unwrap());

fn texts<'v>(value: &'v Value, field: &str) -> Vec<&'v str> {
    let texts = value[field].as_array().unwrap().iter();
    texts.map(|text| text.as_str().unwrap()).collect()
}

struct Prometheus {
    child: Child,
    address: SocketAddr,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    fn start(binary: &Path, dir: &Path, targets: &[SocketAddr]) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
        let config = serde_json::json!({
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{"job_name": "mesh", "metrics_path": "/stats/prometheus", "static_configs": [{"targets": targets}]}],
        });
        std::fs::write(dir.join("prometheus.yml"), config.to_string()).unwrap();
        let child = Command::new(binary)
            .arg(format!("--config.file={}", dir.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, address }
    }

    /// Whether the query returns data; `None` while nobody answers.
    fn has(&self, query: &str) -> Option<bool> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(LIMIT)).ok()?;
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        write!(
            stream,
            "GET /api/v1/query?query={escaped} HTTP/1.1\r\nhost: p\r\nconnection: close\r\n\r\n"
        )
        .ok()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).ok()?;
        let (message, _) = Message::parse(&bytes, Kind::Response, true)?;
        let answer: Value = serde_json::from_slice(&message.body).ok()?;
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        Some(!answer["data"]["result"].as_array()?.is_empty())
    }
}

fn queries(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let dashboard: Value = serde_json::from_slice(&std::fs::read(file.unwrap().path()).unwrap()).unwrap();
        expressions(&dashboard, &mut all);
    }
    let others = texts(&QUERIES, "metrics_of_others");
    all.retain(|query| !others.iter().any(|metric| query.contains(metric)));
    for query in &mut all {
        for (name, value) in QUERIES["variables"].as_object().unwrap() {
            *query = query.replace(name, value.as_str().unwrap());
        }
        assert!(!query.contains('$'), "an unknown variable in {query}");
    }
    all.sort();
    all.dedup();
    all
}

fn expressions(value: &Value, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(query) if key == "expr" => all.push(query.clone()),
                    other => expressions(other, all),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, all)),
        _ => {}
    }
}

/// Of a client Istio never says `mutual_tls`: it cannot tell what the server demands. Such a query is empty for its own
/// proxies too.
fn is_empty_in_istio(query: &str) -> bool {
    texts(&QUERIES, "empty_in_istio")
        .iter()
        .any(|part| query.contains(part))
}

fn kiali() -> Vec<String> {
    let kiali = &QUERIES["kiali"];
    let labels = kiali["labels"].as_str().unwrap();
    let of = |reporter| move |query: &str| query.replace("$reporter", reporter).replace("$labels", labels);
    let reporters = texts(kiali, "reporters").into_iter();
    reporters
        .flat_map(|reporter| texts(kiali, "queries").into_iter().map(of(reporter)))
        .collect()
}

/// A bit of everything: HTTP with 200 and 503, gRPC, TCP; with mutual TLS and without.
fn traffic(mesh: &Mesh, gateway: SocketAddr) {
    let ok = Reply::h1("200 OK", "", "hello");
    mesh.get("/", 3, ok.clone());
    mesh.get("/plain", 1, ok.clone());
    mesh.get("/", 1, Reply::h1("503 Service Unavailable", "", ""));
    mesh.recorder.begin(vec![ok]);
    let plain = mesh.server_ports.listener("plain_http");
    for address in [plain, gateway] {
        let request = b"GET / HTTP/1.1\r\nhost: server.demo\r\nconnection: close\r\n\r\n";
        mesh.runtime.block_on(crate::h1::ask(address, request));
    }
    mesh.recorder.begin(vec![Reply::acts([
        Act::Head(200, &[("content-type", "application/grpc")]),
        Act::Data(vec![0, 0, 0, 0, 0]),
        Act::Trailers(&[("grpc-status", "0")]),
    ])]);
    let call = h2c::Request {
        method: "POST",
        headers: vec![("content-type".into(), "application/grpc".into())],
        data: vec![(Duration::ZERO, vec![0, 0, 0, 0, 0])],
        ..h2c::Request::get("/demo.Greeter/Hello")
    };
    let address = mesh.client_ports.listener("http");
    mesh.runtime.block_on(h2c::exchange(address, &[call], &mesh.recorder));
    for address in [
        mesh.client_ports.listener("tcp"),
        mesh.server_ports.listener("plain_tcp"),
    ] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(b"hello").unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
    }
}

#[test]
fn every_query_of_the_dashboards_and_of_kiali_returns_data() {
    let test = "every_query_of_the_dashboards_and_of_kiali_returns_data";
    let Some(folder) = peers::corpus(test, "istio-dashboards") else {
        return;
    };
    let Some(prometheus) = peers::need(test, "prometheus") else {
        return;
    };
    let Some(mesh) = Mesh::start(test, "") else { return };
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let text = mesh
        .client_text
        .replace("client-v1", "istio-ingressgateway")
        .replace("NAMESPACE: apps", "NAMESPACE: istio-system");
    let gateway_ports = Bootstrap::new(&text, dirs[0].path(), "");
    let gateway = Proxy::start(&peers::pillion(test).unwrap(), &gateway_ports.text, dirs[0].path());
    let targets = [mesh.client.admin(), mesh.server.admin(), gateway.admin()];
    let prometheus = Prometheus::start(&prometheus, dirs[1].path(), &targets);

    let mut pending: Vec<String> = queries(&folder);
    pending.retain(|query| !is_empty_in_istio(query));
    assert!(pending.len() > 130, "few queries: {}", pending.len());
    pending.extend(kiali());
    let deadline = Instant::now() + ANSWERED;
    while !pending.is_empty() {
        assert!(
            Instant::now() < deadline,
            "{} queries return nothing:\n{}",
            pending.len(),
            pending.join("\n")
        );
        traffic(&mesh, gateway_ports.listener("http"));
        pending.retain(|query| prometheus.has(query) != Some(true));
        std::thread::sleep(Duration::from_millis(300));
    }
}
