//! Stats against Envoy 1.40's own: the names of a static bootstrap, their kinds, their order, their Prometheus names.

// Modules of a test program are public to it alone.
#![allow(unreachable_pub)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use certs::ca::{CertificateAuthority, Template};
use pillion::stats::*;
use support::bootstrap::Bootstrap;
use support::h1;
use support::peers;
use support::proxy::Proxy;

const ENDPOINTS: &str = r#"version_info: "1"
resources:
- "@type": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment
  cluster_name: dotted.svc-1
"#;

/// What Envoy shows and no schema of ours has, with the reason: nothing so far.
const MISSING: &[(&str, &str)] = &[];

/// Envoy with the bootstrap beside this file and `more` after it, after a request through each of its listeners.
fn envoy(test: &str, more: &str, dir: &tempfile::TempDir) -> Option<Proxy> {
    let binary = peers::need(test, "envoy")?;
    let path = dir.path();
    let mut template = Template::lasting(Duration::from_secs(3600));
    template.dns_names.push("localhost".to_owned());
    let issued = CertificateAuthority::root("root").unwrap().issue(&template).unwrap();
    std::fs::write(path.join("chain.pem"), issued.chain_pem).unwrap();
    std::fs::write(path.join("key.pem"), issued.key_pem).unwrap();
    std::fs::write(path.join("eds.yaml"), ENDPOINTS).unwrap();
    let bootstrap = Bootstrap::new(&format!("{}{more}", include_str!("stats.yaml")), path, "");
    let proxy = Proxy::start(&binary, &bootstrap.text, path);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for (listener, target) in [("web", "/a"), ("web", "/r"), ("tcp", "/")] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let response = runtime.block_on(h1::ask(bootstrap.listener(listener), request.as_bytes()));
        assert_eq!(response.map(|response| response.status()), Some(200), "{listener}");
    }
    Some(proxy)
}

const TYPES: [&str; 4] = ["Counters", "Gauges", "Histograms", "TextReadouts"];

/// Names by type, in the order shown.
fn names(text_of: impl Fn(&str) -> String) -> BTreeMap<&'static str, Vec<String>> {
    let name = |line: &str| line.split(": ").next().unwrap_or_default().to_owned();
    TYPES
        .into_iter()
        .map(|kind| (kind, text_of(kind).lines().map(name).collect()))
        .collect()
}

/// The groups that the owners of this bootstrap's objects would hold.
fn groups(store: &Store) -> Vec<Box<dyn std::any::Any>> {
    let mut all: Vec<Box<dyn std::any::Any>> = Vec::new();
    macro_rules! group {
        ($($scope:ident $prefix:expr;)*) => { $(all.push(Box::new(store.group::<$scope>($prefix)));)* };
    }
    let root = Prefix::root;
    group! {
        ServerStat root("server."); RuntimeStat root("runtime."); FilesystemStat root("filesystem.");
        OverloadStat root("overload."); OverloadActionStat root("envoy.overload_actions.");
        WatchdogStat root("main_thread."); WatchdogStat root("workers."); WatchdogStat root("server.main_thread.");
        WatchdogStat root("server.worker_0."); ClusterManagerStat root("cluster_manager.");
        ThreadLocalClusterManagerStat root("thread_local_cluster_manager.main_thread.");
        ThreadLocalClusterManagerStat root("thread_local_cluster_manager.worker_0.");
        ListenerManagerStat root("listener_manager."); Http1Stat root("http1."); TlsInspectorStat root("tls_inspector.");
        HttpInspectorStat root("http_inspector."); AsyncClientStat root("http.async-client.");
        SslStat Prefix::listener_ssl("tls"); SslSocketFactoryStat Prefix::listener_ssl_factory("tls");
        CertificateStat Prefix::certificate("listener.tls.ssl.", "unnamed_cert_e3b0c442");
        SslStat Prefix::cluster_part("backend", ClusterPart::Ssl);
        SslSocketFactoryStat Prefix::cluster_part("backend", ClusterPart::SslFactory);
        HealthCheckStat Prefix::cluster_part("self", ClusterPart::HealthCheck);
        OutlierDetectionStat Prefix::cluster_part("self", ClusterPart::OutlierDetection);
        RemainingStat Prefix::cluster_part("self", ClusterPart::RemainingDefault);
        Http1Stat Prefix::cluster_part("self", ClusterPart::Http1); EdsStat Prefix::cluster("dotted.svc-1");
        RouteStat Prefix::virtual_cluster("vh", "other"); RouteStat Prefix::virtual_cluster("vh", "vc1");
        RouteStat Prefix::route("vh", "rr"); TcpStat Prefix::tcp("tcpp"); AdminListenerStat Prefix::listener("admin");
        AdminHttpStat Prefix::http("admin"); ListenerHttpStat Prefix::listener_http("admin", "admin");
    }
    for (listener, manager) in [
        ("web", "ingress_http"),
        ("tls", "tls_http"),
        ("back", "inbound_0.0.0.0_80;"),
    ] {
        group! { HttpStat Prefix::http(manager); ListenerHttpStat Prefix::listener_http(listener, manager); }
    }
    for listener in ["web", "tls", "tcp", "back"] {
        group! { ListenerStat Prefix::listener(listener); }
    }
    for cluster in ["self", "backend", "dotted.svc-1", "alt;"] {
        group! { ClusterStat Prefix::cluster(cluster); }
    }
    all
}

