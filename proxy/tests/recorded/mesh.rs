//! The recorded mesh as processes on loopback: who is told what, and how it is asked.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certs::SpiffeId;
use certs::ca::CertificateAuthority;
use serde_json::{Value, json};

use crate::server::Server;
use crate::support::bootstrap::Bootstrap;
use crate::support::message::Message;
use crate::support::proxy::Proxy;
use crate::support::upstream::{Act, Received, Recorder, Reply, serve_h1, serve_h2};
use crate::support::{h1, h2c, peers};

const RECORDED: &str = include_str!("../istio/recorded.json");
const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const ENDPOINTS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// Where the servers were when it was recorded.
const SERVERS: [(&str, &str); 2] = [("v1", "10.88.0.12"), ("v2", "10.88.0.13")];
/// What they serve: HTTP, gRPC, TCP.
const PORTS: [u64; 3] = [8080, 7070, 9090];
const HOST: &str = "server.demo.svc.cluster.local";
/// A functional deadline with much slack.
const LIMIT: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3600);

/// Without Istio's own filters, as upstream Envoy takes it, or with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    Vanilla,
    Full,
}

/// A proxy, and what it needs to live.
struct Pod {
    proxy: Proxy,
    ports: Bootstrap,
    _server: Server,
    _dir: tempfile::TempDir,
}

pub struct Mesh {
    runtime: tokio::runtime::Runtime,
    recorder: Arc<Recorder>,
    client: Pod,
    servers: Vec<Pod>,
    gateway: Pod,
    tokens: EcdsaKeyPair,
}

/// What makes a pod of a recording.
struct Maker<'a> {
    binary: &'a Path,
    flavour: Flavour,
    ca: &'a CertificateAuthority,
}

impl Mesh {
    pub fn start(test: &str, flavour: Flavour) -> Option<Self> {
        let binary = peers::pillion(test)?;
        let ca = CertificateAuthority::root("mesh").unwrap();
        let maker = Maker {
            binary: &binary,
            flavour,
            ca: &ca,
        };
        let tokens = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let recorder = Arc::new(Recorder::default());
        let servers: Vec<_> = SERVERS
            .iter()
            .map(|(version, _)| {
                maker.pod("server", version, |recorded, ports| {
                    serve(ports, recorded, version, &runtime, &recorder);
                    replace_key_set(recorded, &tokens);
                })
            })
            .collect();
        let caller = |name| {
            maker.pod(name, "v1", |recorded, _| {
                for assignment in recorded[ENDPOINTS].as_object_mut().unwrap().values_mut() {
                    point_at(assignment, &servers);
                }
            })
        };
        Some(Self {
            client: caller("client"),
            gateway: caller("gateway"),
            runtime,
            recorder,
            servers,
            tokens,
        })
    }

    /// A request of the application beside the client, and its answer.
    pub fn get(&self, path: &str, headers: &str) -> Message {
        self.get_of(Vec::new(), path, headers)
    }

    pub fn get_of(&self, script: Vec<Reply>, path: &str, headers: &str) -> Message {
        self.ask(
            &self.client,
            "0.0.0.0_80",
            script,
            &format!("GET {path}"),
            HOST,
            headers,
        )
    }

    pub fn get_at_gateway(&self, method: &str, headers: &str) -> Message {
        let line = format!("{method} /");
        self.ask(
            &self.gateway,
            "0.0.0.0_8080",
            Vec::new(),
            &line,
            "shop.example.com",
            headers,
        )
    }

    fn ask(&self, pod: &Pod, listener: &str, script: Vec<Reply>, line: &str, host: &str, headers: &str) -> Message {
        self.recorder.begin(script);
        let request = format!("{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}\r\n");
        let answer = self
            .runtime
            .block_on(h1::ask(pod.ports.listener(listener), request.as_bytes()));
        answer.unwrap_or_else(|| panic!("no answer to {line}: {}", pod.proxy.log()))
    }

    /// What reached the applications since the last request began.
    pub fn received(&self) -> Vec<Received> {
        self.recorder.received()
    }

    pub fn wait(&self, what: &str, wanted: impl Fn(&[Received]) -> bool) {
        let came = self.runtime.block_on(self.recorder.wait(LIMIT, wanted));
        assert!(came, "{what}: {:?}", self.received());
    }

