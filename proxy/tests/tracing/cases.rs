//! The cases, by what they show.

use super::{Case, INTERNAL, OTLP, REQUEST_ID, Reply, Run, Setup, agree, both, case, zipkin};

const B3: &str =
    "x-b3-traceid: 0123456789abcdef1123456789abcdef|x-b3-spanid: 00000000000000a1|x-b3-parentspanid: 00000000000000b1";
const UNSAMPLED: &str = "HTTP/1.1 503 Busy\r\ncontent-length: 2\r\n\r\nno";

/// Contexts in B3, in both of its forms: malformed ones make the request none of the proxy's, which then leaves it alone; what
/// they say of sampling goes before the proxy's decision; W3C is not read.
fn b3() -> Vec<Case> {
    vec![
        case("/a?b=c", "", 1),
        case(
            "/a",
            "x-b3-traceid: 0123456789abcdef1123456789abcdef|x-b3-spanid: 00000000000000a1|x-b3-parentspanid: 00000000000000b1|x-b3-sampled: 1",
            1,
        ),
        case(
            "/a",
            "x-b3-traceid: 0123456789abcdef1123456789abcdef|x-b3-spanid: 00000000000000a1|x-b3-sampled: 0",
            0,
        ),
        case("/a", B3, 1),
        case(
            "/a",
            "x-b3-traceid: AB|x-b3-spanid: 0xcd|x-b3-parentspanid: |x-b3-sampled: true",
            1,
        ),
        case("/a", "x-b3-traceid: zz|x-b3-spanid: 1", 0),
        case("/a", "x-b3-traceid: ab", 1),
        case("/a", "x-b3-sampled: 0", 0),
        case(
            "/a",
            "b3: 0123456789abcdef1123456789abcdef-00000000000000a1-1-00000000000000b1",
            1,
        ),
        case("/a", "b3: 1123456789abcdef-00000000000000a1", 1),
        case("/a", "b3: 1", 1),
        case("/a", "b3: 0", 0),
        case("/a", "b3: d", 1),
        case("/a", "b3: xyz", 0),
        case(
            "/a",
            "traceparent: 00-0123456789abcdef1123456789abcdef-00000000000000a1-01",
            1,
        ),
    ]
}

#[test]
fn zipkin_outbound_tells_contexts_on() {
    agree("zipkin_outbound_tells_contexts_on", &Setup::zipkin("", ""), &b3());
}

/// A server's span has its client's id.
#[test]
fn zipkin_inbound_shares_the_clients_span() {
    agree(
        "zipkin_inbound_shares_the_clients_span",
        &Setup::zipkin("", "").inbound(),
        &b3(),
    );
}

/// With 128 bits, without shared spans, and with W3C beside B3: read where there is no B3, written always.
#[test]
fn zipkin_with_w3c_and_long_ids() {
    const W3C: &str = "traceparent: 00-0123456789abcdef1123456789abcdef-00000000000000a1-01|tracestate: k=v";
    const QUIET: &str = "traceparent: 00-0123456789abcdef1123456789abcdef-00000000000000a1-00";
    let fields =
        "JSON, trace_id_128bit: true, shared_span_context: false, trace_context_option: USE_B3_WITH_W3C_PROPAGATION";
    let mut cases = b3();
    cases.extend([
        case("/a", W3C, 1),
        case("/a", QUIET, 0),
        case(
            "/a",
            "x-b3-sampled: 1|traceparent: 00-0123456789abcdef1123456789abcdef-00000000000000a1-00",
            1,
        ),
        case(
            "/a",
            "b3: 1|traceparent: 00-0123456789abcdef1123456789abcdef-00000000000000a1-00",
            1,
        ),
        case("/a", "traceparent: 00-1123", 1),
        case(
            "/a",
            "x-b3-traceid: zz|x-b3-spanid: 1|traceparent: 00-0123456789abcdef1123456789abcdef-00000000000000a1-00",
            0,
        ),
    ]);
    for setup in [Setup::zipkin(fields, ""), Setup::zipkin(fields, "").inbound()] {
        agree("zipkin_with_w3c_and_long_ids", &setup, &cases);
    }
}

