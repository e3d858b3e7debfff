//! Every resource and bootstrap of the public corpora goes through the parsers: what is rejected is rejected for an extension
//! that Pillion does not have, by name, and nothing else is.

// Modules of a test program are public to it alone.
#![allow(unreachable_pub)]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use pillion::{
    bootstrap,
    config::{self, Context, Rejection},
    stats::{StatsConfig, Store},
};
use serde_json::{Value, json};
use xds_api::json::{ReadOptions, Unknown, to_wire};

const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";
const ENDPOINTS: &str = "envoy.config.endpoint.v3.ClusterLoadAssignment";
const LISTENER: &str = "envoy.config.listener.v3.Listener";
const ROUTES: &str = "envoy.config.route.v3.RouteConfiguration";
const SECRET: &str = "envoy.extensions.transport_sockets.tls.v3.Secret";

/// Where public configurations lie, beside the repository.
fn corpus(folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/corpus")
        .join(folder);
    if path.is_dir() {
        Some(path)
    } else {
        println!("skipped: there is no {}", path.display());
        None
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

fn read(path: &Path) -> Value {
    // What was redacted is no base64 and no address any more.
    let text = std::fs::read_to_string(path).unwrap().replace("CERT_REDACTED", "");
    let text = text
        .replace("ADMIN_REDACTED", "127.0.0.1")
        .replace("IP_REDACTED", "127.0.0.1");
    serde_json::from_str(&text).unwrap_or_else(|_| {
        let mut options = serde_saphyr::Options::default();
        options.budget = None;
        serde_saphyr::from_str_with_options(&text, options).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    })
}

fn context() -> Context {
    Context::new(Store::new(1, StatsConfig::default()))
}

fn wire(type_name: &str, value: &Value) -> Vec<u8> {
    let options = ReadOptions {
        fields: Unknown::Warn,
        types: Unknown::Warn,
    };
    to_wire(type_name, value, options)
        .unwrap_or_else(|e| panic!("{type_name}: {e}: {value}"))
        .0
}

fn parse(type_name: &str, bytes: &[u8], context: &mut Context) -> Result<(), Rejection> {
    match type_name {
        CLUSTER => config::cluster::parse(bytes, true, context).map(drop),
        ENDPOINTS => config::endpoint::parse(bytes, context).map(drop),
        LISTENER => config::listener::parse(bytes, context).map(drop),
        ROUTES => config::route::parse(bytes, context).map(drop),
        SECRET => config::secret::parse(bytes, context).map(drop),
        other => panic!("{other} is no resource"),
    }
}

/// Damaged bytes may be refused or not, but never end the process: a bit is flipped here and there, and the end cut off.
fn damaged(type_name: &str, bytes: &[u8], context: &mut Context) {
    let mut seed = config::hash(bytes) | 1;
    for _ in 0..4 {
        let mut bytes = bytes.to_vec();
        for _ in 0..3 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let at = (seed >> 33) as usize % bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (seed >> 29 & 7);
            }
        }
        bytes.truncate(bytes.len() - (seed >> 40) as usize % bytes.len().clamp(1, 9));
        drop(parse(type_name, &bytes, context));
    }
}

/// What was rejected, by reason, with how often and the first that was.
#[derive(Default)]
struct Table {
    parsed: usize,
    rejected: BTreeMap<String, (usize, String)>,
}

impl Table {
    fn add(&mut self, source: &Path, result: Result<(), Rejection>) {
        let Err(rejection) = result else {
            self.parsed += 1;
            return;
        };
        let first = || format!("{}: {rejection}", source.file_name().unwrap().to_string_lossy());
        self.rejected
            .entry(rejection.problem.to_string())
            .or_insert_with(|| (0, first()))
            .0 += 1;
    }

    /// Prints the table, and fails on what is no unknown extension and no feature that is named here.
    fn check(&self, allowed: &[&str]) {
        println!("parsed: {}", self.parsed);
        for (problem, (count, first)) in &self.rejected {
            println!("rejected {count:5}: {problem}\n                {first}");
        }
        let surprises: Vec<_> = self
            .rejected
            .iter()
            .filter(|(problem, _)| !problem.contains("is not known to Pillion"))
            .filter(|(_, (_, first))| !allowed.iter().any(|allowed| first.contains(allowed)))
            .map(|(_, (_, first))| first)
            .collect();
        assert!(surprises.is_empty(), "{surprises:#?}");
        assert!(self.parsed > 0);
    }
}

#[test]
fn kuma_sidecars() {
    let Some(folder) = corpus("kuma-sidecars") else { return };
    let (mut table, mut context) = (Table::default(), context());
    for file in files(&folder) {
        by_type(&read(&file)["xds"], &file, &mut table, &mut context);
    }
    table.check(&[]);
}

