//! Identities over SDS, from a CA that can be replaced while everything runs.
//!
//! Every enrolled node has two secrets: [`OWN`], its certificate and key, and [`TRUSTED`], the bundle that its peers must
//! chain to. A change of CA is three steps, each to be taken when every node has the one before:
//! [`Identities::introduce`] (all trust the old and the new), [`Identities::adopt`] (all present certificates of the new),
//! [`Identities::retire`] (nobody trusts the old).

use std::{collections::BTreeMap, time::Duration};

use certs::{MaterialError, SpiffeId, ca::CaError, ca::CertificateAuthority};
use xds_api::json;

use crate::{
    ControlPlane,
    resources::{self, SECRET},
};

/// The secret with a node's own certificate, by the name that istiod's proxies ask for.
pub const OWN: &str = "default";
/// The secret with the trust bundle.
pub const TRUSTED: &str = "ROOTCA";

/// Long enough for every demonstration: rotation here is by push, not by expiry.
const LIFETIME: Duration = Duration::from_secs(3_600);

/// Who has which identity, and the authorities behind them.
pub struct Identities {
    plane: ControlPlane,
    /// Oldest first; every node trusts all of them. Never empty.
    authorities: Vec<CertificateAuthority>,
    /// Which of them signs.
    issuing: usize,
    named: usize,
    holders: BTreeMap<String, Holder>,
}

struct Holder {
    id: SpiffeId,
    serial: String,
}

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error(transparent)]
    Authority(#[from] CaError),
    #[error("a certificate of our own making: {0}")]
    Material(#[from] MaterialError),
    #[error("a secret of our own making: {0}")]
    Secret(#[from] json::Error),
}

impl Identities {
    /// With one authority and no holder yet.
    ///
    /// # Errors
    /// Where the authority's key cannot be made.
    pub fn new(plane: ControlPlane) -> Result<Self, IdentityError> {
        Ok(Self {
            plane,
            authorities: vec![CertificateAuthority::root(&name(0))?],
            issuing: 0,
            named: 1,
            holders: BTreeMap::new(),
        })
    }

    /// Gives a node an identity and the bundle. It is told with the next push.
    ///
    /// # Errors
    /// Where the certificate cannot be made.
    pub fn enroll(&mut self, node: &str, id: SpiffeId) -> Result<(), IdentityError> {
        let serial = self.issue(node, &id)?;
        self.holders.insert(node.to_owned(), Holder { id, serial });
        self.stage_bundle(node)
    }

    /// A new key and certificate for every holder.
    ///
    /// # Errors
    /// Where one cannot be made; nothing was pushed then.
    pub fn rotate(&mut self) -> Result<(), IdentityError> {
        let mut holders = std::mem::take(&mut self.holders);
        let issued = holders.iter_mut().try_for_each(|(node, holder)| {
            holder.serial = self.issue(node, &holder.id)?;
            Ok(())
        });
        self.holders = holders;
        issued.map(|()| self.plane.push())
    }

    /// A new authority, which all trust beside the old ones and which signs nothing yet.
    ///
    /// # Errors
    /// Where its key cannot be made.
    pub fn introduce(&mut self) -> Result<(), IdentityError> {
        self.authorities.push(CertificateAuthority::root(&name(self.named))?);
        self.named += 1;
        self.push_bundle()
    }

    /// The newest authority signs from now on: every holder gets a certificate of it.
    ///
    /// # Errors
    /// As [`Self::rotate`].
    pub fn adopt(&mut self) -> Result<(), IdentityError> {
        self.issuing = self.authorities.len() - 1;
        self.rotate()
    }

    /// Nobody trusts an authority any more that is older than the one that signs.
    ///
    /// # Errors
    /// Where the bundle cannot be made.
    pub fn retire(&mut self) -> Result<(), IdentityError> {
        self.authorities.drain(..self.issuing);
        self.issuing = 0;
        self.push_bundle()
    }

    /// The serial number of the certificate that a node was given last, as `/certs` prints it.
    pub fn serial(&self, node: &str) -> Option<&str> {
        self.holders.get(node).map(|holder| holder.serial.as_str())
    }

    /// Serial numbers of the authorities in the bundle, oldest first, as `/certs` prints them.
    ///
    /// # Errors
    /// Where a root of our own cannot be read back.
    pub fn trusted(&self) -> Result<Vec<String>, IdentityError> {
        let mut serials = Vec::new();
        for authority in &self.authorities {
            serials.extend(authority.bundle()?.certificates().iter().map(|c| c.serial.clone()));
        }
        Ok(serials)
    }

    fn issue(&self, node: &str, id: &SpiffeId) -> Result<String, IdentityError> {
        let issued = self.authorities[self.issuing].issue_svid(id, LIFETIME)?;
        let secret = resources::any(SECRET, &resources::identity(OWN, &issued.chain_pem, &issued.key_pem))?;
        self.plane.stage(node, SECRET, OWN, secret);
        Ok(issued.identity()?.certificate().serial.clone())
    }

    fn push_bundle(&self) -> Result<(), IdentityError> {
        self.holders.keys().try_for_each(|node| self.stage_bundle(node))?;
        self.plane.push();
        Ok(())
    }

    fn stage_bundle(&self, node: &str) -> Result<(), IdentityError> {
        let pem: String = self.authorities.iter().map(CertificateAuthority::bundle_pem).collect();
        let secret = resources::any(SECRET, &resources::trust_bundle(TRUSTED, &pem))?;
        self.plane.stage(node, SECRET, TRUSTED, secret);
        Ok(())
    }
}

fn name(number: usize) -> String {
    format!("demo CA {}", number + 1)
}