const CUSTOM: &str = ", max_path_tag_length: 10, custom_tags: [\
    {tag: lit, literal: {value: 'yes'}}, {tag: lit, literal: {value: again}}, {tag: component, literal: {value: mine}}, \
    {tag: env, environment: {name: NO_SUCH_VARIABLE, default_value: none}}, {tag: env2, environment: {name: NO_SUCH_VARIABLE}}, \
    {tag: hdr, request_header: {name: X-H, default_value: d}}, {tag: hdr2, request_header: {name: x-h2}}, {tag: path, request_header: {name: ':path'}}, \
    {tag: deep, metadata: {kind: {route: {}}, metadata_key: {key: ns, path: [{key: a}, {key: b}]}}}, \
    {tag: object, metadata: {kind: {route: {}}, metadata_key: {key: ns, path: [{key: a}]}}}, \
    {tag: number, metadata: {kind: {route: {}}, metadata_key: {key: ns, path: [{key: number}]}}}, \
    {tag: bool, metadata: {kind: {route: {}}, metadata_key: {key: ns, path: [{key: 'yes'}]}}}, \
    {tag: list, metadata: {kind: {route: {}}, metadata_key: {key: ns, path: [{key: list}]}}}, \
    {tag: dynamic, metadata: {kind: {request: {}}, metadata_key: {key: ns, path: [{key: x}]}, default_value: dm}}, \
    {tag: cluster, metadata: {kind: {cluster: {}}, metadata_key: {key: ns, path: [{key: where}]}}}, \
    {tag: host, metadata: {kind: {host: {}}, metadata_key: {key: ns, path: [{key: where}]}}}, \
    {tag: format, value: '%REQ(:METHOD)%-%RESPONSE_CODE%'}, {tag: format2, value: '%REQ(nope)%'}]";

