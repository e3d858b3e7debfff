//! What is read out of an X.509 certificate, once, when it is loaded or presented.

mod name;

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::time::ASN1Time;

use crate::spiffe_id::SpiffeId;

/// A certificate's facts as Envoy reports them: access log, XFCC, RBAC, `/certs`, expiry gauges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateInfo {
    /// Lower-case hex without leading zeros, as Envoy prints it.
    pub serial: String,
    /// RFC 2253, as OpenSSL's XN_FLAG_RFC2253 writes it.
    pub subject: String,
    /// RFC 2253.
    pub issuer: String,
    pub subject_alt_names: Vec<SubjectAltName>,
    /// Whether the key may sign certificates or revocation lists (RFC 5280 section 4.2.1.3), as a CA's may. True where
    /// the certificate has no keyUsage extension, which restricts nothing.
    pub may_sign: bool,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    /// Digest of the whole certificate: Envoy's `verify_certificate_hash` and XFCC's `Hash`.
    pub sha256: [u8; SHA256],
    /// Digest of the SubjectPublicKeyInfo: Envoy's `verify_certificate_spki`.
    pub spki_sha256: [u8; SHA256],
}

/// One subject alternative name. Kinds that Envoy cannot match either (X.400, EDI, registered id) are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectAltName {
    Dns(Box<str>),
    Uri(Box<str>),
    Ip(IpAddr),
    Email(Box<str>),
}

/// Bytes of a SHA-256 digest.
pub const SHA256: usize = 32;

impl CertificateInfo {
    /// Reads a DER certificate. The error is a phrase about the certificate, without its name.
    pub fn from_der(der: &[u8]) -> Result<Self, String> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|e| format!("it is not X.509 DER: {e}"))?;
        if !rest.is_empty() {
            return Err(format!("{} bytes follow the certificate", rest.len()));
        }
        let subject_alt_names = match certificate.subject_alternative_name() {
            Ok(Some(extension)) => extension
                .value
                .general_names
                .iter()
                .filter_map(subject_alt_name)
                .collect(),
            Ok(None) => Vec::new(),
            Err(e) => return Err(format!("its subjectAltName extension is broken: {e}")),
        };
        Ok(Self {
            serial: hex_without_leading_zeros(certificate.raw_serial()),
            subject: name::rfc2253(certificate.subject()),
            issuer: name::rfc2253(certificate.issuer()),
            subject_alt_names,
            may_sign: match certificate.key_usage() {
                Ok(Some(usage)) => usage.value.key_cert_sign() || usage.value.crl_sign(),
                _ => true,
            },
            not_before: system_time(certificate.validity().not_before),
            not_after: system_time(certificate.validity().not_after),
            sha256: sha256(der),
            spki_sha256: sha256(certificate.public_key().raw),
        })
    }

    /// URI SANs in certificate order.
    pub fn uris(&self) -> impl Iterator<Item = &str> {
        self.subject_alt_names.iter().filter_map(|name| match name {
            SubjectAltName::Uri(uri) => Some(&**uri),
            _ => None,
        })
    }

    /// DNS SANs in certificate order.
    pub fn dns_names(&self) -> impl Iterator<Item = &str> {
        self.subject_alt_names.iter().filter_map(|name| match name {
            SubjectAltName::Dns(dns) => Some(&**dns),
            _ => None,
        })
    }

    /// The SPIFFE id, where the certificate is an X.509-SVID: exactly one URI SAN, and that a SPIFFE id
    /// (X509-SVID section 2).
    pub fn spiffe_id(&self) -> Option<SpiffeId> {
        let mut uris = self.uris();
        match (uris.next(), uris.next()) {
            (Some(uri), None) => SpiffeId::parse(uri).ok(),
            _ => None,
        }
    }

    /// Seconds until the certificate expires; negative once it has.
    pub fn expires_in_seconds(&self, now: SystemTime) -> i64 {
        seconds_between(now, self.not_after)
    }

    /// Whole days until the certificate expires, 0 once it has: what Envoy shows as `days_until_expiration`.
    pub fn days_until_expiry(&self, now: SystemTime) -> u64 {
        u64::try_from(self.expires_in_seconds(now)).unwrap_or(0) / SECONDS_PER_DAY
    }

    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// A name for people: the first URI or DNS SAN, else the subject, else the serial.
    pub fn display_name(&self) -> String {
        let san = self.uris().next().or_else(|| self.dns_names().next());
        match san {
            Some(san) => san.to_owned(),
            None if self.subject.is_empty() => format!("serial {}", self.serial),
            None => self.subject.clone(),
        }
    }
}

const SECONDS_PER_DAY: u64 = 86_400;

impl fmt::Display for SubjectAltName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "DNS:{name}"),
            Self::Uri(uri) => write!(f, "URI:{uri}"),
            Self::Ip(ip) => write!(f, "IP:{ip}"),
            Self::Email(address) => write!(f, "EMAIL:{address}"),
        }
    }
}

/// Seconds from `from` to `to`, rounded towards the past, so that an expired certificate never shows 0 or more.
pub fn seconds_between(from: SystemTime, to: SystemTime) -> i64 {
    match to.duration_since(from) {
        Ok(ahead) => ahead.as_secs() as i64,
        Err(behind) => {
            let behind = behind.duration();
            -(behind.as_secs() as i64) - i64::from(behind.subsec_nanos() > 0)
        }
    }
}

/// `2026-11-23T08:30:00Z`, for errors and `/certs`.
pub fn format_time(time: SystemTime) -> String {
    let seconds = seconds_between(SystemTime::UNIX_EPOCH, time);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| format!("@{seconds}"), |timestamp| timestamp.to_string())
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; SHA256] {
    let mut out = [0; SHA256];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// Lower-case hex, as XFCC's `Hash` has it.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
}

/// None unless it is hex digits in pairs.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(HEX)).collect();
    let pairs = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(pairs.chunks(2).map(|pair| (pair[0] * HEX + pair[1]) as u8).collect())
}

const HEX: u32 = 16;

fn hex_without_leading_zeros(bytes: &[u8]) -> String {
    match bytes.iter().position(|b| *b != 0) {
        Some(first) => hex(&bytes[first..]),
        None => "0".into(),
    }
}

fn system_time(time: ASN1Time) -> SystemTime {
    let seconds = time.timestamp();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let moved = match seconds < 0 {
        true => SystemTime::UNIX_EPOCH.checked_sub(distance),
        false => SystemTime::UNIX_EPOCH.checked_add(distance),
    };
    moved.unwrap_or(SystemTime::UNIX_EPOCH)
}

fn subject_alt_name(name: &GeneralName<'_>) -> Option<SubjectAltName> {
    Some(match name {
        GeneralName::DNSName(dns) => SubjectAltName::Dns((*dns).into()),
        GeneralName::URI(uri) => SubjectAltName::Uri((*uri).into()),
        GeneralName::RFC822Name(address) => SubjectAltName::Email((*address).into()),
        GeneralName::IPAddress(octets) => SubjectAltName::Ip(match octets.len() {
            4 => IpAddr::from(<[u8; 4]>::try_from(*octets).ok()?),
            _ => IpAddr::from(<[u8; 16]>::try_from(*octets).ok()?),
        }),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
