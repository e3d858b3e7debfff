//! HTTP filters: an enum, run in order on the request and in reverse on the response.

pub mod router;

/// One filter of a connection manager, parsed.
#[derive(Debug)]
pub enum HttpFilter {
    Router(router::Router),
}