/// What shows only once it happened: Envoy's names of these fit one of the families or lazy stats of a scope.
fn is_made_when_it_happens(name: &str) -> bool {
    let families = [
        ".ssl.ciphers.",
        ".ssl.versions.",
        ".ssl.curves.",
        ".ssl.sigalgs.",
        "upstream_rq_",
    ];
    families.iter().any(|stem| name.contains(stem)) || name.ends_with("version_text")
}

#[test]
fn names_kinds_and_order_are_envoys() {
    let dir = tempfile::tempdir().unwrap();
    let Some(envoy) = envoy("names_kinds_and_order_are_envoys", "", &dir) else {
        return;
    };
    let store = Store::new(2, StatsConfig::default());
    let held = groups(&store);
    let theirs = names(|kind| envoy.get(&format!("/stats?type={kind}")).unwrap().1);
    let ours = names(|kind| {
        store
            .render(Query::parse(&format!("type={kind}"), false).unwrap())
            .collect()
    });
    drop(held);
    let known = |name: &String| MISSING.iter().any(|(known, _)| known == name);
    let mut problems = Vec::new();
    for kind in TYPES {
        let (their_names, our_names): (BTreeSet<_>, BTreeSet<_>) =
            (theirs[kind].iter().collect(), ours[kind].iter().collect());
        let missing = their_names
            .difference(&our_names)
            .filter(|name| !known(name) && !is_made_when_it_happens(name));
        problems.extend(missing.map(|name| format!("missing {kind} {name}")));
        problems.extend(
            our_names
                .difference(&their_names)
                .map(|name| format!("extra {kind} {name}")),
        );
        let common = |names: &[String], others: &BTreeSet<&String>| -> Vec<String> {
            names.iter().filter(|name| others.contains(name)).cloned().collect()
        };
        if common(&theirs[kind], &our_names) != common(&ours[kind], &their_names) {
            problems.push(format!("{kind} stand in another order"));
        }
    }
    assert!(
        theirs["Counters"].len() > 500,
        "Envoy showed little: {}",
        theirs["Counters"].len()
    );
    assert!(problems.is_empty(), "{}\n{problems:#?}", problems.len());
}

/// `name{labels}` of each line that is a counter's or gauge's value.
fn prometheus_series(text: &str) -> BTreeSet<String> {
    let mut of_histogram = false;
    let mut series = BTreeSet::new();
    for line in text.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(kind) => of_histogram = kind.ends_with(" histogram"),
            None if !of_histogram => series.extend(line.rsplit_once(' ').map(|(name, _)| name.to_owned())),
            None => {}
        }
    }
    series
}

fn assert_prometheus_names(envoy: &Proxy, store: &Store) {
    let names = ["Counters", "Gauges"]
        .map(|kind| envoy.get(&format!("/stats?type={kind}")).unwrap().1)
        .concat();
    let ours = names
        .lines()
        .map(|line| store.prometheus_name(line.split(": ").next().unwrap()))
        .collect();
    let theirs = prometheus_series(&envoy.get("/stats/prometheus").unwrap().1);
    let differ: Vec<_> = theirs.symmetric_difference(&ours).collect();
    assert!(theirs.len() > 500 && differ.is_empty(), "{differ:#?}");
}

