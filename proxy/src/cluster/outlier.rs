//! Outlier detection: endpoints that fail are taken out for a while.

use http::StatusCode;

use super::{Cluster, Endpoint};
use crate::failure::ResetReason;

/// How a request to an endpoint went.
#[derive(Debug, Clone, Copy)]
pub enum Seen {
    Status(StatusCode),
    Reset(ResetReason),
    Timeout,
}

/// Takes note of one result.
pub fn report(cluster: &Cluster, endpoint: &Endpoint, seen: Seen) {
    let _ = (cluster, endpoint, seen);
}
