use super::*;
use crate::matcher::{StringMatcher, StringPattern};
use crate::stats::*;

fn body(store: &Store, query: &str) -> String {
    store.render(Query::parse(query, false).unwrap()).collect()
}

fn store() -> Store {
    Store::new(2, StatsConfig::default())
}

#[test]
fn text_is_sorted_by_name_across_nested_scopes() {
    let store = store();
    let server = store.group::<ServerStat>(Prefix::root("server."));
    let watchdog = store.group::<WatchdogStat>(Prefix::root("server.main_thread."));
    let lds = store.group::<SubscriptionStat>(Prefix::root("listener_manager.lds."));
    let manager = store.group::<ListenerManagerStat>(Prefix::root("listener_manager."));
    let clusters: Vec<_> = ["a", "a-b", "a.b", "a|b", "a_b"]
        .map(|name| store.group::<ClusterStat>(Prefix::cluster(name)))
        .into();
    let text = body(&store, "");
    let lines: Vec<&str> = text.lines().collect();
    let histograms = lines
        .iter()
        .position(|line| line.ends_with("No recorded values"))
        .unwrap();
    assert!(lines[..histograms].is_sorted() && lines[histograms..].is_sorted());
    assert!(lines.iter().all(|line| line.contains(": ")));
    drop((server, watchdog, lds, manager, clusters));
    assert_eq!(body(&store, ""), "");
}

#[test]
fn used_only_shows_what_was_written_even_where_it_is_zero() {
    let store = store();
    let server = store.group::<ServerStat>(Prefix::root("server."));
    let manager = store.group::<ListenerManagerStat>(Prefix::root("listener_manager."));
    let filter = r"usedonly&filter=^(server\.state|listener_manager\.workers_started)";
    assert_eq!(body(&store, filter), "");
    server.set(ServerStat::State, 0);
    manager.set(ListenerManagerStat::WorkersStarted, 1);
    assert_eq!(
        body(&store, filter),
        "listener_manager.workers_started: 1\nserver.state: 0\n"
    );
    let lds = store.group::<SubscriptionStat>(Prefix::root("listener_manager.lds."));
    lds.inc(SubscriptionStat::UpdateSuccess);
    store.reset_counters();
    let filter = r"usedonly&filter=^(cluster_manager\.cds|listener_manager\.lds)\.(update_success|update_rejected)$";
    assert_eq!(body(&store, filter), "listener_manager.lds.update_success: 0\n");
}

#[test]
fn workers_show_their_own_part() {
    let store = store();
    let listener = store.group::<ListenerStat>(Prefix::listener("0.0.0.0:80"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            enter_worker(0);
            listener.inc(ListenerStat::DownstreamCxTotal);
            listener.gauge_add(ListenerStat::DownstreamCxActive, 1);
        });
    });
    let expected = "listener.0.0.0.0_80.downstream_cx_active: 1\nlistener.0.0.0.0_80.downstream_cx_total: 1\n\
                    listener.0.0.0.0_80.worker_0.downstream_cx_active: 1\nlistener.0.0.0.0_80.worker_0.downstream_cx_total: 1\n";
    assert_eq!(body(&store, "usedonly"), expected);
    let prometheus = body(&store, "usedonly&filter=active&format=prometheus");
    let expected = "# TYPE envoy_listener_downstream_cx_active gauge\n\
                    envoy_listener_downstream_cx_active{envoy_listener_address=\"0.0.0.0_80\"} 1\n\
                    # TYPE envoy_listener_worker_downstream_cx_active gauge\n\
                    envoy_listener_worker_downstream_cx_active{envoy_worker_id=\"0\",envoy_listener_address=\"0.0.0.0_80\"} 1\n";
    assert_eq!(prometheus, expected);
}

#[test]
fn deferred_stats_come_with_traffic() {
    let store = Store::new(
        2,
        StatsConfig {
            deferred_creation: true,
            ..StatsConfig::default()
        },
    );
    let cluster = store.group::<ClusterStat>(Prefix::cluster("web"));
    cluster.set(ClusterStat::MembershipTotal, 1);
    let idle = body(&store, "");
    assert!(
        idle.contains("membership_total: 1") && idle.contains("lb_healthy_panic: 0") && !idle.contains("upstream_")
    );
    cluster.inc(ClusterStat::UpstreamCxTotal);
    assert!(body(&store, "").contains("cluster.web.upstream_rq_total: 0\n"));
}

#[test]
fn codes_are_counters_of_one_metric() {
    let store = store();
    let cluster = store.group::<ClusterStat>(Prefix::cluster("web"));
    for code in [503, 200, 200] {
        cluster.inc_code(ClusterStat::UpstreamRqCode, code);
    }
    cluster.inc(ClusterStat::UpstreamRq5xx);
    let text = body(&store, "usedonly");
    assert_eq!(
        text,
        "cluster.web.upstream_rq_200: 2\ncluster.web.upstream_rq_503: 1\ncluster.web.upstream_rq_5xx: 1\n"
    );
    let expected = "# TYPE envoy_cluster_upstream_rq counter\n\
                    envoy_cluster_upstream_rq{envoy_response_code=\"200\",envoy_cluster_name=\"web\"} 2\n\
                    envoy_cluster_upstream_rq{envoy_response_code=\"503\",envoy_cluster_name=\"web\"} 1\n\
                    # TYPE envoy_cluster_upstream_rq_xx counter\n\
                    envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"5\",envoy_cluster_name=\"web\"} 1\n";
    assert_eq!(body(&store, "usedonly&format=prometheus"), expected);
}

