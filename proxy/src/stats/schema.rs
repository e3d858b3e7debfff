//! Envoy's stat names as data: a table per kind of scope.
//!
//! Each scope is an enum made from one list, so that a cluster's stat cannot be written to a listener's group. The names,
//! kinds and the moment of their appearance are those of Envoy 1.40's `/stats`.

#[macro_use]
mod table;
pub mod admin;
pub mod cluster;
pub mod codec;
pub mod filters;
pub mod http;
pub mod listener;
pub mod route;
pub mod server;
pub mod tcp;
pub mod xds;

pub use table::{Kind, Schema, Scope, Spec};