#[test]
fn istiod() {
    let Some(folder) = corpus("istiod") else { return };
    let (mut table, mut context) = (Table::default(), context());
    for file in files(&folder) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let recorded = ["default-", "demo-"].iter().any(|start| name.starts_with(start));
        if recorded && !name.contains(".types.") && !name.contains(".fields.") {
            by_type(&read(&file), &file, &mut table, &mut context);
        }
    }
    table.check(&["config_discovery"]);
    let own = [
        "io.istio.",
        " istio.",
        "stats.PluginConfig",
        "metadataexchange",
        "grpc_stats",
    ];
    let refused = table
        .rejected
        .keys()
        .find(|problem| own.iter().any(|name| problem.contains(name)));
    assert_eq!(refused, None, "Istio's own filters are known");
}

fn by_type(types: &Value, file: &Path, table: &mut Table, context: &mut Context) {
    for (type_url, resources) in types.as_object().unwrap() {
        let type_name = type_url.rsplit('/').next().unwrap();
        if ![CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET].contains(&type_name) {
            continue;
        }
        for resource in resources.as_object().unwrap().values() {
            let bytes = wire(type_name, resource);
            table.add(file, parse(type_name, &bytes, context));
            damaged(type_name, &bytes, context);
        }
    }
}

#[test]
fn envoy_gateway() {
    let Some(folder) = corpus("envoy-gateway") else { return };
    let (mut table, mut context) = (Table::default(), context());
    for file in files(&folder) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let kinds = [
            ("clusters", CLUSTER),
            ("endpoints", ENDPOINTS),
            ("listeners", LISTENER),
            ("routes", ROUTES),
            ("secrets", SECRET),
        ];
        let Some((_, type_name)) = kinds.iter().find(|(kind, _)| name.ends_with(&format!(".{kind}.yaml"))) else {
            continue;
        };
        for resource in read(&file).as_array().into_iter().flatten() {
            let bytes = wire(type_name, resource);
            table.add(&file, parse(type_name, &bytes, &mut context));
            damaged(type_name, &bytes, &mut context);
        }
    }
    table.check(&[
        "UDP is not supported",
        "udp_listener_config: is not supported",
        // Its bytes are gzip.
        "http-route-direct-response.routes.yaml",
        // `*.example.com` is no regular expression.
        "cors.routes.yaml",
        // A patch took the key out; Envoy refuses the secret too.
        "jsonpatch-with-jsonpath.secrets.yaml",
    ]);
}

/// Filter configs alone: each is put before a filter that takes the connection.
#[test]
fn istio_authorization() {
    let mut context = context();
    for (kind, least) in [("http", 40), ("tcp", 5)] {
        let Some(folder) = corpus("istio-rbac").map(|folder| folder.join(kind)) else {
            return;
        };
        let mut table = Table::default();
        for file in files(&folder) {
            // The others are what istiod made the filters from.
            if !file.file_stem().unwrap().to_string_lossy().contains("-out") {
                continue;
            }
            let filter = read(&file);
            let listener = guarded(kind, &filter);
            let bytes = wire(LISTENER, &listener);
            table.add(&file, parse(LISTENER, &bytes, &mut context));
            damaged(LISTENER, &bytes, &mut context);
        }
        table.check(&[]);
        assert!(table.parsed >= least, "{} of {kind}", table.parsed);
        let other = table.rejected.keys().find(|problem| !problem.contains("ext_authz"));
        assert_eq!(other, None);
    }
}

fn guarded(kind: &str, filter: &Value) -> Value {
    const FILTERS: &str = "type.googleapis.com/envoy.extensions.filters";
    let router = json!({"name": "r", "typedConfig": {"@type": format!("{FILTERS}.http.router.v3.Router")}});
    let terminal = json!({"name": "t", "typedConfig": {
        "@type": format!("{FILTERS}.network.tcp_proxy.v3.TcpProxy"), "statPrefix": "t", "cluster": "c"
    }});
    let filters = match kind {
        "http" => json!([{"name": "h", "typedConfig": {
            "@type": format!("{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager"),
            "statPrefix": "h", "routeConfig": {"name": "r"}, "httpFilters": [filter, router]
        }}]),
        _ => json!([filter, terminal]),
    };
    json!({
        "name": "l",
        "address": {"socketAddress": {"address": "127.0.0.1", "portValue": 1}},
        "filterChains": [{"filters": filters}]
    })
}

#[test]
fn bootstraps() {
    let mut table = Table::default();
    for folder in [
        "go-control-plane",
        "istio-bootstraps",
        "spire",
        "kuma-bootstraps",
        "envoy-examples",
    ] {
        let Some(folder) = corpus(folder) else { return };
        for file in files(&folder) {
            let options = bootstrap::Options {
                config_path: Some(&file),
                allow_unknown_static_fields: true,
                service_node: "n",
                service_cluster: "c",
                ..bootstrap::Options::default()
            };
            let result =
                bootstrap::load(&options).and_then(|(bootstrap, _)| bootstrap.static_resources(&mut context()));
            match result {
                Ok(_) => table.add(&file, Ok(())),
                Err(rejections) => {
                    for rejection in rejections.0 {
                        table.add(&file, Err(rejection));
                    }
                }
            }
        }
    }
    // A folder on most machines; and the examples come without their certificates.
    table.check(&["cannot open \"/var/log\"", "cannot read \"certs/"]);
}
