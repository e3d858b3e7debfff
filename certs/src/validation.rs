//! What a peer's certificate must satisfy: Envoy's `CertificateValidationContext`.

mod chain;
pub mod revocation;
pub mod san;
pub(crate) mod verifier;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;

use crate::certificate::{CertificateInfo, SHA256, format_time, hex, seconds_between, unhex};
use crate::trust_bundle::{Trust, TrustBundle};
use revocation::RevocationLists;
use san::SanMatcher;

/// The conditions on a peer's certificate. The default has none, and accepts every certificate, as an Envoy TLS context
/// without validation context does.
#[derive(Debug, Clone, Default)]
pub struct Validation {
    /// `trusted_ca`, `system_root_certs` or the SPIFFE validator's trust domains; without it chains are not verified.
    pub trust: Option<Trust>,
    /// `match_typed_subject_alt_names`: one of them must match one name. Empty: every name will do.
    pub san_matchers: Vec<SanMatcher>,
    /// `verify_certificate_spki` and `verify_certificate_hash`: a match in either list will do.
    pub pins: Pins,
    /// `crl`.
    pub revocation: Option<Arc<RevocationLists>>,
    /// `allow_expired_certificate`: times are not checked, of no certificate of the chain.
    pub allow_expired: bool,
    /// `trust_chain_verification: ACCEPT_UNTRUSTED`: a certificate that fails is still accepted, and
    /// [`crate::PeerInfo::validated`] is false.
    pub accept_untrusted: bool,
    /// `max_verify_depth`: how many intermediates a chain may have. None: as many as the verifier itself allows (6).
    pub max_verify_depth: Option<u32>,
    /// How far in the future `not_before` may lie. Zero, Envoy's behaviour, unless set: clocks of a mesh are often
    /// seconds apart. Never applied to `not_after`.
    pub not_before_tolerance: Duration,
    /// `auto_sni_san_validation`: the SNI that a client sent must be a DNS name of the server's certificate.
    pub match_sni: bool,
}

/// Certificates known beforehand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pins {
    pub certificate_sha256: Vec<[u8; SHA256]>,
    pub spki_sha256: Vec<[u8; SHA256]>,
}

/// Why a peer's certificate was refused. Every text names the certificate and the value that decided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error(
        "certificate {subject:?} was issued by {issuer:?}, which is not among the trusted CAs ({}); is the peer in another trust domain, or was the root rotated?", list(.trusted)
    )]
    UnknownIssuer {
        subject: String,
        issuer: String,
        trusted: Vec<String>,
    },
    #[error(
        "certificate {subject:?} expired at {}, {} s before now ({}); was its rotation missed, or is a clock wrong?",
        format_time(*.not_after), seconds_between(*.not_after, *.now), format_time(*.now)
    )]
    Expired {
        subject: String,
        not_after: SystemTime,
        now: SystemTime,
    },
    #[error(
        "certificate {subject:?} is valid only from {}, {} s after now ({}); a clock is wrong, or the CA does not backdate",
        format_time(*.not_before), seconds_between(*.now, *.not_before), format_time(*.now)
    )]
    NotYetValid {
        subject: String,
        not_before: SystemTime,
        now: SystemTime,
    },
    #[error("no subject alternative name matches: wanted {}, got {}", list(.wanted), list(.got))]
    SanMismatch { wanted: Vec<String>, got: Vec<String> },
    #[error(
        "certificate {subject:?} is not one of the pinned ones: its SHA-256 is {certificate_sha256}, that of its key {spki_sha256}"
    )]
    NotPinned {
        subject: String,
        certificate_sha256: String,
        spki_sha256: String,
    },
    #[error("certificate {subject:?} is not an X.509-SVID: {reason}")]
    NotSvid { subject: String, reason: String },
    #[error("certificate {subject:?} is of trust domain {domain:?}, for which there is no bundle (there is: {})", list(.known))]
    UnknownTrustDomain {
        subject: String,
        domain: String,
        known: Vec<String>,
    },
    #[error("certificate {subject:?} (serial {serial}) or one of its issuers is revoked")]
    Revoked { subject: String, serial: String },
    #[error("certificate {subject:?} cannot be checked for revocation: {reason}")]
    RevocationUnknown { subject: String, reason: String },
    #[error("certificate {subject:?} cannot be accepted: {reason}")]
    Unacceptable { subject: String, reason: String },
}

