//! Facts of the certificates of both sides' TLS.

use certs::{CertificateInfo, certificate::SubjectAltName};

use super::{Facts, put_text};
use crate::stream_info::TlsInfo;

#[derive(Debug, Clone, Copy)]
pub(in crate::format) struct CertificateField {
    upstream: bool,
    local: bool,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Subject,
    Issuer,
    UriSan,
    DnsSan,
    IpSan,
    EmailSan,
    Serial,
    Fingerprint256,
    /// Of facts that are not kept: further certificates of the chain, SHA-1, the certificate itself.
    Absent,
}

impl CertificateField {
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (upstream, rest) = match name.strip_prefix("UPSTREAM_") {
            Some(rest) => (true, rest),
            None => (false, name.strip_prefix("DOWNSTREAM_")?),
        };
        let (local, rest) = match rest.strip_prefix("LOCAL_") {
            Some(rest) => (true, rest),
            None => (false, rest.strip_prefix("PEER_")?),
        };
        let what = match (rest, upstream, local) {
            ("URI_SAN", ..) => What::UriSan,
            ("DNS_SAN", ..) => What::DnsSan,
            ("IP_SAN", ..) => What::IpSan,
            ("SUBJECT", false, _) | ("SUBJECT", true, false) => What::Subject,
            ("ISSUER", _, false) => What::Issuer,
            ("CERT", _, false) => What::Absent,
            ("EMAIL_SAN", false, _) => What::EmailSan,
            ("OTHERNAME_SAN", false, _) => What::Absent,
            ("SERIAL", false, false) => What::Serial,
            ("FINGERPRINT_256", false, false) => What::Fingerprint256,
            (
                "FINGERPRINT_1"
                | "CHAIN_FINGERPRINTS_256"
                | "CHAIN_FINGERPRINTS_1"
                | "CHAIN_SERIALS"
                | "ISSUER_FINGERPRINT_256"
                | "ISSUER_SERIAL",
                false,
                false,
            ) => What::Absent,
            _ => return None,
        };
        Some(Self { upstream, local, what })
    }

    pub(super) fn write(self, out: &mut String, facts: &Facts<'_>) -> bool {
        let certificate = tls(facts, self.upstream).and_then(|tls| match self.local {
            true => tls.local.as_deref(),
            false => peer(tls),
        });
        let Some(certificate) = certificate else { return false };
        let text = match self.what {
            What::Subject => certificate.subject.clone(),
            What::Issuer => certificate.issuer.clone(),
            What::UriSan => certificate.uris().collect::<Vec<_>>().join(","),
            What::DnsSan => certificate.dns_names().collect::<Vec<_>>().join(","),
            What::IpSan => names(certificate, |name| match name {
                SubjectAltName::Ip(ip) => Some(ip.to_string()),
                _ => None,
            }),
            What::EmailSan => names(certificate, |name| match name {
                SubjectAltName::Email(email) => Some(email.to_string()),
                _ => None,
            }),
            What::Serial => certificate.serial.clone(),
            What::Fingerprint256 => certs::certificate::hex(&certificate.sha256),
            What::Absent => return false,
        };
        put_text(out, Some(&text))
    }
}

fn names(certificate: &CertificateInfo, of: impl Fn(&SubjectAltName) -> Option<String>) -> String {
    let names: Vec<_> = certificate.subject_alt_names.iter().filter_map(of).collect();
    names.join(",")
}

fn tls<'a>(facts: &Facts<'a>, upstream: bool) -> Option<&'a TlsInfo> {
    match upstream {
        true => facts.info.upstream.tls.as_deref(),
        false => facts.info.connection.tls.as_deref(),
    }
}

fn peer(tls: &TlsInfo) -> Option<&CertificateInfo> {
    tls.peer.as_ref().map(|p| &*p.certificate)
}

/// The certificate that a peer presented.
pub(super) fn peer_certificate<'a>(facts: &Facts<'a>, upstream: bool) -> Option<&'a CertificateInfo> {
    tls(facts, upstream).and_then(peer)
}
