//! `config_discovery` of an HTTP filter, and the `TypedExtensionConfig` that fills it.

use std::sync::Arc;

use xds_api::{envoy::config::core::v3 as core, pb::Any};

use super::parse_kind;
use crate::{
    config::{
        Context, Reference,
        at::{At, Scope},
        dependencies::ExtensionReference,
        rejection::Rejection,
        source,
    },
    http::filter::{FilterKind, discovered::Discovered},
};

const KIND: &str = "extension config";
/// The message of such a resource.
const TYPE: &str = "envoy.config.core.v3.TypedExtensionConfig";

/// `TypedExtensionConfig`, not yet parsed for any place.
#[derive(Debug, Clone)]
pub struct ExtensionConfig {
    pub name: Arc<str>,
    typed_config: Any,
}

/// # Errors
/// It is not one.
pub fn parse_extension(bytes: &[u8], context: &mut Context) -> Result<ExtensionConfig, Rejection> {
    let pb =
        xds_api::decode_typed_extension_config(bytes).map_err(|e| Scope::new(KIND, "", context).root().reject(e))?;
    let scope = Scope::new(KIND, &pb.name, context);
    scope.root().conform(TYPE, bytes)?;
    scope.finish(context);
    Ok(ExtensionConfig {
        name: pb.name.as_str().into(),
        typed_config: pb.typed_config.unwrap_or_default(),
    })
}

impl ExtensionConfig {
    /// The filter that it makes of a place.
    ///
    /// # Errors
    /// It is of a type that the place does not take, or the filter does not take it.
    pub fn for_place(&self, place: &Discovered, context: &mut Context) -> Result<FilterKind, Rejection> {
        let scope = Scope::new(KIND, &self.name, context);
        let root = scope.root();
        let kind = fill(
            &self.typed_config,
            &place.types,
            place.last,
            &root.field("typed_config"),
        )?;
        scope.finish(context);
        Ok(kind)
    }
}

fn fill(any: &Any, types: &[Box<str>], last: bool, at: &At) -> Result<FilterKind, Rejection> {
    let unpacked = xds_api::any::unpack(any).map_err(|e| at.reject(e))?;
    if !types.iter().any(|t| **t == unpacked.type_name) {
        let names: Vec<&str> = types.iter().map(|t| &**t).collect();
        return Err(at.field("@type").reject(format_args!(
            "is {}; the filter's type_urls allow {}",
            unpacked.type_name,
            names.join(", ")
        )));
    }
    let Some(kind) = parse_kind(Some(any), false, at)? else {
        return Err(at.reject("was skipped, and nothing can stand in its place"));
    };
    match (kind.is_terminal(), last) {
        (true, false) => Err(at.reject("answers every request; nothing can come after it")),
        (false, true) => Err(at.reject("the last filter must answer the request")),
        _ => Ok(kind),
    }
}

/// A filter that is filled later; `last`: nothing comes after it.
pub(super) fn parse(
    name: &str,
    pb: &core::ExtensionConfigSource,
    last: bool,
    at: &At,
) -> Result<FilterKind, Rejection> {
    let source = at.required("config_source", pb.config_source.as_deref())?;
    let source = source::parse_lazy(source, &at.field("config_source"))?;
    if pb.type_urls.is_empty() {
        return Err(at
            .field("type_urls")
            .reject("is required: which filters may the config be of?"));
    }
    let without_warming = pb.apply_default_config_without_warming;
    if without_warming && pb.default_config.is_none() {
        return Err(at
            .field("apply_default_config_without_warming")
            .reject("there is no default_config to apply"));
    }
    let mut types = Vec::with_capacity(pb.type_urls.len());
    for (i, url) in pb.type_urls.iter().enumerate() {
        let type_name = url.rsplit('/').next().unwrap_or(url);
        if !super::is_known(type_name) {
            return Err(at
                .item("type_urls", i)
                .reject(format_args!("the HTTP filter {type_name} is not known to Pillion")));
        }
        types.push(type_name.into());
    }
    let default = match pb.default_config.as_ref() {
        Some(any) => Some(fill(any, &types, last, &at.field("default_config"))?),
        None => None,
    };
    let filter = Arc::new(Discovered::new(name.into(), types, last, default, without_warming));
    at.depend(|dependencies| {
        dependencies.extensions.push(ExtensionReference {
            reference: Reference {
                name: name.into(),
                source: Arc::new(source),
                stat_prefix: Arc::default(),
            },
            place: filter.clone(),
            waits: !without_warming,
        });
    });
    Ok(FilterKind::Discovered(filter))
}
