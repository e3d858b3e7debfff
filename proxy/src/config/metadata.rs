//! `google.protobuf.Struct` and `core.v3.Metadata` as JSON values, or as what takes less memory.

use std::sync::Arc;

use serde_json::Value;
use xds_api::{envoy::config::core::v3::Metadata as PbMetadata, json::from_struct};

use crate::metadata::{Metadata, Object};

/// One object.
pub(crate) fn object(value: &xds_api::pb::Struct) -> serde_json::Map<String, Value> {
    from_struct(value)
}

/// `filter_metadata` as one object by filter; `None` where there is none. Typed metadata has no reader and is dropped.
pub(crate) fn parse(metadata: Option<&PbMetadata>) -> Option<Arc<Value>> {
    let filters = &metadata?.filter_metadata;
    if filters.is_empty() {
        return None;
    }
    let object = filters
        .iter()
        .map(|(filter, value)| (filter.clone(), Value::Object(from_struct(value))))
        .collect();
    Some(Arc::new(Value::Object(object)))
}

/// The same, small.
pub(crate) fn compact(metadata: Option<&PbMetadata>) -> Option<Arc<Metadata>> {
    parse(metadata).map(|value| Arc::new(Arc::unwrap_or_clone(value).into()))
}

/// One object, small.
pub(crate) fn members(value: &xds_api::pb::Struct) -> Object {
    crate::metadata::object(from_struct(value))
}
