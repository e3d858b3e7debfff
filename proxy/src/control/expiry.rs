//! Certificates that expire in silence, told of: once when a renewal is overdue, again at the end, and when one came after all.
//!
//! Looked at are the certificates that are in use. Whoever renews does so with a third of the life or more to go (SPIRE and
//! istiod at half of it, cert-manager and ACME clients at a third), so what is in use for longer was forgotten.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use certs::{
    CertificateInfo,
    certificate::{format_time, seconds_between},
};
use hashbrown::{HashMap, HashSet};

use crate::{
    snapshot::Snapshot,
    stats::{Group, Prefix, ServerStat, Store},
    tls::held,
};

/// A renewal is overdue when less than this part of the life is left.
const OVERDUE_PART: u32 = 4;
/// And not before this, for authorities that live for decades.
const OVERDUE_MOST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What is known of the certificates in use.
pub struct Expiry {
    server: Group<ServerStat>,
    /// What was said of them.
    told: HashMap<Said, Age>,
    /// When the next certificate comes of an age at which something is to be said; `None`: never.
    due: Option<SystemTime>,
    changed: bool,
}

/// Of one certificate is spoken once, however many listeners and clusters use it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Said {
    provider: String,
    usage: Usage,
    certificate: [u8; certs::certificate::SHA256],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Usage {
    Shown,
    Trusted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    Fresh,
    Overdue,
    Expired,
}

/// A certificate in use.
struct InUse<'a> {
    provider: String,
    usage: Usage,
    info: &'a CertificateInfo,
    /// That of the first of its chain.
    not_after: SystemTime,
}

impl Expiry {
    pub fn new(stats: &Store) -> Self {
        Self {
            server: stats.group(Prefix::root("server.")),
            told: HashMap::new(),
            due: None,
            changed: true,
        }
    }

    /// Certificates have changed, or who uses them.
    pub fn changed(&mut self) {
        self.changed = true;
    }

    /// Says what is to be said of the certificates in use. Cheap where nothing changed and nothing is due.
    pub fn check(&mut self, snapshot: &Snapshot, now: SystemTime) {
        if !self.changed && self.due.is_none_or(|due| now < due) {
            return;
        }
        self.changed = false;
        self.due = None;
        let mut before = std::mem::take(&mut self.told);
        let mut seen = HashSet::new();
        held::each(snapshot, |held| {
            for (provider, identity) in held.own() {
                let info = identity.certificate();
                if seen.insert(Arc::as_ptr(info)) {
                    let in_use = InUse {
                        provider: provider.to_string(),
                        usage: Usage::Shown,
                        info,
                        not_after: identity.expires_at(),
                    };
                    self.look_at(&in_use, &mut before, now);
                }
            }
            for (provider, bundle) in held.trusted() {
                // Roots that were replaced stay in a bundle until they expire: only its last one matters.
                let last = bundle.certificates().iter().max_by_key(|info| info.not_after);
                if let Some(info) = last
                    && seen.insert(Arc::as_ptr(info))
                {
                    let in_use = InUse {
                        provider: provider.to_string(),
                        usage: Usage::Trusted,
                        info,
                        not_after: info.not_after,
                    };
                    self.look_at(&in_use, &mut before, now);
                }
            }
        });
        for (gone, _) in before.iter().filter(|(_, age)| **age > Age::Fresh) {
            let by_same = |(said, age): (&Said, &Age)| {
                *age == Age::Fresh && (said.usage, &said.provider) == (gone.usage, &gone.provider)
            };
            if self.told.iter().any(by_same) {
                tracing::warn!("a new certificate has come from {}", gone.provider);
            }
        }
        let overdue = self.told.values().filter(|age| **age > Age::Fresh).count();
        self.server.set(ServerStat::CertificatesOverdue, overdue as u64);
    }

    fn look_at(&mut self, in_use: &InUse<'_>, before: &mut HashMap<Said, Age>, now: SystemTime) {
        let (age, next) = in_use.age(now);
        self.due = [self.due, next].into_iter().flatten().min();
        let said = Said {
            provider: in_use.provider.clone(),
            usage: in_use.usage,
            certificate: in_use.info.sha256,
        };
        let told = before.remove(&said).or(self.told.get(&said).copied());
        let told = told.unwrap_or(Age::Fresh);
        if age > told {
            in_use.warn(age, now);
        }
        // A clock that was set back is no reason to say it again.
        self.told.insert(said, age.max(told));
    }
}

impl InUse<'_> {
    /// How old it is, and when that changes.
    fn age(&self, now: SystemTime) -> (Age, Option<SystemTime>) {
        let life = self.not_after.duration_since(self.info.not_before).unwrap_or_default();
        let overdue = self.not_after - (life / OVERDUE_PART).min(OVERDUE_MOST);
        if now < overdue {
            (Age::Fresh, Some(overdue))
        } else if now <= self.not_after {
            (Age::Overdue, Some(self.not_after + Duration::from_secs(1)))
        } else {
            (Age::Expired, None)
        }
    }

    fn warn(&self, age: Age, now: SystemTime) {
        let (name, provider) = (self.info.display_name(), &self.provider);
        let (at, left) = (format_time(self.not_after), seconds_between(now, self.not_after));
        match (age, self.usage) {
            (Age::Fresh, _) => {}
            (Age::Overdue, Usage::Shown) => tracing::warn!(
                "certificate {name:?} expires at {at}, in {left} s, and nobody has renewed it: the new one should have come from {provider}"
            ),
            (Age::Overdue, Usage::Trusted) => tracing::warn!(
                "the last trusted CA {name:?} expires at {at}, in {left} s, and nobody has replaced it: the new one should have come from {provider}"
            ),
            (Age::Expired, Usage::Shown) => tracing::error!(
                "certificate {name:?} expired at {at}, {} s ago: peers will refuse it until a new one comes from {provider}",
                -left
            ),
            (Age::Expired, Usage::Trusted) => tracing::error!(
                "the last trusted CA {name:?} expired at {at}, {} s ago: no peer can be verified until a new one comes from {provider}",
                -left
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_800_000_000;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(START + seconds)
    }

    fn age(life: u64, now: u64) -> (Age, Option<u64>) {
        let ca = certs::ca::CertificateAuthority::root("root").unwrap();
        let mut info = (**ca.bundle().unwrap().certificates().first().unwrap()).clone();
        info.not_before = at(0);
        let in_use = InUse {
            provider: String::new(),
            usage: Usage::Shown,
            info: &info,
            not_after: at(life),
        };
        let (age, next) = in_use.age(at(now));
        let since = |next: SystemTime| next.duration_since(at(0)).unwrap().as_secs();
        (age, next.map(since))
    }

    #[test]
    fn a_quarter_of_the_life_is_the_limit() {
        assert_eq!(age(40, 29), (Age::Fresh, Some(30)));
        assert_eq!(age(40, 30), (Age::Overdue, Some(41)));
        assert_eq!(age(40, 40), (Age::Overdue, Some(41)));
        assert_eq!(age(40, 41), (Age::Expired, None));
    }

    #[test]
    fn an_authority_of_decades_is_overdue_in_its_last_month() {
        let (year, month) = (365 * 24 * 60 * 60, OVERDUE_MOST.as_secs());
        assert_eq!(age(10 * year, 8 * year), (Age::Fresh, Some(10 * year - month)));
    }
}
