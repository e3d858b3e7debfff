//! Whom to believe: sets of CA certificates, one for everybody or one per trust domain.

mod spiffe;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use rustls_pki_types::{CertificateDer, TrustAnchor};

use crate::certificate::{CertificateInfo, SHA256};
use crate::pem::{self, BlockError, MaterialError};
use crate::spiffe_id::TrustDomain;

/// A set of trusted certificates. Intermediates may be trusted without their root, and a leaf may be trusted by being
/// in the set itself, as Envoy (X509_V_FLAG_PARTIAL_CHAIN) has it.
pub struct TrustBundle {
    pub(crate) anchors: Vec<TrustAnchor<'static>>,
    /// Parallel to `anchors`.
    certificates: Vec<Arc<CertificateInfo>>,
    ders: Vec<CertificateDer<'static>>,
    skipped: Vec<BlockError>,
}

/// Which bundle verifies a peer.
#[derive(Clone)]
pub enum Trust {
    /// One bundle for every peer (`trusted_ca`).
    Bundle(Arc<TrustBundle>),
    /// The bundle of the peer's trust domain (Envoy's SPIFFE certificate validator): the peer must have exactly one
    /// URI SAN, a SPIFFE id of one of these domains.
    TrustDomains(BTreeMap<TrustDomain, Arc<TrustBundle>>),
}

impl TrustBundle {
    /// Reads a PEM bundle. A certificate that cannot be used is left out and reported by [`Self::skipped`]; an error
    /// only when none is left.
    pub fn from_pem(pem: &[u8]) -> Result<Self, MaterialError> {
        let (decoded, mut skipped) = pem::certificates_leniently(pem);
        let mut bundle = Self::empty();
        for (der, block) in decoded {
            if let Err(reason) = bundle.add(der) {
                skipped.push(block.error(reason));
            }
        }
        skipped.sort_by_key(|error| error.block);
        match (bundle.anchors.is_empty(), skipped.is_empty()) {
            (true, true) => Err(MaterialError::Missing {
                wanted: "CA certificate",
                found: pem::labels(pem),
            }),
            (true, false) => Err(MaterialError::AllUnusable(skipped)),
            _ => Ok(Self { skipped, ..bundle }),
        }
    }

    /// Trusts DER certificates.
    pub fn from_der<'a>(certificates: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, MaterialError> {
        let mut bundle = Self::empty();
        for der in certificates {
            bundle
                .add(CertificateDer::from(der.to_vec()))
                .map_err(MaterialError::Certificate)?;
        }
        Ok(bundle)
    }

    /// The operating system's CA bundle (Envoy's `system_root_certs`), from the first of the usual places that exists.
    pub fn from_system() -> Result<Self, MaterialError> {
        let path = SYSTEM_BUNDLES
            .iter()
            .find(|path| std::fs::exists(path).unwrap_or(false));
        let path = path.ok_or_else(|| MaterialError::File {
            path: SYSTEM_BUNDLES.join(", "),
            reason: "none of the system's usual CA bundles exists".into(),
        })?;
        let read = std::fs::read(path);
        let pem = read.map_err(|e| MaterialError::File {
            path: (*path).into(),
            reason: e.to_string(),
        })?;
        Self::from_pem(&pem)
    }

    fn empty() -> Self {
        Self {
            anchors: Vec::new(),
            certificates: Vec::new(),
            ders: Vec::new(),
            skipped: Vec::new(),
        }
    }

    fn add(&mut self, der: CertificateDer<'static>) -> Result<(), String> {
        let info = CertificateInfo::from_der(&der)?;
        if self.contains(&info.sha256) {
            return Ok(());
        }
        let anchor = webpki::anchor_from_trusted_cert(&der).map_err(|e| format!("it cannot be a trust anchor: {e}"))?;
        self.anchors.push(anchor.to_owned());
        self.certificates.push(Arc::new(info));
        self.ders.push(der);
        Ok(())
    }

    /// The trusted certificates, in file order.
    pub fn certificates(&self) -> &[Arc<CertificateInfo>] {
        &self.certificates
    }

    /// The trusted certificates as PEM.
    pub fn to_pem(&self) -> String {
        self.ders.iter().map(|der| pem::encode_certificate(der)).collect()
    }

    /// Blocks of the PEM that were left out, for the log.
    pub fn skipped(&self) -> &[BlockError] {
        &self.skipped
    }

    /// When the first of the certificates expires.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.certificates.iter().map(|certificate| certificate.not_after).min()
    }

    pub(crate) fn contains(&self, certificate_sha256: &[u8; SHA256]) -> bool {
        self.certificates
            .iter()
            .any(|trusted| trusted.sha256 == *certificate_sha256)
    }

    /// The certificates behind an anchor. Several, where a root was renewed with its old key.
    pub(crate) fn behind<'a>(
        &'a self,
        anchor: &'a TrustAnchor<'_>,
    ) -> impl Iterator<Item = &'a Arc<CertificateInfo>> + 'a {
        let same = move |other: &TrustAnchor<'_>| {
            other.subject == anchor.subject && other.subject_public_key_info == anchor.subject_public_key_info
        };
        self.anchors
            .iter()
            .zip(&self.certificates)
            .filter(move |(other, _)| same(other))
            .map(|(_, info)| info)
    }
}

/// Debian and Alpine, Red Hat, openSUSE, FreeBSD: Envoy searches the same ones.
const SYSTEM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

impl Trust {
    /// Every bundle, for `/certs` and expiry.
    pub fn bundles(&self) -> impl Iterator<Item = &Arc<TrustBundle>> {
        let (one, many) = match self {
            Self::Bundle(bundle) => (Some(bundle), None),
            Self::TrustDomains(domains) => (None, Some(domains.values())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

impl std::fmt::Debug for TrustBundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.certificates.iter().map(|info| info.display_name()))
            .finish()
    }
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bundle(bundle) => bundle.fmt(f),
            Self::TrustDomains(domains) => domains.fmt(f),
        }
    }
}