/// Names that an error lists before it says "and N more".
const LISTED: usize = 4;

fn list(items: &[String]) -> String {
    match items {
        [] => "none".into(),
        few if few.len() <= LISTED => few.join(", "),
        many => format!("{} and {} more", many[..LISTED].join(", "), many.len() - LISTED),
    }
}

/// Which side of the handshake the certificate belongs to; decides the extended key usage (RFC 5280 section 4.2.1.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerRole {
    Client,
    Server,
}

/// A chain as a peer sent it, and what its leaf says.
#[derive(Clone, Copy)]
pub(crate) struct Presented<'a> {
    pub(crate) leaf: &'a CertificateDer<'a>,
    pub(crate) intermediates: &'a [CertificateDer<'a>],
    pub(crate) info: &'a CertificateInfo,
}

impl Validation {
    /// Whether a certificate can fail at all.
    pub fn checks_anything(&self) -> bool {
        self.trust.is_some() || !self.san_matchers.is_empty() || !self.pins.is_empty() || self.match_sni
    }

    /// Verifies a chain as of `now`. `sni` is the name that the client asked for, where there was one.
    pub(crate) fn verify(
        &self,
        role: PeerRole,
        presented: Presented<'_>,
        sni: Option<&str>,
        now: SystemTime,
    ) -> Result<(), VerifyError> {
        if let Some(trust) = &self.trust {
            let bundle = trust.bundle_for(presented.info)?;
            let chain = chain::Chain {
                validation: self,
                role,
                presented,
                bundle,
            };
            chain.verify(now)?;
        }
        self.authorize(presented.info, sni)
    }

    /// What a resumed session still has to satisfy: its chain was verified when it began, by this same validation,
    /// but the certificate may have expired since.
    pub(crate) fn reauthorize(
        &self,
        info: &CertificateInfo,
        sni: Option<&str>,
        now: SystemTime,
    ) -> Result<(), VerifyError> {
        if self.trust.is_some() && !self.allow_expired && now > info.not_after {
            return Err(VerifyError::Expired {
                subject: info.display_name(),
                not_after: info.not_after,
                now,
            });
        }
        self.authorize(info, sni)
    }

    /// The part of [`Self::verify`] that needs no signature: names and pins.
    pub(crate) fn authorize(&self, info: &CertificateInfo, sni: Option<&str>) -> Result<(), VerifyError> {
        let got = || info.subject_alt_names.iter().map(ToString::to_string).collect();
        if self.match_sni
            && let Some(sni) = sni
            && !info.dns_names().any(|pattern| san::dns_name_matches(sni, pattern))
        {
            return Err(VerifyError::SanMismatch {
                wanted: vec![format!("DNS {sni:?} (the SNI)")],
                got: got(),
            });
        }
        let matched = |matcher: &SanMatcher| info.subject_alt_names.iter().any(|name| matcher.matches(name));
        if !self.san_matchers.is_empty() && !self.san_matchers.iter().any(matched) {
            let wanted = self.san_matchers.iter().map(ToString::to_string).collect();
            return Err(VerifyError::SanMismatch { wanted, got: got() });
        }
        if !self.pins.is_empty() && !self.pins.contain(info) {
            return Err(VerifyError::NotPinned {
                subject: info.display_name(),
                certificate_sha256: hex(&info.sha256),
                spki_sha256: hex(&info.spki_sha256),
            });
        }
        Ok(())
    }
}

impl Pins {
    pub fn is_empty(&self) -> bool {
        self.certificate_sha256.is_empty() && self.spki_sha256.is_empty()
    }

    /// Adds a `verify_certificate_hash` entry: 64 hex digits, with or without colons.
    pub fn add_certificate_hash(&mut self, text: &str) -> Result<(), PinError> {
        let hash = unhex(&text.replace(':', "")).and_then(|bytes| bytes.try_into().ok());
        self.certificate_sha256
            .push(hash.ok_or_else(|| PinError::Hash(text.into()))?);
        Ok(())
    }

