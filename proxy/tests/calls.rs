//! Requests that the proxy itself makes: over HTTP/1, HTTP/2 and TLS, to clusters that answer, refuse, hang and are not
//! there; gRPC with them; what clusters count of them.

// Modules of a test program are public to it alone.
#![allow(unreachable_pub)]

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use certs::ca::{CertificateAuthority, Template};
use http::{HeaderValue, Method};
use pillion::access_log::file::FlushSettings;
use pillion::bootstrap;
use pillion::config::{Context, source};
use pillion::control::{Control, Neighbours, publisher::DrainSettings, runtime::RuntimeLayers};
use pillion::drain::DrainStrategy;
use pillion::failure::ResetReason;
use pillion::server::{self, Process, Settings};
use pillion::stats::{ClusterStat, StatsConfig, Store};
use pillion::upstream::call::{self, CallFailure, Cause, Request, grpc};
use pillion::worker::Worker;
use serde_json::{Value, json};
use support::bootstrap::Bootstrap;
use support::upstream::{Act, Recorder, Reply, serve_h1, serve_h2};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LIMIT: Duration = Duration::from_secs(20);

/// Ports, upstreams on them and a control thread's worker that knows `clusters` (each a `Cluster` as JSON).
struct Bench {
    recorder: Arc<Recorder>,
    upstreams: tokio::runtime::Handle,
    ports: Bootstrap,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new(script: Vec<Reply>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ports = Bootstrap::new("# {{port:h1}} {{port:h2}} {{port:none}} {{port:tls}}", dir.path(), "");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let upstreams = runtime.handle().clone();
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        let recorder = Arc::<Recorder>::default();
        recorder.begin(script);
        upstreams.block_on(async {
            serve_h1(ports.port("port:h1"), "h1", &recorder);
            serve_h2(ports.port("port:h2"), "h2", &recorder);
        });
        Self {
            recorder,
            upstreams,
            ports,
            _dir: dir,
        }
    }

    fn port(&self, name: &str) -> u16 {
        self.ports.port(&format!("port:{name}"))
    }

    /// Runs `test` as the control thread would.
    fn run<F: Future>(&self, clusters: &[Value], test: impl FnOnce(Rc<Worker>) -> F) -> F::Output {
        let yaml = json!({"static_resources": {"clusters": clusters}}).to_string();
        let options = bootstrap::Options {
            config_yaml: Some(&yaml),
            ..bootstrap::Options::default()
        };
        let (bootstrap, _) = bootstrap::load(&options).unwrap();
        let mut context = Context::new(Store::new(2, StatsConfig::default()));
        let statics = bootstrap.static_resources(&mut context).unwrap();
        let Process {
            shared,
            mut publisher,
            workers,
            demands,
        } = Process::start(Settings {
            tracer: None,
            concurrency: 1,
            node: pillion::worker::Node::default(),
            stats: context.stats.clone(),
            drain: DrainSettings {
                time: LIMIT,
                strategy: DrainStrategy::Gradual,
            },
            flush: FlushSettings {
                interval: LIMIT,
                min_size: 1,
            },
            ipv6: false,
            max_downstream_connections: None,
        })
        .unwrap();
        let runtime = server::runtime().unwrap();
        let output = runtime.block_on(async {
            let caller = server::caller(&shared, &mut publisher);
            let layers = Rc::new(RefCell::new(RuntimeLayers::new(&bootstrap.runtime, "", &shared.stats)));
            let neighbours = Neighbours {
                ledger: Rc::default(),
                runtime: layers,
                caller: caller.clone(),
                demands,
            };
            let mut control = Control::start(publisher, context, &bootstrap, statics, neighbours).unwrap();
            let output = tokio::time::timeout(LIMIT, test(caller)).await.expect("the test ends");
            control.publisher().stop();
            output
        });
        Process::stop(&shared, workers);
        output
    }

    fn cluster(&self, name: &str, more: Value) -> Value {
        let port = self.port(name);
        let mut cluster = json!({"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name, "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}]},
        ]}});
        let options = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }});
        if name == "h2" {
            cluster["typed_extension_protocol_options"] = options;
        }
        cluster
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        cluster
    }
}

fn get(path: &'static str) -> Request {
    let authority = HeaderValue::from_static("keys.test");
    Request::new(Method::GET, authority, HeaderValue::from_static(path), 1024)
}

fn counted(worker: &Worker, cluster: &str, stat: ClusterStat) -> u64 {
    worker.snapshot().clusters[cluster].state.stats.value(stat)
}

