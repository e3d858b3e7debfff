//! Bootstraps that must be refused: `base.yaml` with one place set to something else, and a few texts that are no
//! bootstrap at all.

use std::path::Path;

use serde_json::Value;

/// One broken bootstrap.
pub struct Broken {
    pub name: &'static str,
    /// Where, with the short forms of [`LONG`].
    pub path: &'static str,
    /// What is put there, in YAML; nothing removes it.
    pub value: &'static str,
    /// The field path that a refusal must name, where it is not `path`.
    pub at: Option<&'static str>,
}

/// Short forms at the start of a path.
const LONG: &[(&str, &str)] = &[
    ("$route", "$hcm.route_config.virtual_hosts[0].routes[0]"),
    ("$routes", "$hcm.route_config.virtual_hosts[0].routes"),
    ("$hosts", "$hcm.route_config.virtual_hosts"),
    ("$hcm", "$web.filter_chains[0].filters[0].typed_config"),
    ("$tls", "$web.filter_chains[1].transport_socket.typed_config"),
    ("$tcp", "$web.filter_chains[1].filters[0].typed_config"),
    ("$web", "static_resources.listeners[0]"),
    ("$one", "static_resources.clusters[0]"),
    ("$two", "static_resources.clusters[1]"),
    ("$upstream", "$two.transport_socket.typed_config"),
];

const fn broken(name: &'static str, path: &'static str, value: &'static str) -> Broken {
    Broken {
        name,
        path,
        value,
        at: None,
    }
}

const fn broken_at(name: &'static str, path: &'static str, value: &'static str, at: &'static str) -> Broken {
    Broken {
        name,
        path,
        value,
        at: Some(at),
    }
}

