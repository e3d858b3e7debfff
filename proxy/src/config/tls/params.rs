//! `TlsParameters`: versions, ciphers, groups.

use xds_api::envoy::extensions::transport_sockets::tls::v3 as pb;

use super::super::{at::At, rejection::Rejection};

/// The versions that exist; older ones are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

/// What is offered in a handshake.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TlsParams {
    pub min_version: TlsVersion,
    pub max_version: TlsVersion,
    /// TLS 1.2 suites by OpenSSL's name; empty: the library's own choice. TLS 1.3 suites are not configurable in Envoy.
    pub cipher_suites: Vec<Box<str>>,
    /// Groups by BoringSSL's name, in order; empty: the library's own choice.
    pub ecdh_curves: Vec<Box<str>>,
    pub signature_algorithms: Vec<Box<str>>,
}

/// Suites of TLS 1.2 that Envoy takes in `cipher_suites`, and whether Pillion can speak them.
const CIPHERS: &[(&str, bool)] = &[
    ("ECDHE-ECDSA-AES128-GCM-SHA256", true),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", true),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", true),
    ("ECDHE-RSA-AES128-GCM-SHA256", true),
    ("ECDHE-RSA-AES256-GCM-SHA384", true),
    ("ECDHE-RSA-CHACHA20-POLY1305", true),
    // CBC or no forward secrecy: no maintained Rust library has them.
    ("ECDHE-ECDSA-AES128-SHA", false),
    ("ECDHE-ECDSA-AES256-SHA", false),
    ("ECDHE-RSA-AES128-SHA", false),
    ("ECDHE-RSA-AES256-SHA", false),
    ("ECDHE-PSK-AES128-CBC-SHA", false),
    ("ECDHE-PSK-AES256-CBC-SHA", false),
    ("ECDHE-PSK-CHACHA20-POLY1305", false),
    ("ECDHE-RSA-AES128-SHA256", false),
    ("AES128-GCM-SHA256", false),
    ("AES128-SHA", false),
    ("AES256-GCM-SHA384", false),
    ("AES256-SHA", false),
    ("PSK-AES128-CBC-SHA", false),
    ("PSK-AES256-CBC-SHA", false),
    ("DES-CBC3-SHA", false),
];

/// BoringSSL's words for several suites at once. They leave the choice to the library, which is what happens.
const CIPHER_GROUPS: [&str; 13] = [
    "ALL", "HIGH", "FIPS", "TLSv1", "TLSv1.2", "SSLv3", "ECDHE", "ECDSA", "RSA", "AESGCM", "CHACHA20", "kECDHE", "aRSA",
];

/// Names of signature algorithms that Envoy takes.
const SIGNATURE_ALGORITHMS: &[(&str, bool)] = &[
    ("ecdsa_secp256r1_sha256", true),
    ("ecdsa_secp384r1_sha384", true),
    ("ecdsa_secp521r1_sha512", true),
    ("ed25519", true),
    ("rsa_pkcs1_sha256", true),
    ("rsa_pkcs1_sha384", true),
    ("rsa_pkcs1_sha512", true),
    ("rsa_pss_rsae_sha256", true),
    ("rsa_pss_rsae_sha384", true),
    ("rsa_pss_rsae_sha512", true),
    ("ecdsa_sha1", false),
    ("rsa_pkcs1_sha1", false),
    ("rsa_pkcs1_md5_sha1", false),
];

/// Groups that Envoy takes in `ecdh_curves`.
const CURVES: &[(&str, bool)] = &[
    ("X25519", true),
    ("P-256", true),
    ("P-384", true),
    ("P-521", true),
    ("X25519MLKEM768", true),
    ("MLKEM1024", false),
];

pub(super) fn parse(pb: Option<&pb::TlsParameters>, at: &At) -> Result<TlsParams, Rejection> {
    use pb::tls_parameters::TlsProtocol as P;
    let default = pb::TlsParameters::default();
    let pb = pb.unwrap_or(&default);
    let min: P = at.enumeration("tls_minimum_protocol_version", pb.tls_minimum_protocol_version)?;
    let max: P = at.enumeration("tls_maximum_protocol_version", pb.tls_maximum_protocol_version)?;
    if matches!(min, P::TlSv10 | P::TlSv11) {
        at.field("tls_minimum_protocol_version")
            .note("TLS 1.0 and 1.1 are not spoken; the minimum is TLS 1.2");
    }
    let max_version = match max {
        P::TlsAuto | P::TlSv13 => TlsVersion::V1_3,
        P::TlSv12 => TlsVersion::V1_2,
        P::TlSv10 | P::TlSv11 => {
            return Err(at
                .field("tls_maximum_protocol_version")
                .reject("TLS 1.0 and 1.1 are not spoken; write TLSv1_2 or TLSv1_3"));
        }
    };
    let min_version = if min == P::TlSv13 {
        TlsVersion::V1_3
    } else {
        TlsVersion::V1_2
    };
    if min_version > max_version {
        return Err(at
            .field("tls_minimum_protocol_version")
            .reject("is newer than tls_maximum_protocol_version"));
    }
    at.not_honoured("compliance_policies", !pb.compliance_policies.is_empty());
    let mut words = pb.cipher_suites.iter().flat_map(|item| item.split([':', '+']));
    let grouped = words.any(|word| CIPHER_GROUPS.contains(&word));
    Ok(TlsParams {
        min_version,
        max_version,
        cipher_suites: if grouped {
            at.field("cipher_suites")
                .note("names a group of suites; the library's own choice is offered");
            Vec::new()
        } else {
            names(&pb.cipher_suites, CIPHERS, &at.field("cipher_suites"))?
        },
        ecdh_curves: names(&pb.ecdh_curves, CURVES, &at.field("ecdh_curves"))?,
        signature_algorithms: names(
            &pb.signature_algorithms,
            SIGNATURE_ALGORITHMS,
            &at.field("signature_algorithms"),
        )?,
    })
}

/// Splits BoringSSL's list syntax (`A:B`, `[A|B]`), refuses unknown names, and leaves out what cannot be spoken.
fn names(list: &[String], known: &[(&str, bool)], at: &At) -> Result<Vec<Box<str>>, Rejection> {
    let mut names = Vec::new();
    for name in list.iter().flat_map(|item| item.split([':', '|', '[', ']'])) {
        if name.is_empty() {
            continue;
        }
        match known.iter().find(|(known, _)| *known == name) {
            Some((_, true)) => names.push(name.into()),
            Some((_, false)) => at.note(format_args!("{name} is not spoken and is left out")),
            None => return Err(at.reject(format_args!("{name:?} is not known"))),
        }
    }
    if names.is_empty() && !list.is_empty() {
        return Err(at.reject("leaves nothing that Pillion can speak"));
    }
    Ok(names)
}
