//! Which certificate a server shows, by SNI, key type and validity; which one a client shows.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::identity::Identity;
use crate::validation::san::dns_name_matches;

/// The identities of a context, in configuration order.
#[derive(Debug)]
pub(super) struct Identities {
    pub(super) identities: Vec<Identity>,
    /// `full_scan_certs_on_sni_mismatch`: without it, a name that matches nothing gets the first certificate.
    pub(super) full_scan: bool,
}

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let chosen = self.choose(hello.server_name(), hello.signature_schemes(), SystemTime::now());
        chosen.map(|identity| Arc::clone(identity.key()))
    }
}

impl ResolvesClientCert for Identities {
    /// The server's list of CA names is no reason to withhold a certificate: BoringSSL sends it regardless, and a
    /// refusal by the server says more than a missing certificate.
    fn resolve(&self, _root_hint_subjects: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.choose(None, schemes, SystemTime::now())
            .map(|identity| Arc::clone(identity.key()))
    }

    fn has_certs(&self) -> bool {
        !self.identities.is_empty()
    }
}

impl Identities {
    /// The best of the identities: named by the SNI, then usable with the peer's signature schemes, then not expired,
    /// then ECDSA (Envoy prefers it where the client has it), then first in the configuration.
    ///
    /// Not expired goes before order, so that a stale certificate is shown only where nothing better is held.
    fn choose(&self, sni: Option<&str>, schemes: &[SignatureScheme], now: SystemTime) -> Option<&Identity> {
        let rank = |identity: &&Identity| {
            let key = &identity.key().key;
            let ecdsa = key.algorithm() == rustls::SignatureAlgorithm::ECDSA;
            (key.choose_scheme(schemes).is_some(), identity.is_valid_at(now), ecdsa)
        };
        let has = |identity: &Identity, matches: &dyn Fn(&str, &str) -> bool| {
            sni.is_some_and(|sni| names(identity).any(|name| matches(sni, name)))
        };
        let exact = self
            .identities
            .iter()
            .filter(|identity| has(identity, &str::eq_ignore_ascii_case));
        let wildcard = self
            .identities
            .iter()
            .filter(|identity| has(identity, &dns_name_matches));
        first_max(exact, rank)
            .or_else(|| first_max(wildcard, rank))
            .or_else(|| match self.full_scan || sni.is_none() {
                true => first_max(self.identities.iter(), rank),
                false => first_max(self.fallback(now), rank),
            })
    }

    /// For a name that no certificate has: those that carry the same names as the first, which is how an RSA and an
    /// ECDSA certificate of one server are configured, and whatever is valid when the first is not.
    fn fallback(&self, now: SystemTime) -> impl Iterator<Item = &Identity> {
        let first = self.identities.first();
        self.identities.iter().filter(move |identity| {
            first.is_some_and(|first| names(first).eq(names(identity)) || !first.is_valid_at(now))
        })
    }
}

fn names(identity: &Identity) -> impl Iterator<Item = &str> {
    identity.certificate().dns_names()
}

/// The first of the greatest; `Iterator::max_by_key` would return the last.
fn first_max<'a, K: Ord>(
    candidates: impl Iterator<Item = &'a Identity>,
    key: impl Fn(&&'a Identity) -> K,
) -> Option<&'a Identity> {
    candidates.reduce(|best, next| if key(&next) > key(&best) { next } else { best })
}
