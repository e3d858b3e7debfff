//! Runtime layers: flags and fractions by dotted key, the last layer that has a key winning.

use std::sync::Arc;

use serde_json::{Map, Value};
use xds_api::{envoy::config::bootstrap::v3 as pb, json::from_struct};

use super::{at::At, dependencies::Reference, rejection::Rejection, source};

/// `envoy.config.bootstrap.v3.LayeredRuntime`, parsed.
#[derive(Debug, Clone, Default)]
pub struct Runtime {
    pub layers: Vec<RuntimeLayer>,
}

#[derive(Debug, Clone)]
pub struct RuntimeLayer {
    pub name: Arc<str>,
    pub kind: RuntimeLayerKind,
}

#[derive(Debug, Clone)]
pub enum RuntimeLayerKind {
    /// Flat: `a.b.c` is one key.
    Static(Map<String, Value>),
    /// What `/runtime_modify` sets.
    Admin,
    /// Recognised; nothing is read.
    Disk,
    /// Served by a control plane (RTDS). Recognised; nothing is fetched.
    Rtds(Reference),
}

impl Runtime {
    /// All static layers, later ones over earlier ones.
    pub fn merged(&self) -> Map<String, Value> {
        let mut merged = Map::new();
        for layer in &self.layers {
            if let RuntimeLayerKind::Static(values) = &layer.kind {
                merged.extend(values.clone());
            }
        }
        merged
    }
}

pub(crate) fn parse(pb: Option<&pb::LayeredRuntime>, at: &At) -> Result<Runtime, Rejection> {
    use pb::runtime_layer::LayerSpecifier as L;
    let mut runtime = Runtime::default();
    for (i, layer) in pb.map_or(&[][..], |pb| &pb.layers).iter().enumerate() {
        let at = at.item("layers", i);
        let name = at.non_empty("name", &layer.name)?;
        if runtime.layers.iter().any(|known| &*known.name == name) {
            return Err(at.field("name").reject(format_args!("{name:?} names two layers")));
        }
        let kind = match &layer.layer_specifier {
            None => return Err(at.reject("is no layer: set static_layer, admin_layer, disk_layer or rtds_layer")),
            Some(L::StaticLayer(values)) => RuntimeLayerKind::Static(flat(&from_struct(values))),
            Some(L::AdminLayer(_)) => {
                let admin = |layer: &RuntimeLayer| matches!(layer.kind, RuntimeLayerKind::Admin);
                if runtime.layers.iter().any(admin) {
                    return Err(at
                        .field("admin_layer")
                        .reject("there is one already, and there may be only one"));
                }
                RuntimeLayerKind::Admin
            }
            Some(L::DiskLayer(_)) => {
                at.field("disk_layer").note("is not read yet");
                RuntimeLayerKind::Disk
            }
            Some(L::RtdsLayer(rtds)) => {
                let at = at.field("rtds_layer");
                at.note("is not fetched yet");
                let config = at.required("rtds_config", rtds.rtds_config.as_deref())?;
                RuntimeLayerKind::Rtds(Reference {
                    name: rtds.name.as_str().into(),
                    source: Arc::new(source::parse(config, &at.field("rtds_config"))?),
                    stat_prefix: Arc::default(),
                })
            }
        };
        runtime.layers.push(RuntimeLayer {
            name: name.into(),
            kind,
        });
    }
    Ok(runtime)
}

/// Nested objects are nested keys, but a fraction is a value.
fn flat(values: &Map<String, Value>) -> Map<String, Value> {
    fn walk(prefix: &str, values: &Map<String, Value>, out: &mut Map<String, Value>) {
        for (key, value) in values {
            let key = if prefix.is_empty() {
                key.clone()
            } else {
                format!("{prefix}.{key}")
            };
            match value {
                Value::Object(inner) if !inner.contains_key("numerator") && !inner.contains_key("denominator") => {
                    walk(&key, inner, out);
                }
                scalar => {
                    out.insert(key, scalar.clone());
                }
            }
        }
    }
    let mut out = Map::new();
    walk("", values, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_flat_and_later_layers_win() {
        let layer = |name: &str, values: Value| RuntimeLayer {
            name: name.into(),
            kind: RuntimeLayerKind::Static(flat(values.as_object().unwrap())),
        };
        let runtime = Runtime {
            layers: vec![
                layer("a", json!({"x": {"y": 1, "f": {"numerator": 3}}, "z": true})),
                layer("b", json!({"x.y": 2})),
            ],
        };
        let merged = Value::Object(runtime.merged());
        assert_eq!(merged, json!({"x.y": 2, "x.f": {"numerator": 3}, "z": true}));
    }
}
