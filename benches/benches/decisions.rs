//! Instructions per decision, counted under valgrind: `cargo bench -p benches --bench decisions [NAME...]`.
//!
//! A count does not depend on what else the machine does, where time would. Each decision runs in this same program under
//! `valgrind --tool=callgrind`, N and 2 N times; the difference, divided by N, is one decision without its set-up.

use std::{
    hint::black_box,
    process::{Command, ExitCode, Stdio},
    sync::Arc,
};

use http::{HeaderMap, HeaderValue, Method, header};
use pillion::{
    address::Address,
    bootstrap::{self, StaticResources},
    cluster::balance,
    config::Context,
    http::{
        RouteSource,
        message::{Protocol, RequestHead, Spelling},
    },
    listener::{ConnectionFacts, Listener, TerminalFilter, filter_chain},
    route::{RouteConfiguration, RouteFacts, Selection, select},
    stats::{self, HttpStat, StatsConfig, Store},
};

/// A decision: its name, how often it is made under valgrind, and how.
struct Decision {
    name: &'static str,
    times: usize,
    run: fn(usize),
}

const DECISIONS: &[Decision] = &[
    Decision {
        name: "filter chain: only one",
        times: 1_000,
        run: |n| filter_chains(1, n),
    },
    Decision {
        name: "filter chain: last of 10 by port",
        times: 1_000,
        run: |n| filter_chains(10, n),
    },
    Decision {
        name: "filter chain: last of 100 by port",
        times: 1_000,
        run: |n| filter_chains(100, n),
    },
    Decision {
        name: "route: last of 10 prefixes",
        times: 1_000,
        run: |n| routes(10, n),
    },
    Decision {
        name: "route: last of 100 prefixes",
        times: 1_000,
        run: |n| routes(100, n),
    },
    Decision {
        name: "route: last of 1,000 prefixes",
        times: 100,
        run: |n| routes(1_000, n),
    },
    Decision {
        name: "balance: round robin over 10 endpoints",
        times: 1_000,
        run: |n| balanced("ROUND_ROBIN", 10, n),
    },
    Decision {
        name: "balance: least request over 1,000 endpoints",
        times: 1_000,
        run: |n| balanced("LEAST_REQUEST", 1_000, n),
    },
    Decision {
        name: "statistics: a counter",
        times: 10_000,
        run: counters,
    },
    Decision {
        name: "statistics: a histogram",
        times: 10_000,
        run: histograms,
    },
    Decision {
        name: "headers: 10 set, 2 removed, 1 read",
        times: 1_000,
        run: headers,
    },
    Decision {
        name: "config: parse a bootstrap with 100 clusters",
        times: 2,
        run: |n| parsing(100, n),
    },
];

/// How this program is told to run one decision.
const RUN: &str = "--run";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [flag, index, times] = &arguments[..]
        && flag == RUN
    {
        stats::enter_control();
        let index: usize = index.parse().expect("an index");
        (DECISIONS[index].run)(times.parse().expect("a number"));
        return ExitCode::SUCCESS;
    }
    let chosen = |d: &Decision| arguments.is_empty() || arguments.iter().any(|name| d.name.contains(name.as_str()));
    println!("| decision | instructions |\n|---|---|");
    for (index, decision) in DECISIONS.iter().enumerate().filter(|(_, d)| chosen(d)) {
        let counted = instructions(index, decision.times)
            .and_then(|once| Some(instructions(index, 2 * decision.times)?.saturating_sub(once)));
        let Some(counted) = counted else {
            println!("valgrind cannot be run: nothing is counted");
            return ExitCode::SUCCESS;
        };
        println!("| {} | {} |", decision.name, counted / decision.times as u64);
    }
    ExitCode::SUCCESS
}

/// What the whole program takes with `times` decisions.
fn instructions(index: usize, times: usize) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().ok()?)
        .args([RUN, &index.to_string(), &times.to_string()])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines()
        .find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
}

fn context() -> Context {
    Context::new(Store::new(1, StatsConfig::default()))
}

fn resources(yaml: &str) -> StaticResources {
    let (bootstrap, _) = bootstrap::load(&bootstrap::Options {
        config_path: None,
        config_yaml: Some(yaml),
        allow_unknown_static_fields: false,
        service_node: "",
        service_cluster: "",
        service_zone: "",
    })
    .expect("a bootstrap");
    bootstrap.static_resources(&mut context()).expect("static resources")
}