fn cause<T: std::fmt::Debug>(result: Result<T, CallFailure>) -> Cause {
    result.expect_err("no answer").cause
}

#[test]
fn a_call_is_a_request_like_others() {
    let bench = Bench::new(vec![
        Reply::h1("200 OK", "x-key: 1\r\n", "keys"),
        Reply::h1("503 Service Unavailable", "", ""),
    ]);
    bench.run(&[bench.cluster("h1", json!({}))], async |worker| {
        let mut request = get("/keys?a=b");
        request.timeout = Some(Duration::from_secs(10));
        let response = call::call(&worker, "h1", request).await.unwrap();
        assert_eq!((response.status.as_u16(), &response.body[..]), (200, &b"keys"[..]));
        assert_eq!(response.headers["x-key"], "1");
        let mut request = get("/more");
        request.method = Method::POST;
        request.body = Bytes::from_static(b"{}");
        assert_eq!(call::call(&worker, "h1", request).await.unwrap().status, 503);
        assert_eq!(counted(&worker, "h1", ClusterStat::UpstreamRqTotal), 2);
        assert_eq!(
            counted(&worker, "h1", ClusterStat::UpstreamCxTotal),
            1,
            "connections are pooled"
        );
        assert_eq!(counted(&worker, "h1", ClusterStat::InternalUpstreamRq2xx), 1);
        assert_eq!(counted(&worker, "h1", ClusterStat::UpstreamRq5xx), 1);
        assert_eq!(counted(&worker, "h1", ClusterStat::UpstreamRqActive), 0);
    });
    let received = bench.recorder.received();
    let first = &received[0].message;
    assert_eq!(first.start, "GET /keys?a=b HTTP/1.1");
    assert_eq!(first.header("host"), Some("keys.test"));
    assert_eq!(first.header("x-envoy-internal"), Some("true"));
    assert_eq!(first.header("x-envoy-expected-rq-timeout-ms"), Some("10000"));
    let second = &received[1].message;
    assert_eq!(
        (second.header("content-length"), &second.body[..]),
        (Some("2"), &b"{}"[..])
    );
    assert_eq!(second.header("x-envoy-expected-rq-timeout-ms"), None);
}

#[test]
fn a_call_that_cannot_be_made_says_why() {
    let bench = Bench::new(vec![Reply::acts([Act::Hang])]);
    let mut empty = bench.cluster("h2", json!({}));
    empty["load_assignment"]["endpoints"] = json!([]);
    let clusters = [bench.cluster("h1", json!({})), bench.cluster("none", json!({})), empty];
    bench.run(&clusters, async |worker| {
        let none = call::call(&worker, "nowhere", get("/")).await.unwrap_err();
        assert_eq!(
            (none.cause, &*none.sentence),
            (Cause::NoCluster, "cluster \"nowhere\" is not known")
        );
        assert_eq!(
            cause(call::call(&worker, "h2", get("/")).await),
            Cause::NoHealthyEndpoint
        );
        let refused = call::call(&worker, "none", get("/")).await.unwrap_err();
        assert_eq!(refused.cause, Cause::Reset(ResetReason::ConnectFailure));
        assert!(refused.sentence.contains("127.0.0.1"), "{refused}");
        let mut hung = get("/");
        hung.timeout = Some(Duration::from_millis(100));
        assert_eq!(cause(call::call(&worker, "h1", hung).await), Cause::Timeout);
        assert_eq!(counted(&worker, "h1", ClusterStat::UpstreamRqTimeout), 1);
        assert_eq!(counted(&worker, "h1", ClusterStat::UpstreamRq5xx), 1);
        assert_eq!(counted(&worker, "h1", ClusterStat::UpstreamRqActive), 0);
    });
}

#[test]
fn a_large_answer_is_a_failure_and_an_overflow_too() {
    let bench = Bench::new(vec![Reply::h1("200 OK", "", &"x".repeat(4096))]);
    let full = json!({"circuit_breakers": {"thresholds": [{"max_requests": 0}]}});
    bench.run(&[bench.cluster("h1", json!({}))], async |worker| {
        assert_eq!(cause(call::call(&worker, "h1", get("/")).await), Cause::TooLarge);
    });
    bench.run(&[bench.cluster("h1", full)], async |worker| {
        let overflow = call::call(&worker, "h1", get("/")).await.unwrap_err();
        assert_eq!(overflow.cause, Cause::Reset(ResetReason::Overflow));
        assert!(overflow.sentence.contains("max_requests"), "{overflow}");
    });
}

