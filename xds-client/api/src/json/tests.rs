use super::*;
use serde_json::{Value, json};

const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";
const BOOTSTRAP: &str = "envoy.config.bootstrap.v3.Bootstrap";
const LENIENT: ReadOptions = ReadOptions {
    fields: Unknown::Warn,
    types: Unknown::Warn,
};

fn error(type_name: &str, json: Value) -> String {
    to_wire(type_name, &json, ReadOptions::default())
        .unwrap_err()
        .to_string()
}

/// Through the wire and back, by proto names.
fn again(type_name: &str, json: Value) -> Value {
    let (bytes, _) = to_wire(type_name, &json, ReadOptions::default()).unwrap();
    from_wire(
        type_name,
        &bytes,
        WriteOptions {
            proto_names: true,
            ..WriteOptions::default()
        },
    )
    .unwrap()
}

#[test]
fn errors_name_the_field_path_and_the_value() {
    let filter = |config: Value| json!({"static_resources": {"listeners": [{"filter_chains": [{"filters": [{"name": "a"}, {"name": "b", "typed_config": config}]}]}]}});
    let tcp_proxy = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
    let at = "static_resources.listeners[0].filter_chains[0].filters[1].typed_config";
    assert_eq!(
        error(BOOTSTRAP, filter(json!({"@type": tcp_proxy, "foo": 1}))),
        format!(
            "{at}.foo: unknown field: envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy has none of that name"
        ),
    );
    assert_eq!(
        error(
            BOOTSTRAP,
            filter(json!({"@type": tcp_proxy, "idle_timeout": "5 minutes"}))
        ),
        format!("{at}.idle_timeout: expected a duration such as \"1.5s\", got \"5 minutes\""),
    );
    assert_eq!(
        error(BOOTSTRAP, filter(json!({"@type": "type.googleapis.com/no.Such"}))),
        format!("{at}: unknown type no.Such: no such message in Envoy's API"),
    );
    assert_eq!(
        error(BOOTSTRAP, filter(json!({"@type": 5}))),
        format!("{at}.@type: expected type.googleapis.com/NAME, got 5")
    );
    assert_eq!(
        error(CLUSTER, json!({"lb_policy": "BEST"})),
        "lb_policy: expected one of ROUND_ROBIN, LEAST_REQUEST, RING_HASH, RANDOM, MAGLEV, CLUSTER_PROVIDED, \
         LOAD_BALANCING_POLICY_CONFIG, got \"BEST\"",
    );
    assert_eq!(
        error(CLUSTER, json!({"metadata": {"filter_metadata": {"a.b": 3}}})),
        "metadata.filter_metadata[\"a.b\"]: expected an object, got 3",
    );
    assert_eq!(error(CLUSTER, json!([])), "expected an object, got []");
    assert_eq!(error("no.Such", json!({})), "no message is named no.Such");
}

#[test]
fn a_oneof_may_be_set_once_and_a_field_in_both_spellings() {
    assert_eq!(
        again(CLUSTER, json!({"alt_stat_name": "a", "altStatName": "a"})),
        json!({"alt_stat_name": "a"})
    );
    assert_eq!(
        error(CLUSTER, json!({"type": "EDS", "cluster_type": {"name": "x"}})),
        "type and cluster_type are both set: at most one of them may be",
    );
    assert_eq!(
        again(CLUSTER, json!({"type": null, "cluster_type": {"name": "x"}})),
        json!({"cluster_type": {"name": "x"}})
    );
}

#[test]
fn long_values_are_cut_in_errors() {
    let long = "é".repeat(1000);
    assert!(error(CLUSTER, json!({"connect_timeout": long})).chars().count() < 200);
}

#[test]
fn unknown_things_are_warnings_where_asked() {
    let json = json!({
        "name": "c",
        "nam": "typo",
        "lb_policy": "FUTURE",
        "health_checks": [{"timout": "1s"}],
        "transport_socket": {"name": "t", "typed_config": {"@type": "type.googleapis.com/no.Such", "a": {"b": [1, null]}}},
    });
    let (bytes, mut warnings) = to_wire(CLUSTER, &json, LENIENT).unwrap();
    warnings.sort_by_key(Warning::to_string);
    let told: Vec<_> = warnings.iter().map(Warning::to_string).collect();
    let expected = [
        "health_checks[0].timout: unknown field, ignored",
        "lb_policy: unknown field, ignored",
        "nam: unknown field, ignored",
        "transport_socket.typed_config: unknown type type.googleapis.com/no.Such",
    ];
    assert_eq!(told, expected);
    let kept = from_wire(
        CLUSTER,
        &bytes,
        WriteOptions {
            proto_names: true,
            ..WriteOptions::default()
        },
    )
    .unwrap();
    let typed_struct = json!({
        "@type": "type.googleapis.com/xds.type.v3.TypedStruct",
        "type_url": "type.googleapis.com/no.Such",
        "value": {"a": {"b": [1, null]}},
    });
    assert_eq!(
        kept,
        json!({"name": "c", "health_checks": [{}], "transport_socket": {"name": "t", "typed_config": typed_struct}})
    );
}

#[test]
fn an_any_that_cannot_be_read_is_printed_as_base64() {
    let any = |type_url: &str, value: &'static [u8]| {
        let any = crate::pb::Any {
            type_url: type_url.into(),
            value: value.into(),
        };
        from_wire(
            "google.protobuf.Any",
            &prost::Message::encode_to_vec(&any),
            WriteOptions::default(),
        )
        .unwrap()
    };
    assert_eq!(any("a/no.Such", b"xyz"), json!({"@type": "a/no.Such", "value": "eHl6"}));
    assert_eq!(
        any("a/envoy.config.cluster.v3.Cluster", b"\x0a\x05c"),
        json!({"@type": "a/envoy.config.cluster.v3.Cluster", "value": "CgVj"})
    );
    assert_eq!(any("", b""), json!({}));
}

