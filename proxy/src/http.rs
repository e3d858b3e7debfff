//! HTTP: a downstream stream from its codec through the filters to the router and back.
//!
//! `connection` owns a downstream connection and its codec, `stream` one request, `filter::router` the upstream exchange.

pub mod message;
pub mod codec;
