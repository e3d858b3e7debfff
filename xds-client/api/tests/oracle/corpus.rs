//! Configurations from public projects: what prost-reflect takes we take, to the same message; what Envoy printed we print.

use crate::reference::{self, normal};
use serde_json::Value;
use std::path::{Path, PathBuf};
use xds_api::json::{ReadOptions, Unknown, WriteOptions, from_wire, to_wire, write_json};

const LENIENT: ReadOptions = ReadOptions {
    fields: Unknown::Warn,
    types: Unknown::Warn,
};
const BOOTSTRAP: &str = "envoy.config.bootstrap.v3.Bootstrap";

fn corpus(folder: &str) -> Vec<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/corpus")
        .join(folder);
    let Ok(entries) = std::fs::read_dir(&path) else {
        println!("skipped: {} is absent", path.display());
        return Vec::new();
    };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// JSON is YAML, but serde_json keeps what YAML would reinterpret.
fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    if let Ok(json) = serde_json::from_str(&text) {
        return json;
    }
    let mut options = serde_saphyr::Options::default();
    options.budget = None;
    serde_saphyr::from_str_with_options(&text, options).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether both took it. Both must take or refuse it, to the same message.
fn compare(name: &str, json: &Value, source: &Path) -> bool {
    let ours = to_wire(name, json, ReadOptions::default());
    let theirs = reference::from_json(name, json);
    match (ours, theirs) {
        (Ok((bytes, _)), Ok(theirs)) => {
            let dynamic = reference::decode(name, &bytes);
            assert_eq!(
                normal(reference::to_json(&dynamic).unwrap()),
                normal(reference::to_json(&theirs).unwrap()),
                "{source:?}"
            );
            let options = WriteOptions {
                proto_names: true,
                ..WriteOptions::default()
            };
            assert_eq!(
                normal(from_wire(name, &bytes, options).unwrap()),
                normal(reference::to_json(&theirs).unwrap()),
                "{source:?}"
            );
            let (again, _) = to_wire(name, &from_wire(name, &bytes, options).unwrap(), ReadOptions::default()).unwrap();
            assert_eq!(again, bytes, "{source:?}: wire to JSON and back");
            xds_api::validate::check(name, &bytes).unwrap_or_else(|violation| panic!("{source:?}: {violation}"));
            true
        }
        (Err(ours), Err(_)) => {
            println!("{}: {ours}", source.display());
            false
        }
        (Ok(_), Err(theirs)) => {
            println!("{}: only prost-reflect refuses it: {theirs}", source.display());
            true
        }
        (Err(ours), Ok(_)) => panic!("{}: {ours}", source.display()),
    }
}

#[test]
fn bootstraps() {
    for folder in [
        "go-control-plane",
        "istio-bootstraps",
        "kuma-bootstraps",
        "spire",
        "envoy-examples",
    ] {
        for path in corpus(folder) {
            let json = read(&path);
            compare(BOOTSTRAP, &json, &path);
            let (bytes, warnings) =
                to_wire(BOOTSTRAP, &json, LENIENT).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            warnings
                .iter()
                .for_each(|warning| println!("{}: {warning}", path.display()));
            xds_api::decode_bootstrap(&bytes).unwrap();
            xds_api::validate::check(BOOTSTRAP, &bytes)
                .unwrap_or_else(|violation| panic!("{}: {violation}", path.display()));
        }
    }
}

#[test]
fn kuma_sidecars() {
    for path in corpus("kuma-sidecars") {
        for (type_url, resources) in read(&path)["xds"].as_object().unwrap() {
            for resource in resources.as_object().unwrap().values() {
                let name = xds_api::any::type_name(type_url);
                // Kuma's tests replace certificates by a word that is no base64.
                assert!(
                    compare(name, resource, &path) || resource.to_string().contains("REDACTED"),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn envoy_gateway() {
    let kinds = [
        ("listeners", "envoy.config.listener.v3.Listener"),
        ("clusters", "envoy.config.cluster.v3.Cluster"),
        ("routes", "envoy.config.route.v3.RouteConfiguration"),
        ("endpoints", "envoy.config.endpoint.v3.ClusterLoadAssignment"),
        ("secrets", "envoy.extensions.transport_sockets.tls.v3.Secret"),
    ];
    for path in corpus("envoy-gateway") {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some((_, name)) = kinds.iter().find(|(kind, _)| file.contains(&format!(".{kind}."))) else {
            continue;
        };
        for resource in read(&path).as_array().into_iter().flatten() {
            compare(name, resource, &path);
            to_wire(name, resource, LENIENT).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}

#[test]
fn istiod_resources() {
    for path in corpus("istiod").iter().filter(|path| is_recorded_push(path)) {
        for (type_url, resources) in read(path).as_object().unwrap() {
            for resource in resources
                .as_object()
                .into_iter()
                .flat_map(|resources| resources.values())
            {
                assert!(compare(xds_api::any::type_name(type_url), resource, path), "{type_url}");
            }
        }
    }
}

/// `CONFIG-{full,vanilla}-PROXY.json`.
fn is_recorded_push(path: &Path) -> bool {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    (file.starts_with("demo-") || file.starts_with("default-")) && file.ends_with(".json")
}

/// Envoy 1.40's own admin output must come out as it went in: names, order, indentation, escapes. Only the order within maps may
/// differ, for Envoy's is that of a hash table.
#[test]
fn admin_output_of_envoy() {
    let kinds = [
        (".config_dump.json", "envoy.admin.v3.ConfigDump", WriteOptions::ADMIN),
        (".clusters.json", "envoy.admin.v3.Clusters", WriteOptions::ADMIN),
        (".listeners.json", "envoy.admin.v3.Listeners", WriteOptions::ADMIN),
        (
            ".server_info.json",
            "envoy.admin.v3.ServerInfo",
            WriteOptions::ADMIN_WITH_DEFAULTS,
        ),
        (
            ".certs.json",
            "envoy.admin.v3.Certificates",
            WriteOptions::ADMIN_WITH_DEFAULTS,
        ),
    ];
    for path in corpus("istiod") {
        let file = path.to_string_lossy();
        let Some((suffix, name, options)) = kinds.iter().find(|(suffix, _, _)| file.ends_with(suffix)) else {
            continue;
        };
        let text = std::fs::read_to_string(&path).unwrap();
        let (bytes, warnings) = to_wire(name, &serde_json::from_str(&text).unwrap(), ReadOptions::default()).unwrap();
        assert_eq!(warnings, []);
        let mut ours = Vec::new();
        write_json(name, &bytes, &mut ours, *options).unwrap();
        let ours = String::from_utf8(ours).unwrap();
        let (mut expected, mut printed): (Vec<_>, Vec<_>) = (lines(&text), lines(&ours));
        if matches!(*suffix, ".config_dump.json" | ".server_info.json") {
            expected.sort_unstable();
            printed.sort_unstable();
        }
        let difference = expected.iter().zip(&printed).find(|(theirs, ours)| theirs != ours);
        assert_eq!((difference, expected.len()), (None, printed.len()), "{file}");
    }
}

/// Without the comma that depends on what follows.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(|line| line.trim_end_matches(',')).collect()
}
