//! Spans, and what upstreams are told of traces, with Envoy as the referee.
//!
//! What is to know of Envoy's ways stands beside the cases. Ids, times and ports are cut to what can be compared: an id that
//! neither proxy was given is named by the order in which it appears.

// Modules of a test program are public to it alone.
#![allow(unreachable_pub)]

#[path = "tracing/collected.rs"]
mod collected;
mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::bootstrap::Bootstrap;
use support::message::Message;
use support::upstream::{Act, Recorder, Reply, serve_h1, serve_h2};
use support::{h1, peers, proxy::Proxy};
use tokio::io::AsyncWriteExt;

const LIMIT: Duration = Duration::from_secs(20);

/// Ours and Envoy.
fn both(test: &str) -> Option<[PathBuf; 2]> {
    Some([peers::pillion(test)?, peers::need(test, "envoy")?])
}

const BOOTSTRAP: &str = r#"
admin: {{admin}}
node: {id: node1, cluster: service1, locality: {zone: zone1}}
{{top}}
layered_runtime: {layers: [{name: static, static_layer: {tracing.zipkin.min_flush_spans: 1, tracing.opentelemetry.min_flush_spans: 1, tracing.zipkin.flush_interval_ms: 600000, tracing.opentelemetry.flush_interval_ms: 600000{{runtime}}}}]}
static_resources:
  listeners:
  - name: web
    traffic_direction: {{direction}}
    address: {socket_address: {address: 127.0.0.1, port_value: {{port:web}}}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          {{manager}}
          route_config:
            name: routes
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - {match: {prefix: /named}, route: {cluster: app}, decorator: {operation: shop/*}}
              - {match: {prefix: /secret}, route: {cluster: app}, decorator: {operation: secret, propagate: false}}
              - {match: {prefix: /dead}, route: {cluster: dead}}
              - {match: {prefix: /own}, direct_response: {status: 503}}
              - {match: {prefix: /moved}, redirect: {path_redirect: /x}}
              - {match: {prefix: /nowhere}, route: {cluster_header: x-none}}
              - {match: {prefix: /again}, route: {cluster: app, retry_policy: {retry_on: 5xx, num_retries: 1}}}
              - {match: {prefix: /copied}, route: {cluster: app, request_mirror_policies: [{cluster: app, trace_sampled: false}]}}
              - {match: {prefix: /slow}, route: {cluster: app, timeout: 0.3s}}
              - {match: {prefix: /short}, route: {cluster: app, timeout: 10s, retry_policy: {retry_on: 5xx, num_retries: 1, per_try_timeout: 0.3s}}}
              - {match: {prefix: /rewritten}, route: {cluster: app, prefix_rewrite: /}}
              - match: {prefix: /route}
                route: {cluster: app}
                metadata: {filter_metadata: {ns: {a: {b: deep}, number: 3.5, yes: true, list: [1, x]}}}
                tracing:
                  random_sampling: {numerator: 0}
                  custom_tags: [{tag: lit, literal: {value: of-route}}, {tag: mine, literal: {value: m}}]
                  operation: "%REQ(:METHOD)% of route"
                  upstream_operation: "to %UPSTREAM_CLUSTER%"
              - {match: {prefix: /a}, route: {cluster: app}}
          http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router{{router}}}}]
  clusters:
  - name: app
    type: STATIC
    metadata: {filter_metadata: {ns: {where: cluster}}}
    load_assignment: {cluster_name: app, endpoints: [{lb_endpoints: [{metadata: {filter_metadata: {ns: {where: host}}}, endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{h1:app}}}}}}]}]}
  - {name: dead, type: STATIC, load_assignment: {cluster_name: dead, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{dead:dead}}}}}}]}]}}
  - {name: spans, type: STATIC, load_assignment: {cluster_name: spans, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{h1:spans}}}}}}]}]}}
  - name: otlp
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment: {cluster_name: otlp, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{h2:otlp}}}}}}]}]}
"#;

/// A way to configure tracing.
#[derive(Clone)]
struct Setup {
    direction: &'static str,
    /// Fields of the connection manager.
    manager: String,
    router: &'static str,
    runtime: &'static str,
    top: String,
}

impl Setup {
    /// `provider`: its typed config but for the type; `more`: further fields of `tracing`.
    fn new(provider: &str, more: &str) -> Self {
        Self {
            direction: "OUTBOUND",
            manager: format!("tracing: {{provider: {{name: p, typed_config: {{{provider}}}}}{more}}}"),
            router: "",
            runtime: "",
            top: String::new(),
        }
    }

    fn zipkin(fields: &str, more: &str) -> Self {
        Self::new(&zipkin(fields), more)
    }

    fn otlp_http(fields: &str, more: &str) -> Self {
        let http = "http_service: {http_uri: {uri: 'http://otlp.test:4318/v1/traces', cluster: spans, timeout: 1s}, request_headers_to_add: [{header: {key: x-tenant, value: one}}]}";
        Self::new(&format!("{OTLP}, {http}{fields}"), more)
    }

    fn inbound(mut self) -> Self {
        self.direction = "INBOUND";
        self
    }

    fn manager(mut self, more: &str) -> Self {
        self.manager.push_str("\n          ");
        self.manager.push_str(more);
        self
    }
}

const OTLP: &str = "'@type': type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig";
/// Clients on this machine may say what only internal ones may.
const INTERNAL: &str = "internal_address_config: {cidr_ranges: [{address_prefix: 127.0.0.0, prefix_len: 8}]}\n          use_remote_address: true";
const REQUEST_ID: &str = "request_id_extension: {typed_config: {'@type': type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig";

fn zipkin(fields: &str) -> String {
    format!(
        "'@type': type.googleapis.com/envoy.config.trace.v3.ZipkinConfig, collector_cluster: spans, collector_endpoint: /api/v2/spans, collector_endpoint_version: HTTP_{}",
        if fields.is_empty() { "JSON" } else { fields }
    )
}

/// A request, and how many spans collectors get of it.
struct Case {
    path: &'static str,
    fields: &'static str,
    body: &'static str,
    answers: Vec<Reply>,
    /// The client leaves once the upstream has the request.
    leaves: bool,
    spans: usize,
}

fn case(path: &'static str, fields: &'static str, spans: usize) -> Case {
    Case {
        path,
        fields,
        body: "",
        answers: Vec::new(),
        leaves: false,
        spans,
    }
}

impl Case {
    fn answered(mut self, answers: impl IntoIterator<Item = &'static str>) -> Self {
        self.answers = answers.into_iter().map(Reply::raw).collect();
        self
    }

    fn body(mut self, body: &'static str) -> Self {
        self.body = body;
        self
    }

    /// Upstreams never answer.
    fn hanging(mut self) -> Self {
        self.answers = vec![Reply::acts([Act::Hang])];
        self
    }

    fn leaving(mut self) -> Self {
        self.leaves = true;
        self
    }

    /// The first answer breaks off.
    fn cut(mut self) -> Self {
        let broken = Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
        self.answers = vec![broken.then_sleep(100).then(Act::Close)];
        self
    }

    fn request(&self) -> String {
        let method = if self.body.is_empty() && !self.fields.contains("grpc") {
            "GET"
        } else {
            "POST"
        };
        let fields: String = self
            .fields
            .split_terminator('|')
            .map(|field| format!("{field}\r\n"))
            .collect();
        let length = match self.body.len() {
            0 => String::new(),
            length => format!("content-length: {length}\r\n"),
        };
        format!(
            "{method} {} HTTP/1.1\r\nhost: a.test\r\nuser-agent: test\r\n{fields}{length}\r\n{}",
            self.path, self.body
        )
    }
}

/// A proxy between an application and collectors.
struct Run {
    proxy: Proxy,
    bootstrap: Bootstrap,
    app: Arc<Recorder>,
    collector: Arc<Recorder>,
    grpc: Arc<Recorder>,
    runtime: tokio::runtime::Runtime,
    _dir: tempfile::TempDir,
}

impl Run {
    fn start(binary: &Path, setup: &Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text = BOOTSTRAP
            .replace("{{manager}}", &setup.manager)
            .replace("{{direction}}", setup.direction)
            .replace("{{router}}", setup.router)
            .replace("{{runtime}}", setup.runtime)
            .replace("{{top}}", &setup.top);
        let bootstrap = Bootstrap::new(&text, dir.path(), "");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let [app, collector, grpc] = [(); 3].map(|()| Arc::<Recorder>::default());
        runtime.block_on(async {
            serve_h1(bootstrap.port("h1:app"), "h1:app", &app);
            serve_h1(bootstrap.port("h1:spans"), "h1:spans", &collector);
            serve_h2(bootstrap.port("h2:otlp"), "h2:otlp", &grpc);
        });
        let proxy = Proxy::start_with(binary, &bootstrap.text, dir.path(), &["--concurrency", "1"]);
        let run = Self {
            proxy,
            bootstrap,
            app,
            collector,
            grpc,
            runtime,
            _dir: dir,
        };
        run.collect();
        run
    }

    /// Collectors forget, and answer as they should.
    fn collect(&self) {
        self.collector.begin(vec![Reply::h1("202 Accepted", "", "")]);
        self.grpc.begin(vec![Reply::acts([
            Act::Head(200, &[("content-type", "application/grpc")]),
            Act::Data(vec![0; 5]),
            Act::Trailers(&[("grpc-status", "0")]),
        ])]);
    }

    fn ask(&self, case: &Case) -> Option<Message> {
        self.app.begin(case.answers.clone());
        let address = ([127, 0, 0, 1], self.bootstrap.port("port:web")).into();
        let request = case.request();
        self.runtime.block_on(async {
            if !case.leaves {
                return h1::ask(address, request.as_bytes()).await;
            }
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            assert!(self.app.wait(LIMIT, |received| !received.is_empty()).await, "{request}");
            None
        })
    }

    /// Lets collectors run until they have so many spans: those of each of their requests.
    fn wait(&self, count: usize) -> Vec<(Message, Vec<Value>)> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let all = self.collector.received().into_iter().chain(self.grpc.received());
            let whole = all.filter(|received| received.message.complete);
            let found: Vec<_> = whole
                .map(|received| (received.message.clone(), collected::spans(&received)))
                .collect();
            if found.iter().map(|(_, spans)| spans.len()).sum::<usize>() >= count {
                return found;
            }
            assert!(Instant::now() < deadline, "{found:#?}\n{}", self.proxy.log());
            self.runtime
                .block_on(async { tokio::time::sleep(Duration::from_millis(10)).await });
        }
    }
}

impl Run {
    /// All counters of tracing, once one has its value.
    fn counted(&self, name: &str, value: u64) -> Vec<String> {
        let deadline = Instant::now() + LIMIT;
        while self.proxy.stat(name) != value {
            assert!(Instant::now() < deadline, "{name} is no {value}\n{}", self.proxy.log());
            // Collectors answer meanwhile.
            self.runtime
                .block_on(async { tokio::time::sleep(Duration::from_millis(10)).await });
        }
        let (_, stats) = self.proxy.get("/stats?filter=tracing").unwrap();
        let lines = stats.lines().filter(|line| !line.contains("timer_flushed"));
        lines.map(str::to_owned).collect()
    }
}

/// What a proxy made of the cases.
fn run(binary: &Path, setup: &Setup, cases: &[Case]) -> Value {
    let run = Run::start(binary, setup);
    let mut told = Vec::new();
    for case in cases {
        run.collect();
        let answer = run.ask(case);
        let (mut heads, mut spans) = (Vec::new(), Vec::new());
        for (message, some) in run.wait(case.spans) {
            heads.push(head(&message));
            spans.extend(some);
        }
        heads.dedup();
        // Those of attempts come in their own time.
        spans.sort_by_key(|span| [&span["kind"], &span["name"], &span["tags"]["retry.count"]].map(Value::to_string));
        if case.path == "/copied" {
            let both = run.app.wait(LIMIT, |received| received.len() == 2);
            assert!(run.runtime.block_on(both), "no copy came");
        }
        let mut upstream = run.app.received();
        // A copy's host is longer.
        upstream.sort_by_key(|received| received.message.header("host").map(str::to_owned));
        let upstream: Vec<_> = upstream.iter().map(|received| fields(&received.message)).collect();
        let request = case.request();
        let mut all = json!([request, upstream, answer.as_ref().map(fields), spans, heads]);
        Steady::new(&request, &run.bootstrap).cut(&mut all);
        told.push(all);
    }
    let (_, stats) = run.proxy.get("/stats?filter=tracing").unwrap();
    // Answers of the collector may still be on their way, and timers are one for each thread in Envoy.
    let moves = |line: &str| ["timer_flushed", "reports_sent"].iter().any(|name| line.contains(name));
    let counted = stats.lines().filter(|line| !moves(line));
    told.push(json!(counted.collect::<Vec<_>>()));
    json!(told)
}

/// Fields that a trace has to do with.
fn fields(message: &Message) -> Value {
    const TRACED: [&str; 12] = [
        "x-request-id",
        "x-b3-traceid",
        "x-b3-spanid",
        "x-b3-parentspanid",
        "x-b3-sampled",
        "b3",
        "traceparent",
        "tracestate",
        "x-envoy-decorator-operation",
        "x-envoy-force-trace",
        "x-client-trace-id",
        "x-envoy-downstream-service-cluster",
    ];
    let mut found: Vec<_> = message
        .headers
        .iter()
        .filter(|(name, _)| TRACED.contains(&name.as_str()))
        .collect();
    found.sort();
    json!([message.start, found])
}

/// The head of a request to a collector.
fn head(message: &Message) -> Value {
    let own = |name: &str| ["content-length", "transfer-encoding", "x-forwarded-for"].contains(&name);
    let mut fields: Vec<_> = message.headers.iter().filter(|(name, _)| !own(name)).collect();
    fields.sort();
    json!([message.start, fields])
}

/// Cuts what differs between two runs.
struct Steady<'a> {
    request: &'a str,
    bootstrap: &'a Bootstrap,
    ids: Vec<String>,
}

impl<'a> Steady<'a> {
    fn new(request: &'a str, bootstrap: &'a Bootstrap) -> Self {
        Self {
            request,
            bootstrap,
            ids: Vec::new(),
        }
    }

    fn cut(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.cut(item)),
            // In the order of names, so that ids appear in one order.
            Value::Object(fields) => {
                let mut names: Vec<String> = fields.keys().cloned().collect();
                names.sort();
                names.iter().for_each(|name| self.cut(&mut fields[name]));
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) -> String {
        if text == self.request {
            return text.to_owned();
        }
        if text.starts_with("OTel-OTLP-Exporter-Envoy/") {
            return "OTel-OTLP-Exporter-Envoy".into();
        }
        let mut text = text.to_owned();
        for (name, port) in &self.bootstrap.ports {
            text = text.replace(&format!(":{port}"), &format!(":{name}"));
        }
        // A request id tells its decision.
        let hyphens = [8, 13, 18, 23];
        if text.len() == 36 && hyphens.iter().all(|at| text.as_bytes()[*at] == b'-') {
            return match self.request.contains(&text) {
                true => text,
                false => format!("some request id with {}", &text[14..15]),
            };
        }
        let parts: Vec<String> = text.split('-').map(|part| self.id(part)).collect();
        parts.join("-")
    }

    /// What is no id, or was given, stays.
    fn id(&mut self, part: &str) -> String {
        let hex = [16, 32].contains(&part.len()) && part.bytes().all(|b| b.is_ascii_hexdigit());
        let given = part.trim_start_matches('0');
        if !hex || self.request.to_ascii_lowercase().contains(given) {
            return part.to_owned();
        }
        // The lower half of a long trace id may be a span's id.
        if let [high, low] = [&part[..part.len() - 16], &part[part.len() - 16..]]
            && !high.is_empty()
        {
            return format!("{}{}", self.half(high), self.half(low));
        }
        self.half(part)
    }

    fn half(&mut self, half: &str) -> String {
        if half == "0000000000000000" {
            return "<none>".into();
        }
        let known = self.ids.iter().position(|id| id == half);
        let at = known.unwrap_or_else(|| {
            self.ids.push(half.to_owned());
            self.ids.len() - 1
        });
        format!("<{at}>")
    }
}

fn agree(test: &str, setup: &Setup, cases: &[Case]) {
    let Some([ours, envoy]) = both(test) else {
        return;
    };
    let theirs = run(&envoy, setup, cases);
    if std::env::var_os("SHOW").is_some() {
        println!("{theirs:#}");
        return;
    }
    let ours = run(&ours, setup, cases);
    let (ours, theirs) = (ours.as_array().unwrap(), theirs.as_array().unwrap());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(ours, theirs, "\nours: {ours:#}\nEnvoy's: {theirs:#}");
    }
}

#[path = "tracing/cases.rs"]
mod cases;