#[test]
fn prometheus_names_and_tags_are_envoys() {
    let dir = tempfile::tempdir().unwrap();
    let Some(envoy) = envoy("prometheus_names_and_tags_are_envoys", "", &dir) else {
        return;
    };
    assert_prometheus_names(&envoy, &Store::new(2, StatsConfig::default()));
}

/// The tags that Istio's bootstrap defines, look-ahead and all, instead of the defaults.
#[test]
fn istios_tags_are_extracted_as_envoy_does() {
    let test = "istios_tags_are_extracted_as_envoy_does";
    let Some(corpus) = peers::corpus(test, "istio-bootstraps") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let bootstrap = std::fs::read_to_string(corpus.join("default_golden.json")).unwrap();
    let bootstrap: serde_json::Value = serde_json::from_str(&bootstrap).unwrap();
    let tags = &bootstrap["stats_config"]["stats_tags"];
    let more = format!("\nstats_config: {{use_all_default_tags: false, stats_tags: {tags}}}\n");
    let Some(envoy) = envoy(test, &more, &dir) else { return };
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let tag = |tag: &serde_json::Value| StatsTag {
        tag_name: text(&tag["tag_name"]),
        value: TagValue::Regex(text(&tag["regex"])),
    };
    let stats_tags: Vec<_> = tags.as_array().unwrap().iter().map(tag).collect();
    assert!(stats_tags.len() > 10);
    let store = Store::new(
        2,
        StatsConfig {
            stats_tags,
            use_all_default_tags: Some(false),
            ..StatsConfig::default()
        },
    );
    assert!(store.warnings().is_empty(), "{:?}", store.warnings());
    assert_prometheus_names(&envoy, &store);
}

/// A cluster that nothing uses, in every format: the bodies are the same, byte for byte.
#[test]
fn bodies_are_envoys_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let Some(envoy) = envoy("bodies_are_envoys_byte_for_byte", "", &dir) else {
        return;
    };
    let store = Store::new(2, StatsConfig::default());
    let tcp = store.group::<TcpStat>(Prefix::tcp("tcpp"));
    let cluster = store.group::<ClusterStat>(Prefix::cluster("dotted.svc-1"));
    let eds = store.group::<EdsStat>(Prefix::cluster("dotted.svc-1"));
    eds.set_text(EdsStat::VersionText, "1");
    cluster.inc(ClusterStat::UpdateAttempt);
    cluster.inc(ClusterStat::UpdateSuccess);
    cluster.set(ClusterStat::WarmingState, 0);
    let filter = "(tcp%5C.tcpp%5C.(idle|max|route)|cluster%5C.dotted%5C.svc-1%5C.(upstream_cx|lb|circuit|update_success|update_failure|warming|update_duration|version_text))";
    let mut queries = [
        "type=x",
        "histogram_buckets=x",
        "hidden=x",
        "hidden=only&filter=nothing",
    ]
    .map(str::to_owned)
    .to_vec();
    for format in ["text", "json", "prometheus"] {
        for buckets in ["", "cumulative", "disjoint", "detailed", "summary"] {
            for more in ["", "&usedonly", "&type=Histograms", "&type=Gauges", "&text_readouts"] {
                queries.push(format!(
                    "filter={filter}&format={format}&histogram_buckets={buckets}{more}"
                ));
            }
        }
    }
    let mut differ = Vec::new();
    for query in queries {
        let (status, theirs) = envoy.get(&format!("/stats?{query}")).unwrap();
        let ours = match Query::parse(&query, false) {
            Ok(query) => (200, store.render(query).collect()),
            Err(body) => (400, body),
        };
        if (status, &*theirs) != (ours.0, &*ours.1) {
            let first = theirs.lines().zip(ours.1.lines()).find(|(theirs, ours)| theirs != ours);
            differ.push(format!("{query}: {status} {first:?}"));
        }
    }
    drop((tcp, cluster, eds));
    assert!(differ.is_empty(), "{differ:#?}");
}
