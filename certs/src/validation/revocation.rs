//! Certificate revocation lists (Envoy's `crl` and `only_verify_leaf_cert_crl`).

use webpki::{CertRevocationList, OwnedCertRevocationList};

use crate::pem::{self, MaterialError};

/// Parsed revocation lists. As with OpenSSL, every issuer of a chain then needs a list, unless only the leaf is checked.
pub struct RevocationLists {
    pub(super) lists: Vec<CertRevocationList<'static>>,
    pub(super) leaf_only: bool,
}

impl RevocationLists {
    pub fn from_pem(pem: &[u8], leaf_only: bool) -> Result<Self, MaterialError> {
        let parse = |der: &[u8]| {
            OwnedCertRevocationList::from_der(der)
                .map(CertRevocationList::from)
                .map_err(|e| MaterialError::RevocationList(e.to_string()))
        };
        let lists = pem::revocation_lists(pem)?
            .iter()
            .map(|der| parse(der))
            .collect::<Result<_, _>>()?;
        Ok(Self { lists, leaf_only })
    }
}

impl std::fmt::Debug for RevocationLists {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} revocation lists", self.lists.len())
    }
}
