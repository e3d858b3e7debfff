//! Proto3 JSON to protobuf bytes and back, from tables, without typed messages in between.
//!
//! The rules are protobuf's JSON mapping as Envoy applies it. Beyond the mapping Envoy accepts, and so does this: enum names in any case,
//! bools in strings, one value where a list is due, and the object form of wrappers, durations and timestamps.

mod path;
mod present;
mod read;
mod scalar;
mod text;
mod time;
mod write;

pub(crate) use path::Path;
pub(crate) use present::{Present, merged, present, zero};
pub use read::to_wire;
pub use write::{from_struct, from_wire, write_json};

/// Deeper nesting than protobuf implementations read (their limit is 100 messages) is refused, so that no input exhausts the stack.
pub(crate) const MAX_DEPTH: usize = 100;

/// What [`to_wire`] does with what the schema does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Unknown {
    /// An error that names it.
    #[default]
    Reject,
    /// A [`Warning`]. Unknown fields are dropped; an `Any` of an unknown type is kept whole: it becomes an `Any` of
    /// `xds.type.v3.TypedStruct` that names the unknown type, so [`unpack`](crate::any::unpack) still tells which extension is wanted.
    Warn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ReadOptions {
    pub fields: Unknown,
    pub types: Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct WriteOptions {
    /// Field names as in the .proto (`typed_config`) instead of lowerCamelCase.
    pub proto_names: bool,
    /// One member per line, indented by one space a level, as protobuf's C++ library prints.
    pub pretty: bool,
    /// Also fields that are at their default, where proto3 cannot tell whether they were set.
    pub defaults: bool,
}

impl WriteOptions {
    /// How Envoy's admin endpoints print most messages.
    pub const ADMIN: Self = Self {
        proto_names: true,
        pretty: true,
        defaults: false,
    };
    /// How Envoy prints `/server_info`, `/certs` and `/memory`.
    pub const ADMIN_WITH_DEFAULTS: Self = Self {
        defaults: true,
        ..Self::ADMIN
    };
}

/// JSON that does not fit its message: which field, and why, with the value as it stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Field path from the root message, `static_resources.listeners[0].name`; empty for the root itself.
    pub path: String,
    pub problem: String,
}

impl std::error::Error for Error {}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.problem)
        } else {
            write!(f, "{}: {}", self.path, self.problem)
        }
    }
}

/// Something that was read over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    UnknownField { path: String },
    UnknownType { path: String, type_url: String },
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::UnknownField { path } => write!(f, "{path}: unknown field, ignored"),
            Self::UnknownType { path, type_url } => write!(f, "{path}: unknown type {type_url}"),
        }
    }
}

#[cfg(test)]
mod tests;
