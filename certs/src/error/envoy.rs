//! The same failures in the words of BoringSSL, as Envoy prints them.

use super::HandshakeError;
use crate::validation::{PeerRole, VerifyError};

/// `ERR_PACK(ERR_LIB_SSL, reason)`: library 16 in the top byte.
const ERR_LIB_SSL: u32 = 16 << 24;

/// Reason codes of BoringSSL's ssl.h.
const CERTIFICATE_VERIFY_FAILED: (u32, &str) = (125, "CERTIFICATE_VERIFY_FAILED");
const HTTP_REQUEST: (u32, &str) = (156, "HTTP_REQUEST");
const NO_SHARED_CIPHER: (u32, &str) = (184, "NO_SHARED_CIPHER");
const HTTPS_PROXY_REQUEST: (u32, &str) = (155, "HTTPS_PROXY_REQUEST");
const PEER_DID_NOT_RETURN_A_CERTIFICATE: (u32, &str) = (192, "PEER_DID_NOT_RETURN_A_CERTIFICATE");
const UNSUPPORTED_PROTOCOL: (u32, &str) = (240, "UNSUPPORTED_PROTOCOL");
const WRONG_VERSION_NUMBER: (u32, &str) = (247, "WRONG_VERSION_NUMBER");

/// An alert's reason code is this plus the alert (SSL_AD_REASON_OFFSET).
const ALERT_OFFSET: u32 = 1000;

/// Starts by which BoringSSL's server recognises an HTTP request, and says so (tls_record.cc).
const HTTP_STARTS: [(&[u8], (u32, &str)); 5] = [
    (b"GET ", HTTP_REQUEST),
    (b"POST ", HTTP_REQUEST),
    (b"HEAD ", HTTP_REQUEST),
    (b"PUT ", HTTP_REQUEST),
    (b"CONNE", HTTPS_PROXY_REQUEST),
];

pub(super) fn reason(error: &HandshakeError) -> String {
    match error {
        HandshakeError::PeerCertificate { error, .. } => {
            format!(
                "{}:{}:TLS_error_end",
                ssl(CERTIFICATE_VERIFY_FAILED),
                verify_detail(error)
            )
        }
        HandshakeError::PlaintextPeer { role, first_bytes } => {
            let http = HTTP_STARTS.iter().find(|(start, _)| first_bytes.starts_with(start));
            ended(
                http.filter(|_| *role == PeerRole::Client)
                    .map_or(WRONG_VERSION_NUMBER, |(_, reason)| *reason),
            )
        }
        HandshakeError::NoClientCertificate => {
            let reason = ssl(PEER_DID_NOT_RETURN_A_CERTIFICATE);
            format!("{reason}:peer did not provide required client certificate:TLS_error_end")
        }
        HandshakeError::NoCommonVersion { .. } => ended(UNSUPPORTED_PROTOCOL),
        HandshakeError::NoCommonParameter { .. } => ended(NO_SHARED_CIPHER),
        HandshakeError::PeerAlert { alert, .. } => ended((ALERT_OFFSET + u32::from(alert.0), alert.boringssl())),
        HandshakeError::ClosedDuringHandshake { .. } | HandshakeError::Io(_) => String::new(),
        other => format!("TLS_error:|{other}:TLS_error_end"),
    }
}

fn ssl((reason, name): (u32, &str)) -> String {
    format!(
        "TLS_error:|{}:SSL routines:OPENSSL_internal:{name}",
        ERR_LIB_SSL + reason
    )
}

fn ended(reason: (u32, &str)) -> String {
    format!("{}:TLS_error_end", ssl(reason))
}