#[test]
fn a_call_goes_over_tls() {
    let ca = CertificateAuthority::root("root").unwrap();
    let mut template = Template::lasting(Duration::from_secs(3600));
    template.dns_names.push("keys.test".to_owned());
    let identity = ca.issue(&template).unwrap().identity().unwrap();
    let bench = Bench::new(Vec::new());
    let context = certs::ServerContext::new(certs::ServerSettings::new(vec![identity])).unwrap();
    bench.upstreams.block_on(async {
        let listener = {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.set_reuseport(true).unwrap();
            socket.bind(([127, 0, 0, 1], bench.port("tls")).into()).unwrap();
            socket.listen(8).unwrap()
        };
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = context.accept(stream).await.unwrap();
            let mut read = [0; 1024];
            let n = stream.read(&mut read).await.unwrap();
            assert!(read[..n].starts_with(b"GET /keys HTTP/1.1\r\n"));
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await
                .unwrap();
            stream.flush().await.unwrap();
            let _ = stream.read(&mut read).await;
        });
    });
    let tls = json!({"transport_socket": {"name": "tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": "keys.test",
        "common_tls_context": {"validation_context": {"trusted_ca": {"inline_string": ca.bundle_pem()}}},
    }}});
    bench.run(&[bench.cluster("tls", tls)], async |worker| {
        let response = call::call(&worker, "tls", get("/keys")).await.unwrap();
        assert_eq!(&response.body[..], b"ok");
    });
}

fn destination() -> grpc::Destination {
    grpc::Destination::new(&source::GrpcService {
        target: source::GrpcTarget::Cluster {
            name: "h2".into(),
            authority: "".into(),
        },
        timeout: Some(Duration::from_secs(10)),
        initial_metadata: vec![("x-tenant".parse().unwrap(), "one".parse().unwrap())],
    })
    .unwrap()
}

#[test]
fn grpc_is_unary() {
    const GRPC: &[(&str, &str)] = &[("content-type", "application/grpc")];
    let answered = Reply::acts([
        Act::Head(200, GRPC),
        Act::Data(b"\0\0\0\0\x03yes".to_vec()),
        Act::Trailers(&[("grpc-status", "0")]),
    ]);
    let refused = Reply::acts([
        Act::Head(
            200,
            &[
                ("content-type", "application/grpc"),
                ("grpc-status", "7"),
                ("grpc-message", "no"),
            ],
        ),
        Act::End,
    ]);
    let bench = Bench::new(vec![answered, refused, Reply::h2(503, &[], "busy")]);
    bench.run(&[bench.cluster("h2", json!({}))], async |worker| {
        let ask = || async { grpc::unary(&worker, &destination(), "/test.Service/Ask", b"may I?", 1024).await };
        assert_eq!(&ask().await.unwrap()[..], b"yes");
        let no = ask().await.unwrap_err();
        assert_eq!((no.status.code, &*no.status.message, no.cause), (7, "no", None));
        assert_eq!(ask().await.unwrap_err().status.code, 14, "UNAVAILABLE stands for 503");
    });
    let received = bench.recorder.received();
    let message = &received[0].message;
    assert_eq!(message.body, b"\0\0\0\0\x06may I?");
    for (name, value) in [
        (":method", "POST"),
        (":path", "/test.Service/Ask"),
        (":authority", "h2"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("grpc-timeout", "10000m"),
        ("x-tenant", "one"),
    ] {
        assert_eq!(message.header(name), Some(value), "{name}");
    }
}

#[test]
fn grpc_streams_to_the_server() {
    let answer = Reply::acts([
        Act::Head(200, &[("content-type", "application/grpc")]),
        Act::Data(b"\0\0\0\0\0".to_vec()),
        Act::Trailers(&[("grpc-status", "0")]),
    ]);
    let bench = Bench::new(vec![answer]);
    bench.run(&[bench.cluster("h2", json!({}))], async |worker| {
        let mut stream = grpc::ClientStream::open(&worker, &destination(), "/test.Service/Tell")
            .await
            .unwrap();
        stream.send(b"a", false).unwrap();
        stream.send(b"b", false).unwrap();
        stream.close().unwrap();
        assert_eq!(&stream.finish().await.unwrap()[..], b"");
    });
    assert_eq!(bench.recorder.received()[0].message.body, b"\0\0\0\0\x01a\0\0\0\0\x01b");
}
