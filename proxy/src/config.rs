//! From bytes to runtime types. Protobuf stops here: a resource is decoded, turned into a type that cannot represent an
//! invalid config, and dropped.
//!
//! The bytes are held against the constraints of Envoy's API first ([`xds_api::validate`]): what those say (required
//! fields, ranges, lengths) no parser says again. Each resource is accepted or rejected by itself, and a [`Rejection`]
//! names the field by its path. What is read and has no effect, or is left out because it guards nothing, is said once in
//! the [`Notes`].

// Resources, by the API that serves them.
pub mod cluster;
pub mod endpoint;
pub mod listener;
pub mod route;
pub mod secret;

// What resources are made of.
pub(crate) mod access_log;
pub(crate) mod address;
mod cors;
mod data_source;
pub(crate) mod extension;
mod fault;
mod header_edit;
mod http_connection_manager;
pub mod http_filter;
mod http_options;
mod istio;
mod jwt_authn;
pub(crate) mod matcher;
mod metadata;
mod network_filter;
mod rbac;
pub mod runtime;
pub mod source;
mod tcp_proxy;
pub mod tls;
pub(crate) mod tracing;

// Of every parser.
pub(crate) mod at;
mod dependencies;
mod notes;
mod rejection;
mod value;
pub(crate) mod wire;

pub use data_source::DataSource;
pub use dependencies::{Dependencies, ExtensionReference, Reference, RequiredCluster, ScopeReference};
pub use notes::{Note, Notes};
pub use rejection::{Rejection, Rejections};
pub use wire::hash;

use crate::stats::Store;

/// What every parser is given.
pub struct Context {
    /// Where the owners of stats get theirs.
    pub stats: Store,
    pub notes: Notes,
    /// `--reject-unknown-dynamic-fields`: refuse what a newer control plane may say and we would not hear. Default: false.
    pub reject_unknown_fields: bool,
    pub(crate) sources: source::Sources,
}

impl Context {
    pub fn new(stats: Store) -> Self {
        Self {
            stats,
            notes: Notes::default(),
            reject_unknown_fields: false,
            sources: source::Sources::default(),
        }
    }
}

#[cfg(test)]
pub(crate) mod from_json;

#[cfg(test)]
impl Context {
    pub(crate) fn for_tests() -> Self {
        Self::new(Store::new(1, crate::stats::StatsConfig::default()))
    }
}