pub const BROKEN: &[Broken] = &[
    // What the message's type does not allow.
    broken("unknown field", "$one.no_such_field", "1"),
    broken("unknown field at the top", "no_such_section", "{}"),
    broken("unknown field in an Any", "$hcm.no_such_field", "1"),
    broken("unknown field in a route", "$route.match.no_such_field", "x"),
    broken(
        "string for a number",
        "$web.address.socket_address.port_value",
        "eighty",
    ),
    broken("number for a string", "$one.name", "{}"),
    broken("string for a list", "static_resources.clusters", "one"),
    broken("list for an object", "$one.load_assignment", "[]"),
    broken("string for a bool", "$hcm.use_remote_address", "perhaps"),
    broken("unknown enum value", "$one.lb_policy", "BEST"),
    broken("unknown enum value in an Any", "$hcm.codec_type", "HTTP9"),
    broken("duration without a unit", "$one.connect_timeout", "'5'"),
    broken("duration of words", "$route.route.timeout", "five seconds"),
    broken(
        "negative unsigned number",
        "$one.circuit_breakers.thresholds[0].max_connections",
        "-1",
    ),
    broken(
        "number too large",
        "$one.circuit_breakers.thresholds[0].max_connections",
        "4294967296",
    ),
    broken("both members of a oneof", "$one.cluster_type", "{name: x}"),
    broken(
        "unknown type of an Any",
        "$hcm.@type",
        "type.googleapis.com/no.such.Message",
    ),
    broken("Any without a type", "$hcm.@type", ""),
    broken_at(
        "a type that does not fit the place",
        "$hcm.@type",
        "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        "filter_chains[0].filters[0].typed_config",
    ),
    // What Envoy's own constraints do not allow.
    broken("port out of range", "$web.address.socket_address.port_value", "70000"),
    broken("no stat_prefix", "$hcm.stat_prefix", ""),
    broken("no name of a cluster", "$one.name", ""),
    broken("no name of a virtual host", "$hosts[0].name", ""),
    broken("no domains", "$hosts[0].domains", "[]"),
    broken("no match", "$route.match", ""),
    broken("no path specifier", "$route.match", "{case_sensitive: true}"),
    broken_at("no action", "$route.route", "", "routes[0]"),
    broken("no cluster specifier", "$route.route", "{timeout: 1s}"),
    broken_at(
        "no routes specifier",
        "$hcm.route_config",
        "",
        "filters[0].typed_config",
    ),
    broken("status of a direct response", "$routes[3].direct_response.status", "99"),
    broken("negative connect timeout", "$one.connect_timeout", "-1s"),
    broken(
        "zero maximum of connections' headers",
        "$hcm.max_request_headers_kb",
        "0",
    ),
    broken(
        "header name with a line end",
        "$route.match.headers[0].name",
        "\"x\\ny\"",
    ),
    broken(
        "empty header name to add",
        "$route.request_headers_to_add[0].header.key",
        "''",
    ),
    broken(
        "prefix length too large",
        "$web.filter_chains[0].filter_chain_match.prefix_ranges[0].prefix_len",
        "129",
    ),
    broken(
        "destination port out of range",
        "$web.filter_chains[0].filter_chain_match.destination_port",
        "65536",
    ),
    broken("no address of a listener", "$web.address", ""),
    broken(
        "no sampling denominator",
        "$route.match.runtime_fraction",
        "{default_value: {numerator: 1, denominator: DOZEN}}",
    ),
    // What only makes no sense.
    broken("unknown cluster of a route", "$route.route.cluster", "nowhere"),
    broken(
        "unknown cluster among weighted ones",
        "$routes[1].route.weighted_clusters.clusters[0].name",
        "nowhere",
    ),
    broken_at(
        "weights that sum to zero",
        "$routes[1].route.weighted_clusters.clusters[0].weight",
        "0",
        "virtual_hosts[0].routes[1].route.weighted_clusters.clusters",
    ),
    broken("bad regex", "$routes[1].match.safe_regex.regex", "'a('"),
    broken(
        "regex with a look-ahead",
        "$routes[1].match.safe_regex.regex",
        "'a(?=b)'",
    ),
    broken(
        "bad regex of a header",
        "$route.match.headers[0].string_match",
        "{safe_regex: {regex: '*'}}",
    ),
    broken(
        "bad regex of a rewrite",
        "$route.route.regex_rewrite",
        "{pattern: {regex: '['}, substitution: x}",
    ),
    broken(
        "two rewrites",
        "$route.route",
        "{cluster: one, prefix_rewrite: /x, regex_rewrite: {pattern: {regex: a}, substitution: b}}",
    ),
    broken(
        "unknown operator",
        "$route.request_headers_to_add[0].header.value",
        "'%NO_SUCH_OPERATOR%'",
    ),
    broken(
        "unfinished operator",
        "$route.request_headers_to_add[0].header.value",
        "'%REQ(X'",
    ),
    broken(
        "unknown operator in an access log",
        "$hcm.access_log[0].typed_config.log_format.text_format_source.inline_string",
        "'%NO_SUCH_OPERATOR%'",
    ),
    broken(
        "an operator with an argument that it does not take",
        "$hcm.access_log[0].typed_config.log_format.text_format_source.inline_string",
        "'%PROTOCOL(x)%'",
    ),
    broken(
        "an operator with a length that it does not take",
        "$hcm.access_log[0].typed_config.log_format.text_format_source.inline_string",
        "'%RESPONSE_CODE:3%'",
    ),
    broken(
        "an operator without its argument",
        "$hcm.access_log[0].typed_config.log_format.text_format_source.inline_string",
        "'%REQ%'",
    ),
    broken(
        "an operator with two alternatives",
        "$hcm.access_log[0].typed_config.log_format.text_format_source.inline_string",
        "'%REQ(a?b?c)%'",
    ),
    broken(
        "an operator whose formatter is not configured",
        "$hcm.access_log[0].typed_config.log_format.text_format_source.inline_string",
        "'%REQ_WITHOUT_QUERY(:PATH)%'",
    ),
    broken(
        "an unknown form of gRPC status",
        "$hcm.access_log[0].typed_config.log_format.text_format_source.inline_string",
        "'%GRPC_STATUS(UPPER)%'",
    ),
    broken(
        "an unknown kind of metadata",
        "$hcm.access_log[0].typed_config.log_format.text_format_source.inline_string",
        "'%METADATA(NOTHING:a)%'",
    ),
    broken(
        "a path of an unknown source",
        "$hcm.access_log[0].typed_config.log_format.text_format_source.inline_string",
        "'%PATH(WQ:HOST)%'",
    ),
    broken(
        "host edited as a header",
        "$route.request_headers_to_add[0].header.key",
        "host",
    ),
    broken(
        "pseudo header edited",
        "$route.request_headers_to_add[0].header.key",
        "':path'",
    ),
    broken(
        "pseudo header removed",
        "$route.request_headers_to_remove",
        "[':method']",
    ),
    broken("two virtual hosts of one domain", "$hosts[1].domains[0]", "a.test"),
    broken(
        "two virtual hosts of one wildcard",
        "$hosts[1].domains[0]",
        "'*.b.test'",
    ),
    broken("router is not last", "$hcm.http_filters", "[$ROUTER, $ROUTER]"),
    broken_at(
        "two clusters of one name",
        "static_resources.clusters[1].name",
        "one",
        "one",
    ),
    broken_at(
        "two filter chains of one match",
        "$web.filter_chains[1].filter_chain_match",
        "{server_names: [a.test], destination_port: 10000, prefix_ranges: [{address_prefix: 127.0.0.0, prefix_len: 8}]}",
        "filter_chains[1]",
    ),
    broken(
        "wildcard within a server name",
        "$web.filter_chains[1].filter_chain_match.server_names[0]",
        "'a.*.test'",
    ),
    broken(
        "bad address of a listener",
        "$web.address.socket_address.address",
        "not-an-address",
    ),
    broken(
        "bad address of an endpoint",
        "$one.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address",
        "not-an-address",
    ),
    broken(
        "bad prefix range",
        "$web.filter_chains[0].filter_chain_match.prefix_ranges[0].address_prefix",
        "300.0.0.0",
    ),
    broken(
        "unknown filter",
        "$web.filter_chains[0].filters[0].typed_config",
        "{'@type': type.googleapis.com/envoy.extensions.filters.network.no_such.v3.Filter}",
    ),
    broken(
        "unknown HTTP filter",
        "$hcm.http_filters[0].typed_config",
        "{'@type': type.googleapis.com/no.such.Filter}",
    ),
    broken("filter without a config", "$hcm.http_filters[0].typed_config", ""),
    broken(
        "unknown transport socket",
        "$web.filter_chains[1].transport_socket.typed_config",
        "{'@type': type.googleapis.com/no.such.Socket}",
    ),
    broken(
        "unknown access logger's path",
        "$hcm.access_log[0].typed_config.path",
        "/no/such/folder/file",
    ),
    broken_at(
        "certificate that is none",
        "$tls.common_tls_context.tls_certificates[0].certificate_chain",
        "{inline_string: rubbish}",
        "common_tls_context.tls_certificates[0]",
    ),
    broken_at(
        "key that is none",
        "$tls.common_tls_context.tls_certificates[0].private_key",
        "{inline_string: rubbish}",
        "common_tls_context.tls_certificates[0]",
    ),
    broken_at(
        "key of another certificate",
        "$tls.common_tls_context.tls_certificates[0].private_key",
        "{filename: OTHER_KEY}",
        "common_tls_context.tls_certificates[0]",
    ),
    broken_at(
        "certificate file that is missing",
        "$tls.common_tls_context.tls_certificates[0].certificate_chain",
        "{filename: /no/such/file}",
        "common_tls_context.tls_certificates[0]",
    ),
    broken_at(
        "certificate without a key",
        "$tls.common_tls_context.tls_certificates[0].private_key",
        "",
        "common_tls_context.tls_certificates[0]",
    ),
    broken(
        "no certificate of a server",
        "$tls.common_tls_context.tls_certificates",
        "[]",
    ),
    broken(
        "authorities that are none",
        "$upstream.common_tls_context.validation_context.trusted_ca",
        "{inline_string: rubbish}",
    ),
    broken(
        "authorities file that is missing",
        "$upstream.common_tls_context.validation_context.trusted_ca",
        "{filename: /no/such/file}",
    ),
    broken(
        "unknown cipher",
        "$tls.common_tls_context.tls_params",
        "{cipher_suites: [NO-SUCH-CIPHER]}",
    ),
    broken(
        "secret without a source",
        "$tls.common_tls_context",
        "{tls_certificate_sds_secret_configs: [{name: absent}]}",
    ),
    broken("EDS without a source", "$one.type", "EDS"),
    broken_at(
        "RDS beside inline routes, without a source",
        "$hcm.rds",
        "{route_config_name: x}",
        "filter_chains[0].filters[0].typed_config",
    ),
    broken(
        "xDS over an unknown cluster",
        "dynamic_resources.ads_config",
        "{api_type: GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: nowhere}}]}",
    ),
    broken(
        "xDS of version 2",
        "dynamic_resources.ads_config",
        "{api_type: GRPC, transport_api_version: V2, grpc_services: [{envoy_grpc: {cluster_name: one}}]}",
    ),
    broken(
        "two runtime layers of one name",
        "layered_runtime.layers[1]",
        "{name: static, static_layer: {}}",
    ),
    broken(
        "runtime layer without a kind",
        "layered_runtime.layers[0]",
        "{name: static}",
    ),
    broken_at(
        "logical DNS with two endpoints",
        "$two",
        "{name: two, type: LOGICAL_DNS, load_assignment: {cluster_name: two, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: a, port_value: 1}}}}, {endpoint: {address: {socket_address: {address: b, port_value: 1}}}}]}]}}",
        "load_assignment",
    ),
    broken_at(
        "original destination without its balancer",
        "$one",
        "{name: one, type: ORIGINAL_DST, lb_policy: ROUND_ROBIN}",
        "lb_policy",
    ),
    broken_at(
        "original destination with endpoints",
        "$one",
        "{name: one, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, load_assignment: {cluster_name: one, endpoints: [{}]}}",
        "load_assignment",
    ),
    broken(
        "HTTP/2 window too large",
        "$hcm.http2_protocol_options",
        "{initial_stream_window_size: 4294967295}",
    ),
    broken(
        "redirect of two paths",
        "$routes[2].redirect",
        "{path_redirect: /a, prefix_rewrite: /b}",
    ),
    broken(
        "upgrade twice",
        "$hcm.upgrade_configs",
        "[{upgrade_type: websocket}, {upgrade_type: WebSocket}]",
    ),
    broken(
        "admin log in a missing folder",
        "admin.access_log",
        "[{name: x, typed_config: {'@type': type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: /no/such/folder/x}}]",
    ),
    broken(
        "priorities with a gap",
        "$one.load_assignment.endpoints[0].priority",
        "200",
    ),
    broken(
        "drop percentage above all",
        "$one.load_assignment.policy",
        "{drop_overloads: [{category: x, drop_percentage: {numerator: 200}}]}",
    ),
];

