//! Pillion: a sidecar proxy that control planes take for Envoy.
//!
//! Everything is one of two paths, and the modules stand in their order:
//!
//! ```text
//! request:  accept -> detect -> filter chain -> TLS -> codec -> HTTP filters -> route -> cluster (which endpoint) -> upstream (a connection)
//! config:   bytes (file, ADS, SDS) -> versions and nonces -> typed message -> parsed runtime type or a rejection -> Snapshot -> swapped in
//! ```
//!
//! They meet in one place: the request path reads an immutable `Snapshot` through an `Arc` and never waits for, locks or parses config.

// The request path, in its order.
pub mod cluster;
pub mod http;
pub mod listener;
pub mod network;
pub mod route;
pub mod tcp;
pub mod timer;
pub mod tls;
pub mod trace;

// The config path.
pub mod config;

// What both paths share.
pub mod access_log;
pub mod address;
pub mod admin;
pub mod bootstrap;
pub mod cli;
pub mod control;
pub mod drain;
pub mod failure;
pub mod format;
pub mod io;
pub mod istio;
pub mod jwt;
pub mod launch;
pub mod logging;
pub mod matcher;
pub mod metadata;
pub mod rbac;
pub mod server;
pub mod snapshot;
pub mod stats;
pub mod stream_info;
pub mod sys;
pub mod upstream;
pub mod worker;
