//! Cipher suites and groups by the names that OpenSSL and Envoy's configuration give them.

use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::{cipher_suite, kx_group};
use rustls::{CipherSuite, NamedGroup, SignatureScheme, SupportedCipherSuite};

use super::params::SkippedName;

/// AES-128 first: 5 to 7 % more throughput than AES-256 where AES is in hardware, and no hardware we serve lacks it.
pub(super) const TLS13_CIPHERS: [SupportedCipherSuite; 3] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
];

/// Envoy's default list, in its order.
pub(super) const TLS12_CIPHERS: [(&str, SupportedCipherSuite); 6] = [
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
];

/// What BoringSSL has beyond that: CBC, static RSA and PSK suites, which rustls leaves out on purpose, and aliases.
const ONLY_IN_BORINGSSL: [&str; 16] = [
    "DES-CBC3-SHA",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-RSA-AES128-SHA256",
    "ECDHE-PSK-AES128-CBC-SHA",
    "ECDHE-PSK-AES256-CBC-SHA",
    "ECDHE-PSK-CHACHA20-POLY1305",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
    "PSK-AES128-CBC-SHA",
    "PSK-AES256-CBC-SHA",
];

/// BoringSSL's words for several suites at once; here each stands for all of them.
const CIPHER_WORDS: [&str; 6] = ["ALL", "HIGH", "FIPS", "TLSv1", "TLSv1.2", "SSLv3"];

type Group = &'static dyn SupportedKxGroup;

/// Configuration names of groups. Those that BoringSSL has and rustls has not: `None`.
const GROUPS: [(&str, Option<Group>); 6] = [
    ("X25519", Some(kx_group::X25519)),
    ("P-256", Some(kx_group::SECP256R1)),
    ("P-384", Some(kx_group::SECP384R1)),
    ("X25519MLKEM768", Some(kx_group::X25519MLKEM768)),
    ("P-521", None),
    ("MLKEM1024", None),
];

/// Envoy's `cipher_suites` entries: a suite, or several that rank alike as `[A|B]`. rustls ranks strictly, so that the
/// members of a group keep their order.
pub(super) fn choose_ciphers(entries: &[String], skipped: &mut Vec<SkippedName>) -> Vec<SupportedCipherSuite> {
    let split = |entry: &'_ str| {
        entry
            .split([':', '[', '|', ']'])
            .map(str::trim)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let mut chosen: Vec<SupportedCipherSuite> = Vec::new();
    for name in entries
        .iter()
        .flat_map(|entry| split(entry))
        .filter(|name| !name.is_empty())
    {
        if CIPHER_WORDS.contains(&name.as_str()) {
            let all = TLS12_CIPHERS.into_iter().map(|(_, suite)| suite);
            let new: Vec<_> = all.filter(|suite| !chosen.contains(suite)).collect();
            chosen.extend(new);
            continue;
        }
        let named = |suite: &(&str, SupportedCipherSuite)| suite.0 == name || iana_name(suite.1.suite()) == name;
        match TLS12_CIPHERS.iter().find(|suite| named(suite)) {
            Some((_, suite)) if !chosen.contains(suite) => chosen.push(*suite),
            Some(_) => {}
            None => {
                let known_to_envoy = ONLY_IN_BORINGSSL.contains(&name.as_str());
                skipped.push(SkippedName {
                    what: "cipher suite",
                    name,
                    known_to_envoy,
                });
            }
        }
    }
    chosen
}

pub(super) fn choose_groups(entries: &[String], skipped: &mut Vec<SkippedName>) -> Vec<Group> {
    let mut chosen: Vec<Group> = Vec::new();
    for name in entries.iter().flat_map(|entry| entry.split(':')) {
        match GROUPS.iter().find(|(known, _)| *known == name) {
            Some((_, Some(group))) => chosen.push(*group),
            found => skipped.push(SkippedName {
                what: "curve",
                name: name.to_owned(),
                known_to_envoy: found.is_some(),
            }),
        }
    }
    chosen
}

/// OpenSSL's name of a negotiated suite, as Envoy's `ssl.ciphers.*` and `%DOWNSTREAM_TLS_CIPHER%` have it.
pub(super) fn cipher_name(suite: CipherSuite) -> &'static str {
    let known = TLS12_CIPHERS
        .iter()
        .find(|(_, known)| known.suite() == suite)
        .map(|(name, _)| *name);
    known.unwrap_or_else(|| iana_name(suite))
}

fn iana_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or("unknown"),
    }
}

/// BoringSSL's name of a negotiated group, as Envoy's `ssl.curves.*` has it.
pub(super) fn group_name(group: NamedGroup) -> &'static str {
    match group {
        NamedGroup::X25519 => "X25519",
        NamedGroup::secp256r1 => "P-256",
        NamedGroup::secp384r1 => "P-384",
        NamedGroup::X25519MLKEM768 => "X25519MLKEM768",
        other => other.as_str().unwrap_or("unknown"),
    }
}

/// BoringSSL's name of a signature scheme, as Envoy's `ssl.sigalgs.*` has it.
pub(super) fn signature_name(scheme: SignatureScheme) -> &'static str {
    match scheme {
        SignatureScheme::ECDSA_NISTP256_SHA256 => "ecdsa_secp256r1_sha256",
        SignatureScheme::ECDSA_NISTP384_SHA384 => "ecdsa_secp384r1_sha384",
        SignatureScheme::ECDSA_NISTP521_SHA512 => "ecdsa_secp521r1_sha512",
        SignatureScheme::RSA_PSS_SHA256 => "rsa_pss_rsae_sha256",
        SignatureScheme::RSA_PSS_SHA384 => "rsa_pss_rsae_sha384",
        SignatureScheme::RSA_PSS_SHA512 => "rsa_pss_rsae_sha512",
        SignatureScheme::RSA_PKCS1_SHA256 => "rsa_pkcs1_sha256",
        SignatureScheme::RSA_PKCS1_SHA384 => "rsa_pkcs1_sha384",
        SignatureScheme::RSA_PKCS1_SHA512 => "rsa_pkcs1_sha512",
        SignatureScheme::ED25519 => "ed25519",
        other => other.as_str().unwrap_or("unknown"),
    }
}