fn verify_detail(error: &VerifyError) -> String {
    let chain = |reason: &str| {
        format!("verify cert failed: X509_verify_cert: certificate verification error at depth 0: {reason}")
    };
    match error {
        VerifyError::UnknownIssuer { .. } => chain("unable to get local issuer certificate"),
        VerifyError::Expired { .. } => chain("certificate has expired"),
        VerifyError::NotYetValid { .. } => chain("certificate is not yet valid"),
        VerifyError::Revoked { .. } => chain("certificate revoked"),
        VerifyError::RevocationUnknown { .. } => chain("unable to get certificate CRL"),
        VerifyError::SanMismatch { got, .. } => {
            let names: Vec<_> = got
                .iter()
                .map(|name| name.split_once(':').map_or(&**name, |(_, name)| name))
                .collect();
            format!(
                "verify cert failed: SAN matcher, certificate SANs are [{}]",
                names.join(", ")
            )
        }
        VerifyError::NotPinned { .. } => "verify cert failed: cert hash and spki".into(),
        VerifyError::NotSvid { .. } => "verify cert failed: cert precheck".into(),
        VerifyError::UnknownTrustDomain { .. } => "verify cert failed: no trust bundle store".into(),
        VerifyError::Unacceptable { reason, .. } => chain(reason),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::error::Alert;

    /// What Envoy 1.40 printed for the same failures.
    #[test]
    fn as_envoy_prints_them() {
        let now = SystemTime::UNIX_EPOCH;
        let certificate = |error| HandshakeError::PeerCertificate {
            role: PeerRole::Server,
            error,
        };
        let plaintext = |role, bytes: &[u8]| HandshakeError::PlaintextPeer {
            role,
            first_bytes: bytes.to_vec(),
        };
        let alert = |code| HandshakeError::PeerAlert {
            alert: Alert(code),
            our_certificate: None,
            peer_certificate: None,
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let verify = "268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: ";
        let depth = "X509_verify_cert: certificate verification error at depth 0: ";
        for (error, printed) in [
            (
                certificate(VerifyError::SanMismatch {
                    wanted: names(&["x"]),
                    got: names(&["URI:spiffe://td/good"]),
                }),
                format!("{verify}SAN matcher, certificate SANs are [spiffe://td/good]"),
            ),
            (
                certificate(VerifyError::Expired {
                    subject: String::new(),
                    not_after: now,
                    now,
                }),
                format!("{verify}{depth}certificate has expired"),
            ),
            (
                certificate(VerifyError::UnknownIssuer {
                    subject: String::new(),
                    issuer: String::new(),
                    trusted: vec![],
                }),
                format!("{verify}{depth}unable to get local issuer certificate"),
            ),
            (
                HandshakeError::NoClientCertificate,
                "268435648:SSL routines:OPENSSL_internal:PEER_DID_NOT_RETURN_A_CERTIFICATE:\
                 peer did not provide required client certificate"
                    .into(),
            ),
            (
                plaintext(PeerRole::Server, b"HTTP/1.1 400"),
                "268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER".into(),
            ),
            (
                plaintext(PeerRole::Client, b"GET / HTTP"),
                "268435612:SSL routines:OPENSSL_internal:HTTP_REQUEST".into(),
            ),
            (
                plaintext(PeerRole::Client, b"DELETE /"),
                "268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER".into(),
            ),
            (
                alert(40),
                "268436496:SSL routines:OPENSSL_internal:SSLV3_ALERT_HANDSHAKE_FAILURE".into(),
            ),
            (
                alert(45),
                "268436501:SSL routines:OPENSSL_internal:SSLV3_ALERT_CERTIFICATE_EXPIRED".into(),
            ),
            (
                alert(48),
                "268436504:SSL routines:OPENSSL_internal:TLSV1_ALERT_UNKNOWN_CA".into(),
            ),
            (
                alert(70),
                "268436526:SSL routines:OPENSSL_internal:TLSV1_ALERT_PROTOCOL_VERSION".into(),
            ),
        ] {
            assert_eq!(reason(&error), format!("TLS_error:|{printed}:TLS_error_end"));
        }
        assert_eq!(reason(&HandshakeError::ClosedDuringHandshake { received: 0 }), "");
    }
}
