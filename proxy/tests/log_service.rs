//! Access logs that go to a gRPC service, HTTP and TCP, with Envoy as the referee.

// Modules of a test program are public to it alone.
#![allow(unreachable_pub)]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::bootstrap::Bootstrap;
use support::upstream::{Act, Received, Recorder, Reply, serve_h1, serve_h2};
use support::{h1, peers, proxy::Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use xds_api::json::{WriteOptions, from_wire};

const LIMIT: Duration = Duration::from_secs(20);
const MESSAGE: &str = "envoy.service.accesslog.v3.StreamAccessLogsMessage";

/// Ours and Envoy.
fn both(test: &str) -> Option<[PathBuf; 2]> {
    Some([peers::pillion(test)?, peers::need(test, "envoy")?])
}

const BOOTSTRAP: &str = r#"
admin: {{admin}}
node: {id: node1, cluster: c9, metadata: {a: b}}
static_resources:
  listeners:
  - name: web
    address: {socket_address: {address: 127.0.0.1, port_value: {{port:web}}}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          use_remote_address: true
          access_log:
          - name: http
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig
              common_config: {log_name: http-log, transport_api_version: V3, grpc_service: {envoy_grpc: {cluster_name: logs}}, buffer_flush_interval: 0.1s{{more}}}
              additional_request_headers_to_log: [X-Own, absent, x-list, ":path"]
              additional_response_headers_to_log: [x-answer, ":status"]
              additional_response_trailers_to_log: [x-trailer]
          - name: filtered
            filter: {status_code_filter: {comparison: {op: GE, value: {default_value: 500, runtime_key: none}}}}
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig
              common_config: {log_name: errors, transport_api_version: V3, grpc_service: {envoy_grpc: {cluster_name: logs, authority: logs.test}, initial_metadata: [{key: x-tenant, value: one}]}, buffer_flush_interval: 0.1s}
          route_config:
            name: routes
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - {name: there, match: {prefix: /there}, route: {cluster: app, prefix_rewrite: /here}}
              - {match: {prefix: /dead}, route: {cluster: dead}}
              - {match: {prefix: /}, direct_response: {status: 204}}
          http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]
  - name: raw
    address: {socket_address: {address: 127.0.0.1, port_value: {{port:raw}}}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: raw
          cluster: app
          access_log:
          - name: tcp
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig
              common_config: {log_name: tcp-log, transport_api_version: V3, grpc_service: {envoy_grpc: {cluster_name: logs}}, buffer_flush_interval: 0.1s}
  clusters:
  - {name: app, type: STATIC, load_assignment: {cluster_name: app, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{h1:app}}}}}}]}]}}
  - {name: dead, type: STATIC, load_assignment: {cluster_name: dead, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{dead:dead}}}}}}]}]}}
  - name: logs
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment: {cluster_name: logs, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{h2:logs}}}}}}]}]}
"#;

/// The messages of a stream, as JSON.
fn messages(received: &Received) -> Vec<Value> {
    let (mut rest, mut found) = (&received.message.body[..], Vec::new());
    while let Some((header, body)) = rest.split_at_checked(5) {
        let length = u32::from_be_bytes(header[1..].try_into().unwrap()) as usize;
        let Some((message, after)) = body.split_at_checked(length) else {
            break;
        };
        let names = WriteOptions {
            proto_names: true,
            ..WriteOptions::default()
        };
        found.push(from_wire(MESSAGE, message, names).unwrap());
        rest = after;
    }
    found
}

