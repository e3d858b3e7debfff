//! What a proxy says of itself: a certificate chain and its private key (an X.509-SVID, where it has a SPIFFE id).

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::sign::CertifiedKey;

use crate::certificate::CertificateInfo;
use crate::pem::{self, MaterialError};
use crate::spiffe_id::SpiffeId;
use crate::tls::params;

/// A certificate chain with its key, checked to belong together. Cheap to clone.
#[derive(Clone)]
pub struct Identity(Arc<Parts>);

struct Parts {
    key: Arc<CertifiedKey>,
    /// Parallel to `key.cert`, leaf first.
    chain: Vec<Arc<CertificateInfo>>,
    spiffe_id: Option<SpiffeId>,
}

impl Identity {
    /// From PEM: the chain, leaf first, and a PKCS#8, PKCS#1 or SEC1 key. Expired certificates are taken: what is
    /// offered is decided at each handshake, and an expired certificate beats none.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, MaterialError> {
        Self::with_ocsp_staple(chain, key, None)
    }

    /// As [`Self::from_pem`], with a DER OCSP response to staple (Envoy's `ocsp_staple`).
    pub fn with_ocsp_staple(chain: &[u8], key: &[u8], staple: Option<Vec<u8>>) -> Result<Self, MaterialError> {
        let chain = pem::certificate_chain(chain)?;
        let infos: Vec<_> = chain
            .iter()
            .map(|der| {
                CertificateInfo::from_der(der)
                    .map(Arc::new)
                    .map_err(MaterialError::Certificate)
            })
            .collect::<Result<_, _>>()?;
        let key = params::provider().key_provider.load_private_key(pem::private_key(key)?);
        let key = key.map_err(|e| MaterialError::UnusableKey(e.to_string()))?;
        let mut certified = CertifiedKey::new(chain, key);
        certified.ocsp = staple;
        if let Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) = certified.keys_match() {
            let leaf = &infos[0];
            return Err(MaterialError::KeyMismatch {
                subject: leaf.display_name(),
                serial: leaf.serial.clone(),
            });
        }
        let spiffe_id = infos[0].spiffe_id();
        Ok(Self(Arc::new(Parts {
            key: Arc::new(certified),
            chain: infos,
            spiffe_id,
        })))
    }

    /// The leaf.
    pub fn certificate(&self) -> &Arc<CertificateInfo> {
        &self.0.chain[0]
    }

    /// The chain, leaf first.
    pub fn chain(&self) -> &[Arc<CertificateInfo>] {
        &self.0.chain
    }

    /// The chain in DER, leaf first.
    pub fn chain_der(&self) -> impl Iterator<Item = &[u8]> {
        self.0.key.cert.iter().map(AsRef::as_ref)
    }

    pub fn spiffe_id(&self) -> Option<&SpiffeId> {
        self.0.spiffe_id.as_ref()
    }

    /// When the first certificate of the chain expires, and with it the chain.
    pub fn expires_at(&self) -> SystemTime {
        self.0
            .chain
            .iter()
            .map(|certificate| certificate.not_after)
            .min()
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Whether the whole chain is inside its validity.
    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        self.0.chain.iter().all(|certificate| certificate.is_valid_at(now))
    }

    pub(crate) fn key(&self) -> &Arc<CertifiedKey> {
        &self.0.key
    }
}

/// The key never shows.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity")
            .field(&self.certificate().display_name())
            .finish()
    }
}
