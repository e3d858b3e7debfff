//! Envoy's API as data and as Rust types: schema, messages, proto3 JSON. Knows nothing of proxying.
//!
//! Modules follow the protobuf packages, so `envoy.config.listener.v3.Listener` is [`envoy::config::listener::v3::Listener`];
//! Google's well-known types are in [`pb`]. `schema/types.txt` says which messages have Rust types.

pub mod any;
pub mod inspect;
pub mod json;
pub mod pb;
pub mod validate;

mod decode;
mod generated;
mod tables;
mod wire;

pub use decode::*;
pub use generated::*;
pub use prost::{DecodeError, Message, Name};