/// What looks broken, and both take all the same.
pub const ODD: &[Broken] = &[
    broken("unknown cluster of a TCP proxy", "$tcp.cluster", "nowhere"),
    broken(
        "substitution of a missing group",
        "$route.route.regex_rewrite",
        "{pattern: {regex: 'a'}, substitution: '\\2'}",
    ),
    broken("two virtual hosts of one name", "$hosts[1].name", "one"),
    broken("wildcard within a domain", "$hosts[1].domains[0]", "'a.*.test'"),
    broken("router is missing", "$hcm.http_filters", "[]"),
    broken(
        "two listeners of one name",
        "static_resources.listeners[1]",
        "{name: web, address: {socket_address: {address: 127.0.0.1, port_value: 10009}}, filter_chains: [{}]}",
    ),
    broken("two filter chains of one name", "$web.filter_chains[1].name", "http"),
    broken(
        "minimum TLS above the maximum",
        "$tls.common_tls_context.tls_params",
        "{tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_2}",
    ),
    broken(
        "EDS with endpoints",
        "$one",
        "{name: one, type: EDS, eds_cluster_config: {eds_config: {ads: {}}}, load_assignment: {cluster_name: one}}",
    ),
    broken("ADS without its config", "dynamic_resources.lds_config", "{ads: {}}"),
    broken("a single item for a list", "$hosts[0].domains", "a.test"),
    broken(
        "a number in quotes",
        "$web.address.socket_address.port_value",
        "'10000'",
    ),
    broken("a bool in YAML 1.1", "$hcm.use_remote_address", "yes"),
    broken("camel case", "$one.connectTimeout", "2s"),
    broken("null for a default", "$one.lb_policy", "null"),
    broken("an enum by number", "$one.lb_policy", "3"),
    broken("an enum by number in quotes", "$one.lb_policy", "'3'"),
    broken("nanoseconds", "$one.connect_timeout", "1.000000001s"),
    broken(
        "a weight of zero beside none",
        "$routes[1].route.weighted_clusters.clusters[1]",
        "{name: two, weight: 0}",
    ),
    broken(
        "an unknown cluster that is looked up late",
        "$route.route",
        "{cluster_header: x-cluster}",
    ),
    broken("a cluster without endpoints", "$one.load_assignment.endpoints", "[]"),
    broken("no clusters", "static_resources.listeners", "[]"),
    broken(
        "an optional filter that is unknown",
        "$hcm.http_filters[0]",
        "{name: x, is_optional: true, typed_config: {'@type': type.googleapis.com/xds.type.v3.TypedStruct, type_url: type.googleapis.com/no.such.Filter}}",
    ),
    broken(
        "ignored fields of an access log",
        "$hcm.access_log[0].filter",
        "{status_code_filter: {comparison: {op: GE, value: {default_value: 500, runtime_key: x}}}}",
    ),
];

