//! Why a handshake failed: one case per cause that an operator can act on, each a sentence with the values in it.

mod alert;
mod envoy;

use std::io;

use crate::validation::{PeerRole, VerifyError};
pub use alert::Alert;

/// A failed handshake, or an established connection that the peer ended with an alert.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    #[error("peer speaks plaintext where TLS was expected: it began with {}", quote(.first_bytes))]
    PlaintextPeer { role: PeerRole, first_bytes: Vec<u8> },
    #[error("client sent no certificate, and one is required (require_client_certificate)")]
    NoClientCertificate,
    #[error("{}'s certificate is refused: {error}", role_name(*.role))]
    PeerCertificate { role: PeerRole, error: VerifyError },
    #[error(
        "no TLS version in common: we allow {ours}, peer {}; compare tls_minimum_protocol_version and tls_maximum_protocol_version on both sides", offers(.theirs)
    )]
    NoCommonVersion { ours: String, theirs: Vec<String> },
    #[error("no {what} in common: we allow {}, peer {}", .ours.join(", "), offers(.theirs))]
    NoCommonParameter {
        what: &'static str,
        ours: Vec<String>,
        theirs: Vec<String>,
    },
    #[error("peer{} ended TLS with alert {alert}: {}", named(.peer_certificate), .alert.meaning(.our_certificate.as_deref()))]
    PeerAlert {
        alert: Alert,
        our_certificate: Option<String>,
        /// Where it showed one before it ended.
        peer_certificate: Option<Box<str>>,
    },
    #[error(
        "peer closed the connection during the TLS handshake, {received} bytes into it{}",
        if *.received == 0 { "; it may not speak TLS on this port, or a filter before it refused" } else { "" }
    )]
    ClosedDuringHandshake { received: u64 },
    #[error("client sent no SNI, and one is required (require_sni)")]
    NoSni,
    #[error(
        "SNI {sni:?} is not a DNS name, and only a DNS name can be sent as SNI (RFC 6066 section 3): change the cluster's sni"
    )]
    SniNotDnsName { sni: String },
    #[error("peer broke the TLS protocol: {0}")]
    Protocol(String),
    #[error("connection failed during the TLS handshake: {0}")]
    Io(io::Error),
}

/// Envoy's `ssl.*` counter of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureStat {
    FailVerifyNoCert,
    FailVerifyError,
    FailVerifySan,
    FailVerifyCertHash,
    /// Everything that is no verification: versions, ciphers, plaintext.
    ConnectionError,
}

impl HandshakeError {
    /// The error behind one that a [`crate::TlsStream`] returned, where TLS was its cause. With TLS 1.3 a server's
    /// refusal of the client's certificate arrives only here: the client's handshake is over by then.
    pub fn behind(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Which of Envoy's counters counts it. None for a connection that merely ended, as in Envoy.
    pub fn stat(&self) -> Option<FailureStat> {
        Some(match self {
            Self::NoClientCertificate => FailureStat::FailVerifyNoCert,
            Self::PeerCertificate {
                error: VerifyError::SanMismatch { .. },
                ..
            } => FailureStat::FailVerifySan,
            Self::PeerCertificate {
                error: VerifyError::NotPinned { .. },
                ..
            } => FailureStat::FailVerifyCertHash,
            Self::PeerCertificate { .. } => FailureStat::FailVerifyError,
            Self::ClosedDuringHandshake { .. } | Self::Io(_) => return None,
            _ => FailureStat::ConnectionError,
        })
    }

    /// What Envoy would print as `%UPSTREAM_TRANSPORT_FAILURE_REASON%` or `%DOWNSTREAM_TRANSPORT_FAILURE_REASON%`, for
    /// tools that match on BoringSSL's words. Empty where Envoy has nothing to say. Envoy writes it with spaces in the
    /// body of a local reply, and with underscores for the spaces in access logs.
    pub fn envoy_reason(&self) -> String {
        envoy::reason(self)
    }

    pub(crate) fn into_io(self) -> io::Error {
        let kind = match self {
            Self::PeerAlert { .. } => io::ErrorKind::ConnectionAborted,
            _ => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, self)
    }
}

fn role_name(role: PeerRole) -> &'static str {
    match role {
        PeerRole::Client => "client",
        PeerRole::Server => "server",
    }
}

fn named(certificate: &Option<Box<str>>) -> String {
    certificate
        .as_ref()
        .map_or_else(String::new, |name| format!(" {name:?}"))
}

fn offers(theirs: &[String]) -> String {
    match theirs {
        [] => "allows none of that".into(),
        theirs => format!("offers {}", theirs.join(", ")),
    }
}

/// What a plaintext peer began with, in readable form.
fn quote(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_name_object_and_value() {
        let error = HandshakeError::PlaintextPeer {
            role: PeerRole::Client,
            first_bytes: b"GET / HT".to_vec(),
        };
        assert_eq!(
            error.to_string(),
            "peer speaks plaintext where TLS was expected: it began with \"GET / HT\""
        );
        let error = HandshakeError::NoCommonVersion {
            ours: "TLSv1.3 only".into(),
            theirs: vec!["TLSv1.2".into()],
        };
        assert!(
            error.to_string().contains("we allow TLSv1.3 only, peer offers TLSv1.2"),
            "{error}"
        );
        let alert = Alert(48);
        let error = HandshakeError::PeerAlert {
            alert,
            our_certificate: Some("spiffe://td/web".into()),
            peer_certificate: Some("spiffe://td/api".into()),
        };
        let sentence = error.to_string();
        assert!(
            sentence.starts_with("peer \"spiffe://td/api\" ended TLS with alert unknown_ca"),
            "{sentence}"
        );
        assert!(sentence.contains("spiffe://td/web"), "{sentence}");
    }

    #[test]
    fn size() {
        // Every accept and connect returns one by value; a larger error would grow each of those futures.
        assert!(size_of::<HandshakeError>() <= 128, "{}", size_of::<HandshakeError>());
    }
}
