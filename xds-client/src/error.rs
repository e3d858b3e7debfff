//! What is wrong with a client's configuration. Failures of a running client are events, not errors: it retries for
//! ever.

use crate::state::Protocol;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("management server {server}: authority {authority:?} is not valid in a URI: {reason}")]
    Authority {
        server: String,
        authority: String,
        reason: String,
    },
    #[error("management server {server}: initial_metadata {key:?} is not a valid gRPC header: {reason}")]
    Metadata {
        server: String,
        key: String,
        reason: String,
    },
    #[error(
        "management server {server}: Envoy's API has no {protocol} service for {type_url} alone; use ADS{}",
        if *protocol == Protocol::StateOfTheWorld { " or DELTA_GRPC" } else { "" }
    )]
    NoService {
        server: String,
        type_url: String,
        protocol: Protocol,
    },
}
