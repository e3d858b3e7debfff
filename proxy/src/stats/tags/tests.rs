use super::*;

fn tags(producer: &TagProducer, name: &str) -> (String, Vec<(String, String)>) {
    let tagged = producer.extract(name);
    (
        tagged.rest(),
        tagged
            .tags
            .iter()
            .map(|(label, value)| ((*label).to_owned(), (*value).to_owned()))
            .collect(),
    )
}

fn shown(producer: &TagProducer, name: &str) -> String {
    let (rest, tags) = tags(producer, name);
    tags.into_iter().fold(rest, |all, (label, value)| {
        format!("{all} {}={value}", label.trim_start_matches("envoy_"))
    })
}

/// Each as Envoy 1.40 shows it.
#[test]
fn default_tags() {
    let (producer, warnings) = TagProducer::new(Vec::new(), true);
    assert!(warnings.is_empty());
    let expected = [
        (
            "cluster.web.upstream_rq_200",
            "cluster.upstream_rq response_code=200 cluster_name=web",
        ),
        (
            "cluster.web.upstream_rq_5xx",
            "cluster.upstream_rq_xx response_code_class=5 cluster_name=web",
        ),
        ("cluster.dead.svc.version", "cluster.svc.version cluster_name=dead"),
        (
            "cluster.web.grpc.foo.Svc.Meth.total",
            "cluster.grpc.Meth.total grpc_bridge_method=Svc grpc_bridge_service=foo cluster_name=web",
        ),
        (
            "cluster.web.ssl.ciphers.TLS_X-1",
            "cluster.ssl.ciphers cipher_suite=TLS_X-1 cluster_name=web",
        ),
        (
            "listener.127.0.0.1_80.downstream_cx_total",
            "listener.downstream_cx_total listener_address=127.0.0.1_80",
        ),
        (
            "listener.[__1]_80.ssl.curves.X25519",
            "listener.ssl.curves ssl_curve=X25519 listener_address=[__1]_80",
        ),
        (
            "listener.[__1]_80.ssl.versions.TLSv1.3",
            "listener.ssl.versions ssl_version=TLSv1.3 listener_address=[__1]_80",
        ),
        (
            "listener.a.worker_1.downstream_cx_total",
            "listener.worker_downstream_cx_total worker_id=1 listener_address=a",
        ),
        (
            "listener.admin.downstream_cx_total",
            "listener.admin.downstream_cx_total",
        ),
        (
            "listener.admin.http.admin.downstream_rq_2xx",
            "listener.admin.http.downstream_rq_xx response_code_class=2 http_conn_manager_prefix=admin",
        ),
        (
            "server.worker_0.watchdog_miss",
            "server.worker_watchdog_miss worker_id=0",
        ),
        (
            "http.in.rds.route.1.update_time",
            "http.rds.update_time rds_route_config=route.1 http_conn_manager_prefix=in",
        ),
        (
            "http.in.b_c.rds.route.1.version",
            "http.b_c.rds.route.1.version http_conn_manager_prefix=in",
        ),
        ("tcp.rbac.allowed", "allowed rbac_prefix=tcp tcp_prefix=rbac"),
        ("sds.cert.update_success", "sds.update_success xds_resource_name=cert"),
        (
            "vhost.vh.vcluster.vc.upstream_rq_200",
            "vhost.vcluster.upstream_rq response_code=200 virtual_cluster=vc virtual_host=vh",
        ),
        (
            "vhost.vh.route.r.upstream_rq_2xx",
            "vhost.route.upstream_rq_xx response_code_class=2 virtual_host=vh route=r",
        ),
        (
            "cluster.web.ssl.certificate.c.expiration_unix_time_seconds",
            "cluster.ssl.certificate.expiration_unix_time_seconds tls_certificate=c cluster_name=web",
        ),
        (
            "connection_limit.cl.active_connections",
            "connection_limit.active_connections connection_limit_prefix=cl",
        ),
        ("cluster_manager.cluster_added", "cluster_manager.cluster_added"),
    ];
    for (name, tagged) in expected {
        assert_eq!(shown(&producer, name), tagged, "{name}");
    }
}

fn tag(tag_name: &str, regex: &str) -> StatsTag {
    StatsTag {
        tag_name: tag_name.to_owned(),
        value: TagValue::Regex(regex.to_owned()),
    }
}

