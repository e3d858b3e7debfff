//! TLS alerts (RFC 8446 section 6), their names and what they say of a mesh.

use std::fmt;

/// An alert by its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alert(pub u8);

struct Row {
    code: u8,
    name: &'static str,
    /// BoringSSL's reason string; the reason code is 1000 + alert.
    boringssl: &'static str,
}

const fn row(code: u8, name: &'static str, boringssl: &'static str) -> Row {
    Row { code, name, boringssl }
}

const ALERTS: [Row; 27] = [
    row(0, "close_notify", "SSLV3_ALERT_CLOSE_NOTIFY"),
    row(10, "unexpected_message", "SSLV3_ALERT_UNEXPECTED_MESSAGE"),
    row(20, "bad_record_mac", "SSLV3_ALERT_BAD_RECORD_MAC"),
    row(21, "decryption_failed", "TLSV1_ALERT_DECRYPTION_FAILED"),
    row(22, "record_overflow", "TLSV1_ALERT_RECORD_OVERFLOW"),
    row(40, "handshake_failure", "SSLV3_ALERT_HANDSHAKE_FAILURE"),
    row(42, "bad_certificate", "SSLV3_ALERT_BAD_CERTIFICATE"),
    row(43, "unsupported_certificate", "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE"),
    row(44, "certificate_revoked", "SSLV3_ALERT_CERTIFICATE_REVOKED"),
    row(45, "certificate_expired", "SSLV3_ALERT_CERTIFICATE_EXPIRED"),
    row(46, "certificate_unknown", "SSLV3_ALERT_CERTIFICATE_UNKNOWN"),
    row(47, "illegal_parameter", "SSLV3_ALERT_ILLEGAL_PARAMETER"),
    row(48, "unknown_ca", "TLSV1_ALERT_UNKNOWN_CA"),
    row(49, "access_denied", "TLSV1_ALERT_ACCESS_DENIED"),
    row(50, "decode_error", "TLSV1_ALERT_DECODE_ERROR"),
    row(51, "decrypt_error", "TLSV1_ALERT_DECRYPT_ERROR"),
    row(70, "protocol_version", "TLSV1_ALERT_PROTOCOL_VERSION"),
    row(71, "insufficient_security", "TLSV1_ALERT_INSUFFICIENT_SECURITY"),
    row(80, "internal_error", "TLSV1_ALERT_INTERNAL_ERROR"),
    row(86, "inappropriate_fallback", "TLSV1_ALERT_INAPPROPRIATE_FALLBACK"),
    row(90, "user_canceled", "TLSV1_ALERT_USER_CANCELLED"),
    row(109, "missing_extension", "TLSV1_ALERT_MISSING_EXTENSION"),
    row(110, "unsupported_extension", "TLSV1_ALERT_UNSUPPORTED_EXTENSION"),
    row(112, "unrecognized_name", "TLSV1_ALERT_UNRECOGNIZED_NAME"),
    row(115, "unknown_psk_identity", "TLSV1_ALERT_UNKNOWN_PSK_IDENTITY"),
    row(116, "certificate_required", "TLSV1_ALERT_CERTIFICATE_REQUIRED"),
    row(120, "no_application_protocol", "TLSV1_ALERT_NO_APPLICATION_PROTOCOL"),
];

impl Alert {
    /// The RFC's name, or `unknown`.
    pub fn name(self) -> &'static str {
        self.row().map_or("unknown", |row| row.name)
    }

    pub(super) fn boringssl(self) -> &'static str {
        self.row().map_or("TLSV1_ALERT_UNKNOWN", |row| row.boringssl)
    }

    fn row(self) -> Option<&'static Row> {
        ALERTS.iter().find(|row| row.code == self.0)
    }

    /// What the peer most likely means, and where to look.
    pub(super) fn meaning(self, our_certificate: Option<&str>) -> String {
        let ours = our_certificate.map_or_else(|| "our certificate".into(), |name| format!("our certificate {name:?}"));
        match self.name() {
            "certificate_required" => {
                "it requires a certificate of us and got none: no identity is configured, or its key type did not suit"
                    .into()
            }
            "unknown_ca" => format!("it does not trust the issuer of {ours}; its trust bundle lacks our root"),
            "certificate_expired" => format!("it takes {ours} for expired or not yet valid; compare the clocks"),
            "certificate_revoked" => format!("{ours} is revoked"),
            "bad_certificate" | "certificate_unknown" | "unsupported_certificate" | "access_denied" => {
                format!("it refused {ours}; most often its SAN matchers do not allow our name")
            }
            "handshake_failure" if our_certificate.is_none() => {
                "nothing in common to agree on, or it wants a certificate of us and got none".into()
            }
            "handshake_failure" | "insufficient_security" => "no cipher suite, group or signature in common".into(),
            "protocol_version" => "it does not speak a TLS version that we allow".into(),
            "unrecognized_name" => "it has no certificate or filter chain for our SNI".into(),
            "no_application_protocol" => "it speaks none of the ALPN protocols that we offered".into(),
            "decrypt_error" => format!("it could not verify a signature: {ours} and its key may not belong together"),
            _ => "see RFC 8446 section 6".into(),
        }
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}
