//! A proxy under a control plane, what it is told, and the applications behind it.
//!
//! `web` (HTTP, plain) leads to `plain` (HTTP/1.1), `multiplexed` (HTTP/2) and `secure`, which goes by mTLS to the same
//! proxy's `inbound` listener and from there to `plain`. `tcp` leads to `echo`, `tcp-secure` by mTLS to `inbound-tcp` and
//! from there to `echo`. `chains` has filter chains by source address: one that stays and two that change.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use certs::SpiffeId;
use certs::ca::CertificateAuthority;
use examples::{ControlPlane, resources};
use serde_json::{Value, json};

use super::super::support::bootstrap::Bootstrap;
use super::super::support::proxy::Proxy;
use super::apps;
use super::clients::{Http1, LIMIT};

pub const NODE: &str = "sidecar";
/// The chain that stays takes connections from here, and every other listener too.
pub const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// The HTTP chain that changes.
pub const CHANGING: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// The TCP chain that changes.
pub const CHANGING_TCP: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
/// `--drain-time-s` of the proxy.
pub const DRAIN_TIME: Duration = Duration::from_secs(3);

const TRUST_DOMAIN: &str = "spiffe://swap.test/";
const DAY: Duration = Duration::from_secs(86_400);
const LISTENERS: [&str; 7] = [
    "web",
    "inbound",
    "tcp",
    "tcp-secure",
    "inbound-tcp",
    "chains",
    "unrelated",
];

pub struct Mesh {
    pub proxy: Proxy,
    pub config: Config,
    pub _dir: tempfile::TempDir,
}

/// What the proxy is told.
pub struct Config {
    pub plane: ControlPlane,
    ports: Bootstrap,
    http1: [u16; 2],
    http2: [u16; 2],
    echo: [u16; 2],
    authorities: [CertificateAuthority; 2],
}

/// Which of the two applications of a kind a cluster has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    First,
    Second,
    Both,
}

impl Ends {
    fn of<T: Copy>(self, two: [T; 2]) -> Vec<T> {
        match self {
            Self::First => vec![two[0]],
            Self::Second => vec![two[1]],
            Self::Both => two.to_vec(),
        }
    }

    /// Another one with every number.
    pub fn turn(number: usize) -> Self {
        [Self::First, Self::Both, Self::Second, Self::Both][number % 4]
    }
}

impl Mesh {
    /// Everything but load; `delta` is the form of the aggregated stream. Returns when the proxy serves.
    pub async fn start(binary: &Path, delta: bool) -> Self {
        let plane = ControlPlane::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .await
            .expect("a control plane");
        let dir = tempfile::tempdir().expect("a folder");
        let mut ports = Bootstrap::new(&bootstrap(plane.address().port(), delta), dir.path(), "");
        for name in LISTENERS {
            ports.reserve(&format!("port:{name}"));
        }
        let (text, path, binary) = (ports.text.clone(), dir.path().to_owned(), binary.to_owned());
        let config = Config {
            plane,
            ports,
            http1: [apps::http1().await, apps::http1().await],
            http2: [apps::http2().await, apps::http2().await],
            echo: [apps::echo("first").await, apps::echo("second").await],
            authorities: ["one", "two"].map(|name| CertificateAuthority::root(name).expect("a CA")),
        };
        config.tell_all();
        // The control plane runs on this thread, which must not wait for the proxy meanwhile.
        let started = tokio::task::spawn_blocking(move || {
            let drain = DRAIN_TIME.as_secs().to_string();
            let flags = [
                "--concurrency",
                "2",
                "--drain-time-s",
                &drain,
                "--drain-strategy",
                "immediate",
            ];
            Proxy::start_with(&binary, &text, &path, &flags)
        });
        let proxy = started.await.expect("a proxy that becomes ready");
        let mesh = Self {
            proxy,
            config,
            _dir: dir,
        };
        mesh.config.wait_generation(0).await;
        mesh
    }
}

impl Config {
    pub fn address(&self, listener: &str) -> SocketAddr {
        self.ports.listener(listener)
    }

