//! Google's well-known types under one roof. All but [`Any`] are prost-types'; wrappers such as `UInt32Value` appear in messages as
//! `Option` of the plain value.

use bytes::Bytes;
pub use prost_types::{Duration, ListValue, NullValue, Struct, Timestamp, Value, value};

/// `google.protobuf.Any` whose value shares the buffer that it was decoded from, if that buffer was a [`Bytes`].
/// To keep one value of a large response, copy it out: a shared slice keeps the whole response alive.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Any {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}