    /// What comes back from the service's TCP port.
    pub fn tcp(&self, bytes: &[u8]) -> Vec<u8> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let address = self.client.ports.listener("10.96.0.10_9090");
        self.runtime.block_on(async {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            let mut answer = vec![0; bytes.len()];
            tokio::time::timeout(LIMIT, stream.read_exact(&mut answer))
                .await
                .expect("an echo in time")
                .unwrap();
            answer
        })
    }

    /// The status of a call over HTTP/2.
    pub fn grpc(&self, path: &'static str) -> u16 {
        self.recorder.begin(vec![Reply::acts([
            Act::Head(200, &[("content-type", "application/grpc")]),
            Act::Trailers(&[("grpc-status", "0")]),
        ])]);
        let request = h2c::Request {
            authority: HOST,
            ..h2c::Request::get(path)
        };
        let address = self.client.ports.listener("0.0.0.0_7070");
        let (answers, ..) = self
            .runtime
            .block_on(h2c::exchange(address, &[request], &self.recorder));
        answers[0].responses.last().map_or(0, Message::status)
    }

    /// Whether a server closes a connection that is not TLS without an answer.
    pub fn plaintext_is_refused(&self) -> bool {
        let address = self.servers[0].ports.listener("8080");
        let request = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
        self.runtime.block_on(h1::ask(address, request.as_bytes())).is_none()
    }

    /// For alice, who is an administrator.
    pub fn token(&self) -> String {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!(
            "{}.{}",
            part(json!({"alg": "ES256", "kid": "test"})),
            part(
                json!({"iss": "https://users.invalid", "aud": "shop", "sub": "alice", "groups": ["admin"], "exp": 4_102_444_800_u64})
            )
        );
        let signature = self.tokens.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The labels of a series of requests, once a proxy on that side shows it.
    pub fn requests_total(&self, reporter: &str, code: &str) -> String {
        let pods: Vec<_> = match reporter {
            "source" => vec![&self.client],
            _ => self.servers.iter().collect(),
        };
        let wanted = [format!("reporter=\"{reporter}\""), format!("response_code=\"{code}\"")];
        let deadline = Instant::now() + LIMIT;
        loop {
            for pod in &pods {
                let (_, text) = pod.proxy.get("/stats/prometheus").unwrap();
                let mut lines = text.lines().filter(|line| line.starts_with("istio_requests_total{"));
                if let Some(line) = lines.find(|line| wanted.iter().all(|label| line.contains(label))) {
                    return line.to_owned();
                }
            }
            assert!(Instant::now() < deadline, "no istio_requests_total of {wanted:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn nothing_was_refused(&self) {
        for pod in self.servers.iter().chain([&self.client, &self.gateway]) {
            for manager in ["cluster_manager.cds", "listener_manager.lds"] {
                let refused = pod.proxy.stat(&format!("{manager}.update_rejected"));
                assert_eq!(refused, 0, "{manager}: {}", pod.proxy.log());
            }
        }
    }
}

impl Maker<'_> {
    /// A proxy that is told what the one of that name was told, once `adapt` has fitted it to this machine.
    fn pod(&self, name: &str, version: &str, adapt: impl FnOnce(&mut Value, &mut Bootstrap)) -> Pod {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::tcp(None);
        let id = SpiffeId::parse(&format!("spiffe://cluster.local/ns/demo/sa/{name}")).unwrap();
        let issued = self.ca.issue_svid(&id, HOUR).unwrap();
        server.set(
            SECRET,
            &json!({"name": "default", "tls_certificate": {
                "certificate_chain": {"inline_string": issued.chain_pem}, "private_key": {"inline_string": issued.key_pem}}}),
        );
        server.set(
            SECRET,
            &json!({"name": "ROOTCA", "validation_context": {"trusted_ca": {"inline_string": self.ca.bundle_pem()}}}),
        );
        let mut ports = Bootstrap::new(&bootstrap(name, version, server.address.unwrap()), dir.path(), "");
        let mut recorded = recording(name, self.flavour);
        // Each listener of its own, because nobody redirects to the one that would hand over.
        for (name, listener) in recorded[LISTENER].as_object_mut().unwrap() {
            let port = ports.reserve(&format!("port:{name}"));
            listener["address"] = address(port);
            listener.as_object_mut().unwrap().remove("bind_to_port");
        }
        // Its certificate lay in files.
        recorded[LISTENER].as_object_mut().unwrap().remove("0.0.0.0_8443");
        adapt(&mut recorded, &mut ports);
        for (type_url, resources) in recorded.as_object().unwrap() {
            for resource in resources.as_object().unwrap().values() {
                server.set(type_url, resource);
            }
        }
        Pod {
            proxy: Proxy::start(self.binary, &ports.text, dir.path()),
            ports,
            _server: server,
            _dir: dir,
        }
    }
}

/// As pilot-agent's, in what matters here.
fn bootstrap(name: &str, version: &str, xds: SocketAddr) -> String {
    let stats = include_str!("../istio/stats_config.yaml");
    let grpc = |cluster: &str| {
        json!({
            "name": cluster, "type": "STATIC",
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}}}},
            "load_assignment": {"cluster_name": cluster, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(xds.port())}}]}]},
        })
    };
    let labels = json!({"app": name, "version": version,
        "service.istio.io/canonical-name": name, "service.istio.io/canonical-revision": version});
    let node = json!({
        "id": format!("sidecar~127.0.0.1~{name}-{version}.demo~demo.svc.cluster.local"), "cluster": format!("{name}.demo"),
        "metadata": {"NAME": format!("{name}-{version}"), "NAMESPACE": "demo", "WORKLOAD_NAME": format!("{name}-{version}"),
            "CLUSTER_ID": "Kubernetes", "ISTIO_VERSION": "1.31.0", "LABELS": labels},
    });
    let ads = json!({"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"});
    let dynamic = json!({"cds_config": ads, "lds_config": ads, "ads_config": {
        "api_type": "GRPC", "transport_api_version": "V3", "set_node_on_first_message_only": true,
        "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}]}});
    let clusters = json!([grpc("xds-grpc"), grpc("sds-grpc")]);
    format!(
        "admin: {{{{admin}}}}\nnode: {node}\n{stats}\ndynamic_resources: {dynamic}\nstatic_resources: {{clusters: {clusters}}}\n"
    )
}

fn address(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

fn recording(name: &str, flavour: Flavour) -> Value {
    let flavour = if flavour == Flavour::Full { "full" } else { "vanilla" };
    let document: Value = serde_json::from_str(RECORDED).unwrap();
    resolved(&document["recordings"][format!("{name}-{flavour}")], &document["pool"])
}

/// With what stands in the pool in its places.
fn resolved(value: &Value, pool: &Value) -> Value {
    match value {
        Value::Object(fields) => match fields.get("$").and_then(Value::as_u64) {
            Some(index) => resolved(&pool[usize::try_from(index).unwrap()], pool),
            None => fields
                .iter()
                .map(|(name, value)| (name.clone(), resolved(value, pool)))
                .collect(),
        },
        Value::Array(items) => items.iter().map(|item| resolved(item, pool)).collect(),
        other => other.clone(),
    }
}

/// Every object in it, from the outside in.
fn each_object(value: &mut Value, change: &mut impl FnMut(&mut serde_json::Map<String, Value>)) {
    match value {
        Value::Object(fields) => {
            change(fields);
            fields.values_mut().for_each(|value| each_object(value, change));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| each_object(item, change)),
        _ => {}
    }
}

/// The server's inbound listener takes each of its ports itself, and behind each is an application.
fn serve(
    ports: &mut Bootstrap,
    recorded: &mut Value,
    version: &str,
    runtime: &tokio::runtime::Runtime,
    recorder: &Arc<Recorder>,
) {
    let bound = PORTS.map(|port| ports.reserve(&format!("port:{port}")));
    let _within = runtime.enter();
    for (port, bound) in PORTS.iter().zip(bound) {
        let application = match port {
            9090 => echo(),
            _ => ports.reserve(&format!("application:{port}")),
        };
        match port {
            8080 => serve_h1(application, version, recorder),
            7070 => serve_h2(application, version, recorder),
            _ => {}
        }
        let cluster = &mut recorded[CLUSTER][format!("inbound|{port}||")];
        // Nobody redirected, so there is no original destination.
        cluster["type"] = json!("STATIC");
        cluster["lb_policy"] = json!("ROUND_ROBIN");
        cluster["load_assignment"] = json!({"cluster_name": cluster["name"], "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": address(application)}}]}]});
        // Of filter chains and of policies.
        each_object(&mut recorded[LISTENER]["virtualInbound"], &mut |fields| {
            if fields.get("destination_port").and_then(Value::as_u64) == Some(*port) {
                fields.insert("destination_port".to_owned(), json!(bound));
            }
        });
    }
    let listener = &mut recorded[LISTENER]["virtualInbound"];
    let more: Vec<_> = bound.iter().map(|&port| json!({"address": address(port)})).collect();
    listener["additional_addresses"] = json!(more);
}

/// Sends back what comes; its port.
fn echo() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut other = stream.try_clone().unwrap();
                let _ = std::io::copy(&mut stream, &mut other);
            });
        }
    });
    port
}

/// The keys of the issuer are thrown away; ours take their place.
fn replace_key_set(recorded: &mut Value, tokens: &EcdsaKeyPair) {
    let point = tokens.public_key().as_ref();
    let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
    let keys = json!({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "test", "x": part(1..33), "y": part(33..65)}]});
    each_object(recorded, &mut |fields| {
        if let Some(local) = fields.get_mut("local_jwks") {
            *local = json!({"inline_string": keys.to_string()});
        }
    });
}

/// The servers are elsewhere now.
fn point_at(assignment: &mut Value, servers: &[Pod]) {
    each_object(assignment, &mut |fields| {
        let Some(socket) = fields.get_mut("socket_address") else {
            return;
        };
        let server = SERVERS.iter().position(|(_, address)| socket["address"] == *address);
        if let Some(server) = server {
            let port = servers[server].ports.listener(&socket["port_value"].to_string());
            *socket = address(port.port())["socket_address"].clone();
        }
    });
}
