//! What an entry says of a connection's TLS.

use xds_api::envoy::data::accesslog::v3::{
    TlsProperties,
    tls_properties::{
        CertificateProperties, TlsVersion,
        certificate_properties::{SubjectAltName, subject_alt_name::San},
    },
};

use crate::stream_info::{ConnectionInfo, TlsInfo};

/// IANA's numbers of the suites that are negotiated, by OpenSSL's names.
const CIPHERS: &[(&str, u32)] = &[
    ("TLS_AES_128_GCM_SHA256", 0x1301),
    ("TLS_AES_256_GCM_SHA384", 0x1302),
    ("TLS_CHACHA20_POLY1305_SHA256", 0x1303),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", 0xc02b),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", 0xc02c),
    ("ECDHE-RSA-AES128-GCM-SHA256", 0xc02f),
    ("ECDHE-RSA-AES256-GCM-SHA384", 0xc030),
    ("ECDHE-RSA-CHACHA20-POLY1305", 0xcca8),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", 0xcca9),
];

pub(super) fn properties(tls: &TlsInfo, connection: &ConnectionInfo) -> TlsProperties {
    let number = CIPHERS
        .iter()
        .find(|(name, _)| *name == tls.cipher)
        .map(|(_, number)| *number);
    let certificate = |info: &certs::CertificateInfo| {
        Box::new(CertificateProperties {
            subject_alt_name: info
                .uris()
                .map(|uri| SubjectAltName {
                    san: Some(San::Uri(uri.to_owned())),
                })
                .collect(),
            subject: info.subject.clone(),
            issuer: String::new(),
        })
    };
    TlsProperties {
        tls_version: match tls.version {
            "TLSv1.2" => TlsVersion::TlSv12,
            "TLSv1.3" => TlsVersion::TlSv13,
            _ => TlsVersion::VersionUnspecified,
        }
        .into(),
        tls_cipher_suite: number,
        tls_sni_hostname: connection
            .requested_server_name
            .as_deref()
            .unwrap_or_default()
            .to_owned(),
        local_certificate_properties: tls.local.as_deref().map(certificate),
        peer_certificate_properties: tls.peer.as_ref().map(|peer| certificate(&peer.certificate)),
        ..TlsProperties::default()
    }
}
