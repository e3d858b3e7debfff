//! The admin interface: who may ask for what, what it changes, and Envoy 1.40's answers to the same questions.

// Modules of a test program are public to it alone.
#![allow(unreachable_pub)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use support::bootstrap::Bootstrap;
use support::message::{Kind, Message};
use support::{peers, proxy::Proxy};

const BOOTSTRAP: &str = r#"
admin: {{admin}}
node: {id: sidecar, cluster: test}
layered_runtime:
  layers:
  - {name: first, static_layer: {a.b: 1, flag: "true"}}
  - {name: second, static_layer: {a: {b: 2}}}
static_resources:
  listeners:
  - name: web
    traffic_direction: INBOUND
    address: {socket_address: {address: 127.0.0.1, port_value: {{port:web}}}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress
          http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]
          route_config: {name: inline, virtual_hosts: [{name: v, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: a}}]}]}
  - name: other
    traffic_direction: OUTBOUND
    address: {socket_address: {address: 127.0.0.1, port_value: {{port:other}}}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: b}
  clusters:
  - name: a
    connect_timeout: 1s
    load_assignment:
      cluster_name: a
      endpoints:
      - locality: {region: r, zone: z}
        load_balancing_weight: 5
        lb_endpoints:
        - {load_balancing_weight: 3, endpoint: {hostname: h, address: {socket_address: {address: 127.0.0.1, port_value: {{dead:a}}}}}}
      - priority: 1
        lb_endpoints:
        - {health_status: DEGRADED, endpoint: {address: {pipe: {path: /nonexistent}}}}
  - {name: b, type: STATIC, circuit_breakers: {thresholds: [{priority: HIGH, max_requests: 7}]}}
"#;

struct Answer {
    status: u16,
    content_type: String,
    body: String,
}