/// What streams have sent, by log: entries, and the identifiers of their first messages.
fn logs(recorder: &Recorder) -> Vec<(String, Value, Vec<Value>)> {
    let mut logs = Vec::new();
    for received in recorder.received().iter().filter(|r| r.upstream == "h2:logs") {
        let messages = messages(received);
        let Some(first) = messages.first() else { continue };
        let identifier = first["identifier"].clone();
        assert!(
            messages[1..].iter().all(|m| m.get("identifier").is_none()),
            "the first message only: {messages:#?}"
        );
        let entries = messages.iter().flat_map(|m| {
            ["http_logs", "tcp_logs"]
                .into_iter()
                .filter_map(|kind| m[kind]["log_entry"].as_array())
                .flatten()
                .cloned()
        });
        logs.push((
            identifier["log_name"].as_str().unwrap().to_owned(),
            identifier,
            entries.collect(),
        ));
    }
    logs.sort_by(|a, b| a.0.cmp(&b.0));
    logs
}

/// Cuts what differs between two runs: times and ports stay as that they are there.
fn steady(value: &mut Value, proxy: &Bootstrap) {
    match value {
        Value::Object(fields) => {
            // Pillion counts whole messages, not the fields of their heads.
            fields.retain(|name, _| !name.contains("_header_bytes_"));
            for (name, value) in fields.iter_mut() {
                match (name.as_str(), &*value) {
                    ("port_value", Value::Number(port)) => {
                        let known = proxy
                            .ports
                            .iter()
                            .find(|(_, p)| u64::from(**p) == port.as_u64().unwrap());
                        *value = known.map_or("some port", |(name, _)| name).into();
                    }
                    ("start_time" | "duration" | "stream_id" | "request_id", _) => *value = "is there".into(),
                    (time, _) if time.starts_with("time_to_") => *value = "is there".into(),
                    _ => steady(value, proxy),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| steady(item, proxy)),
        _ => {}
    }
}

struct Run {
    proxy: Proxy,
    bootstrap: Bootstrap,
    recorder: Arc<Recorder>,
    runtime: tokio::runtime::Runtime,
    _dir: tempfile::TempDir,
}

impl Run {
    /// `more`: in the common config of the HTTP log.
    fn start(binary: &Path, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bootstrap = Bootstrap::new(&BOOTSTRAP.replace("{{more}}", more), dir.path(), "");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let recorder = Arc::<Recorder>::default();
        // Requests of the application are recorded apart.
        let app = Arc::<Recorder>::default();
        app.begin(vec![Reply::raw(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-answer: 42\r\n\r\n2\r\nhi\r\n0\r\nx-trailer: t\r\n\r\n",
        )]);
        recorder.begin(vec![Reply::acts([
            Act::Head(200, &[("content-type", "application/grpc")]),
            Act::Hang,
        ])]);
        runtime.block_on(async {
            serve_h1(bootstrap.port("h1:app"), "h1:app", &app);
            serve_h2(bootstrap.port("h2:logs"), "h2:logs", &recorder);
        });
        let proxy = Proxy::start(binary, &bootstrap.text, dir.path());
        Self {
            proxy,
            bootstrap,
            recorder,
            runtime,
            _dir: dir,
        }
    }

    fn ask(&self, request: &str) -> u16 {
        let address = ([127, 0, 0, 1], self.bootstrap.port("port:web")).into();
        let answer = self.runtime.block_on(h1::ask(address, request.as_bytes()));
        answer.map_or(0, |message| message.status())
    }

    /// Lets the servers run until `wanted` holds of what the logs hold.
    fn wait(&self, wanted: impl Fn(&[(String, Value, Vec<Value>)]) -> bool) -> Vec<(String, Value, Vec<Value>)> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let logs = logs(&self.recorder);
            if wanted(&logs) {
                return logs;
            }
            assert!(Instant::now() < deadline, "{logs:#?}\n{}", self.proxy.log());
            self.runtime
                .block_on(async { tokio::time::sleep(Duration::from_millis(20)).await });
        }
    }
}

