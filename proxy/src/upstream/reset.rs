//! Why an attempt at the upstream brought no response head.

use super::{connect::ConnectFailure, permit::Resource, pool::AcquireFailure};
use crate::{
    cluster::{Cluster, Endpoint},
    failure::ResetReason,
    http::codec::{CodecError, h2},
};

/// An attempt that ended before an answer.
#[derive(Debug, Clone)]
pub struct UpstreamReset {
    pub reason: ResetReason,
    /// `%UPSTREAM_TRANSPORT_FAILURE_REASON%`.
    pub transport: Option<Box<str>>,
    /// One sentence that names the endpoint or the limit.
    pub sentence: String,
}

impl UpstreamReset {
    /// No connection could be leased.
    pub fn of_acquire(failure: AcquireFailure, cluster: &Cluster) -> Self {
        match failure {
            AcquireFailure::Overflow(resource) => Self::overflow(resource, cluster),
            AcquireFailure::Connect(ConnectFailure {
                reason,
                transport,
                sentence,
            }) => Self {
                reason,
                transport,
                sentence,
            },
        }
    }

    /// A circuit breaker refused.
    pub fn overflow(resource: Resource, cluster: &Cluster) -> Self {
        let limit = match resource {
            Resource::Connection => "max_connections",
            Resource::Pending => "max_pending_requests",
            Resource::Request => "max_requests",
            Resource::Retry => "max_retries",
        };
        Self {
            reason: ResetReason::Overflow,
            transport: None,
            sentence: format!("cluster {}: circuit breaker open: {limit} reached", cluster.name),
        }
    }

    /// The connection or the stream failed.
    pub fn of_codec(error: &CodecError, endpoint: &Endpoint) -> Self {
        let reason = match error {
            CodecError::Closed | CodecError::Io(_) => ResetReason::ConnectionTermination,
            CodecError::Reset(_) => ResetReason::RemoteReset,
            CodecError::Protocol { details, .. } if h2::is_limit(details) => ResetReason::RemoteReset,
            CodecError::Refused => ResetReason::RemoteRefused,
            CodecError::Protocol { .. } => ResetReason::ProtocolError,
        };
        Self {
            reason,
            transport: None,
            sentence: format!("endpoint {}: {error}", endpoint.address),
        }
    }
}