    /// Adds a `verify_certificate_spki` entry: base64 of a SHA-256.
    pub fn add_spki(&mut self, text: &str) -> Result<(), PinError> {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok();
        let hash = bytes.and_then(|bytes| bytes.try_into().ok());
        self.spki_sha256.push(hash.ok_or_else(|| PinError::Spki(text.into()))?);
        Ok(())
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: &Self) {
        self.certificate_sha256.extend(&other.certificate_sha256);
        self.spki_sha256.extend(&other.spki_sha256);
    }

    fn contain(&self, info: &CertificateInfo) -> bool {
        self.certificate_sha256.contains(&info.sha256) || self.spki_sha256.contains(&info.spki_sha256)
    }
}

/// A pin that is not written as Envoy wants it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    #[error("{0:?} is not a hex SHA-256 (64 digits, optionally with colons)")]
    Hash(String),
    #[error("{0:?} is not a base64 SHA-256 (44 characters)")]
    Spki(String),
}

impl Trust {
    fn bundle_for(&self, info: &CertificateInfo) -> Result<&TrustBundle, VerifyError> {
        let domains = match self {
            Self::Bundle(bundle) => return Ok(bundle),
            Self::TrustDomains(domains) => domains,
        };
        let not_svid = |reason: String| VerifyError::NotSvid {
            subject: info.display_name(),
            reason,
        };
        // X509-SVID section 2: exactly one URI SAN; a second one would leave open whose bundle applies.
        let uri = match info.uris().count() {
            1 => info.uris().next().unwrap_or_default(),
            count => return Err(not_svid(format!("it has {count} URI SANs instead of one"))),
        };
        let id = crate::spiffe_id::SpiffeId::parse(uri).map_err(|e| not_svid(e.to_string()))?;
        // X509-SVID section 4: a leaf must not be able to sign others. Envoy's precheck.
        if info.may_sign {
            return Err(not_svid(
                "its keyUsage allows signing certificates, or is missing".into(),
            ));
        }
        let bundle = domains
            .get(id.trust_domain_str())
            .ok_or_else(|| VerifyError::UnknownTrustDomain {
                subject: info.display_name(),
                domain: id.trust_domain_str().to_owned(),
                known: domains.keys().map(ToString::to_string).collect(),
            })?;
        Ok(bundle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::{CertificateAuthority, Template};
    use crate::spiffe_id::TrustDomain;

    #[test]
    fn pins_as_envoy_writes_them() {
        let mut pins = Pins::default();
        let hash = "df6ff72fe9116521268f6f2dd4966f51df479883fe7037b39f75916ac3049d1a";
        let with_colons = hash
            .as_bytes()
            .chunks(2)
            .map(|pair| str::from_utf8(pair).unwrap())
            .collect::<Vec<_>>()
            .join(":");
        pins.add_certificate_hash(hash).unwrap();
        pins.add_certificate_hash(&with_colons.to_uppercase()).unwrap();
        assert_eq!(pins.certificate_sha256[0], pins.certificate_sha256[1]);
        assert_eq!(hex(&pins.certificate_sha256[0]), hash);
        pins.add_spki("NvqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9A=").unwrap();
        for bad in ["", "df", &hash[1..], &"zz".repeat(32), "+1".repeat(32).as_str()] {
            assert!(pins.add_certificate_hash(bad).is_err(), "{bad}");
            assert!(pins.add_spki(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_svid_must_not_sign() {
        let ca = CertificateAuthority::root("root").unwrap();
        let bundle = Arc::new(ca.bundle().unwrap());
        let trust = Trust::TrustDomains([(TrustDomain::parse("td").unwrap(), bundle)].into());
        let template = Template {
            uris: vec!["spiffe://td/web".into()],
            ..Template::default()
        };
        let mut info = (**ca.issue(&template).unwrap().identity().unwrap().certificate()).clone();
        assert!(trust.bundle_for(&info).is_ok());
        info.may_sign = true;
        let refused = trust.bundle_for(&info).unwrap_err().to_string();
        assert!(refused.contains("keyUsage"), "{refused}");
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..9).map(|n| format!("CN={n}")).collect();
        assert_eq!(list(&names), "CN=0, CN=1, CN=2, CN=3 and 5 more");
        assert_eq!(list(&[]), "none");
    }
}