#[test]
fn custom_tags_stand_where_envoy_puts_them() {
    let custom = vec![
        tag("mine", r"^cluster\.((\w+?)\.)"),
        StatsTag {
            tag_name: "fix".into(),
            value: TagValue::Fixed("v 1".into()),
        },
        tag("envoy.cluster_name", r"^cluster\.((\w)\w*\.)"),
        tag("half", "(_cx)"),
    ];
    let (producer, warnings) = TagProducer::new(custom, true);
    assert!(warnings.is_empty(), "{warnings:?}");
    let expected = "cluster.upstream_active fix=v 1 half=_cx cluster_name=abc mine=abc";
    assert_eq!(shown(&producer, "cluster.abc.upstream_cx_active"), expected);
}

#[test]
fn the_look_ahead_that_istio_writes_is_understood() {
    let regex = r"^listener(?=\.).*?\.http\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.)";
    let (producer, warnings) = TagProducer::new(vec![tag("p", regex)], false);
    assert!(warnings.is_empty(), "{warnings:?}");
    let name = "listener.10.0.0.1_80.http.inbound_0.0.0.0_80;.downstream_rq_2xx";
    assert_eq!(shown(&producer, name), name, "an unfit prefix stays");
    let fit = "listener.10.0.0.1_80.http.0.0.0.0_80.downstream_rq_2xx";
    assert_eq!(
        shown(&producer, fit),
        "listener.10.0.0.1_80.http.downstream_rq_2xx p=0.0.0.0_80"
    );
}

#[test]
fn what_cannot_be_compiled_is_skipped_and_told() {
    let custom = vec![
        tag("a", r"^x(?!y)(z)"),
        tag("b", r"^cluster\.((.+?)\.)"),
        tag("c", "nogroup"),
        tag("d", "("),
    ];
    let (producer, warnings) = TagProducer::new(custom, false);
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(
        warnings[0].contains("\"a\"") && warnings[0].contains("look-around"),
        "{}",
        warnings[0]
    );
    assert_eq!(shown(&producer, "cluster.web.x"), "cluster.x b=web");
}

/// Istio's own list, from its bootstrap: none may be lost.
#[test]
fn istios_tags_compile() {
    let regexes = [
        r"^cluster(\.(.+);)",
        r"^http\.(((?:[_.[:digit:]\w]*|[_\[\]aAbBcCdDeEfF[:digit:]\w\:]*));\.)",
        r"^server(\.(.+))\.watchdog",
        r"_rq(_(\dxx))$",
        r"^mongo\.(.+?)\.(collection|cmd|cx_|op_|delays_|decoding_)(.*?)$",
        r"(component\.(.+?)\.)",
        r"rbac(\.(allowed|denied))",
        r"(\.istio_dry_run_(allow|deny)_)",
    ];
    for (index, regex) in regexes.iter().enumerate() {
        let (_, warnings) = TagProducer::new(vec![tag(&index.to_string(), regex)], false);
        assert!(warnings.is_empty(), "{warnings:?}");
    }
    let (producer, _) = TagProducer::new(vec![tag("cluster_name", regexes[0]), tag("code", regexes[3])], false);
    assert_eq!(
        shown(&producer, "cluster.xds-grpc;.upstream_rq_2xx"),
        "cluster.upstream_rq cluster_name=xds-grpc code=2xx"
    );
}

proptest::proptest! {
    /// Names hold whatever a config holds: nothing in them may trip a rule, and a rule only ever takes away.
    #[test]
    fn any_name_can_be_taken_apart(
        first in "(cluster|listener|http|vhost|server|tcp|sds)",
        tokens in proptest::collection::vec(
            "(ssl|ciphers|versions|certificate|http|rds|rbac|policy|worker_[0-9é]?|\\[?[0-9a-f_]{0,3}\\]?|_rq_[0-9x]{0,3}|1[.]2[.]3[.]4_[0-9]?|.{0,4})",
            0..7,
        ),
    ) {
        let (producer, _) = TagProducer::new(vec![tag("half", "(é?_)")], true);
        let name = format!("{first}.{}", tokens.join("."));
        let tagged = producer.extract(&name);
        let mut left = name.chars();
        proptest::prop_assert!(tagged.rest().chars().all(|c| left.any(|l| l == c)));
        proptest::prop_assert!(tagged.tags.iter().all(|(_, value)| name.contains(value)));
    }
}