    fn tell_all(&self) {
        for cluster in ["plain", "multiplexed", "secure", "echo", "tcp-secure"] {
            self.cluster(cluster, 0);
        }
        self.endpoints("plain", Ends::First);
        self.endpoints("multiplexed", Ends::First);
        self.endpoints("echo", Ends::First);
        self.loopback_endpoint("secure", "inbound");
        self.loopback_endpoint("tcp-secure", "inbound-tcp");
        self.identity(0);
        self.trust(&[0]);
        self.routes(0);
        for (name, filter) in [
            ("web", http_filter("web", "web", 0)),
            ("tcp", tcp_filter("tcp", "echo", 0)),
            ("tcp-secure", tcp_filter("tcp-secure", "tcp-secure", 0)),
        ] {
            self.listener(name, &[json!({"filters": [filter]})]);
        }
        for (name, filter, alpn) in [
            ("inbound", http_filter("inbound", "inbound", 0), "http/1.1"),
            ("inbound-tcp", tcp_filter("inbound-tcp", "echo", 0), "istio"),
        ] {
            let tls = resources::tls_context("Downstream", TRUST_DOMAIN, &[alpn]);
            self.listener(name, &[json!({"filters": [filter], "transport_socket": tls})]);
        }
        self.set(resources::ROUTE, "inbound", &json!({"name": "inbound", "virtual_hosts": [
            {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "plain"}}]},
        ]}));
        self.unrelated_listener(0);
        self.chains(0);
        self.plane.push();
    }

    /// Answers of `web` and `chains` carry `number` in `x-generation`.
    pub fn routes(&self, number: usize) {
        let route = |prefix: &str, cluster: &str| json!({"match": {"prefix": prefix}, "route": {"cluster": cluster, "timeout": "60s"}});
        let mut routes = vec![
            route("/multiplexed", "multiplexed"),
            route("/secure", "secure"),
            route("/", "plain"),
        ];
        if number % 3 == 1 {
            // Another table that leads to the same places.
            routes.insert(
                0,
                json!({"match": {"path": format!("/only-{number}")}, "direct_response": {"status": 204}}),
            );
        }
        for name in ["web", "chains"] {
            self.set(
                resources::ROUTE,
                name,
                &json!({
                    "name": name,
                    "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}],
                    "response_headers_to_add": [{"header": {"key": "x-generation", "value": number.to_string()}}],
                }),
            );
        }
    }

    /// Clusters differ by number in their connect timeout.
    pub fn cluster(&self, name: &str, number: usize) {
        let mut cluster = json!({
            "name": name,
            "type": "EDS",
            "eds_cluster_config": {"eds_config": resources::over_ads()},
            "connect_timeout": format!("{}.{:03}s", LIMIT.as_secs(), number % 1000),
        });
        if name == "multiplexed" {
            cluster["typed_extension_protocol_options"] = http2_options();
            cluster["common_lb_config"] = json!({"close_connections_on_host_set_change": true});
        }
        if let Some(alpn) = [("secure", "http/1.1"), ("tcp-secure", "istio")]
            .iter()
            .find(|(n, _)| *n == name)
        {
            cluster["transport_socket"] = resources::tls_context("Upstream", TRUST_DOMAIN, &[alpn.1]);
        }
        self.set(resources::CLUSTER, name, &cluster);
    }

    pub fn remove_cluster(&self, name: &str) {
        self.plane.remove(NODE, resources::CLUSTER, name);
    }

    pub fn endpoints(&self, cluster: &str, ends: Ends) {
        let ports = match cluster {
            "multiplexed" => ends.of(self.http2),
            "echo" => ends.of(self.echo),
            _ => ends.of(self.http1),
        };
        let ports: Vec<_> = ports.into_iter().map(|port| (port, 1)).collect();
        self.set(resources::ENDPOINT, cluster, &resources::endpoints(cluster, &ports));
    }

    fn loopback_endpoint(&self, cluster: &str, listener: &str) {
        let port = self.address(listener).port();
        self.set(
            resources::ENDPOINT,
            cluster,
            &resources::endpoints(cluster, &[(port, 1)]),
        );
    }

    /// A fresh certificate from one of the two authorities.
    pub fn identity(&self, authority: usize) {
        let id = SpiffeId::parse(&format!("{TRUST_DOMAIN}ns/test/sa/{NODE}")).expect("a SPIFFE id");
        let issued = self.authorities[authority].issue_svid(&id, DAY).expect("an SVID");
        self.set(
            resources::SECRET,
            "default",
            &resources::identity("default", &issued.chain_pem, &issued.key_pem),
        );
    }

    /// Which authorities are trusted.
    pub fn trust(&self, authorities: &[usize]) {
        let bundle: String = authorities.iter().map(|a| self.authorities[*a].bundle_pem()).collect();
        self.set(resources::SECRET, "ROOTCA", &resources::trust_bundle("ROOTCA", &bundle));
    }

    /// A listener that nobody uses.
    pub fn unrelated_listener(&self, number: usize) {
        self.listener(
            "unrelated",
            &[json!({"filters": [tcp_filter("unrelated", "echo", number)]})],
        );
    }

    pub fn remove_listener(&self, name: &str) {
        self.plane.remove(NODE, resources::LISTENER, name);
    }

    /// `chains`: the second and third chain change with `number`, the first does not.
    pub fn chains(&self, number: usize) {
        let chain = |name: &str, source: Ipv4Addr, filter: Value| {
            let source = json!([{"address_prefix": source.to_string(), "prefix_len": 32}]);
            json!({"name": name, "filter_chain_match": {"source_prefix_ranges": source}, "filters": [filter]})
        };
        self.listener(
            "chains",
            &[
                chain("stays", HERE, http_filter("stays", "chains", 0)),
                chain("changes", CHANGING, http_filter("changes", "chains", number)),
                chain("changes-tcp", CHANGING_TCP, tcp_filter("changes-tcp", "echo", number)),
            ],
        );
    }

    fn listener(&self, name: &str, chains: &[Value]) {
        let port = self.address(name).port();
        self.set(
            resources::LISTENER,
            name,
            &json!({
                "name": name,
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
                "filter_chains": chains,
            }),
        );
    }

    fn set(&self, type_url: &str, name: &str, resource: &Value) {
        let body = resources::any(type_url, resource).unwrap_or_else(|e| panic!("{name}: {e}"));
        self.plane.set(NODE, type_url, name, body);
    }

    /// Waits until routes of this number are in force, and with them everything that was told before them.
    pub async fn wait_generation(&self, number: usize) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let asked = async { Http1::open(HERE, self.address("web")).await?.get("/plain").await };
            let seen = match asked.await {
                Ok(answer) => answer.message.header("x-generation").unwrap_or_default().to_owned(),
                Err(e) => e.to_string(),
            };
            if seen == number.to_string() {
                return;
            }
            let late = Instant::now() > deadline;
            assert!(
                !late,
                "generation {number} is not in force: {seen}; rejected: {:?}",
                self.plane.rejections()
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn http2_options() -> Value {
    json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }})
}

fn http_filter(stat_prefix: &str, routes: &str, number: usize) -> Value {
    json!({"name": "http", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": format!("{stat_prefix}-{number}"),
        "rds": {"route_config_name": routes, "config_source": resources::over_ads()},
        "http_filters": [{"name": "router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        }}],
    }})
}

fn tcp_filter(stat_prefix: &str, cluster: &str, number: usize) -> Value {
    json!({"name": "tcp", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": format!("{stat_prefix}-{number}"),
        "cluster": cluster,
    }})
}

fn bootstrap(control_plane: u16, delta: bool) -> String {
    let api_type = if delta { "DELTA_GRPC" } else { "GRPC" };
    let bootstrap = json!({
        "node": {"id": NODE, "cluster": "swap"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": api_type,
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "control-plane"}}],
            },
            "cds_config": resources::over_ads(),
            "lds_config": resources::over_ads(),
        },
        "static_resources": {"clusters": [{
            "name": "control-plane",
            "type": "STATIC",
            "typed_extension_protocol_options": http2_options(),
            "load_assignment": resources::endpoints("control-plane", &[(control_plane, 1)]),
        }]},
    });
    bootstrap.to_string().replace("{{", "{ {").replace("}}", "} }")
}