#[test]
fn json_parses_and_holds_what_the_text_holds() {
    let store = store();
    let http = store.group::<HttpStat>(Prefix::http("in"));
    let ads = store.group::<ControlPlaneStat>(Prefix::root("control_plane."));
    http.record(HttpStat::DownstreamRqTime, 3);
    ads.set_text(ControlPlaneStat::Identifier, "istiod \"a\"");
    for buckets in ["", "summary", "cumulative", "disjoint", "detailed"] {
        let json = body(&store, &format!("format=json&usedonly&histogram_buckets={buckets}"));
        let json: serde_json::Value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
        let stats = json["stats"].as_array().unwrap();
        assert_eq!(
            stats[0],
            serde_json::json!({"name": "control_plane.identifier", "value": "istiod \"a\""})
        );
        assert!(stats[1]["histograms"].is_object() || stats[1]["histograms"].is_array());
    }
    assert_eq!(body(&store, "format=json&filter=nothing"), r#"{"stats":[]}"#);
    let one = r#"{"stats":[{"name":"http.in.no_route","value":0}]}"#;
    assert_eq!(body(&store, "format=json&filter=in%5C.no_route"), one);
}

#[test]
fn text_of_histograms_follows_the_bucket_mode() {
    let store = store();
    let http = store.group::<HttpStat>(Prefix::http("in"));
    assert_eq!(
        body(&store, "filter=rq_time$"),
        "http.in.downstream_rq_time: No recorded values\n"
    );
    http.record(HttpStat::DownstreamRqTime, 3);
    store.flush_histograms();
    store.flush_histograms();
    http.record(HttpStat::DownstreamRqTime, 700_000);
    let text = |mode: &str| body(&store, &format!("filter=rq_time$&histogram_buckets={mode}"));
    assert!(
        text("cumulative").contains(" B1(0,0) B5(0,1) "),
        "{}",
        text("cumulative")
    );
    assert!(
        text("cumulative").ends_with("B600000(0,1) B1.8e+06(0,2) B3.6e+06(0,2)\n"),
        "{}",
        text("cumulative")
    );
    assert!(
        text("disjoint").ends_with("B600000(0,0) B1.8e+06(0,1) B3.6e+06(0,0)\n"),
        "{}",
        text("disjoint")
    );
    assert!(
        text("detailed").contains("\n  totals=1,4:1, 600000,1.2e+06:1\n  intervals=\n  summary=P0(nan,1) P25(nan,3) ")
    );
    assert!(
        text("").starts_with("http.in.downstream_rq_time: P0(nan,1) P25(nan,3) P50(nan,5) "),
        "{}",
        text("")
    );
}

#[test]
fn prometheus_histograms_are_cumulative_and_end_with_sum_and_count() {
    let buckets = HistogramBuckets {
        match_: StringMatcher {
            pattern: StringPattern::Prefix("http.in.".into()),
            ignore_case: false,
        },
        buckets: vec![0.5, 10.0],
    };
    let config = StatsConfig {
        histogram_bucket_settings: vec![buckets],
        ..StatsConfig::default()
    };
    let store = Store::new(1, config);
    let http = store.group::<HttpStat>(Prefix::http("in"));
    [0, 7, 70]
        .into_iter()
        .for_each(|value| http.record(HttpStat::DownstreamRqTime, value));
    let expected = "# TYPE envoy_http_downstream_rq_time histogram\n\
                    envoy_http_downstream_rq_time_bucket{envoy_http_conn_manager_prefix=\"in\",le=\"0.5\"} 1\n\
                    envoy_http_downstream_rq_time_bucket{envoy_http_conn_manager_prefix=\"in\",le=\"10\"} 2\n\
                    envoy_http_downstream_rq_time_bucket{envoy_http_conn_manager_prefix=\"in\",le=\"+Inf\"} 3\n\
                    envoy_http_downstream_rq_time_sum{envoy_http_conn_manager_prefix=\"in\"} 77\n\
                    envoy_http_downstream_rq_time_count{envoy_http_conn_manager_prefix=\"in\"} 3\n";
    assert_eq!(body(&store, "usedonly&format=prometheus"), expected);
}

#[test]
fn stats_that_the_matcher_leaves_out_do_not_exist() {
    let prefix = StringMatcher {
        pattern: StringPattern::Prefix("server.".into()),
        ignore_case: false,
    };
    let suffix = StringMatcher {
        pattern: StringPattern::Suffix("update_success".into()),
        ignore_case: false,
    };
    let shown = |stats_matcher| {
        let store = Store::new(
            1,
            StatsConfig {
                stats_matcher,
                ..StatsConfig::default()
            },
        );
        let server = store.group::<ServerStat>(Prefix::root("server."));
        let cds = store.group::<CdsStat>(Prefix::root("cluster_manager.cds."));
        let text = body(&store, "");
        drop((server, cds));
        text.lines()
            .map(|line| line.split(": ").next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let included = shown(StatsMatcher::Inclusion(vec![prefix.clone(), suffix.clone()]));
    assert!(
        included
            .iter()
            .all(|name| name.starts_with("server.") || name.ends_with("cds.update_success"))
    );
    assert!(included.contains(&"cluster_manager.cds.update_success".to_owned()) && included.len() > 2);
    let rest = shown(StatsMatcher::Exclusion(vec![prefix, suffix]));
    assert_eq!(rest.len() + included.len(), shown(StatsMatcher::All).len());
    assert!(shown(StatsMatcher::RejectAll).is_empty());
}

#[test]
fn a_large_scrape_comes_in_pieces() {
    const CLUSTERS: usize = 500;
    let store = store();
    let clusters: Vec<_> = (0..CLUSTERS)
        .map(|i| store.group::<ClusterStat>(Prefix::cluster(format!("c{i}"))))
        .collect();
    let pieces: Vec<String> = store
        .render(Query {
            format: Format::Prometheus,
            ..Query::default()
        })
        .collect();
    assert!(pieces.len() > 20);
    assert!(pieces.iter().all(|piece| piece.len() < 2 * CHUNK_BYTES));
    let all = pieces.concat();
    let types = || all.lines().filter(|line| line.starts_with("# TYPE"));
    let unique: std::collections::HashSet<&str> = types().collect();
    assert_eq!(
        types().count(),
        unique.len(),
        "a metric in two pieces has one type line"
    );
    assert_eq!(all.matches("envoy_cluster_upstream_rq_total{").count(), CLUSTERS);
    drop(clusters);
}

#[test]
fn labels_past_the_cap_share_one_series() {
    let store = store();
    let requests = store.labelled("istiocustom.istio_requests_total", LabelledKind::Counter, 2);
    for (reporter, code) in [
        ("source", "200"),
        ("source", "503"),
        ("x", "1"),
        ("y", "2"),
        ("source", "200"),
    ] {
        requests
            .with(&[("reporter", reporter), ("code", code), ("status", "")])
            .add(1);
    }
    let expected = "# TYPE istio_requests_total counter\n\
                    istio_requests_total{reporter=\"overflow\",code=\"overflow\",status=\"overflow\"} 2\n\
                    istio_requests_total{reporter=\"source\",code=\"200\",status=\"\"} 2\n\
                    istio_requests_total{reporter=\"source\",code=\"503\",status=\"\"} 1\n";
    assert_eq!(body(&store, "format=prometheus"), expected);
    let (before, after) = (
        store.group::<HttpStat>(Prefix::http("a")),
        store.group::<ServerStat>(Prefix::root("server.")),
    );
    before.inc(HttpStat::NoRoute);
    after.set(ServerStat::State, 0);
    let text = body(&store, "usedonly");
    assert_eq!(
        text,
        "http.a.no_route: 1\n\
         istiocustom.istio_requests_total.reporter.overflow.code.overflow.status.overflow: 2\n\
         istiocustom.istio_requests_total.reporter.source.code.200.status: 2\n\
         istiocustom.istio_requests_total.reporter.source.code.503.status: 1\n\
         server.state: 0\n"
    );
    store.reset_counters();
    let reset = body(&store, "usedonly&filter=503");
    assert_eq!(
        reset,
        "istiocustom.istio_requests_total.reporter.source.code.503.status: 0\n"
    );
}

#[test]
fn what_would_end_a_label_is_escaped() {
    let name = "cluster.a\"b\\c\nd.upstream_rq_503";
    let shown = r#"envoy_cluster_upstream_rq{envoy_response_code="503",envoy_cluster_name="a\"b\\c\nd"}"#;
    assert_eq!(store().prometheus_name(name), shown);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(32))]

    /// However names nest in each other, `/stats` is sorted and Prometheus tells each metric once.
    #[test]
    fn any_names_come_out_in_order(names in proptest::collection::hash_set("[ab][-._a|:]{0,3}", 1..40)) {
        let store = store();
        let clusters: Vec<_> = names.iter().map(|name| store.group::<HealthCheckStat>(Prefix::cluster(&**name))).collect();
        let lines = body(&store, "");
        let lines: Vec<&str> = lines.lines().map(|line| line.split(": ").next().unwrap()).collect();
        proptest::prop_assert!(lines.is_sorted());
        let all = body(&store, "format=prometheus");
        let types: Vec<&str> = all.lines().filter(|line| line.starts_with('#')).collect();
        let told: std::collections::HashSet<&str> = types.iter().copied().collect();
        proptest::prop_assert_eq!(types.len(), told.len());
        proptest::prop_assert_eq!(all.lines().count() - types.len(), lines.len());
        drop(clusters);
    }
}