const HCM: &str = r#"{name: envoy.filters.network.http_connection_manager, typed_config: {
  "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
  stat_prefix: p, http_filters: [{name: envoy.filters.http.router, typed_config: {
    "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}],
  route_config: {name: r, virtual_hosts: [{name: v, domains: ["*"], routes: [ROUTES]}]}}}"#;

fn listener(chains: usize, routes: usize) -> Listener {
    let routes: Vec<_> = (0..routes)
        .map(|i| format!(r#"{{match: {{prefix: "/service-{i}/"}}, direct_response: {{status: 200}}}}"#))
        .collect();
    let hcm = HCM.replace("ROUTES", &routes.join(","));
    let chains: Vec<_> = (0..chains)
        .map(|i| {
            let matches = if chains == 1 {
                String::new()
            } else {
                format!("filter_chain_match: {{destination_port: {}}},", 10_000 + i)
            };
            format!("{{{matches} filters: [{hcm}]}}")
        })
        .collect();
    let yaml = format!(
        "static_resources: {{listeners: [{{name: l, address: {{socket_address: {{address: 127.0.0.1, port_value: 1}}}}, filter_chains: [{}]}}]}}",
        chains.join(",")
    );
    resources(&yaml).listeners.remove(0).1
}

fn filter_chains(chains: usize, times: usize) {
    let listener = listener(chains, 1);
    let address = |port| Address::Ip(([127, 0, 0, 1], port).into());
    let facts = ConnectionFacts {
        destination: address(10_000 + chains as u16 - 1),
        source: address(50_000),
        direct_source: Some([127, 0, 0, 1].into()),
        transport_protocol: "raw_buffer",
        server_name: None,
        application_protocols: Vec::new(),
    };
    for _ in 0..times {
        assert!(black_box(filter_chain::find(&listener, black_box(&facts), &mut ())).is_some());
    }
}

fn request(path: String) -> RequestHead {
    RequestHead {
        method: Method::GET,
        scheme: HeaderValue::from_static("http"),
        authority: HeaderValue::from_static("api.default.svc.cluster.local:8080"),
        host_missing: false,
        path: HeaderValue::try_from(path).expect("a path"),
        upgrade: None,
        headers: HeaderMap::new(),
        spelling: Spelling::default(),
        protocol: Protocol::Http11,
    }
}

fn route_configuration(listener: &Listener) -> Arc<RouteConfiguration> {
    let TerminalFilter::Http(manager) = &listener.filter_chains[0].filter else {
        unreachable!("the chain has an HTTP connection manager");
    };
    let RouteSource::Inline(config) = &manager.routes else {
        unreachable!("the routes are inline");
    };
    config.clone()
}

fn routes(count: usize, times: usize) {
    let config = route_configuration(&listener(1, count));
    let request = request(format!("/service-{}/item?id=1", count - 1));
    let runtime = serde_json::Map::new();
    let facts = RouteFacts {
        request: &request,
        tls: None,
        random: 1,
        runtime: &runtime,
        dynamic_metadata: None,
    };
    for _ in 0..times {
        let selection = select(&config, black_box(&facts), &mut ());
        assert!(matches!(black_box(selection), Selection::Route(..)));
    }
}

fn balanced(policy: &str, endpoints: usize, times: usize) {
    let endpoints: Vec<_> = (0..endpoints)
        .map(|i| {
            let (a, b) = (i / 250, i % 250 + 1);
            format!("{{endpoint: {{address: {{socket_address: {{address: 10.0.{a}.{b}, port_value: 80}}}}}}}}")
        })
        .collect();
    let yaml = format!(
        "static_resources: {{clusters: [{{name: c, type: STATIC, lb_policy: {policy}, load_assignment: {{cluster_name: c, endpoints: [{{lb_endpoints: [{}]}}]}}}}]}}",
        endpoints.join(",")
    );
    let parsed = resources(&yaml).clusters.remove(0).1;
    let assignment = parsed.assignment.expect("endpoints");
    let cluster = Arc::new(parsed.cluster);
    pillion::cluster::endpoint_set::apply(&cluster, &assignment);
    let mut balancer = balance::Balancer::default();
    let mut random = 1_u64;
    for _ in 0..times {
        let facts = balance::Facts {
            hash: None,
            avoid: &[],
            max_attempts: 1,
            original_destination: None,
            random: &mut || {
                random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                random
            },
        };
        assert!(black_box(balance::choose(&cluster, &mut balancer, facts, &mut ())).is_some());
    }
}

fn group() -> stats::Group<HttpStat> {
    Store::new(1, StatsConfig::default()).group(stats::Prefix::root("http.bench."))
}

fn counters(times: usize) {
    let group = group();
    for _ in 0..times {
        black_box(&group).inc(HttpStat::DownstreamRqTotal);
    }
}

fn histograms(times: usize) {
    let group = group();
    for i in 0..times {
        black_box(&group).record(HttpStat::DownstreamRqTime, i as u64 & 63);
    }
}

fn headers(times: usize) {
    const NAMES: [&str; 10] = [
        "host",
        "user-agent",
        "accept",
        "x-request-id",
        "x-forwarded-proto",
        "x-forwarded-for",
        "content-type",
        "cookie",
        "x-envoy-internal",
        "traceparent",
    ];
    for _ in 0..times {
        let mut headers = HeaderMap::with_capacity(NAMES.len());
        for name in NAMES {
            headers.insert(
                header::HeaderName::from_static(name),
                HeaderValue::from_static("a value of some length"),
            );
        }
        headers.remove("cookie");
        headers.remove("x-envoy-internal");
        assert!(black_box(&headers).get("traceparent").is_some());
    }
}

fn parsing(clusters: usize, times: usize) {
    let clusters: Vec<_> = (0..clusters)
        .map(|i| {
            let name = format!("outbound|80||svc{i}.default.svc.cluster.local");
            format!("{{name: \"{name}\", type: STATIC, load_assignment: {{cluster_name: \"{name}\", endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 10.0.0.1, port_value: 80}}}}}}}}]}}]}}}}")
        })
        .collect();
    let yaml = format!("static_resources: {{clusters: [{}]}}", clusters.join(","));
    for _ in 0..times {
        black_box(resources(black_box(&yaml)));
    }
}
