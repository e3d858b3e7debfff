//! The envelopes of the xDS protocol (`envoy.service.discovery.v3`), declared here once more instead of taken from the
//! generated API for one reason: resource bodies are [`Bytes`], slices of the buffer that the response arrived in,
//! where the generated `Any` would copy each into a vector of its own (10,000 clusters: 10,000 copies). The node is
//! bytes too: it is encoded once by the application and never looked at. `tests/wire.rs` holds both against the
//! generated types.

use bytes::Bytes;
use std::collections::BTreeMap;

/// Resources whose bodies sum to less than this are copied out of the receive buffer: a small slice that lives for
/// days would otherwise pin what is around it. Above it, the slices *are* most of the buffer.
const COPY_BELOW: usize = 64 * 1024;

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Any {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// `google.rpc.Status`, without its details.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Status {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Duration {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl Duration {
    /// A negative duration is none at all.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::new(
            self.seconds.max(0).unsigned_abs(),
            self.nanos.clamp(0, 999_999_999).unsigned_abs(),
        )
    }
}

/// `envoy.config.core.v3.ControlPlane`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ControlPlane {
    #[prost(string, tag = "1")]
    pub identifier: String,
}

/// `envoy.service.discovery.v3.DiscoveryRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DiscoveryRequest {
    #[prost(string, tag = "1")]
    pub version_info: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub node: Bytes,
    #[prost(string, repeated, tag = "3")]
    pub resource_names: Vec<String>,
    #[prost(string, tag = "4")]
    pub type_url: String,
    #[prost(string, tag = "5")]
    pub response_nonce: String,
    #[prost(message, optional, tag = "6")]
    pub error_detail: Option<Status>,
}

/// `envoy.service.discovery.v3.DiscoveryResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DiscoveryResponse {
    #[prost(string, tag = "1")]
    pub version_info: String,
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Any>,
    #[prost(string, tag = "4")]
    pub type_url: String,
    #[prost(string, tag = "5")]
    pub nonce: String,
    #[prost(message, optional, tag = "6")]
    pub control_plane: Option<ControlPlane>,
}

/// `envoy.service.discovery.v3.DeltaDiscoveryRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DeltaDiscoveryRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub node: Bytes,
    #[prost(string, tag = "2")]
    pub type_url: String,
    #[prost(string, repeated, tag = "3")]
    pub resource_names_subscribe: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub resource_names_unsubscribe: Vec<String>,
    #[prost(btree_map = "string, string", tag = "5")]
    pub initial_resource_versions: BTreeMap<String, String>,
    #[prost(string, tag = "6")]
    pub response_nonce: String,
    #[prost(message, optional, tag = "7")]
    pub error_detail: Option<Status>,
}

/// `envoy.service.discovery.v3.DeltaDiscoveryResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DeltaDiscoveryResponse {
    #[prost(string, tag = "1")]
    pub system_version_info: String,
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Resource>,
    #[prost(string, tag = "4")]
    pub type_url: String,
    #[prost(string, tag = "5")]
    pub nonce: String,
    #[prost(string, repeated, tag = "6")]
    pub removed_resources: Vec<String>,
    #[prost(message, optional, tag = "7")]
    pub control_plane: Option<ControlPlane>,
}

/// `envoy.service.discovery.v3.Resource`: what a delta response carries, and the wrapper that gives a resource of a
/// state-of-the-world response its TTL.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Resource {
    #[prost(string, tag = "1")]
    pub version: String,
    #[prost(message, optional, tag = "2")]
    pub resource: Option<Any>,
    #[prost(string, tag = "3")]
    pub name: String,
    #[prost(string, repeated, tag = "4")]
    pub aliases: Vec<String>,
    #[prost(message, optional, tag = "6")]
    pub ttl: Option<Duration>,
}

/// Type URL of [`Resource`] where it wraps another inside an `Any`.
pub const RESOURCE_TYPE_URL: &str = "type.googleapis.com/envoy.service.discovery.v3.Resource";

/// What goes to the management server, in either protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    StateOfTheWorld(DiscoveryRequest),
    Delta(DeltaDiscoveryRequest),
}

/// What comes from the management server, in either protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    StateOfTheWorld(DiscoveryResponse),
    Delta(DeltaDiscoveryResponse),
}

impl Response {
    pub fn type_url(&self) -> &str {
        match self {
            Self::StateOfTheWorld(response) => &response.type_url,
            Self::Delta(response) => &response.type_url,
        }
    }

    /// `ControlPlane.identifier`, where the server names itself (Envoy's `control_plane.identifier`).
    pub fn control_plane(&self) -> Option<&str> {
        let control_plane = match self {
            Self::StateOfTheWorld(response) => &response.control_plane,
            Self::Delta(response) => &response.control_plane,
        };
        control_plane.as_ref().map(|it| it.identifier.as_str())
    }

    /// Frees the receive buffer of a small response: its bodies get allocations of their own.
    pub(crate) fn compact(&mut self) {
        let bodies: Vec<&mut Bytes> = match self {
            Self::StateOfTheWorld(response) => response.resources.iter_mut().map(|any| &mut any.value).collect(),
            Self::Delta(response) => response
                .resources
                .iter_mut()
                .filter_map(|it| Some(&mut it.resource.as_mut()?.value))
                .collect(),
        };
        if bodies.iter().map(|body| body.len()).sum::<usize>() < COPY_BELOW {
            for body in bodies {
                *body = Bytes::copy_from_slice(body);
            }
        }
    }
}
