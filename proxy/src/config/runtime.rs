//! Runtime layers: flags and fractions by dotted key, the last layer that has a key winning.

use std::{path::PathBuf, sync::Arc};

use xds_api::{envoy::config::bootstrap::v3 as pb, json::from_struct};

use super::{
    Context,
    at::{At, Scope},
    dependencies::Reference,
    rejection::Rejection,
    source,
};

mod values;

pub use values::{RuntimeValue, Values};

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
    Static(Values),
    /// What `/runtime_modify` sets.
    Admin,
    /// One file a key, in a directory.
    Disk {
        /// Read again when it leads elsewhere.
        symlink_root: PathBuf,
        subdirectory: PathBuf,
        /// The directory of this layer is the one in it that is named after the node's cluster.
        append_service_cluster: bool,
    },
    /// Served by a control plane.
    Rtds(Reference),
}

/// `envoy.service.runtime.v3.Runtime`, parsed: a layer by name.
#[derive(Debug)]
pub struct RemoteLayer {
    pub name: Arc<str>,
    pub values: Values,
}

const KIND: &str = "runtime";
/// The message of such a resource.
const TYPE: &str = "envoy.service.runtime.v3.Runtime";

/// # Errors
/// A value that is none.
pub fn parse_remote(bytes: &[u8], context: &mut Context) -> Result<RemoteLayer, Rejection> {
    let pb = xds_api::decode_runtime(bytes).map_err(|e| Scope::new(KIND, "", context).root().reject(e))?;
    let scope = Scope::new(KIND, &pb.name, context);
    scope.root().conform(TYPE, bytes)?;
    let values = match pb.layer.as_ref() {
        Some(layer) => values::flat(&from_struct(layer), &scope.root().field("layer"))?,
        None => Values::new(),
    };
    scope.finish(context);
    Ok(RemoteLayer {
        name: pb.name.as_str().into(),
        values,
    })
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
            Some(L::StaticLayer(values)) => {
                RuntimeLayerKind::Static(values::flat(&from_struct(values), &at.field("static_layer"))?)
            }
            Some(L::AdminLayer(_)) => {
                let admin = |layer: &RuntimeLayer| matches!(layer.kind, RuntimeLayerKind::Admin);
                if runtime.layers.iter().any(admin) {
                    return Err(at
                        .field("admin_layer")
                        .reject("there is one already, and there may be only one"));
                }
                RuntimeLayerKind::Admin
            }
            Some(L::DiskLayer(disk)) => RuntimeLayerKind::Disk {
                symlink_root: disk.symlink_root.as_str().into(),
                subdirectory: disk.subdirectory.as_str().into(),
                append_service_cluster: disk.append_service_cluster,
            },
            Some(L::RtdsLayer(rtds)) => {
                let at = at.field("rtds_layer");
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