#[test]
fn anys_nest_only_so_deep() {
    let mut any = crate::pb::Any {
        type_url: "a/stats.PluginConfig".into(),
        value: bytes::Bytes::new(),
    };
    for _ in 0..10_000 {
        any = crate::pb::Any {
            type_url: "a/google.protobuf.Any".into(),
            value: prost::Message::encode_to_vec(&any).into(),
        };
    }
    let mut text = Vec::new();
    write_json(
        "google.protobuf.Any",
        &prost::Message::encode_to_vec(&any),
        &mut text,
        WriteOptions::default(),
    )
    .unwrap();
    assert!(text.starts_with(b"{\"@type\":\"a/google.protobuf.Any\",\"value\":{"));
    let mut json = json!(1);
    for _ in 0..1_000 {
        json = json!([json]);
    }
    assert!(error("google.protobuf.Value", json).ends_with("nested deeper than 100 messages"));
}

#[test]
fn times() {
    for (text, canonical) in [
        ("1s", "1s"),
        ("1.5s", "1.500s"),
        ("-0.5s", "-0.500s"),
        ("01s", "1s"),
        ("0.000000001s", "0.000000001s"),
    ] {
        assert_eq!(
            again(CLUSTER, json!({"connect_timeout": text})),
            json!({"connect_timeout": canonical})
        );
    }
    // What Istio writes for "never": longer than Envoy's clock can hold, yet a legal duration.
    assert_eq!(
        again(CLUSTER, json!({"cleanup_interval": "9223372036s"})),
        json!({"cleanup_interval": "9223372036s"})
    );
    for text in [
        "1",
        "1ms",
        ".5s",
        "1.s",
        "+1s",
        "1.0000000001s",
        "315576000001s",
        "1 s",
        "s",
        "-s",
    ] {
        assert!(
            error(CLUSTER, json!({"connect_timeout": text})).starts_with("connect_timeout: expected a duration"),
            "{text}"
        );
    }
    for (text, canonical) in [
        ("2024-02-29T23:59:59Z", "2024-02-29T23:59:59Z"),
        ("1969-12-31T23:00:00.25-01:30", "1970-01-01T00:30:00.250Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"),
        ("2000-03-01T00:00:00+00:00", "2000-03-01T00:00:00Z"),
    ] {
        assert_eq!(again("google.protobuf.Timestamp", json!(text)), json!(canonical));
    }
    for text in [
        "2023-02-29T00:00:00Z",
        "2024-13-01T00:00:00Z",
        "2024-01-01",
        "2024-01-01T24:00:00Z",
        "2024-01-01T00:00:00",
        "0000-01-01T00:00:00Z",
    ] {
        assert!(
            to_wire("google.protobuf.Timestamp", &json!(text), ReadOptions::default()).is_err(),
            "{text}"
        );
    }
}

#[test]
fn admin_text_is_indented_as_protobuf_does() {
    let json = json!({"name": "c<1>", "health_checks": [{}], "typed_extension_protocol_options": {}, "metadata": {"filter_metadata": {"m": {"list": []}}}});
    let (bytes, _) = to_wire(CLUSTER, &json, ReadOptions::default()).unwrap();
    let mut text = Vec::new();
    write_json(CLUSTER, &bytes, &mut text, WriteOptions::ADMIN).unwrap();
    let expected = "{\n \"name\": \"c\\u003c1\\u003e\",\n \"health_checks\": [\n  {}\n ],\n \"metadata\": {\n  \"filter_metadata\": {\n   \"m\": {\n    \"list\": []\n   }\n  }\n }\n}";
    assert_eq!(String::from_utf8(text).unwrap(), expected);
}

#[test]
fn defaults_are_printed_on_request() {
    let memory = from_wire("envoy.admin.v3.Memory", &[], WriteOptions::ADMIN_WITH_DEFAULTS).unwrap();
    let zeros = [
        "allocated",
        "heap_size",
        "pageheap_unmapped",
        "pageheap_free",
        "total_thread_cache",
        "total_physical_bytes",
    ];
    let zeros: serde_json::Map<_, _> = zeros.into_iter().map(|name| (name.to_owned(), json!("0"))).collect();
    assert_eq!(memory, Value::Object(zeros));
}

#[test]
fn the_last_member_of_a_oneof_counts_and_parts_are_merged() {
    let (mut bytes, _) = to_wire(
        CLUSTER,
        &json!({"cluster_type": {"name": "x"}, "common_lb_config": {"close_connections_on_host_set_change": true}}),
        ReadOptions::default(),
    )
    .unwrap();
    let (more, _) = to_wire(
        CLUSTER,
        &json!({"type": "EDS", "common_lb_config": {"ignore_new_hosts_until_first_hc": true}}),
        ReadOptions::default(),
    )
    .unwrap();
    bytes.extend(more);
    let json = from_wire(
        CLUSTER,
        &bytes,
        WriteOptions {
            proto_names: true,
            ..WriteOptions::default()
        },
    )
    .unwrap();
    let both = json!({"ignore_new_hosts_until_first_hc": true, "close_connections_on_host_set_change": true});
    assert_eq!(json, json!({"type": "EDS", "common_lb_config": both}));
}

#[test]
fn structs_become_values() {
    let json = json!({"a": 1, "b": [null, 1.5, "x", true, {"c": -3}]});
    let (bytes, _) = to_wire("google.protobuf.Struct", &json, ReadOptions::default()).unwrap();
    let decoded = <prost_types::Struct as prost::Message>::decode(bytes.as_slice()).unwrap();
    assert_eq!(Value::Object(from_struct(&decoded)), json);
}
