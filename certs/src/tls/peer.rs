//! What a finished handshake says of the other side.

use std::sync::Arc;

use crate::certificate::CertificateInfo;
use crate::spiffe_id::SpiffeId;

/// The peer of a connection, by its certificate. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    pub certificate: Arc<CertificateInfo>,
    /// Where the certificate is an X.509-SVID.
    pub spiffe_id: Option<SpiffeId>,
    /// Whether the certificate passed a validation that could have refused it (Envoy's `peerCertificateValidated`).
    pub validated: bool,
}