/// What spans tell of requests: every way in which one can end, names by decorators on either side (`x-envoy-decorator-operation`
/// is told to servers and heard from them, told to clients and heard from them), and what routes change.
fn told() -> Vec<Case> {
    const NAMES: &str = "HTTP/1.1 200 OK\r\nx-envoy-decorator-operation: by-server\r\ncontent-length: 2\r\n\r\nok";
    const REFUSED: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: 13\r\ngrpc-message: no\r\ncontent-length: 0\r\n\r\n";
    const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
    vec![
        case(
            "/a",
            "x-h: v|x-envoy-downstream-service-cluster: caller|x-client-trace-id: mine",
            1,
        )
        .body("hello"),
        case("/named", "", 1),
        case("/named", "x-envoy-decorator-operation: by-client", 1),
        case("/named", "x-envoy-decorator-operation: ", 1),
        case("/secret", "", 1),
        case("/a", "", 1).answered([NAMES]),
        case("/a", "", 1).answered([NOT_FOUND]),
        case("/a", "", 1).answered([UNSAMPLED]),
        case("/again", "", 1).answered([UNSAMPLED]),
        case("/again", "", 1).answered([UNSAMPLED, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"]),
        case("/slow", "", 1).hanging(),
        case("/dead", "", 1),
        case("/own", "", 1),
        case("/copied", "", 1),
        case("/a#refused", "", 0),
        case("/moved", "", 1),
        case("/nowhere", "", 1),
        case("/none", "", 1),
        case("/rewritten/long/path", "", 1),
        case("/route", "", 0),
        case("/route", "x-client-trace-id: mine|x-h: v", 1),
        case("/a", "content-type: application/grpc|te: trailers|grpc-timeout: 3S", 1).answered([REFUSED]),
    ]
}

#[test]
fn zipkin_spans_say_what_envoys_say() {
    for setup in [Setup::zipkin("", CUSTOM), Setup::zipkin("", CUSTOM).inbound()] {
        agree("zipkin_spans_say_what_envoys_say", &setup, &told());
    }
}

#[test]
fn opentelemetry_spans_say_what_envoys_say() {
    for setup in [Setup::otlp_http("", CUSTOM), Setup::otlp_http("", CUSTOM).inbound()] {
        agree("opentelemetry_spans_say_what_envoys_say", &setup, &told());
    }
}

/// Attempts with spans of their own: what was given up is canceled, what broke says why.
#[test]
fn attempts_are_spans_where_they_are_asked_for() {
    let cases = || {
        vec![
            case("/a", "", 2),
            case("/a", B3, 2),
            case("/named", "", 2),
            case("/again", "", 3).answered([UNSAMPLED]),
            case("/again", "", 3).answered([UNSAMPLED, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"]),
            case("/short", "", 3).hanging(),
            case("/slow", "", 2).hanging(),
            case("/dead", "", 2),
            case("/a", "", 2).cut(),
            case("/a", "", 2).hanging().leaving(),
            case("/own", "", 1),
            case("/a", "x-b3-sampled: 0", 0),
            case("/route", "x-client-trace-id: mine", 2),
            case("/a", "", 2).answered([
                "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: 4\r\ncontent-length: 0\r\n\r\n",
            ]),
        ]
    };
    let spawn = ", spawn_upstream_span: true, custom_tags: [{tag: lit, literal: {value: 'yes'}}]";
    let named = ", spawn_upstream_span: true, verbose: true, operation: '%REQ(:METHOD)%-in', upstream_operation: '%UPSTREAM_CLUSTER%-up'";
    let test = "attempts_are_spans_where_they_are_asked_for";
    agree(test, &Setup::zipkin("", spawn), &cases());
    agree(test, &Setup::zipkin("", named).inbound(), &cases());
    let mut otlp = cases();
    // B3 says nothing to OpenTelemetry.
    otlp.retain(|case| !case.fields.starts_with("x-b3-sampled"));
    agree(test, &Setup::otlp_http("", named), &otlp);
    let mut child = Setup::zipkin("", "");
    child.router = ", start_child_span: true";
    agree(test, &child, &[case("/a", "", 2)]);
    agree(test, &child.inbound(), &[case("/a", "", 2)]);
}

/// Why a request is traced, and what its id tells the next proxy.
#[test]
fn decisions_are_envoys() {
    const TRACED: &str = "x-request-id: 12345678-1234-9234-9234-123456789012";
    const FORCED: &str = "x-request-id: 12345678-1234-a234-9234-123456789012";
    let ids = || {
        vec![
            case("/a", "", 0),
            case("/a", "x-request-id: 00000000-1234-4234-9234-123456789012", 1),
            case("/a", "x-request-id: 00000063-1234-4234-9234-123456789012", 1),
            case("/a", "x-request-id: 00000064-1234-4234-9234-123456789012", 0),
            case("/a", TRACED, 1),
            case("/a", FORCED, 1),
            case("/a", "x-request-id: zz", 0),
            case("/a", "x-request-id: 00000001", 1),
            case("/a", "x-request-id: ", 0),
            case("/a", "x-envoy-force-trace: 1", 0),
            case("/a", "x-client-trace-id: mine", 1),
            case("/route", TRACED, 1),
        ]
    };
    let test = "decisions_are_envoys";
    // An id of ours may fall into the share by chance: those cases ask for a share that has no chance.
    let one = Setup::zipkin("", ", random_sampling: {value: 1}");
    let chance = |case: &Case| !["", "x-request-id: ", "x-envoy-force-trace: 1"].contains(&case.fields);
    agree(test, &one, &ids().into_iter().filter(chance).collect::<Vec<_>>());
    let none = ", random_sampling: {value: 0}";
    let forced = || {
        vec![
            case("/a", "x-envoy-force-trace: 1", 1),
            case("/a", "x-client-trace-id: mine", 1),
            case("/a", "", 0),
        ]
    };
    agree(test, &Setup::zipkin("", none).manager(INTERNAL), &forced());
    let overall = Setup::zipkin("", ", overall_sampling: {value: 0}");
    agree(test, &overall, &[case("/a", "", 0), case("/a", FORCED, 0)]);
    let unused = format!("{REQUEST_ID}, use_request_id_for_trace_sampling: false}}}}");
    agree(test, &Setup::zipkin("", none).manager(&unused), &[case("/a", "", 1)]);
    let unpacked = format!("{REQUEST_ID}, pack_trace_reason: false}}}}");
    agree(
        test,
        &Setup::zipkin("", "").manager(&unpacked),
        &[case("/a", "", 1), case("/a", FORCED, 1)],
    );
    let edge =
        Setup::zipkin("", none).manager("use_remote_address: true\n          preserve_external_request_id: true");
    agree(test, &edge, &[case("/a", FORCED, 0), case("/a", "x-request-id: ", 0)]);
    let without = Setup::zipkin("", "").manager("generate_request_id: false");
    agree(test, &without, &[case("/a", "", 0)]);
    let mut runtime = Setup::zipkin("", "");
    runtime.runtime = ", tracing.random_sampling: 0, tracing.client_enabled: 0";
    agree(
        test,
        &runtime,
        &[case("/a", "", 0), case("/a", "x-client-trace-id: mine", 0)],
    );
}

/// Without a provider the decision is made and names are told; without tracing nothing is touched. The bootstrap's provider
/// serves those who name none.
#[test]
fn providers_may_be_missing_or_the_bootstraps() {
    let test = "providers_may_be_missing_or_the_bootstraps";
    let cases = || {
        vec![
            case("/named", "", 0),
            case("/named", "x-envoy-decorator-operation: by-client", 0),
            case("/a", "", 0)
                .answered(["HTTP/1.1 200 OK\r\nx-envoy-decorator-operation: by-server\r\ncontent-length: 2\r\n\r\nok"]),
        ]
    };
    for manager in ["tracing: {}", ""] {
        let mut setup = Setup::zipkin("", "");
        setup.manager = manager.into();
        agree(test, &setup, &cases());
        agree(test, &setup.inbound(), &cases());
    }
    let mut own = Setup::zipkin("", "");
    own.manager = "tracing: {}".into();
    own.top = format!("tracing: {{http: {{name: z, typed_config: {{{}}}}}}}", zipkin(""));
    agree(test, &own, &[case("/a", "", 1)]);
    let quiet = Setup::zipkin("", ", no_context_propagation: true");
    agree(test, &quiet, &[case("/a", "", 1), case("/a", B3, 1)]);
}

/// `traceparent` of any version is told on as the first version; malformed ones are left alone, and nothing is told of them.
/// A span is sampled where both the caller and the proxy want it.
#[test]
fn opentelemetry_tells_contexts_on() {
    let cases = |uncalled: usize| {
        vec![
            case("/a", "", 1),
            case(
                "/a",
                "traceparent: 00-0123456789abcdef1123456789abcdef-00000000000000a1-01|tracestate: k=v",
                1,
            ),
            case(
                "/a",
                "traceparent: 00-0123456789abcdef1123456789abcdef-00000000000000a1-00",
                uncalled,
            ),
            case(
                "/a",
                "traceparent: 01-0123456789ABCDEF1123456789ABCDEF-00000000000000A1-03",
                1,
            ),
            case("/a", "traceparent: x", 0),
            case("/a", "tracestate: k=v", 1),
            case("/a", "x-b3-traceid: ab|x-b3-spanid: cd|x-b3-sampled: 0", 1),
        ]
    };
    let test = "opentelemetry_tells_contexts_on";
    agree(test, &Setup::otlp_http(", service_name: shop", ""), &cases(0));
    agree(
        test,
        &Setup::otlp_http(", set_telemetry_sdk_resource_attributes: false", "").inbound(),
        &cases(0),
    );
    let unsampled = Setup::otlp_http("", ", random_sampling: {value: 0}");
    agree(
        test,
        &unsampled,
        &[case(
            "/a",
            "traceparent: 00-0123456789abcdef1123456789abcdef-00000000000000a1-01",
            0,
        )],
    );
    let grpc = format!(
        "{OTLP}, grpc_service: {{envoy_grpc: {{cluster_name: otlp}}, timeout: 2s, initial_metadata: [{{key: x-tenant, value: one}}]}}"
    );
    agree(test, &Setup::new(&grpc, ""), &cases(0));
    let sampler = |name: &str, more: &str| {
        format!(
            "{{name: s, typed_config: {{'@type': type.googleapis.com/envoy.extensions.tracers.opentelemetry.samplers.v3.{name}{more}}}}}"
        )
    };
    let always = sampler("AlwaysOnSamplerConfig", "");
    agree(test, &Setup::otlp_http(&format!(", sampler: {always}"), ""), &cases(1));
    let parent = sampler("ParentBasedSamplerConfig", &format!(", wrapped_sampler: {always}"));
    agree(test, &Setup::otlp_http(&format!(", sampler: {parent}"), ""), &cases(0));
    let ratio = sampler(
        "TraceIdRatioBasedSamplerConfig",
        ", sampling_percentage: {numerator: 30}",
    );
    // The first eight bytes of the id are the number, the lowest byte first: 29 and 30 here.
    let shared = [
        case(
            "/a",
            "traceparent: 00-1d000000000000000000000000000001-00000000000000a1-00",
            1,
        ),
        case(
            "/a",
            "traceparent: 00-1e000000000000000000000000000001-00000000000000a1-01",
            0,
        ),
    ];
    agree(test, &Setup::otlp_http(&format!(", sampler: {ratio}"), ""), &shared);
}

/// What resources say of the proxy; of detectors the last has the last word.
#[test]
fn resources_are_envoys() {
    let detector = |name: &str, more: &str| {
        format!(
            "{{name: d, typed_config: {{'@type': type.googleapis.com/envoy.extensions.tracers.opentelemetry.resource_detectors.v3.{name}ResourceDetectorConfig{more}}}}}"
        )
    };
    let detectors = [
        detector("StaticConfig", ", attributes: {a: b, k: one}"),
        detector("StaticConfig", ", attributes: {k: two}"),
    ]
    .join(", ");
    let fields = format!(", service_name: shop, resource_detectors: [{detectors}]");
    let typed = ", custom_tags: [{tag: int, literal: {value: '5'}, value_type: INT}, {tag: text, literal: {value: abc}, value_type: INT}]";
    let test = "resources_are_envoys";
    agree(test, &Setup::otlp_http(&fields, typed), &[case("/a", "", 1)]);
    let bare = ", set_service_name_resource_attribute: false, set_telemetry_sdk_resource_attributes: false, set_instrumentation_scope: false";
    agree(test, &Setup::otlp_http(bare, ""), &[case("/a", "", 1)]);
}

/// The collector's protobuf has ids of spans with their lowest byte first.
#[test]
fn zipkin_speaks_protobuf() {
    let cases = [case("/a", "", 1), case("/a", B3, 1)];
    let test = "zipkin_speaks_protobuf";
    agree(
        test,
        &Setup::zipkin("PROTO, collector_hostname: zipkin.test", ", verbose: true"),
        &cases,
    );
    agree(test, &Setup::zipkin("PROTO", "").inbound(), &cases);
    let service = "JSON, collector_service: {http_uri: {uri: 'http://z.test/x/spans', cluster: spans, timeout: 1s}, request_headers_to_add: [{header: {key: x-a, value: b}}]}";
    agree(test, &Setup::zipkin(service, ""), &cases[..1]);
}

/// Enough spans are a report, fewer are one when it is time; what becomes of reports is counted.
#[test]
fn reports_are_full_or_due_and_counted() {
    let Some(binaries) = both("reports_are_full_or_due_and_counted") else {
        return;
    };
    // A layer above the first.
    let flushing = |runtime: &'static str| {
        let mut setup = Setup::zipkin("", "");
        setup.runtime = runtime;
        setup
    };
    let full = flushing("}}, {name: more, static_layer: {tracing.zipkin.min_flush_spans: 3");
    let due = flushing(
        "}}, {name: more, static_layer: {tracing.zipkin.min_flush_spans: 9, tracing.zipkin.flush_interval_ms: 200",
    );
    let mut lost = Setup::zipkin("", "");
    lost.manager = lost
        .manager
        .replace("collector_cluster: spans", "collector_cluster: dead");
    let one = case("/a", "", 1);
    let [ours, envoys] = binaries.map(|binary| {
        let run = Run::start(&binary, &full);
        for _ in 0..6 {
            run.ask(&one);
        }
        let sizes: Vec<_> = run.wait(6).iter().map(|(_, spans)| spans.len()).collect();
        assert_eq!(sizes, [3, 3]);
        let mut counted = vec![run.counted("tracing.zipkin.reports_sent", 2)];
        // Anything but 202 is a report that was dropped.
        run.collector.begin(vec![Reply::h1("200 OK", "", "")]);
        (0..3).for_each(|_| drop(run.ask(&one)));
        counted.push(run.counted("tracing.zipkin.reports_dropped", 1));
        let run = Run::start(&binary, &due);
        run.ask(&one);
        assert_eq!(run.wait(1).len(), 1);
        assert!(run.proxy.stat("tracing.zipkin.timer_flushed") > 0);
        counted.push(run.counted("tracing.zipkin.reports_sent", 1));
        // So is one that nobody takes.
        let run = Run::start(&binary, &lost);
        run.ask(&one);
        counted.push(run.counted("tracing.zipkin.reports_dropped", 1));
        counted
    });
    assert_eq!(ours, envoys);
}