/// Name, text, and what the refusal must contain.
pub const TEXTS: &[(&str, &str, &str)] = &[
    ("no YAML", "a: [1, 2\nb: }", "line"),
    ("a tab for indentation", "admin:\n\taddress: {}", "line 2"),
    ("a list", "- admin\n", ""),
    ("a string", "hello", ""),
];

/// The base with certificates made for it.
pub fn base(dir: &Path) -> Value {
    let key = rcgen::KeyPair::generate().expect("a key");
    let other = rcgen::KeyPair::generate().expect("another key");
    let params = rcgen::CertificateParams::new(vec!["c.test".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let mut text = include_str!("base.yaml").to_owned();
    for (name, pem) in [
        ("OTHER_KEY", other.serialize_pem()),
        ("CERTIFICATE", certificate.pem()),
        ("KEY", key.serialize_pem()),
    ] {
        let file = dir.join(name);
        std::fs::write(&file, pem).expect("a PEM file");
        text = text.replace(
            &format!("filename: {name}}}"),
            &format!("filename: {}}}", file.display()),
        );
    }
    serde_saphyr::from_str(&text).expect("base.yaml is YAML")
}

/// The path from the resource's own root, which is how far a refusal must be exact.
pub fn from_resource(path: &str) -> String {
    let path = long(path);
    for section in ["static_resources.listeners[", "static_resources.clusters["] {
        if let Some((_, path)) = path.strip_prefix(section).and_then(|rest| rest.split_once("].")) {
            return path.to_owned();
        }
    }
    path
}

fn long(path: &str) -> String {
    let mut path = path.to_owned();
    while path.starts_with('$') {
        let end = path.find(['.', '[']).unwrap_or(path.len());
        let (_, long) = LONG
            .iter()
            .find(|(short, _)| *short == &path[..end])
            .expect("a short form that is known");
        path.replace_range(..end, long);
    }
    path
}

impl Broken {
    pub fn bootstrap(&self, base: &Value) -> String {
        let mut bootstrap = base.clone();
        let dir = base["static_resources"]["secrets"][0]["validation_context"]["trusted_ca"]["filename"]
            .as_str()
            .expect("the base's file");
        let router =
            "{name: r, typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}";
        let yaml = self
            .value
            .replace("$ROUTER", router)
            .replace("OTHER_KEY", &dir.replace("CERTIFICATE", "OTHER_KEY"));
        let path = long(self.path);
        let steps: Vec<_> = path.split(['.', '[']).map(|step| step.trim_end_matches(']')).collect();
        let (last, steps) = steps.split_last().expect("a path");
        let mut place = &mut bootstrap;
        for step in steps {
            place = match step.parse::<usize>() {
                Ok(index) => &mut place[index],
                Err(_) => &mut place[*step],
            };
        }
        let value = if yaml.is_empty() {
            None
        } else {
            Some(serde_saphyr::from_str(&yaml).expect("a value in YAML"))
        };
        match (place, value, last.parse::<usize>()) {
            (Value::Array(items), Some(value), Ok(index)) if index < items.len() => items[index] = value,
            (Value::Array(items), Some(value), Ok(_)) => items.push(value),
            (Value::Object(fields), None, _) => drop(fields.remove(*last)),
            (place, Some(value), _) => place[*last] = value,
            (_, None, _) => panic!("{}: nothing to remove", self.name),
        }
        bootstrap.to_string()
    }
}
