//! Session tickets under configured keys (`session_ticket_keys`), so that replicas can resume each other's sessions.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{digest, rand};
use rustls::server::ProducesTickets;

/// One configured key: 80 bytes, as for Envoy (name 16, HMAC 32, AES 32).
pub const TICKET_KEY_LENGTH: usize = 80;

/// A name picks the key that opens a ticket.
const NAME: usize = 16;

/// Seconds for which a ticket can be used. Envoy's `session_timeout` default is BoringSSL's: two hours.
const DEFAULT_LIFETIME: u32 = 7_200;

/// Encrypts with the first key, opens with any.
pub(super) struct TicketKeys {
    keys: Vec<([u8; NAME], LessSafeKey)>,
    /// Binds tickets to what the peer's certificate was verified against: the keys may outlive a trust bundle, and a
    /// resumed session is not verified again.
    bound_to: [u8; 32],
    lifetime: u32,
}

impl TicketKeys {
    /// None where the primitives refuse the key, which their fixed sizes rule out.
    pub(super) fn new(keys: &[[u8; TICKET_KEY_LENGTH]], bound_to: [u8; 32], lifetime: Option<u32>) -> Option<Self> {
        let keys = keys.iter().map(|bytes| {
            let mut name = [0; NAME];
            name.copy_from_slice(&bytes[..NAME]);
            // Both halves are secret; the sealing here authenticates by itself, so that one key made of both will do.
            let secret = digest::digest(&digest::SHA256, &bytes[NAME..]);
            let key = UnboundKey::new(&AES_256_GCM, secret.as_ref()).ok()?;
            Some((name, LessSafeKey::new(key)))
        });
        Some(Self {
            keys: keys.collect::<Option<_>>()?,
            bound_to,
            lifetime: lifetime.unwrap_or(DEFAULT_LIFETIME),
        })
    }
}

impl std::fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ticket keys", self.keys.len())
    }
}

impl ProducesTickets for TicketKeys {
    fn enabled(&self) -> bool {
        !self.keys.is_empty()
    }

    fn lifetime(&self) -> u32 {
        self.lifetime
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let (name, key) = self.keys.first()?;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce_used, Aad::from(self.bound_to), &mut sealed)
            .ok()?;
        Some([&name[..], &nonce[..], &sealed[..]].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let (_, key) = self.keys.iter().find(|(known, _)| known == name)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let length = key
            .open_in_place(nonce, Aad::from(self.bound_to), &mut sealed)
            .ok()?
            .len();
        sealed.truncate(length);
        Some(sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(first: u8, bound_to: u8) -> TicketKeys {
        let key = |n: u8| [n; TICKET_KEY_LENGTH];
        TicketKeys::new(&[key(first), key(1)], [bound_to; 32], None).unwrap()
    }

    #[test]
    fn a_rotated_key_still_opens() {
        let ticket = keys(1, 0).encrypt(b"session").unwrap();
        assert_eq!(keys(2, 0).decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        let newer = keys(2, 0).encrypt(b"session").unwrap();
        assert_eq!(keys(1, 0).decrypt(&newer), None);
    }

    #[test]
    fn another_validation_does_not_open() {
        let ticket = keys(1, 0).encrypt(b"session").unwrap();
        assert_eq!(keys(1, 9).decrypt(&ticket), None);
    }

    #[test]
    fn broken_tickets() {
        let ticket = keys(1, 0).encrypt(b"session").unwrap();
        for length in 0..ticket.len() {
            assert_eq!(keys(1, 0).decrypt(&ticket[..length]), None);
        }
    }
}
