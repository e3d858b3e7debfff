//! Certificates, trust anchors and keys, read from where the config says. Reading may block on files.

use std::sync::Arc;

use bytes::Bytes;
use certs::{Identity, RevocationLists, TICKET_KEY_LENGTH, TrustBundle};

use super::{
    super::{
        DataSource,
        rejection::Rejection,
        secret::{self, Secret, SecretKind},
    },
    Certificate, SessionTicketKeys, Trust, ValidationContext,
};

/// What a secret holds, ready to be put into contexts. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Material {
    Identity(Identity),
    Validation(Arc<certs::Validation>),
    TicketKeys(Arc<[[u8; TICKET_KEY_LENGTH]]>),
    Generic(Bytes),
}

/// Material that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// The field that it came from, below what was loaded.
    pub field: String,
    pub problem: String,
}

impl Unusable {
    fn at(field: impl Into<String>, problem: impl ToString) -> Self {
        Self {
            field: field.into(),
            problem: problem.to_string(),
        }
    }
}

impl Secret {
    /// Reads the secret's material.
    ///
    /// # Errors
    /// The field that names the material, and what is wrong with it.
    pub fn load(&self) -> Result<Material, Rejection> {
        let (field, loaded) = match &self.kind {
            SecretKind::Certificate(certificate) => ("tls_certificate", certificate.load().map(Material::Identity)),
            SecretKind::Validation(context) => (
                "validation_context",
                context.load().map(Arc::new).map(Material::Validation),
            ),
            SecretKind::SessionTicketKeys(keys) => ("session_ticket_keys", keys.load().map(Material::TicketKeys)),
            SecretKind::Generic(source) => ("generic_secret", read(source, "secret").map(Material::Generic)),
        };
        loaded.map_err(|unusable| Rejection {
            kind: secret::KIND,
            name: (*self.name).into(),
            path: format!("{field}.{}", unusable.field).into(),
            problem: unusable.problem.into(),
        })
    }
}

impl Certificate {
    /// # Errors
    /// Which of chain, key and staple cannot be used.
    pub fn load(&self) -> Result<Identity, Unusable> {
        let chain = read(&self.chain, "certificate_chain")?;
        let key = read(&self.key, "private_key")?;
        let staple = match &self.ocsp_staple {
            Some(staple) => Some(read(staple, "ocsp_staple")?.to_vec()),
            None => None,
        };
        Identity::with_ocsp_staple(&chain, &key, staple).map_err(|e| {
            use certs::MaterialError as M;
            let field = match &e {
                M::EncryptedKey | M::UnusableKey(_) | M::KeyMismatch { .. } => "private_key",
                M::Missing { wanted, .. } if wanted.contains("key") => "private_key",
                _ => "certificate_chain",
            };
            Unusable::at(field, e)
        })
    }
}

impl ValidationContext {
    /// # Errors
    /// Which of trust anchors and revocation lists cannot be used.
    pub fn load(&self) -> Result<certs::Validation, Unusable> {
        Ok(certs::Validation {
            trust: self.trust.as_ref().map(Trust::load).transpose()?,
            san_matchers: self.sans.clone(),
            pins: self.pins.clone(),
            revocation: match &self.crl {
                Some(crl) => {
                    let lists = RevocationLists::from_pem(&read(crl, "crl")?, self.only_verify_leaf_cert_crl);
                    Some(Arc::new(lists.map_err(|e| Unusable::at("crl", e))?))
                }
                None => None,
            },
            allow_expired: self.allow_expired_certificate,
            accept_untrusted: self.accept_untrusted,
            max_verify_depth: self.max_verify_depth,
            ..certs::Validation::default()
        })
    }
}

impl Trust {
    fn load(&self) -> Result<certs::Trust, Unusable> {
        /// Where the SPIFFE validator's config stands.
        const SPIFFE: &str = "custom_validator_config.typed_config";
        match self {
            Self::Pem(source) => Ok(certs::Trust::Bundle(bundle(source, "trusted_ca")?)),
            Self::System => {
                let bundle = TrustBundle::from_system().map_err(|e| Unusable::at("system_root_certs", e))?;
                Ok(certs::Trust::Bundle(Arc::new(bundle)))
            }
            Self::TrustDomains(domains) => {
                let of_domain = |(i, domain): (usize, &super::SpiffeTrustDomain)| {
                    let field = format!("{SPIFFE}.trust_domains[{i}].trust_bundle");
                    Ok((domain.name.clone(), bundle(&domain.bundle, &field)?))
                };
                let bundles = domains.iter().enumerate().map(of_domain);
                Ok(certs::Trust::TrustDomains(bundles.collect::<Result<_, _>>()?))
            }
            Self::TrustBundles(source) => {
                let field = format!("{SPIFFE}.trust_bundles");
                let json = read(source, &field)?;
                certs::Trust::from_spiffe_bundle_map(&json).map_err(|e| Unusable::at(field, e))
            }
        }
    }
}

impl SessionTicketKeys {
    /// # Errors
    /// The key that cannot be read, or has not 80 bytes.
    pub fn load(&self) -> Result<Arc<[[u8; TICKET_KEY_LENGTH]]>, Unusable> {
        let key = |(i, source): (usize, &DataSource)| {
            let field = format!("keys[{i}]");
            let bytes = read(source, &field)?;
            <[u8; TICKET_KEY_LENGTH]>::try_from(&*bytes).map_err(|_| {
                let problem = format!("has {} bytes; a ticket key has {TICKET_KEY_LENGTH}", bytes.len());
                Unusable::at(field, problem)
            })
        };
        self.0.iter().enumerate().map(key).collect()
    }
}

/// What of a bundle cannot be used is left out, so that one bad certificate does not cost all the others, and said.
fn bundle(source: &DataSource, field: &str) -> Result<Arc<TrustBundle>, Unusable> {
    let bundle = TrustBundle::from_pem(&read(source, field)?).map_err(|e| Unusable::at(field, e))?;
    for skipped in bundle.skipped() {
        let place = match source {
            DataSource::File { path, .. } => path,
            DataSource::Inline(_) | DataSource::Environment(_) => field,
        };
        tracing::warn!("{place}: a trusted CA is left out: {skipped}");
    }
    Ok(Arc::new(bundle))
}

fn read(source: &DataSource, field: &str) -> Result<Bytes, Unusable> {
    source.read().map_err(|e| Unusable::at(field, e))
}
