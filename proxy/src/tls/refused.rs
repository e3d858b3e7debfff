//! Refused identities, said aloud: a refusal that stands in counters only is looked for in the network.
//!
//! Peers try again and again. What was said is not said again for a while, but counted.

use std::{
    cell::RefCell,
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

use certs::{HandshakeError, Identity};

/// How long a refusal is not repeated.
const SILENCE: Duration = Duration::from_secs(60);
/// Different refusals that are remembered; with more, the log is quiet until the first may be repeated.
const REMEMBERED: usize = 16;

thread_local! {
    static RECENT: RefCell<Recent> = RefCell::default();
}

/// Refusals of this thread's connections.
#[derive(Default)]
struct Recent {
    hasher: RandomState,
    said: Vec<Said>,
}

struct Said {
    what: u64,
    at: Instant,
    since: u64,
}

/// Says why a handshake failed where an identity was the reason. `place` names whose TLS it is, and the peer's address.
/// What the error itself names need not be in `ours`.
pub fn say(error: &HandshakeError, ours: Option<&Identity>, place: impl FnOnce() -> String) {
    if !concerns_identity(error) {
        return;
    }
    let text = error.to_string();
    let admitted = RECENT.with_borrow_mut(|recent| recent.admit(&text, Instant::now()));
    let Some(before) = admitted else { return };
    let ours = ours.map_or_else(String::new, |own| {
        format!(", as {:?}", own.certificate().display_name())
    });
    let again = match before {
        0 => String::new(),
        n => format!(" ({n} more since this was last said)"),
    };
    tracing::warn!("{}{ours}: {text}{again}", place());
}

/// Not every failed handshake: scanners and probes fail by the thousands.
fn concerns_identity(error: &HandshakeError) -> bool {
    matches!(
        error,
        HandshakeError::PeerCertificate { .. } | HandshakeError::NoClientCertificate | HandshakeError::PeerAlert { .. }
    )
}

impl Recent {
    /// How often it happened since it was last said; `None`: it is not to be said.
    fn admit(&mut self, text: &str, now: Instant) -> Option<u64> {
        let what = self.hasher.hash_one(text);
        let over = |said: &Said| now.saturating_duration_since(said.at) >= SILENCE;
        if let Some(known) = self.said.iter_mut().find(|said| said.what == what) {
            if !over(known) {
                known.since += 1;
                return None;
            }
            known.at = now;
            return Some(std::mem::take(&mut known.since));
        }
        if self.said.len() >= REMEMBERED {
            let stale = self.said.iter().position(over)?;
            self.said.swap_remove(stale);
        }
        self.said.push(Said {
            what,
            at: now,
            since: 0,
        });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_repeated_after_a_while() {
        let mut recent = Recent::default();
        let start = Instant::now();
        assert_eq!(recent.admit("a", start), Some(0));
        assert_eq!(recent.admit("a", start), None);
        assert_eq!(recent.admit("a", start + SILENCE / 2), None);
        assert_eq!(recent.admit("b", start), Some(0));
        assert_eq!(recent.admit("a", start + SILENCE), Some(2));
        assert_eq!(recent.admit("a", start + SILENCE), None);
    }

    #[test]
    fn a_flood_of_different_ones_is_cut() {
        let mut recent = Recent::default();
        let start = Instant::now();
        let said = (0..100)
            .filter(|n| recent.admit(&n.to_string(), start).is_some())
            .count();
        assert_eq!(said, REMEMBERED);
        assert_eq!(recent.admit("new", start + SILENCE), Some(0));
    }
}
