//! A small certificate authority for tests and demonstrations, and the signing requests that real ones answer.
//!
//! Keys are P-256, subjects are empty, identities are URI SANs, as SPIRE and istiod have it.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertificateSigningRequestParams,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber,
};

use crate::certificate::unhex;
use crate::identity::Identity;
use crate::pem::MaterialError;
use crate::spiffe_id::SpiffeId;
use crate::trust_bundle::TrustBundle;

/// A root or intermediate with its key.
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    /// Intermediates below the root, nearest first: what goes into a served chain after the leaf.
    chain_pem: String,
    root_pem: String,
}

/// What a certificate shall say. The default is a server and client certificate without names, valid from a minute ago
/// for an hour.
#[derive(Debug, Clone)]
pub struct Template {
    pub spiffe_id: Option<SpiffeId>,
    /// Further URI SANs, of any form.
    pub uris: Vec<String>,
    pub dns_names: Vec<String>,
    pub ip_addresses: Vec<IpAddr>,
    /// The subject's CN; empty: an empty subject.
    pub common_name: String,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

/// A certificate chain and key, in PEM.
#[derive(Clone)]
pub struct Issued {
    /// Leaf first, intermediates after it, without the root.
    pub chain_pem: String,
    /// PKCS#8.
    pub key_pem: String,
}

/// A key that has asked for a certificate.
pub struct SigningRequest {
    key: KeyPair,
    pub pem: String,
}

#[derive(Debug, thiserror::Error)]
#[error("certificate authority: {0}")]
pub struct CaError(#[from] rcgen::Error);

/// How far certificates are dated back, so that peers whose clocks lag accept a fresh one.
pub const BACKDATED: Duration = Duration::from_secs(60);

const DEFAULT_LIFETIME: Duration = Duration::from_secs(3_600);

/// Ten years: a root outlives every test and demonstration.
const ROOT_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);

impl CertificateAuthority {
    /// A self-signed root.
    pub fn root(common_name: &str) -> Result<Self, CaError> {
        let now = SystemTime::now();
        Self::root_valid(common_name, now - BACKDATED, now + ROOT_LIFETIME)
    }

    /// A self-signed root with a validity of its own.
    pub fn root_valid(common_name: &str, not_before: SystemTime, not_after: SystemTime) -> Result<Self, CaError> {
        let key = KeyPair::generate()?;
        let params = ca_params(common_name, not_before, not_after);
        let pem = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        Ok(Self {
            issuer,
            certificate_pem: pem.clone(),
            chain_pem: String::new(),
            root_pem: pem,
        })
    }

    /// An intermediate below this authority.
    pub fn intermediate(&self, common_name: &str) -> Result<Self, CaError> {
        let now = SystemTime::now();
        let key = KeyPair::generate()?;
        let params = ca_params(common_name, now - BACKDATED, now + ROOT_LIFETIME);
        let pem = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            chain_pem: format!("{pem}{}", self.chain_pem),
            certificate_pem: pem,
            root_pem: self.root_pem.clone(),
        })
    }

    /// Makes a key and a certificate for it.
    pub fn issue(&self, template: &Template) -> Result<Issued, CaError> {
        let key = KeyPair::generate()?;
        let certificate = template.params()?.signed_by(&key, &self.issuer)?;
        let chain_pem = format!("{}{}", certificate.pem(), self.chain_pem);
        Ok(Issued {
            chain_pem,
            key_pem: key.serialize_pem(),
        })
    }

    /// An X.509-SVID for `id`, from a minute ago until `lifetime` from now.
    pub fn issue_svid(&self, id: &SpiffeId, lifetime: Duration) -> Result<Issued, CaError> {
        self.issue(&Template {
            spiffe_id: Some(id.clone()),
            ..Template::lasting(lifetime)
        })
    }

    /// Answers a signing request: its key and its names, with the validity of `template`.
    pub fn sign(&self, request_pem: &str, template: &Template) -> Result<String, CaError> {
        let mut request = CertificateSigningRequestParams::from_pem(request_pem)?;
        let names = std::mem::take(&mut request.params.subject_alt_names);
        request.params = template.params()?;
        request.params.subject_alt_names = names;
        Ok(format!("{}{}", request.signed_by(&self.issuer)?.pem(), self.chain_pem))
    }

    /// A revocation list of this authority, as PEM; serials as [`crate::CertificateInfo::serial`] has them.
    pub fn revoke(&self, serials: &[&str]) -> Result<String, CaError> {
        let now = SystemTime::now();
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&unhex(serial).unwrap_or_default()),
            revocation_time: (now - BACKDATED).into(),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: (now - BACKDATED).into(),
            next_update: (now + DEFAULT_LIFETIME).into(),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(&self.issuer)?.pem()?)
    }

    /// The trust bundle: the root alone.
    pub fn bundle_pem(&self) -> &str {
        &self.root_pem
    }

    /// This authority's own certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    pub fn bundle(&self) -> Result<TrustBundle, MaterialError> {
        TrustBundle::from_pem(self.root_pem.as_bytes())
    }
}

impl Template {
    /// Valid from a minute ago until `lifetime` from now.
    pub fn lasting(lifetime: Duration) -> Self {
        let now = SystemTime::now();
        Self {
            spiffe_id: None,
            uris: Vec::new(),
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            common_name: String::new(),
            not_before: now - BACKDATED,
            not_after: now + lifetime,
        }
    }

    fn params(&self) -> Result<CertificateParams, CaError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if !self.common_name.is_empty() {
            params.distinguished_name.push(DnType::CommonName, &self.common_name);
        }
        let uris = self
            .spiffe_id
            .iter()
            .map(SpiffeId::as_str)
            .chain(self.uris.iter().map(String::as_str));
        let names = &mut params.subject_alt_names;
        for uri in uris {
            names.push(SanType::URI(Ia5String::try_from(uri)?));
        }
        for dns in &self.dns_names {
            names.push(SanType::DnsName(Ia5String::try_from(dns.as_str())?));
        }
        names.extend(self.ip_addresses.iter().copied().map(SanType::IpAddress));
        params.not_before = self.not_before.into();
        params.not_after = self.not_after.into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }
}

impl Default for Template {
    fn default() -> Self {
        Self::lasting(DEFAULT_LIFETIME)
    }
}

impl Issued {
    pub fn identity(&self) -> Result<Identity, MaterialError> {
        Identity::from_pem(self.chain_pem.as_bytes(), self.key_pem.as_bytes())
    }
}

impl SigningRequest {
    /// A PKCS#10 request as istiod and SPIRE expect it: empty subject, the id as URI SAN, a fresh P-256 key.
    pub fn new(id: &SpiffeId) -> Result<Self, CaError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(id.as_str())?)];
        let pem = params.serialize_request(&key)?.pem()?;
        Ok(Self { key, pem })
    }

    /// Joins the key to the certificate chain that came back.
    pub fn complete(self, chain_pem: String) -> Issued {
        Issued {
            chain_pem,
            key_pem: self.key.serialize_pem(),
        }
    }
}

fn ca_params(common_name: &str, not_before: SystemTime, not_after: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = not_before.into();
    params.not_after = not_after.into();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