fn everything(binary: &Path) -> Value {
    let run = Run::start(binary, "");
    run.ask("POST /there/it?is=1 HTTP/1.1\r\nhost: a.test\r\nuser-agent: test\r\nreferer: r\r\nx-own: mine\r\nx-list: 1\r\nx-list: 2\r\ncontent-length: 3\r\n\r\nabc");
    run.ask("GET /dead HTTP/1.1\r\nhost: a.test\r\n\r\n");
    run.ask("OPTIONS /own HTTP/1.1\r\nhost: a.test\r\n\r\n");
    run.runtime.block_on(async {
        let mut stream = TcpStream::connect(("127.0.0.1", run.bootstrap.port("port:raw")))
            .await
            .unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: raw\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = [0; 16];
        stream.read_exact(&mut answer).await.unwrap();
    });
    let logs = run.wait(|logs| logs.iter().map(|(.., entries)| entries.len()).sum::<usize>() >= 5);
    let mut told = Vec::new();
    for (name, mut identifier, mut entries) in logs {
        let node = identifier["node"].as_object_mut().unwrap();
        assert_eq!(node.remove("user_agent_name").unwrap(), "envoy");
        node.retain(|field, _| ["id", "cluster", "metadata"].contains(&field.as_str()));
        entries.iter_mut().for_each(|entry| steady(entry, &run.bootstrap));
        told.push(json!([name, identifier, entries]));
    }
    let mut heads: Vec<Value> = Vec::new();
    for received in run.recorder.received() {
        let fields = received
            .message
            .headers
            .iter()
            .filter(|(name, _)| name != "x-forwarded-for");
        heads.push(json!(fields.collect::<Vec<_>>()));
    }
    heads.sort_by_key(Value::to_string);
    told.extend(heads);
    let (_, stats) = run
        .proxy
        .get("/stats?filter=access_logs|cluster.logs.*upstream_rq_total")
        .unwrap();
    told.push(json!(stats.lines().collect::<Vec<_>>()));
    json!(told)
}

#[test]
fn entries_say_what_envoys_say() {
    let Some([ours, envoy]) = both("entries_say_what_envoys_say") else {
        return;
    };
    let theirs = everything(&envoy);
    if std::env::var_os("SHOW").is_some() {
        println!("{theirs:#}");
        return;
    }
    let ours = everything(&ours);
    assert_eq!(ours, theirs, "\n{ours:#}\n{theirs:#}");
}

/// A server that is away loses what is logged meanwhile, and gets a new identifier when it is back; entries wait in a large
/// buffer no longer than the interval, and in a small one not at all.
#[test]
fn a_stream_that_ends_is_opened_again() {
    let Some([ours, envoy]) = both("a_stream_that_ends_is_opened_again") else {
        return;
    };
    let told = [ours, envoy].map(|binary| {
        let run = Run::start(&binary, ", buffer_size_bytes: 1");
        let gone = Reply::acts([
            Act::Head(200, &[("content-type", "application/grpc")]),
            Act::Trailers(&[("grpc-status", "14")]),
        ]);
        run.recorder
            .begin(vec![gone.early(), Reply::acts([Act::Head(200, &[]), Act::Hang])]);
        run.ask("GET /own HTTP/1.1\r\nhost: a.test\r\n\r\n");
        run.wait(|_| run.recorder.received().first().is_some_and(|first| first.end != "open"));
        // The end is heard of before the next request.
        run.runtime
            .block_on(async { tokio::time::sleep(Duration::from_millis(300)).await });
        run.ask("GET /again HTTP/1.1\r\nhost: a.test\r\n\r\n");
        run.ask("GET /more HTTP/1.1\r\nhost: a.test\r\n\r\n");
        let paths = |logs: &[(String, Value, Vec<Value>)]| {
            let paths = logs
                .iter()
                .flat_map(|(.., entries)| entries)
                .map(|entry| entry["request"]["path"].clone());
            paths.collect::<Vec<_>>()
        };
        let logs = run.wait(|logs| paths(logs).contains(&json!("/more")));
        assert!(
            logs.iter()
                .all(|(name, identifier, _)| name == "http-log" && identifier["node"]["id"] == "node1")
        );
        (paths(&logs), run.recorder.received().len())
    });
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0].1, 2, "{told:?}");
}