fn ask(proxy: &Proxy, method: &str, path: &str, headers: &str) -> Answer {
    let mut stream = TcpStream::connect(proxy.admin()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: 0\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let (message, _) = Message::parse(&bytes, Kind::Response, true).unwrap();
    Answer {
        status: message.status(),
        content_type: message.header("content-type").unwrap_or_default().to_owned(),
        body: String::from_utf8(message.body).unwrap(),
    }
}

const HOST: &str = "host: admin\r\n";

#[test]
fn what_changes_state_is_not_for_pages_of_others() {
    let Some(binary) = peers::pillion("what_changes_state_is_not_for_pages_of_others") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let bootstrap = Bootstrap::new(BOOTSTRAP, dir.path(), "");
    let proxy = Proxy::start(&binary, &bootstrap.text, dir.path());
    for host in ["10.1.2.3:15090", "evil.example", "localhost", "[::1]:1"] {
        for path in ["/ready", "/stats/prometheus", "/config_dump", "/clusters"] {
            assert_eq!(
                ask(&proxy, "GET", path, &format!("host: {host}\r\n")).status,
                200,
                "{host} {path}"
            );
        }
    }
    let changing = [
        "/quitquitquit",
        "/drain_listeners",
        "/healthcheck/fail",
        "/healthcheck/ok",
        "/logging",
        "/reset_counters",
        "/reopen_logs",
    ];
    for path in changing {
        let get = ask(&proxy, "GET", path, HOST);
        assert_eq!(
            (get.status, &*get.body),
            (405, "Method GET not allowed, POST required."),
            "{path}"
        );
        for sent in [
            "origin: http://evil.example\r\n",
            "origin: null\r\n",
            "sec-fetch-site: cross-site\r\n",
            "sec-fetch-site: same-site\r\n",
        ] {
            let refused = ask(&proxy, "POST", path, &format!("{HOST}{sent}"));
            assert_eq!(refused.status, 403, "{path} {sent}");
        }
    }
    assert_eq!(proxy.get("/ready").unwrap(), (200, "LIVE\n".to_owned()));
    assert_eq!(
        ask(&proxy, "POST", "/logging", &format!("{HOST}sec-fetch-site: none\r\n")).status,
        200
    );
}

#[test]
fn states_and_drains() {
    let Some(binary) = peers::pillion("states_and_drains") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let bootstrap = Bootstrap::new(BOOTSTRAP, dir.path(), "");
    let flags = ["--concurrency", "1", "--drain-time-s", "1"];
    let mut proxy = Proxy::start_with(&binary, &bootstrap.text, dir.path(), &flags);
    assert_eq!(proxy.post("/healthcheck/fail").unwrap().0, 200);
    assert_eq!(proxy.get("/ready").unwrap(), (503, "DRAINING\n".to_owned()));
    assert!(proxy.get("/server_info").unwrap().1.contains("\"state\": \"DRAINING\""));
    assert_eq!(proxy.post("/healthcheck/ok").unwrap().0, 200);
    assert_eq!(proxy.get("/ready").unwrap(), (200, "LIVE\n".to_owned()));

    let accepts = |name: &str| TcpStream::connect(bootstrap.listener(name)).is_ok();
    let closes = |name: &str| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while accepts(name) {
            assert!(Instant::now() < deadline, "{name} still accepts");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    assert_eq!(proxy.post("/drain_listeners?graceful&skip_exit").unwrap().0, 200);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(accepts("web") && accepts("other"), "skip_exit keeps the listeners");
    assert_eq!(proxy.post("/drain_listeners?inboundonly&graceful").unwrap().0, 200);
    assert!(accepts("web"), "a graceful drain takes its time");
    closes("web");
    assert!(accepts("other"), "inboundonly spares the others");
    assert_eq!(proxy.post("/drain_listeners").unwrap().0, 200);
    closes("other");
    assert_eq!(proxy.post("/quitquitquit").unwrap().0, 200);
    assert!(proxy.wait().success());
}

/// (method, path); what both answer must be the same but for what [`comparable`] leaves out.
const QUESTIONS: &[(&str, &str)] = &[
    ("GET", "/ready"),
    ("GET", "/listeners"),
    ("GET", "/listeners?format=json"),
    ("GET", "/clusters?format=json"),
    ("GET", "/clusters"),
    ("GET", "/clusters?filter=^b$"),
    ("GET", "/config_dump"),
    ("GET", "/config_dump?include_eds"),
    ("GET", "/config_dump?resource=static_clusters"),
    (
        "GET",
        "/config_dump?resource=static_clusters&mask=cluster.name,last_updated",
    ),
    ("GET", "/config_dump?resource=static_listeners&name_regex=w.*"),
    ("GET", "/config_dump?resource=static_endpoint_configs&include_eds"),
    ("GET", "/config_dump?resource=static_route_configs"),
    ("GET", "/config_dump?resource=nope"),
    ("GET", "/config_dump?resource=version_info"),
    ("GET", "/config_dump?mask=bootstrap.node.id"),
    ("GET", "/config_dump?mask=static_clusters.cluster.name"),
    ("GET", "/config_dump?mask=nope"),
    ("GET", "/certs"),
    ("GET", "/runtime"),
    ("GET", "/init_dump"),
    ("GET", "/hot_restart_version"),
    ("GET", "/quitquitquit"),
    ("POST", "/reset_counters"),
    ("POST", "/reopen_logs"),
    ("POST", "/healthcheck/fail"),
    ("GET", "/ready"),
    ("POST", "/healthcheck/ok"),
];

/// Only the status: the texts are each proxy's own.
const STATUSES: &[(&str, &str)] = &[
    ("GET", "/"),
    ("GET", "/help"),
    ("GET", "/nope"),
    ("GET", "/memory"),
    ("GET", "/server_info"),
    ("GET", "/config_dump?name_regex=("),
    ("GET", "/logging"),
    ("POST", "/logging"),
    ("POST", "/logging?level=info"),
    ("POST", "/logging?level=loud"),
    ("POST", "/logging?paths=http:debug,config:trace"),
    ("POST", "/logging?paths=nope:debug"),
    ("POST", "/logging?paths=http"),
    ("POST", "/logging?upstream=debug"),
    ("POST", "/logging?nope=debug"),
    ("POST", "/logging?group=http:debug"),
    ("POST", "/logging?level=info&paths=http:debug"),
    ("POST", "/drain_listeners?skip_exit"),
];

#[test]
fn answers_are_envoys() {
    let test = "answers_are_envoys";
    let (Some(binary), Some(envoy)) = (peers::pillion(test), peers::need(test, "envoy")) else {
        return;
    };
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let bootstrap = Bootstrap::new(BOOTSTRAP, dirs[0].path(), "");
    // One after the other: both have the same ports.
    let answers = [(envoy, &dirs[0]), (binary, &dirs[1])].map(|(binary, dir)| {
        let proxy = Proxy::start(&binary, &bootstrap.text, dir.path());
        let all = QUESTIONS.iter().chain(STATUSES);
        all.map(|(method, path)| ask(&proxy, method, path, HOST))
            .collect::<Vec<_>>()
    });
    let [theirs, ours] = answers;
    let mut differences = Vec::new();
    for (i, (method, path)) in QUESTIONS.iter().chain(STATUSES).enumerate() {
        let (their, our) = (&theirs[i], &ours[i]);
        if their.status != our.status {
            differences.push(format!("{method} {path}: status {} and {}", their.status, our.status));
        } else if i < QUESTIONS.len() {
            if their.content_type != our.content_type {
                differences.push(format!(
                    "{method} {path}: {} and {}",
                    their.content_type, our.content_type
                ));
            }
            let (their, our) = (comparable(&their.body), comparable(&our.body));
            if their != our {
                differences.push(format!("{method} {path}: {}", unlike(&their, &our)));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// The lines that only one of the two has.
fn unlike(their: &str, our: &str) -> String {
    let only = |of: &str, other: &str, sign: char| {
        let lines = of.lines().filter(|line| !other.lines().any(|l| l == *line));
        lines.map(|line| format!("\n{sign} {line}")).collect::<String>()
    };
    let (theirs, ours) = (only(their, our, '-'), only(our, their, '+'));
    format!(
        "{theirs}{ours}\n({} and {} lines)",
        their.lines().count(),
        our.lines().count()
    )
}

/// Moments, and what each proxy says of itself, are left out; lines and members of text have no order.
fn comparable(body: &str) -> String {
    match serde_json::from_str::<Value>(body) {
        Ok(mut value) => {
            strip(&mut value);
            serde_json::to_string_pretty(&value).unwrap()
        }
        Err(_) => {
            let mut lines: Vec<&str> = body.lines().collect();
            lines.sort_unstable();
            lines.join("\n")
        }
    }
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for name in [
                "last_updated",
                "extensions",
                "user_agent_build_version",
                "client_features",
            ] {
                object.remove(name);
            }
            object.values_mut().for_each(strip);
            let sorted: Map<String, Value> = std::mem::take(object).into_iter().collect();
            *object = sorted;
        }
        Value::Array(list) => {
            list.iter_mut().for_each(strip);
            list.sort_by_key(ToString::to_string);
        }
        _ => {}
    }
}
